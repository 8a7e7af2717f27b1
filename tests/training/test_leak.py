"""The span attack on the artifact's linear path: found where it is, and not where it is not."""

from __future__ import annotations

import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from vaexprs import fit_vae, load_artifact  # noqa: E402
from vaexprs.artifact import attach_quality  # noqa: E402


def counts(n_cells, n_genes):
    return np.random.default_rng(0).poisson(2.0, (n_cells, n_genes)).astype(np.float32)


def test_a_path_of_noise_is_told_and_stored(tmp_path, caplog):
    """Cells without any structure: all that 20 directions of 120 cells hold is these cells' own."""
    with caplog.at_level(logging.WARNING, "vaexprs"):
        fit = fit_vae(
            counts(180, 600), n_latent=20, epochs=3, validation_split=0.33, progress=False,
            device="cpu",
        )  # fmt: skip
    assert fit.spec.quality["fit"]["span_attack_auc"] > 0.8
    assert "tells training cells from the" in caplog.text
    path = fit.export(tmp_path / "model.onnx")
    attach_quality(path, {"scores": {"library_ks": 0.1}})
    quality = load_artifact(path).spec.quality
    assert quality == {**fit.spec.quality, "scores": {"library_ks": 0.1}}


def test_one_direction_of_many_cells_tells_nothing(caplog):
    """2,000 cells, of which 400 are held out: an AUC has an error of 0.016."""
    with caplog.at_level(logging.WARNING, "vaexprs"):
        fit = fit_vae(
            counts(2000, 30), n_latent=1, epochs=2, validation_split=0.2, progress=False,
            device="cpu",
        )  # fmt: skip
    assert 0.4 < fit.spec.quality["fit"]["span_attack_auc"] < 0.6
    assert "tells training cells" not in caplog.text


def test_plain_stacks_have_no_linear_path(tiny):
    fit = fit_vae(counts(60, 20), decoder=[(8, "relu")], **{**tiny, "epochs": 1})
    assert fit.spec.quality is None
