"""Inverse dispersions are found again where counts were drawn with known ones."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
anndata = pytest.importorskip("anndata")

from scipy import sparse, stats  # noqa: E402

from vaexprs import Generator, fit_vae, gen_exprs, load_artifact  # noqa: E402
from vaexprs.training import VAEFit  # noqa: E402
from vaexprs.training.calibration.dispersion import (  # noqa: E402
    _GRID,
    _PARTS,
    _Counts,
    _log_likelihood,
    _parts,
    marginal_dispersion,
)

pytestmark = pytest.mark.torch


def fitted(X, library, group, share, variation=0.0, categories=None, asked=True):
    """Fit dispersions of two combinations at a typical library size of 1,000."""
    if categories is None:
        categories = np.zeros((2, 0), np.int64)
    spread = np.full_like(share, variation)
    asked = np.broadcast_to(asked, 2)
    return marginal_dispersion(X, library, group, share, spread, 1000.0, categories, asked)


def draw(theta, share, library, exponent, seed=0):
    """Draw counts whose inverse dispersion follows the library size."""
    rng = np.random.default_rng(seed)
    own = theta * (library[:, None] / 1000) ** exponent
    mean = library[:, None] * share
    return rng.poisson(rng.standard_gamma(np.broadcast_to(own, mean.shape)) * mean / own)


@pytest.fixture(scope="module")
def genes():
    """Return theta, shares and libraries of 1,000 cells x 300 genes, half of two kinds."""
    rng = np.random.default_rng(1)
    share = rng.lognormal(0, 1, (2, 300))
    share /= share.sum(1, keepdims=True)
    group = np.repeat([0, 1], 500)
    library = rng.lognormal(np.log(1000), 0.6, 1000)
    return np.exp(rng.normal(0.5, 0.7, 300)), share, group, library


@pytest.mark.parametrize("exponent", [0.0, 0.4, 1.0])
def test_exponent_and_genes_are_found_again(genes, exponent):
    theta, share, group, library = genes
    X = sparse.csr_matrix(draw(theta, share[group], library, exponent))
    found = fitted(X, library, group, share)
    assert found.exponent == pytest.approx(exponent, abs=0.08)
    strong = share.mean(0) * 1000 > 2  # of the others 1,000 cells tell little
    error = found.gene[strong] - np.log(theta[strong])
    assert abs(np.median(error)) < 0.06
    assert np.median(np.abs(error)) < 0.15
    assert np.abs(found.deviation).mean() < 0.25


def test_only_combinations_that_were_asked_for_differ(genes):
    theta, share, group, library = genes
    own = np.where(group[:, None] == 0, theta, 4 * theta)
    X = sparse.csr_matrix(draw(own, share[group], library, 0.0))
    both = fitted(X, library, group, share)
    one = fitted(X, library, group, share, asked=[False, True])
    assert not one.deviation[0].any()
    np.testing.assert_allclose(one.deviation[1], both.deviation[1], atol=1e-5)
    strong = share.min(0) * 1000 > 2
    gap = (both.deviation[1] - both.deviation[0])[strong]
    assert 0.7 < np.median(gap) < 1.5  # log 4 = 1.39, pulled together


def test_the_key_that_tells_gives_the_categories(genes):
    """Four combinations of two keys; dispersions differ by the second key alone."""
    theta, share, _, library = genes
    group = np.arange(1000) % 4
    categories = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    own = np.where(categories[group, 1][:, None] == 0, theta, 4 * theta)
    X = sparse.csr_matrix(draw(own, share[group % 2], library, 0.0))
    rates = share[[0, 1, 0, 1]]
    none = np.zeros_like(rates)
    found = marginal_dispersion(X, library, group, rates, none, 1000.0, categories, np.ones(4) < 0)
    assert found.key == 1
    assert found.category.shape == (2, 300)
    assert not found.deviation.any()
    strong = share.min(0) * 1000 > 2
    assert 0.9 < np.median((found.category[1] - found.category[0])[strong]) < 1.5  # log 4 = 1.39


def test_what_z_varies_is_not_counted_twice(genes):
    """Shares that vary from cell to cell, told so, leave the theta of the counts."""
    theta, share, group, library = genes
    rng = np.random.default_rng(2)
    variation = 0.3
    wide = share[group] * rng.gamma(1 / variation, variation, (1000, 300))
    X = sparse.csr_matrix(draw(theta, wide, library, 0.0))
    strong = share.mean(0) * 1000 > 2
    told = fitted(X, library, group, share, variation)
    blind = fitted(X, library, group, share)
    # the product of two gamma laws is only close to one: theta is a little too large
    assert abs(np.median((told.gene - np.log(theta))[strong])) < 0.25
    assert np.median((blind.gene - np.log(theta))[strong]) < -0.3


def test_likelihood_is_that_of_scipy(genes):
    """Up to what does not depend on theta; cells of one part have one library size here."""
    theta, share, group, library = genes
    library = np.where(group == 0, 700.0, 1500.0)
    X = sparse.csc_matrix(draw(theta, share[group], library, 0.0)[:, :40])
    none = np.zeros((2, 40))
    counts = _Counts(X, library, *_parts(library, group, 2), share[:, :40], none)
    surface = _log_likelihood(counts)
    assert surface.shape == (2 * _PARTS, len(_GRID), 40)
    for g, size in enumerate((700.0, 1500.0)):
        mine = surface[counts.group == g].sum(0)
        t = np.exp(_GRID)[:, None, None]
        law = stats.nbinom(t, t / (t + size * share[g, :40]))
        exact = law.logpmf(X.toarray()[group == g][None]).sum(1)
        np.testing.assert_allclose(mine - mine[5], exact - exact[5], rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def deep_fit():
    """Fit cells whose counts come in clumps, whatever the library size."""
    rng = np.random.default_rng(3)
    share = rng.dirichlet(np.full(400, 0.5))[None]
    library = rng.lognormal(np.log(500), 0.7, 600)
    X = draw(np.full(400, 0.5), share, library, 1.0)
    X[:, 0] += 1
    cells = X.astype(np.float32)
    return cells, fit_vae(cells, likelihood="nb", seed=0, epochs=15, progress=False, device="cpu")


def _detected_by_size(X):
    """Return genes detected for each count, in the smallest and the largest third of cells."""
    X = np.asarray(X.toarray() if hasattr(X, "toarray") else X)
    size, genes = X.sum(1), (X > 0).sum(1)
    order = np.argsort(size)
    third = len(X) // 3
    return [genes[part].sum() / size[part].sum() for part in (order[:third], order[-third:])]


def test_a_model_of_clumped_counts_detects_few_genes_at_any_depth(deep_fit):
    cells, fit = deep_fit
    slope = fit.vae.decoder.heads["log_inverse_dispersion"].weight["depth"]
    assert 0.8 <= float(slope.mean()) <= 1.0
    real, made = _detected_by_size(cells), _detected_by_size(gen_exprs(fit, 2000, seed=1).X)
    np.testing.assert_allclose(made, real, rtol=0.2)
    with torch.no_grad():
        slope.zero_()  # the plain law: too many genes in small cells, too few in large ones
    plain = _detected_by_size(gen_exprs(fit, 2000, seed=1).X)
    with torch.no_grad():
        slope.fill_(1.0)
    error, of_plain = (abs(np.log(x[0] / x[1]) - np.log(real[0] / real[1])) for x in (made, plain))
    assert error < 0.4 * of_plain


def test_depth_goes_into_files(deep_fit, tmp_path):
    _, fit = deep_fit
    fit.export(tmp_path / "deep.onnx")
    artifact = load_artifact(tmp_path / "deep.onnx")
    block = next(Generator(artifact, n_threads=1).blocks(n_cells=50, seed=0))
    fit.save(tmp_path / "deep.safetensors")
    again = VAEFit.load(tmp_path / "deep.safetensors")
    assert again.vae.shape.typical_library == pytest.approx(fit.vae.shape.typical_library)
    again.export(tmp_path / "again.onnx")
    other = next(
        Generator(load_artifact(tmp_path / "again.onnx"), n_threads=1).blocks(n_cells=50, seed=0)
    )
    np.testing.assert_array_equal(block.X.indices, other.X.indices)
    np.testing.assert_array_equal(block.X.data, other.X.data)
