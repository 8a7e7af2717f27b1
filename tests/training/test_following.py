"""Shapes that follow the mean: slopes are found again, and the variance stays where it was."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("anndata")

from vaexprs import VAEFit, fit_vae, load_artifact  # noqa: E402
from vaexprs.artifact.lowering import lower  # noqa: E402
from vaexprs.spec.likelihoods import FOLLOWED  # noqa: E402
from vaexprs.training.calibration.draws import Draws  # noqa: E402
from vaexprs.training.calibration.following import follow  # noqa: E402
from vaexprs.training.calibration.groups import Grouping  # noqa: E402

pytestmark = pytest.mark.torch

OPTIONS = {"n_latent": 1, "epochs": 15, "seed": 0, "progress": False, "device": "cpu"}


def cells(law: str, slope: float) -> np.ndarray:
    """Draw 1,200 cells x 60 genes whose log mean spans 3 and whose log shape follows it."""
    rng = np.random.default_rng(0)
    along = rng.uniform(-1.5, 1.5, (1200, 1)) * np.where(np.arange(60) % 2, 1, -1)
    mean, shape = 6 * np.exp(along), 2 * np.exp(slope * along)
    values = mean * rng.standard_gamma(shape) / shape
    return (rng.poisson(values) if law == "nb" else values).astype(np.float32)


@pytest.mark.parametrize("law", ["nb", "zigamma"])
@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.5])
def test_slopes_are_found_again(law, slope):
    """60 slopes about their common one, which is a step of 0.25 off at most, and flatter.

    Draws from posteriors blur the mean, and low counts say little of shapes.
    """
    fit = fit_vae(cells(law, slope), likelihood=law, **OPTIONS)
    weight = fit.vae.decoder.head("log_inverse_dispersion").weight
    found = float(weight[FOLLOWED].median()) if FOLLOWED in weight else 0.0
    assert abs(found - slope) < 0.3
    assert abs(found) < abs(slope) + 0.1


@pytest.fixture(scope="module")
def followed():
    return fit_vae(cells("nb", 0.5), likelihood="nb", **OPTIONS)


def test_the_artifact_computes_it_and_the_runtime_draws_from_logits(followed, tmp_path):
    """Export compares each output with torch; the last steps are still left to the core."""
    artifact = load_artifact(followed.export(tmp_path / "model.onnx"))
    assert FOLLOWED in followed.vae.decoder.head("log_inverse_dispersion").weight
    assert lower(artifact).gives_logits
    operators = {node.op_type for node in onnx.load_from_string(artifact.model_bytes).graph.node}
    assert operators <= {
        "Add", "Concat", "Exp", "Gemm", "Log", "MatMul", "Min", "Mul", "Relu", "Softmax", "Sub"
    }  # fmt: skip
    assert artifact.spec.format_version == 1


def test_a_saved_fit_still_follows(followed, tmp_path):
    again = VAEFit.load(followed.save(tmp_path / "fit.safetensors"))
    assert again.artifact_bytes() == followed.artifact_bytes()


def test_each_group_keeps_its_variance(followed):
    """The mean of mu^2 / theta over draws, of each gene, before and after another slope.

    Shapes follow the logits before their ceiling, the variance those after it: a few percent.
    """
    draws = Draws.of(followed.vae.decoder, None, followed.spec, seed=0)
    everyone = np.zeros(1, np.int64)
    one = Grouping(everyone, everyone, np.ones(1), None, everyone)
    head = draws.decoder.head("log_inverse_dispersion")
    with torch.no_grad():
        head.weight[FOLLOWED].zero_()

    def variance():
        def values(heads, _):
            square = (2 * heads["logits"]).exp()
            return [square / heads["log_inverse_dispersion"].exp()]

        return one.moments(draws, ("logits", "log_inverse_dispersion"), values)[0][0]

    before = variance()
    follow(draws, np.full(60, -0.7), one)
    after = variance()
    assert np.median(np.abs(after / before - 1)) < 0.03
    with torch.no_grad():  # the level alone is far off
        head.weight[FOLLOWED].zero_()
    assert np.median(np.abs(variance() / before - 1)) > 0.2
    with torch.no_grad():
        head.weight[FOLLOWED].fill_(-0.7)
    assert float(head.weight[FOLLOWED].mean()) == pytest.approx(-0.7)
