"""Values made from counts are fitted as counts, and cells come back on the scale of the data."""

from __future__ import annotations

import logging
import math

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

pytest.importorskip("torch")

from vaexprs import fit_vae, gen_exprs
from vaexprs.errors import DataError

pytestmark = pytest.mark.torch


def counts(seed: int, n_cells: int = 90, n_genes: int = 60) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    X = rng.poisson(rng.gamma(0.6, 2.0, n_genes) * rng.lognormal(0, 0.3, (n_cells, 1)))
    X[:, 0] += 1
    obs = pd.DataFrame(
        {"ct": rng.choice(["a", "b"], n_cells)}, index=[f"c{i}" for i in range(n_cells)]
    )
    var = pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])
    return ad.AnnData(sparse.csr_matrix(X.astype(np.float32)), obs=obs, var=var)


def logged(cells: ad.AnnData) -> ad.AnnData:
    out = cells.copy()
    library = np.asarray(cells.X.sum(axis=1))
    out.X = cells.X.multiply(1e4 / library).log1p().tocsr().astype(np.float32)
    return out


def test_the_same_fit_as_of_the_counts(caplog: pytest.LogCaptureFixture) -> None:
    cells = counts(0)
    options = {"condition_keys": "ct", "epochs": 2, "progress": False}
    with caplog.at_level(logging.INFO, logger="vaexprs"):
        fit = fit_vae(logged(cells), **options)
    assert "log1p of counts scaled to 10,000 per cell" in caplog.text
    assert fit.spec.likelihood == "nb"
    of_counts = gen_exprs(fit_vae(cells, **options), 50, seed=3)
    made = gen_exprs(fit, 50, seed=3)
    np.testing.assert_allclose(made.X.toarray(), logged(of_counts).X.toarray(), rtol=1e-5)
    sums = np.expm1(made.X.toarray().astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(sums, 1e4, rtol=1e-4)
    assert gen_exprs(fit, 5, return_mean=True).X.max() < math.log(1e4)


def test_new_cells_are_read_on_either_scale() -> None:
    cells = counts(1)
    fit = fit_vae(logged(cells), condition_keys="ct", epochs=1, progress=False)
    np.testing.assert_allclose(fit.encode(logged(cells)), fit.encode(cells), atol=1e-5)
    assert fit.reconstruct(logged(cells)).X.max() < math.log(1e4)
    other = cells.copy()
    other.X = sparse.csr_matrix(cells.X * np.float32(0.37) + cells.X.power(1.5))
    with pytest.raises(DataError, match="pass counts, or values made alike"):
        fit.encode(other)


def test_a_law_of_values_is_kept_if_asked_for() -> None:
    fit = fit_vae(logged(counts(2)), likelihood="zigamma", epochs=1, progress=False)
    assert fit.spec.likelihood == "zigamma"
    assert fit.spec.normalisation is None


def test_constant_sums_stay_constant() -> None:
    rng = np.random.default_rng(3)
    X = rng.gamma(1.0, 2.0, (60, 40)) * (rng.random((60, 40)) < 0.6)
    X[:, 0] += 1
    tpm = (1e6 * X / X.sum(axis=1, keepdims=True)).astype(np.float32)
    fit = fit_vae(tpm, epochs=1, progress=False)
    assert fit.spec.likelihood == "zigamma"
    np.testing.assert_allclose(gen_exprs(fit, 20).X.sum(axis=1), 1e6, rtol=1e-5)
