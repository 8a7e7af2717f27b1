"""Real cells are found real, and what is wrong with generated ones is found, on real data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix, diags

from vaexprs.evaluation import evaluate

pytestmark = pytest.mark.slow

QUICK = {"n_trees": 100, "embedding": "pca", "n_draws": 2, "n_jobs": 2}


@pytest.fixture(scope="module")
def pbmc(shared_data):
    import anndata

    cells = anndata.read_h5ad(shared_data / "pbmc_facs.h5ad")
    order = np.random.default_rng(0).permutation(cells.n_obs)
    cuts = np.split(order, [1000, 1450, 2450])[:3]
    return [cells[np.sort(rows)].copy() for rows in cuts]


def independent_genes(train, key, seed):
    """Negative binomial counts, each gene by itself within each label."""
    rng = np.random.default_rng(seed)
    counts = csr_matrix(train.X)
    library = np.asarray(counts.sum(axis=1)).ravel()
    labels = train.obs[key].to_numpy()
    made = np.zeros(counts.shape, dtype=np.float32)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        share = np.asarray((diags(1 / library[rows]) @ counts[rows]).mean(axis=0)).ravel()
        mean = share[None] * library[rows][:, None]
        made[rows] = rng.poisson(rng.gamma(2.0, mean / 2.0))
    result = train.copy()
    result.X = csr_matrix(made)
    return result


def test_real_cells_are_real(pbmc):
    """Of about 40 scores each is outside with a chance of about 6 %."""
    train, test, fresh = pbmc
    report = evaluate(train, fresh, real_test=test, condition_keys="cell_type", **QUICK)
    counts = report.counts()
    judged = len(report.scores) - counts["none"]
    assert judged > 35
    assert counts["within"] >= judged - 9
    for key in ("forest_auc_components", "forest_auc_genes", "logistic_auc_genes"):
        assert report[key].value == pytest.approx(0.5, abs=0.08)
        assert report[key].control == pytest.approx(0.5, abs=0.08)
    assert report["mmd"].verdict == "within"


def test_independent_genes_are_found(pbmc):
    train, test, _ = pbmc
    made = independent_genes(train, "cell_type", 1)
    report = evaluate(train, made, real_test=test, condition_keys="cell_type", **QUICK)
    assert report["forest_auc_components"].value > 0.75
    assert report["forest_auc_components"].verdict == "worse"
    assert report["correlation_difference"].verdict == "worse"
    assert report["component_spread_error"].verdict == "worse"
    assert report["recall"].value < report["recall"].control - 0.2
    assert report["exact_copies"].value == 0


def test_memorised_cells_are_found(pbmc):
    train, test, _ = pbmc
    report = evaluate(train, train, real_test=test, condition_keys="cell_type", **QUICK)
    assert report["exact_copies"].value == train.n_obs
    assert report["share_nearer_train"].verdict == "off"
    assert report["membership_auc"].verdict == "off"
    assert report["membership_auc"].value > 0.7
    assert report["train_distance_ratio_low"].value < 0.1


def test_ninety_embryo_cells_without_test_cells(shared_data):
    import anndata

    cells = anndata.read_h5ad(shared_data / "yan.h5ad")
    made = cells.copy()
    logged = np.log1p(cells.X.toarray())
    rng = np.random.default_rng(0)
    made.X = csr_matrix(np.expm1(logged * rng.normal(1.0, 0.1, logged.shape)).astype(np.float32))
    report = evaluate(cells, made, condition_keys="cell_type", **QUICK)
    assert report.settings["scale"] == "linear"
    assert report["nearest_real_agreement.cell_type"].value >= 0.95
    assert report["nearest_real_agreement.cell_type"].control >= 0.9
    assert report["leave_one_out_ratio"].value < 0.9  # jittered copies lie too near
    # Scores of privacy that need test cells are left out.
    assert "train_distance_ratio" not in {score.key for score in report.scores}
    assert report["zero_fraction_error"].value < 0.1
    assert "No held-out test cells" in report.notes[0]
