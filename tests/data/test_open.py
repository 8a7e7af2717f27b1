"""Cells are opened from anywhere, only what is needed is read, and what is no cells is refused."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest

from vaexprs.data import read_expression
from vaexprs.data.matrices.checked import canonical
from vaexprs.data.open import open_cells
from vaexprs.errors import DataError

anndata = pytest.importorskip("anndata")
h5py = pytest.importorskip("h5py")
pd = pytest.importorskip("pandas")
sparse = pytest.importorskip("scipy.sparse")

COUNTS = np.random.default_rng(0).poisson(1.0, (40, 8)).astype(np.float32)


def make(layout=sparse.csr_matrix):
    adata = anndata.AnnData(
        layout(np.log1p(COUNTS)),
        obs=pd.DataFrame(
            {"cell_type": pd.Categorical(["T", "B"] * 20), "batch": [1, 2] * 20},
            index=[f"c{i}" for i in range(40)],
        ),
        var=pd.DataFrame({"chrom": ["1"] * 8}, index=[f"g{i}" for i in range(8)]),
        uns={"note": "text"},
    )
    adata.layers["counts"] = layout(COUNTS)
    adata.raw = anndata.AnnData(sparse.csr_matrix(COUNTS[:, :5]), var=adata.var.iloc[:5])
    return adata


def write(path, adata):
    adata.write_zarr(path) if path.suffix == ".zarr" else adata.write_h5ad(path)
    return path


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
@pytest.mark.parametrize("kind", ["memory", "h5ad", "zarr", "backed"])
@pytest.mark.parametrize("rows", [None, [0, 1, 7, 39]])
def test_every_matrix_of_every_source(tmp_path, layout, kind, rows):
    source = make(layout)
    if kind != "memory":
        source = write(tmp_path / f"a.{'zarr' if kind == 'zarr' else 'h5ad'}", source)
    if kind == "backed":
        source = anndata.read_h5ad(source, backed="r")
    cells = open_cells(source)
    assert (cells.shape, cells.layers, len(cells.raw_names)) == ((40, 8), ("counts",), 5)
    assert cells.obs["batch"].tolist() == [1, 2] * 20
    take = slice(None) if rows is None else rows
    for options, wanted in (
        ({}, np.log1p(COUNTS)), ({"layer": "counts"}, COUNTS), ({"raw": True}, COUNTS[:, :5]),
    ):  # fmt: skip
        got = cells.matrix(rows=None if rows is None else np.array(rows), **options)
        got = got.toarray() if sparse.issparse(got) else got
        np.testing.assert_array_equal(got, wanted[take])
    assert cells.counts_in() == ("counts", None)
    if kind == "backed":
        source.file.close()


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_only_the_matrix_that_is_asked_for_is_read(tmp_path, monkeypatch, suffix):
    path = write(tmp_path / f"a.{suffix}", make())
    read = []

    def counted(matrix, what, **options):
        read.append(what)
        return canonical(matrix, what, **options)

    monkeypatch.setattr("vaexprs.data.opened.canonical", counted)
    monkeypatch.setattr(anndata, "read_h5ad", None)
    monkeypatch.setattr(anndata, "read_zarr", None)
    data = read_expression(path, layer="counts", condition_keys=["cell_type", "batch"])
    np.testing.assert_array_equal(data.rows(slice(None)), COUNTS)
    assert read == [f"layer 'counts' of 'a.{suffix}'"]
    assert [key.dtype for key in data.keys] == ["str", "int"]


def test_generated_cells_say_where_they_come_from(tmp_path):
    adata = make()
    adata.uns["vaexprs"] = {"layer": "counts", "seed": 3}
    for source in (adata, write(tmp_path / "a.h5ad", adata), write(tmp_path / "a.zarr", adata)):
        assert dict(open_cells(source).provenance) == {"layer": "counts", "seed": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "count"}, r"no layer 'count' of 'a\.h5ad': did you mean 'counts'\?"),
        ({"layer": "counts", "raw": True}, "a layer or raw, not both"),
    ],
)
def test_a_matrix_that_is_not_there(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        open_cells(write(tmp_path / "a.h5ad", make())).matrix(**options)


def test_a_file_without_x_or_raw(tmp_path):
    adata = make()
    adata.X, adata.raw = None, None
    cells = open_cells(write(tmp_path / "a.h5ad", adata))
    with pytest.raises(DataError, match=r"X of 'a\.h5ad' is empty; name one of the layers: counts"):
        cells.matrix()
    with pytest.raises(DataError, match=r"there is no raw of 'a\.h5ad'"):
        cells.matrix(raw=True)
    assert cells.matrix(layer="counts").shape == (40, 8)


def test_a_matrix_of_another_shape_is_refused(tmp_path):
    path = write(tmp_path / "a.h5ad", make())
    with h5py.File(path, "a") as file:
        file["X"].attrs["shape"] = (41, 8)
        del file["layers/counts"]
        file["layers"].create_dataset("counts", shape=(40, 10**9), dtype="f4", chunks=(1, 10**6))
    for options in ({}, {"layer": "counts"}):
        with pytest.raises(DataError, match=r"of shape .* expected 40 cells x 8 genes"):
            open_cells(path).matrix(**options)


# ---- other files


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.csv", r"whether its rows are cells.*read_csv"),
        ("a.tsv", "read_csv"),
        ("a.h5ad.gz", "gunzip"),
        ("a.mtx", "name the folder that holds it"),
        ("a.rds", "anndataR"),
        ("a.npz", "pass the matrix in place of the path"),
        ("a.h5ad", r"expected \.h5ad, \.zarr"),
    ],
)
def test_other_files_are_refused_with_the_cure(tmp_path, name, message):
    (tmp_path / name).write_text("no cells")
    with pytest.raises(DataError, match=f"{name}' is no readable file of cells: .*{message}"):
        open_cells(tmp_path / name)


def test_folders_and_devices_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no cells: expected a \.zarr store"):
        open_cells(tmp_path)
    os.mkfifo(tmp_path / "fifo.h5ad")
    for path in (tmp_path / "fifo.h5ad", "/dev/zero", "/dev/null"):
        with pytest.raises(DataError, match="is no readable file of cells"):
            open_cells(path)
    (tmp_path / "bad.zarr").mkdir()
    (tmp_path / "bad.zarr" / "zarr.json").write_text("{")
    with pytest.raises(DataError, match=r"bad\.zarr' cannot be read"):
        open_cells(tmp_path / "bad.zarr")


def test_other_hdf5_files_are_refused(tmp_path):
    for name, members, message in (
        ("mudata.h5mu", ["mod/rna"], "several modalities"),
        ("cells.loom", ["matrix", "row_attrs", "col_attrs"], "pip install loompy"),
        ("other.h5", ["x"], "holds no AnnData and no matrix of 10x"),
    ):
        with h5py.File(tmp_path / name, "w") as file:
            for member in members:
                file.create_group(member)
        with pytest.raises(DataError, match=message):
            open_cells(tmp_path / name)
    whole = write(tmp_path / "a.h5ad", make()).read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.h5ad' cannot be read"):
        open_cells(tmp_path / "cut.h5ad").matrix()


def test_contents_in_other_files_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"\1" * 400)

    def external(file):
        del file["X"]
        file.create_dataset("X", (40, 8), "u1", external=[(str(secret), 0, 320)])

    def link(file):
        del file["X"]
        file["X"] = h5py.ExternalLink(str(tmp_path / "b.h5ad"), "/X")

    def virtual(file):
        del file["layers/counts"]
        layout = h5py.VirtualLayout((40, 8), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5ad"), "X/data", (40, 8))
        file.create_virtual_dataset("layers/counts", layout)

    for change in (external, link, virtual):
        path = write(tmp_path / "a.h5ad", make())
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(DataError, match=r"in another file, .* which is not followed"):
            open_cells(path)


def test_a_link_within_the_file_is_followed(tmp_path):
    path = write(tmp_path / "a.h5ad", make())
    with h5py.File(path, "a") as file:
        del file["X"]
        file["X"] = h5py.SoftLink("/layers/counts")
        file["uns/circle"] = file["/"]
    np.testing.assert_array_equal(open_cells(path).matrix().toarray(), COUNTS)


def test_tables_of_old_versions_are_read(tmp_path):
    """Before anndata 0.7 obs and var were structured arrays and categories lay in uns."""
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["X"] = COUNTS
        obs = np.zeros(40, [("index", "S4"), ("cell_type", "i1")])
        obs["index"] = [f"c{i}".encode() for i in range(40)]
        obs["cell_type"] = [1, 0] * 20
        file["obs"] = obs
        file["var"] = np.array([(f"g{i}".encode(),) for i in range(8)], [("index", "S4")])
        file["uns/cell_type_categories"] = np.array([b"B", b"T"])
    data = read_expression(tmp_path / "old.h5ad", condition_keys="cell_type")
    np.testing.assert_array_equal(data.rows(slice(None)), COUNTS)
    assert data.keys[0].categories == ("B", "T")


def test_modalities_are_chosen_by_the_user():
    with pytest.raises(DataError, match=r"mdata\['rna'\]"):
        open_cells(SimpleNamespace(mod={}, obs={}))


def test_damaged_matrices_that_nobody_asked_for_block_nothing():
    adata = make()
    broken = sparse.csr_matrix((40, 8), dtype=np.float32)
    broken.data = np.array(["a"])
    adata.layers._data["broken"] = broken
    assert open_cells(adata).counts_in() == ("counts", None)
    assert read_expression(adata).advice is not None
