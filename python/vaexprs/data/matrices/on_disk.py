"""`RowsOnDisk`: a matrix in a file, of which rows are read as they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.matrices.checked import canonical
from vaexprs.data.matrices.checks import check_numbers, check_shape
from vaexprs.data.matrices.stored import (
    ROWS_PER_READ,
    Parts,
    is_few,
    is_sparse_group,
    parts_of,
    read_rows,
    stored,
)
from vaexprs.errors import DataError, VaexprsError, require

#: Rows of a dense matrix in a file that may lie between two wanted rows and are read with them.
_NEAR_ROWS = 16


class RowsOnDisk:
    """Rows of a matrix in a file, which is read as rows are asked for.

    Parameters
    ----------
    element
        A dense dataset, or a group of a sparse matrix by rows, open as long as this is in use.
    what, shape
        As in `canonical`.

    Raises
    ------
    DataError
        If it does not hold numbers, is of another shape, is a damaged sparse matrix, or is stored
        by columns.
    """

    def __init__(self, element: Any, what: str, shape: tuple[int, int]) -> None:
        self._sparse = require("scipy.sparse", extra="anndata", purpose="Reading expression data")
        self.close: Callable[[], object] = lambda: None
        self._element, self._what, self.shape = stored(element), what, shape
        self._parts: Parts | None = None
        if is_sparse_group(self._element):
            self._parts = parts_of(self._element, what, shape)
            if self._parts.form == "csc":
                raise DataError(
                    f"{what} is stored by genes, so that cells cannot be read one after the other: "
                    "read it in memory (in_memory=True, --in-memory), or store it by cells, with "
                    "adata.X = adata.X.tocsr() and adata.write_h5ad(path)."
                )
            self.n_stored = int(self._parts.pointers[-1])
            return
        check_shape(self._element, what, shape)
        check_numbers(self._element, what)
        blocks = range(0, shape[0], ROWS_PER_READ)
        sizes = [int(np.count_nonzero(self._block(at, at + ROWS_PER_READ))) for at in blocks]
        # as CSR where the whole matrix would be read as CSR
        self._few = all(is_few(n, self._n_values(at)) for n, at in zip(sizes, blocks, strict=True))
        self.n_stored = int(np.sum(sizes)) if self._few else shape[0] * shape[1]

    def read(self, rows: NDArray[np.int64]) -> Any:
        """Return some rows, given in rising order: float32 CSR or array.

        Raises
        ------
        DataError
            If the file is damaged, or can no longer be read.
        """
        try:
            return self._read(rows)
        except (VaexprsError, MemoryError):
            raise
        except Exception as error:  # h5py and zarr each have errors of their own
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{self._what} cannot be read: {reason}.") from error

    def _read(self, rows: NDArray[np.int64]) -> Any:
        if self._parts is not None:
            found = read_rows(self._sparse, self._parts, self._what, rows)
            return canonical(found, self._what)
        ends = np.flatnonzero(np.diff(rows) > _NEAR_ROWS) + 1
        parts = []
        for run in np.split(rows, ends):
            for at in range(0, len(run), ROWS_PER_READ):
                some = run[at : at + ROWS_PER_READ]
                block = self._block(int(some[0]), int(some[-1]) + 1)[some - some[0]]
                parts.append(self._sparse.csr_matrix(block) if self._few else block)
        if not parts:
            parts = [np.zeros((0, self.shape[1]), np.float32)]
        return self._sparse.vstack(parts, format="csr") if self._few else np.concatenate(parts)

    def __del__(self) -> None:
        self.close()

    def _block(self, start: int, stop: int) -> NDArray[np.float32]:
        return np.asarray(self._element[start:stop], np.float32)

    def _n_values(self, start: int) -> int:
        return min(ROWS_PER_READ, self.shape[0] - start) * self.shape[1]
