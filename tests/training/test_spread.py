"""Genes of generated cells vary as those of real cells do, also where no negative binomial does."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from vaexprs import fit_vae, gen_exprs
from vaexprs.training.likelihoods.nb import NegativeBinomial

pytestmark = pytest.mark.torch


def _log_variance(X) -> np.ndarray:
    dense = np.asarray(X.todense() if hasattr(X, "todense") else X, np.float64)
    return np.log1p(1e4 * dense / dense.sum(axis=1, keepdims=True)).var(axis=0)


@pytest.fixture(scope="module")
def uneven() -> np.ndarray:
    """Make 500 cells x 300 genes, a fifth of the cells of low quality: their counts scatter."""
    rng = np.random.default_rng(0)
    mean = rng.lognormal(2.5, 0.5, 300)
    theta = np.where(rng.random(500) < 1 / 5, 0.5, 50.0)[:, None]
    return rng.poisson(mean * rng.gamma(theta, 1 / theta, (500, 300))).astype(np.float32)


def _ratio(cells: np.ndarray) -> float:
    fit = fit_vae(cells, seed=0, epochs=20, progress=False)
    made = gen_exprs(fit, 1500, seed=1).X
    return float(np.median(_log_variance(made) / _log_variance(cells)))


def test_log_variance_is_that_of_the_cells(uneven, monkeypatch):
    """Medians over 300 genes of ratios with standard errors of 0.1 each: off by 0.01 at most.

    No negative binomial law is that of these cells: 0.92 to 0.95 is reached (seeds 0 to 2), after
    0.60 to 0.72 without this step.
    """
    with_it = _ratio(uneven)
    monkeypatch.setattr(NegativeBinomial, "match_spread", lambda *arguments: None)
    without = _ratio(uneven)
    assert abs(with_it - 1) < 0.1
    assert abs(without - 1) > 3 * abs(with_it - 1)
