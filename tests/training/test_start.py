"""Where a fit starts, before its first step."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from vaexprs import fit_vae

pytestmark = pytest.mark.torch


def test_a_linear_path_starts_in_the_units_of_scaled_values():
    """Reconstructions of normal values of any scale follow them before the first step."""
    rng = np.random.default_rng(4)
    n_cells, n_genes = 400, 60
    program = rng.normal(size=n_genes)
    noise = 0.3 * rng.normal(size=(n_cells, n_genes))
    scale = np.geomspace(0.01, 100, n_genes)
    X = ((rng.normal(size=(n_cells, 1)) * program + noise) * scale).astype(np.float32)
    start = fit_vae(
        X, likelihood="gaussian", n_latent=2, epochs=1, learning_rate=1e-12, calibrate=False,
        validation_split=0, progress=False,
    )  # fmt: skip
    means = start.reconstruct(X).X
    slope = ((X * means).sum(0) / (X * X).sum(0))[np.abs(program) > 0.5]
    assert (slope > 0.5).all()
    assert (slope < 1.2).all()


def test_genes_of_noise_stay_off_the_linear_path():
    """Half of the genes are noise: training moves the path of the others alone."""
    rng = np.random.default_rng(5)
    program = rng.normal(size=60) * (np.arange(60) < 30)
    X = (rng.normal(size=(400, 1)) * program + rng.normal(size=(400, 60))).astype(np.float32)
    options = {"likelihood": "gaussian", "n_latent": 1, "calibrate": False, "progress": False}
    start, trained = (
        fit_vae(X, epochs=epochs, learning_rate=rate, **options)
        .vae.decoder.head("logits").weight["z"].detach().numpy()
        for epochs, rate in ((1, 1e-12), (5, 1e-2))
    )  # fmt: skip
    assert (start[:, 30:] == 0).mean() > 0.9
    np.testing.assert_array_equal(trained == 0, start == 0)
    assert np.abs(trained - start).max() > 0.01
