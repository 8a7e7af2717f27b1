"""Stacks of layers that read all genes learn however many genes there are."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("anndata")

from vaexprs import fit_vae, gen_exprs  # noqa: E402

pytestmark = pytest.mark.torch


def test_few_cells_of_many_large_values_are_learned():
    """Sixty cells of 8,000 genes as RPKM: a first step too long would never be made good."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 30)
    level = rng.lognormal(3, 2, 8000)
    differs = np.where(rng.random(8000) < 0.2, 4.0, 1.0)
    mean = np.where(labels[:, None] == "a", level, level * differs)
    X = (rng.gamma(2, mean / 2) * (rng.random(mean.shape) > 0.4)).astype(np.float32)
    fit = fit_vae(
        X, labels=labels, encoder=[(64, "relu")], decoder=[(64, "relu")], epochs=40,
        progress=False, device="cpu",
    )  # fmt: skip
    assert fit.spec.likelihood == "zigamma"
    loss = fit.history["val_loss"]
    assert min(loss) < loss[0]
    assert max(loss) < 1.1 * loss[0]
    made = gen_exprs(fit, conditions={"label": {"a": 50, "b": 50}}, seed=1)
    means = [np.asarray(made[made.obs["label"] == kind].X.mean(0)).ravel() for kind in "ab"]
    assert np.median((means[1] / means[0])[differs > 1]) == pytest.approx(4, rel=0.3)
    assert np.median((means[1] / means[0])[differs == 1]) == pytest.approx(1, rel=0.2)
