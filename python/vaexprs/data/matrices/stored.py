"""Matrices in HDF5 files and zarr stores: all of one, or some of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.matrices.checks import (
    check_numbers,
    check_pointers,
    compressed,
    refuse,
)
from vaexprs.errors import DataError

#: Rows of a dense matrix in a file that are read at a time: 80 MB of 20,000 genes in float32.
ROWS_PER_READ = 1024

#: Values of a sparse matrix in a file that may lie between two wanted rows and are read with
#: them: 64 kB, which takes as long as a further read.
_GAP = 16_384

#: Values of a sparse matrix in a file that are read at a time: 128 MB with their indices.
_MOST = 2**24


def is_sparse_group(element: Any) -> bool:
    """Return whether an element of a file is a sparse matrix in anndata's encoding."""
    return hasattr(element, "attrs") and hasattr(element, "keys") and "indptr" in element


def is_stored(element: Any) -> bool:
    """Return whether an element is a matrix in a file, of which rows can be read."""
    element = stored(element)
    dense = hasattr(element, "chunks") and hasattr(element, "dtype")
    return is_sparse_group(element) or (dense and not hasattr(element, "compute"))


def is_by_columns(element: Any) -> bool:
    """Return whether a matrix in a file is a sparse one by columns."""
    attributes = dict(getattr(stored(element), "attrs", {}))
    form = attributes.get("encoding-type", attributes.get("h5sparse_format", ""))
    return str(form).startswith("csc")


def n_stored(element: Any) -> int:
    """Return the number of stored values of a matrix in a file."""
    element = stored(element)
    shape = (element["data"] if is_sparse_group(element) else element).shape
    return int(np.prod(shape, dtype=np.int64))


def stored(element: Any) -> Any:
    """Return the group or dataset in a file that anndata wraps."""
    wrapped = hasattr(element, "group") and hasattr(element, "to_memory")
    return element.group if wrapped else element


@dataclass(frozen=True)
class Parts:
    """The arrays of a sparse matrix in a file, and where its rows (or columns) begin."""

    form: str
    size: tuple[int, int]
    data: Any
    indices: Any
    pointers: NDArray[Any]


def parts_of(group: Any, what: str, shape: tuple[int, int] | None) -> Parts:
    """Return the arrays of a sparse matrix in anndata's encoding, after a check."""
    attributes = dict(group.attrs)
    form = str(attributes.get("encoding-type", attributes.get("h5sparse_format", "")))[:3]
    came = attributes.get("shape", attributes.get("h5sparse_shape"))
    if form not in ("csr", "csc") or came is None or not {"data", "indices"} <= set(group.keys()):
        refuse(what, "it has no format, shape, data or indices")
    size = tuple(int(n) for n in np.ravel(came))
    if len(size) != 2 or min(size) < 0 or (shape is not None and size != shape):
        expected = f", expected {shape[0]} cells x {shape[1]} genes" if shape else ""
        raise DataError(f"{what} is of shape {size}{expected}.")
    major, minor = size if form == "csr" else size[::-1]
    data, indices, indptr = (group[name] for name in ("data", "indices", "indptr"))
    for part in (data, indices, indptr):
        if len(getattr(part, "shape", ())) != 1:
            refuse(what, "data, indices and indptr must be lists")
    if indptr.shape[0] != major + 1 or data.shape[0] > major * minor:
        refuse(
            what,
            f"{indptr.shape[0]} row pointers and {data.shape[0]} values for {major} x {minor}",
        )
    if data.shape[0] != indices.shape[0]:
        refuse(what, f"{data.shape[0]} values for {indices.shape[0]} indices")
    check_numbers(data, what)
    pointers = np.asarray(indptr[:])
    check_pointers(pointers, major, int(data.shape[0]), what)
    return Parts(form, size, data, indices, pointers)


def read_sparse(
    sparse: Any,
    group: Any,
    what: str,
    shape: tuple[int, int] | None,
    rows: NDArray[np.int64] | None,
) -> Any:
    """Read a sparse matrix, or some rows of it, from a group in anndata's encoding."""
    parts = parts_of(group, what, shape)
    if rows is None or parts.form == "csc":
        major, minor = parts.size if parts.form == "csr" else parts.size[::-1]
        whole = compressed(
            sparse, parts.form, parts.data[:], parts.indices[:], parts.pointers, major, minor, what
        )
        return whole if rows is None else whole[rows]
    return read_rows(sparse, parts, what, rows)


def read_rows(sparse: Any, matrix: Parts, what: str, rows: NDArray[np.int64]) -> Any:
    """Read some rows, given in rising order, of a sparse matrix by rows."""
    data, indices, pointers = matrix.data, matrix.indices, matrix.pointers
    starts, stops = pointers[rows].astype(np.int64), pointers[rows + 1].astype(np.int64)
    lengths = stops - starts
    parts: list[tuple[Any, Any]] = [(data[:0], indices[:0])]
    first = 0
    for last in range(len(rows)):
        if last + 1 < len(rows):
            near = starts[last + 1] - stops[last] <= _GAP
            if near and stops[last + 1] - starts[first] <= _MOST:
                continue  # in one read with the next row
        span = slice(int(starts[first]), int(stops[last]))
        mine = slice(first, last + 1)
        values, columns = data[span], indices[span]
        if span.stop - span.start != (n := int(lengths[mine].sum())):  # other rows lie between
            inside = np.repeat(starts[mine] - span.start, lengths[mine])
            inside += np.arange(n) - np.repeat(
                np.cumsum(lengths[mine]) - lengths[mine], lengths[mine]
            )
            values, columns = values[inside], columns[inside]
        parts.append((values, columns))
        first = last + 1
    values = np.concatenate([part[0] for part in parts])
    columns = np.concatenate([part[1] for part in parts])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return compressed(sparse, "csr", values, columns, ends, len(rows), matrix.size[1], what)


def is_few(n_nonzero: int, size: int) -> bool:
    """Return whether so few values are smaller as CSR: 8 bytes a value, an array takes 4."""
    return 3 * n_nonzero < size


def read_dense(sparse: Any, matrix: Any, what: str, rows: NDArray[np.int64] | None) -> Any:
    """Read a dense matrix from a file by blocks of rows, as CSR where most values are zero."""
    check_numbers(matrix, what)
    if rows is not None:
        select = getattr(matrix, "oindex", matrix)
        return np.asarray(select[rows, :], np.float32)
    blocks: list[Any] = []
    for start in range(0, matrix.shape[0], ROWS_PER_READ):
        block = np.asarray(matrix[start : start + ROWS_PER_READ], np.float32)
        few = is_few(int(np.count_nonzero(block)), block.size)
        blocks.append(sparse.csr_matrix(block) if few else block)
    if not blocks:
        return np.zeros(matrix.shape, np.float32)
    if all(sparse.issparse(block) for block in blocks):
        return sparse.vstack(blocks, format="csr")
    return np.concatenate([b.toarray() if sparse.issparse(b) else b for b in blocks])
