"""Columns of ``var`` that are text travel with the artifact to generated cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vaexprs import load_artifact
from vaexprs.errors import ArtifactError
from vaexprs.exprs import gen_exprs, write_exprs
from vaexprs.spec.metadata import read_metadata, write_metadata

anndata = pytest.importorskip("anndata")
pandas = pytest.importorskip("pandas")

COLUMNS = {
    "gene_ids": [f"ENSG{i:05}" for i in range(20)],
    "feature_types": pandas.Categorical(["Gene Expression"] * 20),
    "n_cells": np.arange(20),  # a statistic of the training cells
    "highly_variable": np.arange(20) > 3,
    "a/b": ["x"] * 20,  # no file could hold it
}


@pytest.mark.parametrize("form", ["object", "h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore:.*contains.*forward slash:FutureWarning")
def test_text_is_read_from_everywhere(tmp_path: Path, form: str) -> None:
    from vaexprs.data import read_expression

    columns = COLUMNS if form == "object" else {k: v for k, v in COLUMNS.items() if k != "a/b"}
    var = pandas.DataFrame(columns, index=[f"G{i}" for i in range(20)])
    cells = anndata.AnnData(np.ones((3, 20), np.float32), var=var)
    source = tmp_path / f"cells.{form}"
    if form != "object":
        getattr(cells, f"write_{form}")(source)
    found = read_expression(cells if form == "object" else source).var
    assert set(found) == {"gene_ids", "feature_types"}
    assert found["gene_ids"] == tuple(COLUMNS["gene_ids"])
    assert set(found["feature_types"]) == {"Gene Expression"}


@pytest.mark.torch
def test_from_training_cells_to_generated_ones(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from vaexprs import datasets, fit_vae

    cells = datasets.load("pbmc_small")[:60].copy()
    cells.var["gene_ids"] = [f"ID{i}" for i in range(cells.n_vars)]
    fit = fit_vae(cells, epochs=1, calibrate=False, progress=False)
    model = fit.export(tmp_path / "model.onnx")
    assert load_artifact(model).spec.var == fit.spec.var
    assert (gen_exprs(model, 3).var["gene_ids"] == cells.var["gene_ids"]).all()
    assert (fit.reconstruct(cells).var["gene_ids"] == cells.var["gene_ids"]).all()
    for suffix, read in ((".h5ad", anndata.read_h5ad), (".zarr", anndata.read_zarr)):
        var = read(write_exprs(model, tmp_path / f"made{suffix}", 3)).var
        assert (var["gene_ids"] == cells.var["gene_ids"]).all()


def test_what_is_wrong_is_refused(tiny_artifact: Callable[..., Path]) -> None:
    spec = load_artifact(tiny_artifact()).spec
    assert replace(spec, var={"gene_ids": spec.var_names}).var["gene_ids"] == spec.var_names
    with pytest.raises(ArtifactError, match=r"var': expected .* in 'gene_ids', got 1"):
        replace(spec, var={"gene_ids": ("x",)})
    with pytest.raises(ArtifactError, match="the column 'a/b' holds a slash"):
        replace(spec, var={"a/b": spec.var_names})
    entries = write_metadata(replace(spec, var={"gene_ids": spec.var_names}))
    assert read_metadata(entries).var == {"gene_ids": spec.var_names}
    for value in ('{"gene_ids": 1}', "[]", '{"gene_ids": [1]}'):
        with pytest.raises(ArtifactError, match=r"vaexprs\.var"):
            read_metadata(entries | {"vaexprs.var": value})
