"""What categories bring: left out where components are sought, in where the decoder starts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

pytest.importorskip("torch")

from vaexprs import fit_vae
from vaexprs.data import read_expression
from vaexprs.training.category_weights import category_weights
from vaexprs.training.components import cross_fit
from vaexprs.training.effects import Effects, design_of

pytestmark = pytest.mark.torch

N, GENES = 400, 60


def one_hot(codes: np.ndarray, n: int) -> np.ndarray:
    return np.eye(n)[codes]


def two_keys(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three types and two batches; nine in ten cells of the first type are of the first batch."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, N)
    batch = (rng.random(N) < np.where(kind == 0, 0.1, 0.6)).astype(int)
    return kind, batch


def test_a_combination_is_all_of_its_categories():
    condition = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0]]
    member = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    design = design_of(condition, member)
    np.testing.assert_array_equal(design[:, :4], condition)
    np.testing.assert_array_equal(design[:, 4:], [[1, 0], [0, 0], [0, 0]])
    assert design_of(np.zeros((3, 0)), np.zeros((0, 0))).shape == (3, 0)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_residuals_are_those_of_ridge_regression(form):
    """The solution of the normal equations with an intercept that is not pulled to zero."""
    rng = np.random.default_rng(0)
    kind, batch = two_keys(0)
    design = np.concatenate([one_hot(kind, 3), one_hot(batch, 2)], 1)
    values = rng.poisson(2, (N, GENES)) + 3.0 * kind[:, None]
    effects = Effects.of(form(values), design)
    full = np.column_stack([np.ones(N), design])
    ridge = np.diag([0, 1, 1, 1, 1, 1])
    expected = np.linalg.solve(full.T @ full + ridge, full.T @ values)
    np.testing.assert_allclose(effects.intercept, expected[0], atol=1e-9)
    np.testing.assert_allclose(effects.slopes, expected[1:], atol=1e-9)
    left = values - effects.expected(design)
    np.testing.assert_allclose(
        effects.residual_variance(form(values), design), (left**2).mean(0), rtol=1e-9
    )


def test_components_are_of_what_categories_leave():
    """A program within types, ten times weaker than what tells the types apart."""
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 3, N)
    program = rng.normal(size=GENES)
    program /= np.linalg.norm(program)
    between = 20 * rng.normal(size=(3, GENES)) / np.sqrt(GENES)
    values = between[kind] + 4 * rng.normal(size=(N, 1)) * program + rng.normal(size=(N, GENES))
    aware = cross_fit(values, 1, seed=0, design=one_hot(kind, 3))
    blind = cross_fit(values, 1, seed=0)
    assert abs(aware.vectors[:, 0] @ program) > 0.95
    assert abs(blind.vectors[:, 0] @ program) < 0.5
    # cross-fitted scores are centred in each type, and their variance is that of the program
    for k in range(3):
        assert abs(aware.scores[kind == k].mean()) < 0.1
    assert aware.signal[0] == pytest.approx(16, rel=0.25)


def test_weights_of_counts_are_log_ratios_of_confounded_keys():
    """Effects of a type and of a batch that most of its cells are in are told apart."""
    rng = np.random.default_rng(2)
    kind, batch = two_keys(2)
    of_kind, of_batch = rng.normal(size=(3, GENES)), rng.normal(size=(2, GENES))
    log_mean = 2 + of_kind[kind] + of_batch[batch]
    share = np.exp(log_mean)
    share /= share.sum(1, keepdims=True)
    counts = rng.poisson(4000 * share).astype(np.float32)
    data = read_expression(counts, labels={"kind": kind.astype(str), "batch": batch.astype(str)})
    start = np.log(counts.sum(0) / counts.sum())
    added = category_weights(data, "nb", None, {"logits": start}, np.ones(GENES))["logits"]
    truth = np.concatenate([of_kind, of_batch])
    for block in (slice(0, 3), slice(3, 5)):  # up to what is common to all genes and categories
        got, wanted = (x[block] - x[block].mean(0) for x in (added, truth))
        got, wanted = (x - x.mean(1, keepdims=True) for x in (got, wanted))
        assert np.quantile(np.abs(got - wanted), 0.95) < 0.12


def start_of(X: np.ndarray, kind: np.ndarray, likelihood: str):
    """Fit with steps that lead nowhere: what is left is the start."""
    return fit_vae(
        X, labels={"kind": kind.astype(str)}, likelihood=likelihood, n_latent=2, epochs=1,
        learning_rate=1e-12, calibrate=False, validation_split=0, progress=False,
    )  # fmt: skip


@pytest.mark.parametrize("likelihood", ["nb", "zinb", "zigamma", "gaussian"])
def test_a_fit_starts_at_the_means_of_categories(likelihood):
    """Genes of very different scale, among them one that a category lacks."""
    rng = np.random.default_rng(3)
    kind = rng.integers(0, 2, N)
    level = np.geomspace(1, 100, GENES) * np.where(kind[:, None] == 1, 3.0, 1.0) ** (
        np.arange(GENES) % 2
    )
    level[kind == 0, 7] = 0.0
    X = rng.poisson(level).astype(np.float32)
    if likelihood == "gaussian":
        X = X + rng.normal(size=X.shape).astype(np.float32)
    means = start_of(X, kind, likelihood).reconstruct(X, labels={"kind": kind.astype(str)}).X
    seen = np.arange(GENES) != 7
    for k in (0, 1):
        made, real = means[kind == k].mean(0), X[kind == k].mean(0)
        np.testing.assert_allclose(made[seen], real[seen], rtol=0.2, atol=0.3)
    assert means[kind == 0, 7].mean() < 0.1 * means[kind == 1, 7].mean()


def test_a_linear_path_starts_in_the_units_of_scaled_values():
    """Reconstructions of normal values of any scale follow them before the first step."""
    rng = np.random.default_rng(4)
    program = rng.normal(size=GENES)
    scale = np.geomspace(0.01, 100, GENES)
    noise = 0.3 * rng.normal(size=(N, GENES))
    X = ((rng.normal(size=(N, 1)) * program + noise) * scale).astype(np.float32)
    means = (
        start_of(X, np.zeros(N, int), "gaussian").reconstruct(X, labels={"kind": np.full(N, "0")}).X
    )
    strong = np.abs(program) > 0.5
    slope = (X * means).sum(0) / (X * X).sum(0)
    assert (slope[strong] > 0.5).all()
    assert (slope[strong] < 1.2).all()
