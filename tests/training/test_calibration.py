"""What calibration measures: moments of a decoder's draws, group by group."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("anndata")

from vaexprs import fit_vae, gen_exprs  # noqa: E402
from vaexprs.data import read_expression  # noqa: E402
from vaexprs.datasets import load  # noqa: E402
from vaexprs.training.calibration.draws import Draws  # noqa: E402
from vaexprs.training.calibration.groups import add_to_groups, partitions  # noqa: E402
from vaexprs.training.calibration.shrinkage import shrinkage  # noqa: E402
from vaexprs.training.likelihoods.shares import Shares  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def fit(simulated, tiny):
    """Return a fit with two keys, whose combinations hold unequal numbers of cells."""
    return fit_vae(simulated, condition_keys=["cell_type", "batch"], seed=0, **tiny)


def test_a_decoder_asked_for_one_head_gives_that_head(fit):
    decoder = fit.vae.decoder
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.normal(size=(7, fit.spec.n_latent)).astype(np.float32))
    condition = torch.zeros(7, fit.spec.conditions.n_conditions)
    condition[:, 0] = condition[:, -1] = 1.0
    depth = torch.zeros(7, 1)
    with torch.no_grad():
        every = decoder(z, condition, depth)
        for name in every:
            one = decoder(z, condition, depth, [name])
            assert list(one) == [name]
            assert torch.equal(one[name], every[name])


def test_an_overflow_in_one_combination_stays_there(fit, simulated):
    data = read_expression(simulated, condition_keys=["cell_type", "batch"])
    draws = Draws.of(fit.vae.decoder, fit.scaling, fit.spec, seed=3)
    grouping = partitions(data, draws)[-1]
    first = int((draws.group == 0).sum())

    def values(heads, library):
        out = torch.ones_like(heads["logits"])
        if len(out) >= first:  # draws are sorted by combination
            out[:first] = torch.inf
        return [out]

    (found,) = grouping.moments(draws, ("logits",), values)
    assert not np.isnan(found).any()


def test_moments_are_means_over_the_cells_that_draws_stand_for(fit, simulated):
    """Whatever steps of rows the draws are decoded in, and whichever combinations those cut."""
    draws = Draws.of(fit.vae.decoder, fit.scaling, fit.spec, seed=1, most=3000)
    sizes = np.bincount(draws.group)
    assert len(draws.group) > 2 * 512
    assert (np.cumsum(sizes) % 512).all()
    decoder, library = fit.vae.decoder, torch.from_numpy(draws.library)[:, None]
    z, condition = torch.from_numpy(draws.z), torch.from_numpy(draws.condition)
    with torch.no_grad():
        logits = decoder(z, condition, library.log())["logits"]
        means = (torch.softmax(logits, 1) * library).double().numpy()
    cells = fit.spec.conditions.n_cells

    data = read_expression(simulated, condition_keys=["cell_type", "batch"])
    groupings = partitions(data, draws)
    assert [grouping.n_groups for grouping in groupings] == [3, 2, 6]
    for grouping in groupings:
        mean, second = grouping.moments(
            draws,
            ("logits",),
            lambda heads, size: [
                torch.softmax(heads["logits"], 1) * size,
                (torch.softmax(heads["logits"], 1) * size).square(),
            ],
        )
        for group in range(grouping.n_groups):
            members = np.flatnonzero(grouping.draws == group)
            weight = cells[members] / cells[members].sum()
            of = [means[draws.group == combination] for combination in members]
            expected = sum(w * m.mean(0) for w, m in zip(weight, of, strict=True))
            np.testing.assert_allclose(mean[group], expected, rtol=1e-5)
            squares = sum(w * (m**2).mean(0) for w, m in zip(weight, of, strict=True))
            np.testing.assert_allclose(second[group], squares, rtol=1e-5)


def test_shares_over_coarser_groups_are_those_of_their_draws(fit, simulated):
    draws = Draws.of(fit.vae.decoder, fit.scaling, fit.spec, seed=2)
    *coarser, finest = partitions(
        read_expression(simulated, condition_keys=["cell_type", "batch"]), draws
    )
    shares = Shares.of(draws, finest)
    for grouping in coarser:
        expected, found = Shares.of(draws, grouping), shares.over(grouping)
        np.testing.assert_allclose(found.cells, expected.cells)
        np.testing.assert_allclose(found.by_library, expected.by_library, rtol=1e-6)
        np.testing.assert_allclose(found.variation, expected.variation, rtol=1e-4)


@pytest.mark.parametrize("size", [0.05, 0.5])
def test_a_step_moves_shares_as_decoding_anew_does(fit, simulated, size):
    fit = copy.deepcopy(fit)
    draws = Draws.of(fit.vae.decoder, fit.scaling, fit.spec, seed=2)
    by_type, _, finest = partitions(
        read_expression(simulated, condition_keys=["cell_type", "batch"]), draws
    )
    before = Shares.of(draws, finest)
    rng = np.random.default_rng(0)
    step = size * rng.normal(size=(by_type.n_groups, draws.spec.n_genes))
    add_to_groups(fit.vae.decoder, "logits", by_type, step)
    found, expected = before.moved(by_type, step), Shares.of(draws, finest)
    change = np.log(expected.by_library / before.by_library)
    missed = np.log(found.by_library / expected.by_library)
    # Left out: the ceiling of shares, and how their sum varies within a combination.
    assert missed.std() < 0.05 * change.std()
    assert np.abs(missed).max() < 0.2 * np.abs(change).max()
    np.testing.assert_allclose(found.counts.sum(1), before.counts.sum(1), rtol=1e-6)


def test_equal_steps_of_all_genes_move_no_share(fit, simulated):
    draws = Draws.of(fit.vae.decoder, fit.scaling, fit.spec, seed=2)
    by_type, _, finest = partitions(
        read_expression(simulated, condition_keys=["cell_type", "batch"]), draws
    )
    before = Shares.of(draws, finest)
    after = before.moved(by_type, np.full((by_type.n_groups, draws.spec.n_genes), 1.5))
    np.testing.assert_allclose(after.by_library, before.by_library)
    np.testing.assert_allclose(after.variation, before.variation, rtol=1e-6)


def test_differences_of_few_cells_are_believed_less():
    """Noise alone: of many cells a floor is believed, of few cells a part of it."""
    error = np.full((2, 5000), 0.04)
    noise = 0.19 * np.random.default_rng(0).normal(size=error.shape)  # no more than the error
    believed = {n: shrinkage(noise, error, n) for n in (200, 2000, 20_000)}
    np.testing.assert_allclose(believed[2000], 0.005 / 0.045)
    np.testing.assert_allclose(believed[20_000], believed[2000])
    np.testing.assert_allclose(believed[200], 0.0005 / 0.0405)


def test_true_differences_of_few_cells_are_believed():
    error = np.full((1, 5000), 0.04)
    rng = np.random.default_rng(0)
    difference = rng.normal(size=error.shape) * np.sqrt(error + 0.16)
    np.testing.assert_allclose(shrinkage(difference, error, 50), 0.8, atol=0.02)


@pytest.mark.parametrize("likelihood", ["poisson", "nb"])
def test_generated_cells_have_the_mean_library_size_of_the_training_cells(likelihood):
    """A Poisson law shows too many genes, which smaller cells would hide.

    The standard error over 4,000 cells is 0.007.
    """
    cells = load("pbmc_small")
    fit = fit_vae(
        cells, condition_keys="cell_type", likelihood=likelihood, epochs=10, seed=1,
        progress=False, device="cpu",
    )  # fmt: skip
    made = gen_exprs(fit, 4000, seed=1)
    assert made.X.sum() / 4000 == pytest.approx(cells.X.sum() / cells.n_obs, rel=0.04)
