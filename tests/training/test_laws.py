"""Every row of the table of likelihoods: complete everywhere, exact in training and in draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy.stats")

from laws import LAWS  # noqa: E402
from vaexprs.errors import VaexprsError  # noqa: E402
from vaexprs.spec import LIKELIHOODS, Likelihood, Output, likelihood_named, register  # noqa: E402
from vaexprs.training.likelihoods.registry import TRAINING_LAWS, training_law  # noqa: E402

pytestmark = pytest.mark.torch

INVERSE = {
    "exp": np.log,
    "linear": lambda y: y,
    "sigmoid": lambda y: np.log(y / (1 - y)),
    "softmax": np.zeros_like,  # the only gene of a cell has all of its counts
}


def grid(name, *more):
    """Return every combination of parameters (and more axes), one column each."""
    law = LAWS[name]
    points = np.array(list(itertools.product(*law.parameters.values(), *more)))
    return dict(zip(law.parameters, points.T, strict=False)), points.T[len(law.parameters) :]


def test_every_likelihood_has_its_places():
    assert set(LAWS) == set(LIKELIHOODS) == set(TRAINING_LAWS)
    for name, law in LAWS.items():
        assert tuple(law.parameters) == tuple(LIKELIHOODS[name].outputs)


@pytest.mark.parametrize("name", LAWS)
def test_the_log_probability_is_that_of_the_law(name):
    outputs, (x,) = grid(name, LAWS[name].values)
    heads = {
        output.head: torch.tensor(INVERSE[output.function](outputs[key])[:, None])
        for key, output in LIKELIHOODS[name].outputs.items()
    }
    library = outputs["mean"] if LIKELIHOODS[name].reads_library else np.ones(len(x))
    log_library = torch.tensor(np.log(library)[:, None])
    got = training_law(name).log_prob(torch.tensor(x[:, None]), heads, log_library)
    wanted = LAWS[name].log_prob(x, **outputs)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", LAWS)
def test_draws_have_the_moments_of_the_law(name):
    """100,000 draws at each point of the grid: 6 standard errors of the mean are allowed."""
    outputs, _ = grid(name)
    n = 100_000
    arrays = {key: np.tile(np.float32(value), (n, 1)) for key, value in outputs.items()}
    data, indices, _ = likelihood_named(name).draw(arrays, seed=1)
    mean, variance = LAWS[name].moments(**outputs)
    made = np.bincount(indices, data, minlength=len(mean)) / n
    assert (np.abs(made - mean) <= 6 * np.sqrt(variance / n)).all()
    expected = likelihood_named(name).expected({k: a[:1] for k, a in arrays.items()})
    np.testing.assert_allclose(expected[0], mean, rtol=1e-6)


def test_names_are_checked():
    with pytest.raises(ValueError, match="unknown likelihood 'nbb': did you mean 'nb'"):
        likelihood_named("nbb")
    with pytest.raises(ValueError, match="unknown likelihood 'nbb': did you mean 'nb'"):
        training_law("nbb")
    taken = Likelihood("nb", "again", {"mean": Output("logits", "exp")}, support="counts")
    with pytest.raises(VaexprsError, match="there is a likelihood 'nb' already"):
        register(taken)
