"""How many latents a fit has: as many as components tell something, beyond 30 where they do."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from vaexprs import fit_vae

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("n_factors", "low", "high"), [(50, 45, 60), (5, 5, 29)])
def test_components_are_kept_where_they_are_signal(n_factors, low, high):
    """600 cells x 200 genes of so many factors, each as strong as three times a gene's noise."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(n_factors, 200)) * 3 / np.sqrt(n_factors)
    cells = rng.normal(size=(600, n_factors)) @ loadings + rng.normal(size=(600, 200))
    options = {"likelihood": "gaussian", "epochs": 1, "calibrate": False, "progress": False}
    assert low <= fit_vae(cells.astype(np.float32), **options).spec.n_latent <= high
    asked = fit_vae(cells.astype(np.float32), n_latent=7, **options)
    assert asked.spec.n_latent == 7
