"""Cells are read from anywhere, aligned and brought to one scale."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("anndata")

import anndata
import pandas
from scipy import sparse

from vaexprs.errors import DataError
from vaexprs.plotting.cells import align, choose_scale, read_cells, rescale
from vaexprs.plotting.colouring import NO_LABEL, category_order, labels_of


def make(X, labels=None, genes=None):
    n_cells, n_genes = X.shape
    obs = pandas.DataFrame(index=[f"c{i}" for i in range(n_cells)])
    if labels is not None:
        obs["type"] = labels
    names = [f"g{i}" for i in range(n_genes)] if genes is None else genes
    return anndata.AnnData(X, obs=obs, var=pandas.DataFrame(index=names))


def read(data, **options):
    options = {"name": "real", "max_cells": None, "seed": 0, **options}
    return read_cells(data, **options)


@pytest.fixture
def numbers():
    return np.random.default_rng(0).poisson(0.8, (30, 6)).astype(np.float32)


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("kind", ["memory", "view", "backed", "h5ad", "zarr"])
@pytest.mark.parametrize("max_cells", [None, 7])
def test_every_way_in_gives_the_same_cells(tmp_path, numbers, layout, kind, max_cells):
    adata = make(layout(numbers), labels=[f"t{i % 3}" for i in range(30)])
    expected = read(make(numbers, labels=adata.obs["type"].tolist()), max_cells=max_cells)
    before = adata.copy()
    given = adata
    if kind == "view":
        twice = anndata.concat([adata, adata], index_unique="-")
        given = twice[:30]
        assert given.is_view
    elif kind in ("h5ad", "backed"):
        given = tmp_path / "cells.h5ad"
        adata.write_h5ad(given)
        if kind == "backed":
            given = anndata.read_h5ad(given, backed="r")
    elif kind == "zarr":
        pytest.importorskip("zarr")
        given = tmp_path / "cells.zarr"
        adata.write_zarr(given)
    cells = read(given, max_cells=max_cells)
    assert np.array_equal(cells.dense(), expected.dense())
    assert cells.obs["type"].tolist() == expected.obs["type"].tolist()
    assert list(cells.var_names) == [f"g{i}" for i in range(6)]
    assert (len(cells), cells.n_total) == (max_cells or 30, 30)
    assert cells.count() == ("30" if max_cells is None else "7 of 30")
    assert np.array_equal(read(adata).dense(), read(before).dense())


def test_a_choice_of_cells_is_random_without_replacement_and_seeded(numbers):
    X = np.arange(100, dtype=np.float32)[:, None].repeat(2, 1)

    def chosen(seed):
        return read(X, max_cells=20, seed=seed).dense()[:, 0].tolist()

    assert len(set(chosen(0))) == 20
    assert chosen(0) == sorted(chosen(0))
    assert chosen(0) == chosen(0)
    assert chosen(0) != chosen(1)


def test_layers_are_read(tmp_path, numbers):
    adata = make(np.log1p(numbers))
    adata.layers["counts"] = sparse.csr_matrix(numbers)
    assert np.array_equal(read(adata, layer="counts").dense(), numbers)
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert np.array_equal(read(tmp_path / "a.h5ad", layer="counts").dense(), numbers)
    for given in (adata, tmp_path / "a.h5ad"):
        with pytest.raises(DataError, match=r"no layer 'count'.*: did you mean 'counts'"):
            read(given, layer="count")
    with pytest.raises(DataError, match="are for AnnData"):
        read(numbers, layer="counts")


def test_arrays_take_labels(numbers):
    cells = read(numbers, labels=["a", "b"] * 15, max_cells=10)
    assert set(cells.obs["label"]) <= {"a", "b"}
    frame = pandas.DataFrame(numbers, columns=list("uvwxyz"))
    assert list(read(frame).var_names) == list("uvwxyz")
    assert np.array_equal(read(frame).gene("w"), numbers[:, 2])
    assert read(numbers).gene("w") is None
    with pytest.raises(DataError, match="3 labels were given for 30 real cells"):
        read(numbers, labels=["a", "b", "c"])
    with pytest.raises(DataError, match="name a column with color="):
        read(make(numbers), labels=["a"] * 30)


def test_what_cannot_be_drawn_is_refused(tmp_path, numbers):
    text = tmp_path / "text.h5ad"
    text.write_text("no cells")
    with pytest.raises(DataError, match="is no readable file of cells"):
        read(text)
    with pytest.raises(DataError, match="there is no file"):
        read(tmp_path / "nothing.h5ad")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="holds no AnnData"):
        read(tmp_path / "other.h5")
    with pytest.raises(DataError, match="real cells: there are none"):
        read(numbers[:0])
    with pytest.raises(DataError, match="got ndarray of shape"):
        read(numbers[0])
    with pytest.raises(DataError, match="max_cells must be at least 1, got 0"):
        read(numbers, max_cells=0)
    for bad in (np.nan, np.inf):
        broken = numbers.copy()
        broken[3, 3] = bad
        for layout in (np.asarray, sparse.csr_matrix):
            with pytest.raises(DataError, match="real cells hold NaN or infinite values"):
                read(layout(broken))


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_genes_are_aligned_by_name(numbers):
    real = read(make(numbers))
    made = read(make(numbers[:5, [4, 0, 2]], genes=["g4", "g0", "g2"]), name="generated")
    assert np.array_equal(align(real, made).dense(), numbers[:, [4, 0, 2]])
    assert list(align(real, made).var_names) == ["g4", "g0", "g2"]
    other = read(make(numbers[:, :2], genes=["g1", "GENE"]), name="generated")
    with pytest.raises(DataError, match=r"1 of the 2 generated genes are not .* \('GENE'\)"):
        align(real, other)
    twice = read(make(numbers, genes=["g0", "g0", "g2", "g3", "g4", "g5"]))
    with pytest.raises(DataError, match="gene 'g0' comes twice in the real cells"):
        align(twice, made)
    with pytest.raises(DataError, match="real has 6 genes, generated has 3: arrays"):
        align(read(numbers), read(numbers[:, :3]))
    assert align(read(numbers), made.take(np.array([0, 1, 2, 0, 1, 2]))).n_genes == 6


def test_the_scale_suits_the_values(numbers):
    rng = np.random.default_rng(1)
    rpkm = np.where(rng.random((50, 20)) < 0.5, 0, rng.lognormal(1, 2, (50, 20)))
    for X, expected in (
        (numbers, "counts"),
        (sparse.csr_matrix(numbers), "counts"),
        (rpkm, "linear"),
        (np.log1p(rpkm), "log"),
        (np.log2(rpkm + 1), "log"),
        (rng.normal(0, 1, (9, 9)), "log"),
        (np.maximum(rng.normal(5, 5, (50, 50)), 0), "log"),
        (np.zeros((4, 4)), "log"),
        (numbers > 1, "log"),
    ):
        assert choose_scale(read(X), "auto") == expected
    assert choose_scale(read(rpkm), "counts") == "counts"
    with pytest.raises(DataError, match="unknown scale 'logs': did you mean 'log'"):
        choose_scale(read(rpkm), "logs")


def test_scaling_is_what_it_says_and_changes_no_input(numbers):
    numbers[4] = 0  # a cell without counts stays one
    for layout in (np.asarray, sparse.csr_matrix):
        given = layout(numbers.copy())
        cells = read(given)
        library = np.maximum(numbers.sum(1, keepdims=True), 1)
        expected = np.log1p(1e4 * numbers / library)
        assert np.allclose(rescale(cells, "counts").dense(), expected, rtol=1e-5)
        assert np.allclose(rescale(cells, "linear").dense(), np.log1p(numbers), rtol=1e-6)
        assert rescale(cells, "log").X is cells.X
        assert np.array_equal(read(given).dense(), numbers)
        assert np.allclose(cells.variance(), numbers.astype(float).var(0), atol=1e-5)
    with pytest.raises(DataError, match="hold negative values"):
        rescale(read(numbers - 1), "linear")


def test_labels_come_in_one_order(numbers):
    labels = ["type10", "type2", "Other", None] * 7 + ["type2", "type10"]
    cells = read(make(numbers, labels=pandas.Categorical(labels)))
    assert category_order([cells], "type") == ["Other", "type2", "type10"]
    assert (labels_of(cells, "type") == NO_LABEL).sum() == 7
    stages = pandas.Categorical(
        ["zygote", "blast", "2cell"] * 10, ["zygote", "2cell", "8cell", "blast"], ordered=True
    )
    ordered = read(make(numbers, labels=stages))
    assert category_order([ordered, cells], "type") == [
        "zygote", "2cell", "blast", "Other", "type2", "type10",
    ]  # fmt: skip
    flags = read(make(numbers, labels=[True, False] * 15))
    assert category_order([flags], "type") == ["False", "True"]
