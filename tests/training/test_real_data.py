"""Asked for a type of real cell, a fit makes cells that real cells of that type vouch for."""

from __future__ import annotations

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
anndata = pytest.importorskip("anndata")
pytest.importorskip("sklearn")

from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from vaexprs import fit_vae, gen_exprs  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def log_normalised(X):
    X = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    return np.log1p(1e4 * X / np.maximum(X.sum(1, keepdims=True), 1e-9)).astype(np.float32)


def timed_fit(*args, **kwargs):
    start = time.perf_counter()
    fit = fit_vae(*args, progress=False, device="cpu", **kwargs)
    print(f"{fit}: {time.perf_counter() - start:.0f} s")
    return fit


@pytest.fixture(scope="module")
def pbmc(shared_data):
    """Keep the 2,000 most variable genes; part the cells: to fit, to judge by, to test."""
    cells = anndata.read_h5ad(shared_data / "pbmc_ifnb.h5ad")
    values = log_normalised(cells.X)
    genes = np.sort(np.argsort(-values.var(0))[:2000])
    cells = cells[:, genes].copy()
    part = np.empty(cells.n_obs, np.int64)
    rng = np.random.default_rng(0)
    labels = np.array(cells.obs["cell_type"])
    for label in np.unique(labels):  # half, a quarter, a quarter of each type
        own = rng.permutation(np.flatnonzero(labels == label))
        part[own] = np.array([0, 1, 0, 2])[np.arange(len(own)) % 4]
    return [cells[part == number].copy() for number in range(3)]


@pytest.fixture(scope="module")
def judge(pbmc):
    """Train a classifier of cell types on cells of neither the fit nor the test."""
    held_out = pbmc[1]
    scaler = StandardScaler()
    values = scaler.fit_transform(log_normalised(held_out.X))
    model = LogisticRegression(C=0.01, max_iter=300)
    model.fit(values, np.array(held_out.obs["cell_type"]))
    return lambda X: model.predict(scaler.transform(log_normalised(X)))


@pytest.fixture(scope="module")
def fit(pbmc):
    return timed_fit(pbmc[0], condition_keys=["cell_type", "condition"])


def agreement(judge, adata):
    labels = np.array(adata.obs["cell_type"])
    agreed = judge(adata.X) == labels
    by_type = [agreed[labels == label].mean() for label in np.unique(labels)]
    return agreed.mean(), np.mean(by_type)


def test_pbmc_cells_are_of_the_type_asked_for(pbmc, judge, fit):
    """At least as often as real cells, minus 0.05, over all cells and over types alike.

    The tested real cells are about 700 and the generated ones 3,000 of the same frequencies, so
    that the difference has a standard deviation of at most 0.02.
    """
    real, real_by_type = agreement(judge, pbmc[2])
    made = gen_exprs(fit, 3000, seed=1)
    generated, generated_by_type = agreement(judge, made)
    print(f"agreement: real {real:.3f}, generated {generated:.3f}")
    print(f"mean over types: real {real_by_type:.3f}, generated {generated_by_type:.3f}")
    assert real > 0.8
    assert generated >= real - 0.05
    assert generated_by_type >= real_by_type - 0.05


def test_pbmc_cells_are_of_the_treatment_asked_for(pbmc, fit):
    """Stimulated cells carry interferon genes; told by a classifier of held-out cells."""
    values, labels = log_normalised(pbmc[1].X), np.array(pbmc[1].obs["condition"])
    model = LogisticRegression(C=0.01, max_iter=300).fit(values, labels)
    real = model.score(log_normalised(pbmc[2].X), np.array(pbmc[2].obs["condition"]))
    made = gen_exprs(fit, 1000, conditions={"condition": {"STIM": 500, "CTRL": 500}}, seed=2)
    generated = model.score(log_normalised(made.X), np.array(made.obs["condition"]))
    print(f"treatment: real {real:.3f}, generated {generated:.3f}")
    assert generated >= real - 0.05


@pytest.mark.parametrize("kind", ["B", "CD14 Mono", "NK"])
def test_pbmc_means_and_zeros_are_those_of_the_training_cells(pbmc, fit, kind):
    """Means agree with the training cells' at least as well as those of other real cells do."""
    training, _, test = (part[part.obs["cell_type"] == kind].X.toarray() for part in pbmc)
    made = gen_exprs(fit, 3000, seed=3)
    made = made[made.obs["cell_type"] == kind].X.toarray()
    seen = training.mean(0) > 0.05

    def correlation(X):
        return np.corrcoef(np.log(training.mean(0)[seen]), np.log(X.mean(0)[seen] + 1e-2))[0, 1]

    print(f"{kind}: means of generated cells {correlation(made):.3f}, real {correlation(test):.3f}")
    assert correlation(made) > max(0.85, correlation(test))
    assert (made == 0).mean() == pytest.approx((training == 0).mean(), abs=0.02)
    assert np.median(made.sum(1)) == pytest.approx(np.median(training.sum(1)), rel=0.15)


@pytest.fixture(scope="module")
def yan(shared_data):
    return anndata.read_h5ad(shared_data / "yan.h5ad")


def nearest_real_cell(yan, made):
    """Return the type of the real cell of the least Pearson distance in log1p."""

    def standardised(X):
        X = np.log1p(X.toarray())
        X -= X.mean(1, keepdims=True)
        return X / np.linalg.norm(X, axis=1, keepdims=True)

    nearest = (standardised(made.X) @ standardised(yan.X).T).argmax(1)
    return np.array(yan.obs["cell_type"])[nearest]


PLAIN = {"encoder": [(256, "relu"), (128, "relu")], "decoder": [(128, "relu"), (256, "relu")]}


@pytest.mark.parametrize(
    ("options", "least"), [({}, 0.95), (PLAIN, 0.8)], ids=["linear path", "plain"]
)
def test_yan_cells_are_of_the_stage_asked_for(yan, options, least):
    """Ninety embryo cells of 20,214 genes in six stages, 6 to 30 cells each."""
    fit = timed_fit(yan, condition_keys="cell_type", **options)
    assert fit.spec.likelihood == "zigamma"
    stages = fit.spec.conditions.keys[0].categories
    made = gen_exprs(fit, conditions={"cell_type": dict.fromkeys(stages, 50)}, seed=4)
    agreed = (nearest_real_cell(yan, made) == np.array(made.obs["cell_type"])).mean()
    zeros = 1 - made.X.nnz / np.prod(made.shape), 1 - yan.X.nnz / np.prod(yan.shape)
    print(f"yan: {agreed:.3f} of generated cells agree; zeros {zeros[0]:.3f}, real {zeros[1]:.3f}")
    print(f"largest value {made.X.max():.0f}, real {yan.X.max():.0f}")
    assert agreed >= least
    assert zeros[0] == pytest.approx(zeros[1], abs=0.05)
    assert made.X.max() < 20 * yan.X.max()
