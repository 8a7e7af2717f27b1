"""Mixtures find what is there, and the sizes of drawn cells follow those of real ones."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from vaexprs.data.expression import evenly
from vaexprs.latent import fit
from vaexprs.latent.draws import draw_inputs
from vaexprs.latent.fit import fit_prior
from vaexprs.spec import ConditionKey, Conditions, GeneratorSpec, LibraryLaw
from vaexprs.training.calibration.detected_genes import SizeLaw

pytestmark = pytest.mark.torch


def latents(prior, law, group, seed):
    """Draw z and library sizes of cells of given combinations."""
    n_groups = len(prior.offsets) - 1
    key = ConditionKey("group", tuple(f"group {g}" for g in range(n_groups)))
    codes = np.arange(n_groups, dtype=np.int32)[:, None]
    spec = GeneratorSpec(
        likelihood="gaussian" if law is None else "nb",
        n_latent=prior.means.shape[1] - prior.with_log_library,
        var_names=("gene",),
        conditions=Conditions((key,), codes, np.ones(n_groups, np.int64)),
        prior=prior,
        library=law,
    )
    inputs = draw_inputs(spec, group, seed)
    return inputs["z"], inputs["library"][:, 0] if law is not None else None


def three_clusters(n, seed):
    rng = np.random.default_rng(seed)
    centres = np.zeros((3, 8))
    centres[[0, 1, 2], [0, 1, 2]] = 6.0
    return centres[rng.integers(3, size=n)] + rng.normal(size=(n, 8))


@pytest.mark.parametrize("n", [150, 600])
def test_hidden_clusters_get_components_of_their_own(n):
    """Draws fall on the clusters, not between them, though no condition tells them apart."""
    z = three_clusters(n, 0)
    prior = fit_prior(z, None, np.zeros(n, np.int64), 1, seed=0)
    assert len(prior.weights) >= 3
    drawn, _ = latents(prior, None, np.zeros(2000, np.int64), 1)
    # distance to the nearest centre: squared, chi-square with 8 degrees of freedom
    centres = 6.0 * np.eye(3, 8)
    squares = ((drawn[:, None] - centres) ** 2).sum(2).min(1)
    assert squares.mean() < 11
    assert np.mean(squares > 26.1) < 0.02  # 0.001 of the true law; between clusters it is 18 to 24


def test_one_cloud_stays_one_component():
    z = np.random.default_rng(0).normal(size=(400, 8))
    prior = fit_prior(z, None, np.zeros(400, np.int64), 1, seed=0)
    assert len(prior.weights) == 1


def test_the_same_seed_gives_the_same_mixture():
    z = three_clusters(300, 1)
    group = np.arange(300) % 2
    first, second = (fit_prior(z, None, group, 2, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.means, second.means)
    np.testing.assert_array_equal(first.tril, second.tril)


def test_a_filter_on_size_leaves_its_edge_in_the_drawn_sizes():
    """Cells below a least size were taken away: drawn ones keep to it, up to the noise of counts.

    The law is fitted to 2,000 cells and 2,000 draws, whose quantiles have standard errors of up to
    0.02, and looked at with 200,000 draws.
    """
    rng = np.random.default_rng(0)
    n = 2000

    def size_of(y, seed):
        noise = np.random.default_rng(seed).normal(scale=0.03, size=len(y))
        return 6.4 + 0.15 * y[:, 0] + 0.7 * (y[:, -1] - 7.5) + noise

    y = rng.multivariate_normal([0, 0, 7.5], np.diag([1, 1, 0.09]), 10 * n)
    size = size_of(y, 1)
    kept = np.flatnonzero(size > 6.4)[:n]
    y, size = y[kept], size[kept]
    group = np.zeros(n, np.int64)
    prior = fit_prior(y[:, :2], y[:, 2], group, 1, seed=0)
    law = LibraryLaw("joint", *(np.array([value], np.float32) for value in (1e-3, 1e9, 7.5, 0.3)))

    def draw(prior, seed, group=group):
        z, library = latents(prior, law, group, seed)
        return np.column_stack([z, np.log(library)]).astype(np.float64)

    drawn = draw(prior, 2)
    levels = [0.01, 0.5, 0.95]
    wanted = np.quantile(size, levels)
    before = np.quantile(size_of(drawn, 3), levels)
    assert before[0] < wanted[0] - 0.05  # a normal law has no edge
    sizes = SizeLaw(drawn, size_of(drawn, 3), group, np.ones(n), size, group)
    for _ in range(3):
        sizes.compare(size_of(sizes.moved_draws(), 3))
    moved = draw(sizes.moved_prior(prior), 4, np.zeros(200_000, np.int64))
    np.testing.assert_allclose(np.quantile(size_of(moved, 5), levels), wanted, atol=0.03)
    # what size does not tell stays as it was
    np.testing.assert_allclose(moved[:, 1].std(), drawn[:, 1].std(), rtol=0.1)


def test_library_sizes_do_not_make_up_for_a_decoder_that_shows_too_many_genes():
    rng = np.random.default_rng(0)
    y, group = rng.normal(size=(500, 3)) * [1, 1, 0.3], np.zeros(500, np.int64)
    prior = fit_prior(y[:, :2], y[:, 2], group, 1, seed=0)
    sizes = SizeLaw(y, y[:, 2] + 2.0, group, np.ones(500), y[:, 2], group)
    sizes.compare(sizes.moved_draws()[:, 2] + 2.0)
    moved = sizes.moved_prior(prior)
    assert moved.weights @ moved.means[:, 2] == pytest.approx(y[:, 2].mean(), abs=0.005)


def test_few_cells_keep_their_law():
    rng = np.random.default_rng(0)
    y, group = rng.normal(size=(20, 3)), np.zeros(20, np.int64)
    prior = fit_prior(y[:, :2], y[:, 2], group, 1, seed=0)
    law = SizeLaw(y, y[:, 2], group, np.ones(20), rng.normal(size=20), group)
    np.testing.assert_array_equal(law.moved_prior(prior).means, prior.means)


def test_means_of_few_cells_lean_on_their_categories():
    """60 combinations of 3 cells whose means are sums of effects: what is drawn varies as they do.

    Without that, draws vary by a third more. 6,000 draws, standard error of a variance 2 %.
    """
    rng = np.random.default_rng(0)
    kinds, batches = np.divmod(np.arange(60), 20)
    design = np.concatenate([np.eye(3)[kinds], np.eye(20)[batches]], axis=1).astype(np.float32)
    group = np.repeat(np.arange(60), 3)
    z = 4.0 * np.eye(3, 6)[kinds[group]] + rng.normal(size=(180, 6))
    prior = fit_prior(z, None, group, 60, seed=0, design=design, sizes=np.array([3, 20]))
    drawn, _ = latents(prior, None, np.repeat(np.arange(60), 100), 1)
    left = drawn - 4.0 * np.eye(3, 6)[kinds].repeat(100, axis=0)
    assert left.var() == pytest.approx(1.0, abs=0.2)


def test_small_combinations_have_a_law_of_sizes_in_common():
    """40 combinations of 10 cells, all cut off at one size: drawn cells keep to it, too."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(4000, 3)) * [1, 1, 0.3]
    y = y[y[:, 2] > 0][:400]
    group = np.repeat(np.arange(40), 10)
    prior = fit_prior(y[:, :2], y[:, 2], group, 40, seed=0)
    made = np.repeat(np.arange(40), 50)
    law = LibraryLaw("joint", *(np.full(40, value, np.float32) for value in (1e-3, 1e9, 0, 1)))

    def draw(prior, seed):
        z, library = latents(prior, law, made, seed)
        return np.column_stack([z, np.log(library)]).astype(np.float64)

    drawn = draw(prior, 1)
    sizes = SizeLaw(drawn, drawn[:, 2], made, np.full(2000, 0.2), y[:, 2], group)
    for _ in range(3):
        sizes.compare(sizes.moved_draws()[:, 2])
    moved = draw(sizes.moved_prior(prior), 2)[:, 2]
    assert (drawn[:, 2] < -0.05).mean() > 0.025
    assert (moved < -0.05).mean() < 0.02
    np.testing.assert_allclose(np.median(moved), np.median(y[:, 2]), atol=0.03)


