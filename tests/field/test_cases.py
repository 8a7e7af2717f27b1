"""What users did in their first hour, and the right behaviour."""

from __future__ import annotations

import logging

import numpy as np
import pytest

anndata = pytest.importorskip("anndata")
pd = pytest.importorskip("pandas")
sparse = pytest.importorskip("scipy.sparse")
pytest.importorskip("torch")

from vaexprs import fit_vae, gen_exprs, write_exprs  # noqa: E402
from vaexprs.cli.design import read_design  # noqa: E402
from vaexprs.errors import ArgumentError, ConditionError, DataError  # noqa: E402


def tiny(n=60, g=20, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.poisson(rng.gamma(2, 2, (n, g))).astype("f4")
    X[:, 0] += 1
    obs = {
        "ct": pd.Categorical(rng.choice(["NK", "B"], n)), "batch": rng.integers(0, 3, n),
        "treated": rng.random(n) < 0.5, "dose": rng.choice([0.0, 1.0, 10.0], n),
    }  # fmt: skip
    return anndata.AnnData(
        sparse.csr_matrix(X),
        obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(n)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(g)]),
    )


def fit(adata, **options):
    small = {"epochs": 1, "hidden": (8,), "n_latent": 2, "calibrate": False, "progress": False}
    return fit_vae(adata, **small, **options)


@pytest.fixture(scope="module")
def model():
    """Return a fit on four keys of different types."""
    return fit(tiny(), condition_keys=["ct", "batch", "treated", "dose"])


@pytest.mark.parametrize("key", ["ct", "batch", "treated", "dose"])
def test_labels_as_unique_gives_them(model, key):
    for label in tiny().obs[key].unique():
        made = gen_exprs(model, 5, conditions={key: label}).obs[key]
        assert (made.astype(object) == label).all()


@pytest.mark.parametrize("key", ["ct", "batch", "treated", "dose"])
def test_a_column_is_a_list_of_labels(model, key):
    column = tiny().obs[key]
    made = gen_exprs(model, conditions={key: column}).obs[key]
    assert made.astype(object).tolist() == column.astype(object).tolist()


def test_numbers_of_cells_as_value_counts_gives_them(model):
    counts = tiny().obs["ct"].value_counts()
    made = gen_exprs(model, conditions={"ct": counts})
    assert made.obs["ct"].value_counts().to_dict() == counts.to_dict()


def test_a_table_as_pandas_writes_it(model, tmp_path):
    table = pd.DataFrame({"ct": ["NK", "B"], "batch": [1.0, 2.0], "n_cells": [20.0, 5.0]})
    for name, options in (
        ("plain.csv", {"index": False}), ("index.csv", {}), ("tab.tsv", {"sep": "\t"}),
        ("europe.csv", {"sep": ";", "decimal": ",", "encoding": "utf-8-sig"}),
    ):  # fmt: skip
        table.to_csv(tmp_path / name, **options)
        made = gen_exprs(model, conditions=read_design(tmp_path / name))
        assert made.obs["batch"].value_counts().to_dict() == {1: 20, 2: 5, 0: 0}


@pytest.mark.parametrize("stored", [".h5ad", ".zarr"])
def test_evaluate_reads_the_files_that_generate_writes(model, tmp_path, stored):
    pytest.importorskip("sklearn")
    from vaexprs.evaluation import evaluate

    tiny().write_h5ad(tmp_path / "real.h5ad")
    write_exprs(model, tmp_path / f"made{stored}", 60)
    report = evaluate(
        tmp_path / "real.h5ad",
        tmp_path / f"made{stored}",
        n_trees=5,
        n_rounds=2,
        n_forest_rounds=2,
        embedding="pca",
    )
    assert report.settings["generated"] == f"made{stored}"


def test_fit_reads_files_by_path(tmp_path):
    tiny().write_h5ad(tmp_path / "real.h5ad")
    tiny().write_zarr(tmp_path / "real.zarr")
    for name in ("real.h5ad", "real.zarr"):
        assert fit(tmp_path / name, condition_keys="ct").spec.n_genes == 20
        assert fit(str(tmp_path / name)).spec.provenance["data"]["n_cells"] == 60


