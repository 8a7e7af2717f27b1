"""No crafted matrix reaches compiled code: refused in one sentence, or read as what it is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from crafted import crafted, whole, write_store

from vaexprs.data import read_expression
from vaexprs.data.matrices.checked import canonical
from vaexprs.data.open import open_cells
from vaexprs.errors import DataError

anndata = pytest.importorskip("anndata")
pd = pytest.importorskip("pandas")
sparse = pytest.importorskip("scipy.sparse")
h5py = pytest.importorskip("h5py")

LABELS = ["T", "B"] * 20


def bend(**parts):
    matrix = whole(0)
    for name, change in parts.items():
        setattr(matrix, name, change(np.array(getattr(matrix, name), np.int64)))
    return matrix


def change(values, at, to):
    values[at] = to
    return values


BAD = {
    "indices far off": bend(indices=lambda i: i + 10**8),
    "one index past the end": bend(indices=lambda i: change(i, 3, 20)),
    "a negative index": bend(indices=lambda i: change(i, 3, -1)),
    "a pointer far off": bend(indptr=lambda p: change(p, 3, 10**8)),
    "pointers that fall": bend(indptr=lambda p: change(p, 3, p[8])),
    "pointers that overflow": bend(indptr=lambda p: change(change(p, 2, 2**63 - 1), 3, -(2**63))),
    "pointers that begin late": bend(indptr=lambda p: change(p, 0, 1)),
    "pointers past the values": bend(indptr=lambda p: change(p, -1, p[-1] + 9)),
    "pointers too few": bend(indptr=lambda p: p[:-1]),
    "indices too few": bend(indices=lambda i: i[:-1]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_matrix_is_refused_by_name(name):
    adata = anndata.AnnData(whole(0), layers={"counts": whole(0)})
    adata.layers["counts"] = whole(0)
    with pytest.raises(DataError, match="X is a damaged sparse matrix"):
        canonical(BAD[name], "X")
    for part in ("data", "indices", "indptr"):  # as another package may have left it
        setattr(adata.X, part, getattr(BAD[name], part))
    for read in (read_expression, lambda a: open_cells(a).matrix(rows=np.array([1, 5]))):
        with pytest.raises(DataError, match="damaged sparse matrix"):
            read(adata)


def test_values_beyond_the_last_pointer_are_no_fault():
    matrix = whole(0)
    longer = sparse.csr_matrix(matrix.shape, dtype=np.float32)
    longer.data = np.append(matrix.data, np.float32(7))
    longer.indices, longer.indptr = np.append(matrix.indices, 3), matrix.indptr
    np.testing.assert_array_equal(canonical(longer, "X").toarray(), matrix.toarray())


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
@pytest.mark.parametrize("dtype", ["f4", ">f8", "i8", "u2", "f2", "?"])
def test_every_form_is_read(form, dtype):
    wanted = whole(0).toarray().astype(dtype).astype("f4")
    given = sparse.csr_matrix(whole(0).toarray().astype(dtype.strip(">").replace("f2", "f4")))
    read = canonical(given.asformat(form), "X")
    assert read.format == "csr"
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read.toarray(), wanted)


def test_masked_values_are_missing():
    masked = np.ma.masked_array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])
    with pytest.raises(DataError, match="holds nan"):
        read_expression(masked)


def test_crafted_matrices_of_python_end_in_an_error_or_a_matrix():
    refused = []
    for seed, matrix in crafted(700):
        what = f"matrix {seed}"
        for rows in (None, np.array([0, 3, 4, 9])):
            try:
                read = canonical(matrix, what, rows=rows)
                assert np.isfinite(read.sum())
            except DataError as error:
                refused.append((what, str(error)))
    assert len(refused) > 500
    assert all(what in message for what, message in refused)


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_crafted_matrices_in_files_end_in_an_error_or_a_matrix(tmp_path, kind):
    refused = []
    for seed, matrix in crafted(120, first=10_000):
        if matrix.format not in ("csr", "csc"):
            continue
        path = tmp_path / f"{seed}.{kind}"
        if kind == "h5ad":
            with h5py.File(path, "w") as file:
                write_store(file, matrix, LABELS[: matrix.shape[0]])
        else:
            zarr = pytest.importorskip("zarr")
            write_store(zarr.open_group(path, mode="w"), matrix, LABELS[: matrix.shape[0]])
        cells = open_cells(path)
        assert cells.obs["cell_type"].tolist() == LABELS[: matrix.shape[0]]
        for rows in (None, np.array([0, 3, 4, 9])):
            try:
                cells.matrix(rows=rows)
            except DataError as error:
                refused.append((path.name, str(error)))
    assert len(refused) > 60
    assert all(name in message for name, message in refused)


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("gap", [0, 10, 10**6])
def test_some_rows_of_a_file_are_those_rows(tmp_path, monkeypatch, form, gap):
    monkeypatch.setattr("vaexprs.data.matrices.stored._GAP", gap)
    matrix = whole(1, form)
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        write_store(file, matrix, LABELS[: matrix.shape[0]])
    for rows in ([0], [3, 4, 5], [0, 7, 8, 24], list(range(25))):
        for most in (1, 2**24):
            monkeypatch.setattr("vaexprs.data.matrices.stored._MOST", most)
            read = open_cells(tmp_path / "a.h5ad").matrix(rows=np.array(rows))
            np.testing.assert_array_equal(read.toarray(), matrix.toarray()[rows])
