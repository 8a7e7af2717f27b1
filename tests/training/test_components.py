"""Components of few cells: scores as honest as those of new cells, loadings of every gene."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

pytest.importorskip("torch")

from vaexprs.training.inputs import cross_fitting as components
from vaexprs.training.inputs.cross_fitting import cross_fit, fit_components

pytestmark = pytest.mark.torch

GENES, FACTORS = 500, 5
LOADINGS = (
    np.random.default_rng(0).normal(size=(FACTORS, GENES)) * np.geomspace(0.6, 0.3, 5)[:, None]
)


def cells(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, FACTORS)) @ LOADINGS + rng.normal(size=(n, GENES))


def test_cross_fitted_scores_vary_as_those_of_new_cells():
    """Their variance is that of new cells to 10 % in the mean; cells' own scores are 1.5 times it.

    200 cells: the variance of one score has a standard error of 10 %, the mean of ten of 3 %.
    """
    known, new = cells(200, 1), cells(5000, 2)
    found = cross_fit(known, 10, seed=0)
    honest = (new @ found.vectors).var(axis=0)
    own = (known @ found.vectors).var(axis=0)
    assert (own / honest)[5:].mean() > 1.5
    assert (found.total / honest).mean() == pytest.approx(1, abs=0.1)
    # five factors are signal, the others noise
    assert (found.signal / found.total)[:5].min() > 0.9
    assert (found.signal / found.total)[5:].mean() < 0.3


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_genes_in_which_none_were_sought_have_loadings_too(form, monkeypatch):
    """Half of the genes vary too little to be among those that components are found in."""
    monkeypatch.setattr(components, "_PCA_GENES", GENES // 2)
    weak = np.arange(GENES) % 2 == 1
    values = cells(400, 3) * np.where(weak, 0.3, 1)
    found = cross_fit(form(values), FACTORS, seed=0)
    assert not found.vectors[weak].any()
    assert (np.abs(found.vectors[~weak]).sum(axis=1) > 0).all()
    # what components say of the covariance of weak genes is what the factors say
    truth = (LOADINGS[:, weak].T @ LOADINGS[:, weak] * 0.09).ravel()
    told = (found.loadings[weak] @ found.loadings[weak].T).ravel()
    assert np.corrcoef(truth, told)[0, 1] > 0.9
    # loadings are shrunk by what the largest of so many noises may be, and their products by 0.3
    assert (truth @ told) / (truth @ truth) == pytest.approx(0.7, abs=0.1)


def test_components_of_few_cells_are_kept_as_far_as_new_cells_show_them():
    """Of 60 cells new ones show five factors at most; of 2,000 cells all ten, noise or not."""
    few, many = (cross_fit(cells(n, 6), 10, seed=0) for n in (60, 2000))
    assert 1 <= few.n_shown() <= FACTORS
    assert many.n_shown() == 10
    assert (np.diff(few.shown) < 0.1).all()


def test_genes_of_noise_have_no_loadings():
    """A loading of noise exceeds 3.5 standard errors in 0.05 % of genes, one of ten always."""
    values = cells(400, 7)
    values[:, GENES // 2 :] = np.random.default_rng(8).normal(size=(400, GENES // 2))
    found = cross_fit(values, FACTORS, seed=0).loadings != 0
    assert found[: GENES // 2].mean() > 0.6
    assert found[GENES // 2 :].mean() < 0.005


def test_first_components_take_all_with_them():
    found = cross_fit(cells(60, 4), 8, seed=0)
    few = found.first(3)
    for name in ("vectors", "scores", "loadings"):
        np.testing.assert_array_equal(getattr(few, name), getattr(found, name)[:, :3])
    for name in ("total", "signal"):
        np.testing.assert_array_equal(getattr(few, name), getattr(found, name)[:3])


def test_components_are_found_alike_by_iteration_and_exactly():
    values = cells(400, 5)
    exact, centre, deviation = fit_components(values[:, :250], 4, seed=0)
    _, _, right = np.linalg.svd(values[:, :250] - values[:, :250].mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(exact.T @ right[:4].T), np.eye(4), atol=1e-6)
    iterated, _, other = fit_components(sparse.csr_matrix(values), 4, seed=0)
    _, singular, right = np.linalg.svd(values - values.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(iterated.T @ right[:4].T), np.eye(4), atol=1e-6)
    np.testing.assert_allclose(other, singular[:4] / np.sqrt(399), rtol=1e-6)
    np.testing.assert_allclose(centre, values[:, :250].mean(0))
    assert (np.diff(deviation) < 0).all()