@pytest.mark.parametrize("where", ["layer", "raw"])
def test_scores_and_plots_take_the_matrix_that_the_model_learned_from(where):
    from vaexprs.evaluation.comparison.cells import read_cells

    adata = tiny()
    if where == "raw":
        adata.raw = adata.copy()
    else:
        adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    options = {"layer": "counts"} if where == "layer" else {"raw": True}
    made = gen_exprs(fit(adata, **options), 60)
    assert made.uns["vaexprs"].get("layer", made.uns["vaexprs"].get("raw")) in ("counts", True)
    for uns in (dict(made.uns), {}):  # by where they come from, and by their values
        made.uns = uns
        data = read_cells(adata, made)
        assert data.scale == "counts"
        assert "counts" in data.notes[0]
    bare = tiny()
    bare.X = bare.X.log1p()
    with pytest.raises(DataError, match=r"generated cells are counts.*layer=.*--layer"):
        read_cells(bare, made)


def test_fit_says_where_the_counts_are(caplog):
    adata = tiny()
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    with caplog.at_level(logging.INFO, logger="vaexprs"):
        fit(adata)
    assert "holds counts as they are: pass layer='counts' (--layer counts) for them" in (
        caplog.text
    )
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="vaexprs"):
        fit(adata, layer="counts")
    assert "pass layer" not in caplog.text


@pytest.mark.parametrize(
    "column",
    [
        pd.Categorical(["NK", None] * 30),
        pd.array([1, None] * 30, dtype="Int64"),
        pd.array([True, None] * 30, dtype="boolean"),
        ["a", None] * 30,
        [1.0, np.nan] * 30,
    ],
    ids=["categorical", "Int64", "boolean", "object", "float"],
)
def test_the_advice_for_missing_labels_works(column):
    adata = tiny()
    adata.obs["x"] = column
    with pytest.raises(DataError, match="30 of 60 cells have no label") as refused:
        fit(adata, condition_keys="x")
    advice = str(refused.value).split("as in ")[1].split(", or")[0]
    before = adata.obs["x"].copy()
    adata.obs["y"] = eval(advice, {"adata": adata})
    names = fit(adata, condition_keys="y").spec.conditions.keys[0].categories
    assert "unknown" in names
    given = fit(adata, condition_keys="x", missing="unknown").spec.conditions.keys[0]
    assert set(given.categories) == set(names)
    assert given.categories[given.code("unknown")] == "unknown"
    pd.testing.assert_series_equal(adata.obs["x"], before)


def test_a_category_for_missing_labels_needs_labels():
    with pytest.raises(ArgumentError, match=r"missing='unknown' names .*--condition-key"):
        fit(tiny(), missing="unknown")
    with pytest.raises(ArgumentError, match="no labels are asked for"):
        fit(tiny(), condition_keys=[], missing="unknown")
    keys = pd.Index(["ct"])  # has no truth value
    assert fit(tiny(), condition_keys=keys, missing="unknown").spec.conditions.keys[0].name == "ct"


def test_the_advice_for_empty_cells_of_a_layer_works():
    adata = tiny()
    counts = adata.X.copy().tolil()
    counts[3] = 0
    adata.layers["counts"] = counts.tocsr()
    with pytest.raises(DataError, match="1 of 60 cells have no counts") as refused:
        fit(adata, layer="counts")
    advice = str(refused.value).split("remove them, as in ")[1].split(";")[0]
    assert eval(advice, {"adata": adata}).n_obs == 59
    kept = fit(adata, layer="counts", drop_empty=True)
    assert kept.spec.provenance["data"]["n_cells"] == 59


@pytest.mark.parametrize("key", ["a/b", "_index", "n_cells", "."])
def test_keys_that_no_file_can_hold_are_refused_at_fit(key):
    adata = tiny()
    adata.obs[key] = adata.obs["ct"].astype(str)
    with pytest.raises(ConditionError, match="condition key") as refused:
        fit(adata, condition_keys=key)
    assert repr(key) in str(refused.value)


@pytest.mark.parametrize(
    ("several", "message"),
    [
        (lambda: anndata.experimental.AnnCollection([tiny(), tiny(seed=1)], index_unique="-"),
         r"AnnCollection cannot be read.*anndata\.concat"),
        (lambda: [tiny(), tiny(seed=1)], r"list of 2 AnnData.*anndata\.concat"),
        (lambda: ("a.h5ad", "b.h5ad"), r"tuple of 2 AnnData.*anndata\.concat"),
    ],
    ids=["AnnCollection", "list", "paths"],
)  # fmt: skip
def test_several_objects_are_refused_with_the_way_to_join_them(several, message):
    with pytest.raises(DataError, match=message):
        fit(several(), condition_keys="ct")