def test_small_combinations_borrow_hidden_kinds_from_their_category():
    """Two hidden kinds in one category, over 30 batches of 8 cells: draws fall on both kinds."""
    rng = np.random.default_rng(0)
    batch = np.repeat(np.arange(30), 8)
    design = np.concatenate([np.ones((30, 1)), np.eye(30)], axis=1).astype(np.float32)
    kind = rng.integers(2, size=240)
    z = rng.normal(size=(240, 6))
    z[:, 0] += 8.0 * kind
    prior = fit_prior(z, None, batch, 30, seed=0, design=design, sizes=np.array([1, 30]))
    made = np.repeat(np.arange(30), 60)
    drawn, _ = latents(prior, None, made, 1)
    assert ((drawn[:, 0] > 3) & (drawn[:, 0] < 5)).mean() < 0.08  # of one normal law: 0.18
    assert (drawn[:, 0] > 4).mean() == pytest.approx(kind.mean(), abs=0.1)


def test_many_cells_are_fitted_by_some_of_them(monkeypatch):
    """Means and covariances of 4,000 of 40,000 cells, within 5 standard errors of all cells'."""
    rng = np.random.default_rng(3)
    group = np.sort(rng.choice(3, 40_000, p=[0.7, 0.295, 0.005]))
    z = rng.normal(size=(len(group), 4)) * [1, 2, 0.5, 1] + 3.0 * group[:, None]
    some = evenly(group, 4000)
    shares = np.bincount(group) / 10
    shares[2] *= 10  # fewer than 200: all of them
    assert np.bincount(group[some]) == pytest.approx(shares, abs=1)
    monkeypatch.setattr(fit, "MOST_CELLS", 4000)
    prior = fit.fit_prior(z.astype(np.float32), None, group, 3, seed=0)
    for g in range(3):
        own = slice(int(prior.offsets[g]), int(prior.offsets[g + 1]))
        cells = z[group == g]
        mean = prior.weights[own] @ prior.means[own]
        error = cells.std(axis=0) / np.sqrt(np.count_nonzero(group[some] == g))
        assert (np.abs(mean - cells.mean(axis=0)) < 5 * error).all()


def test_few_cells_are_all_fitted():
    assert evenly(np.repeat([0, 1], [150, 3]), 10**6).tolist() == list(range(153))
