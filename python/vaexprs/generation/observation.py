"""From decoder outputs to values: draws as CSR rows, or expected values as a dense array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.spec import GeneratorSpec


@dataclass(frozen=True)
class CSR:
    """Rows of a sparse matrix in compressed sparse row layout."""

    # Values (float32), column indices rising within a row (int32), and row bounds (int64).
    data: NDArray[np.float32]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    shape: tuple[int, int]  # ``(n_cells, n_genes)``

    @classmethod
    def from_dense(cls, dense: NDArray[np.float32]) -> CSR:
        """Return the non-zeros of a dense array."""
        rows, columns = np.nonzero(dense)
        indptr = np.zeros(len(dense) + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=len(dense)), out=indptr[1:])
        n_rows, n_columns = dense.shape
        return cls(dense[rows, columns], columns.astype(np.int32), indptr, (n_rows, n_columns))

    @classmethod
    def concatenate(cls, parts: Sequence[CSR], n_genes: int) -> CSR:
        """Stack rows; no part at all gives no row."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0] + [len(part.data) for part in parts], dtype=np.int64)
        indptr = [np.zeros(1, dtype=np.int64)]
        indptr += [part.indptr[1:] + start for part, start in zip(parts, starts, strict=False)]
        return cls(
            np.concatenate([np.zeros(0, np.float32), *(part.data for part in parts)]),
            np.concatenate([np.zeros(0, np.int32), *(part.indices for part in parts)]),
            np.concatenate(indptr),
            (sum(part.shape[0] for part in parts), n_genes),
        )

    def rows(self, rows: slice) -> CSR:
        """Return consecutive rows, which share the arrays of values."""
        bounds = self.indptr[rows.start : rows.stop + 1]
        values = slice(int(bounds[0]), int(bounds[-1]))
        shape = (len(bounds) - 1, self.shape[1])
        return CSR(self.data[values], self.indices[values], bounds - bounds[0], shape)

    def to_scipy(self) -> Any:
        """Return a `scipy.sparse.csr_matrix` that shares the arrays; needs scipy."""
        from scipy.sparse import csr_matrix

        matrix = csr_matrix((self.data, self.indices, self.indptr), shape=self.shape, copy=False)
        matrix.has_sorted_indices = True
        return matrix

    def to_dense(self) -> NDArray[np.float32]:
        """Return the rows as a dense array."""
        dense = np.zeros(self.shape, dtype=np.float32)
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        dense[rows, self.indices] = self.data
        return dense


@dataclass(frozen=True)
class Parameters:
    """Parameters of the likelihood of consecutive cells, as the decoder gives them."""

    # The outputs of the graph by name, ``(n_cells, n_genes)`` or ``(1, n_genes)``, float32.
    arrays: dict[str, NDArray[np.float32]]
    # Where ``arrays["mean"]`` holds logits, for ``mean = library * softmax(logits + bias)``: the
    # library sizes, ``(n_cells,)``. None where it holds means.
    library: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None  # ``(n_genes,)``, or None

    def rows(self, here: slice) -> Parameters:
        """Return the parameters of some of the cells."""
        arrays = {
            name: array if len(array) == 1 and name != "mean" else array[here]
            for name, array in self.arrays.items()
        }
        return Parameters(arrays, None if self.library is None else self.library[here], self.bias)


def draw(
    spec: GeneratorSpec,
    parameters: Parameters,
    *,
    seed: int,
    first_cell: int,
    streams: NDArray[np.uint32] | None = None,
) -> CSR:
    """Draw the values of consecutive cells from the likelihood.

    Where ``spec.observation`` is ``"mean"`` the mean is the value and nothing is drawn; where it is
    ``"rounded"``, draws are rounded to whole numbers, positive ones to at least 1; ``"normal"`` and
    ``"rectified"`` add the noise of residuals. Counts of a model with a normalisation become values
    by it.
    """
    if spec.observation == "mean":
        return CSR.from_dense(expected(spec, parameters))
    data, indices, indptr = spec.value_law.draw(
        spec.parameters(parameters.arrays), seed=seed, first_cell=first_cell, streams=streams,
        rounded=spec.observation == "rounded", library=parameters.library, bias=parameters.bias,
    )  # fmt: skip
    if spec.normalisation is not None:
        spec.normalisation.apply(data, indptr, seed=seed, first_cell=first_cell, streams=streams)
    return CSR(data, indices, indptr, (len(parameters.arrays["mean"]), spec.n_genes))


def expected(spec: GeneratorSpec, parameters: Parameters) -> NDArray[np.float32]:
    """Return the expected values of the cells, ``(n_cells, n_genes)``, float32.

    Zero inflation counts: E[x] = (1 - sigmoid(zero_logits)) * mean. Where there is a normalisation,
    it is applied to expected counts. Raises as `draw` does.
    """
    law, arrays = spec.value_law, spec.parameters(parameters.arrays)
    outputs = [arrays[name] for name in law.outputs]
    given: dict[str, Any] = {"library": parameters.library, "bias": parameters.bias}
    if law.sampler is None:
        mean = _core.means(law.name, outputs, **given)
    elif parameters.library is not None:
        mean = _core.means("poisson", outputs[:1], **given)
    else:
        mean = outputs[0].copy()
    mean = law.expected({**arrays, "mean": mean})
    return mean if spec.normalisation is None else spec.normalisation.of_means(mean)
