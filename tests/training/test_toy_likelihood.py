"""A likelihood of one's own: a row, a training class, and nothing else in the product."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("anndata")

import torch.nn.functional as F  # noqa: E402
from scipy.special import log_ndtr  # noqa: E402

from vaexprs import _core, fit_vae, gen_exprs, load_artifact  # noqa: E402
from vaexprs.errors import ArtifactError  # noqa: E402
from vaexprs.spec import LIKELIHOODS, Likelihood, Output, register  # noqa: E402
from vaexprs.training.likelihoods import registry  # noqa: E402
from vaexprs.training.likelihoods.counts import CountLaw  # noqa: E402

pytestmark = pytest.mark.torch


def sample(outputs, *, seed, first_cell):
    """Draw geometric counts by inversion: floor(log u / log(1 - p)) with p = 1 / (1 + mean)."""
    mean = outputs["mean"].astype(np.float64)
    normals = np.empty(mean.shape, np.float32)
    _core.fill_latent(normals, seed=seed, first_cell=first_cell)
    return np.floor(log_ndtr(normals) / -np.log1p(1 / np.maximum(mean, 1e-300)))


class Geometric(CountLaw):
    """Geometric counts: variance ``mean + mean^2``."""

    name = "geometric"

    def log_prob_of_mean(self, x, log_mean, heads):
        return (x * log_mean - (x + 1) * F.softplus(log_mean)).sum(-1)


@pytest.fixture
def geometric():
    row = Likelihood(
        "geometric", "geometric", {"mean": Output("logits", "softmax")},
        support="counts", reads_library=True, sampler=sample,
    )  # fmt: skip
    register(row)
    registry.register(Geometric())
    yield
    del LIKELIHOODS["geometric"], registry.TRAINING_LAWS["geometric"]


@pytest.fixture
def cells(geometric):
    """Return 300 cells x 40 genes of geometric counts of two kinds."""
    import anndata
    import pandas

    rng = np.random.default_rng(0)
    kind = np.arange(300) % 2
    mean = rng.lognormal(1.0, 0.8, (2, 40))[kind]
    X = (rng.geometric(1 / (1 + mean)) - 1).astype(np.float32)
    X[:, 0] += 1
    obs = pandas.DataFrame({"kind": np.where(kind, "b", "a")}, index=[f"c{i}" for i in range(300)])
    return anndata.AnnData(X, obs=obs)


def test_a_likelihood_of_ones_own_goes_all_the_way(cells, tmp_path):
    fit = fit_vae(
        cells, condition_keys="kind", likelihood="geometric", hidden=(16,), n_latent=2, epochs=20,
        progress=False, device="cpu",
    )  # fmt: skip
    path = fit.export(tmp_path / "geometric.onnx")
    artifact = load_artifact(path)
    assert artifact.spec.likelihood == "geometric"
    made = gen_exprs(path, 4000, conditions={"kind": "a"}, seed=1)
    X = made.X.toarray()
    real = cells.X[cells.obs["kind"] == "a"]
    assert (np.rint(X) == X).all()
    np.testing.assert_allclose(X.mean(0)[1:], real.mean(0)[1:], rtol=0.25, atol=0.1)
    ratio = X.var(0)[1:] / (X.mean(0) + X.mean(0) ** 2)[1:]
    assert 0.9 < np.median(ratio) < 1.2
    again = gen_exprs(path, 10, conditions={"kind": "a"}, seed=1)
    np.testing.assert_array_equal(again.X.toarray(), X[:10])
    np.testing.assert_allclose(fit.reconstruct(cells).X.mean(), cells.X.mean(), rtol=0.1)


def test_an_artifact_of_a_likelihood_that_is_not_registered_is_refused(cells, tmp_path):
    options = {"hidden": (16,), "n_latent": 2, "epochs": 1, "progress": False}
    path = fit_vae(cells, likelihood="geometric", **options).export(tmp_path / "geometric.onnx")
    row = LIKELIHOODS.pop("geometric")
    try:
        with pytest.raises(ArtifactError, match="'geometric'"):
            load_artifact(path)
    finally:
        LIKELIHOODS["geometric"] = row
