"""Expression data as the model sees it: one matrix, its gene names, its condition codes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, require
from vaexprs.spec import ConditionKey, Conditions, likelihood_named

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["ExpressionData", "concatenate"]

#: Rows that are turned into bytes at a time.
_ROWS_PER_READ = 1024


@dataclass(frozen=True)
class ExpressionData:
    """Cells x genes values with what is known about each cell.

    Attributes
    ----------
    X
        Expression values, ``(n_cells, n_genes)``, float32: a canonical CSR matrix or an array.
    var_names, obs_names
        Names of the genes and of the cells.
    keys
        What is known about each cell, one `ConditionKey` per column of `codes`.
    codes
        Category of each cell under each key, ``(n_cells, n_keys)``, int32.
    source
        Where the values come from, for messages: ``"X"`` or ``"layer 'counts'"``.
    layers
        Other matrices that the user could have meant, for messages.
    layer, raw
        The layer that was read, or whether ``raw`` was; else it was ``X``.
    counts_elsewhere
        Where counts lie, if `X` holds none: names of layers, and None for ``raw``.
    """

    X: csr_matrix | NDArray[np.float32]
    var_names: tuple[str, ...]
    obs_names: tuple[str, ...]
    keys: tuple[ConditionKey, ...]
    codes: NDArray[np.int32]
    source: str = "X"
    layers: tuple[str, ...] = field(default=(), repr=False)
    layer: str | None = None
    raw: bool = False
    counts_elsewhere: tuple[str | None, ...] = field(default=(), repr=False)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.X.shape[0])

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.X.shape[1])

    @property
    def is_sparse(self) -> bool:
        """Whether `X` is a CSR matrix."""
        return not isinstance(self.X, np.ndarray)

    @cached_property
    def _values(self) -> NDArray[np.float32]:
        """The stored values: all of a dense matrix, the non-zeros of a sparse one."""
        return self.X.ravel() if isinstance(self.X, np.ndarray) else self.X.data

    @cached_property
    def library(self) -> NDArray[np.float64]:
        """Total of each cell's values, ``(n_cells,)``."""
        return np.asarray(self.X.sum(axis=1, dtype=np.float64)).ravel()

    @cached_property
    def n_nonzero(self) -> int:
        """Number of values that are not zero."""
        return int(np.count_nonzero(self._values))

    @property
    def _has_implicit_zeros(self) -> bool:
        return self._values.size < self.n_cells * self.n_genes

    @cached_property
    def minimum(self) -> float:
        """The smallest value."""
        initial = 0.0 if self._has_implicit_zeros else np.inf
        return float(self._values.min(initial=initial))

    @cached_property
    def maximum(self) -> float:
        """The largest value."""
        initial = 0.0 if self._has_implicit_zeros else -np.inf
        return float(self._values.max(initial=initial))

    @cached_property
    def is_integer(self) -> bool:
        """Whether every value, not only a few of them, is a whole number."""
        return bool((self._values == np.rint(self._values)).all())

    @property
    def sizes(self) -> NDArray[np.int32]:
        """Number of categories of each key, ``(n_keys,)``."""
        return np.array([len(key.categories) for key in self.keys], dtype=np.int32)

    @cached_property
    def _grouping(self) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        if not self.keys:
            group = np.zeros(self.n_cells, np.int64)
            return np.zeros((1, 0), np.int32), group, np.array([self.n_cells], np.int64)
        combinations, group, counts = np.unique(
            self.codes, axis=0, return_inverse=True, return_counts=True
        )
        return combinations.astype(np.int32), group.reshape(-1).astype(np.int64), counts

    @property
    def conditions(self) -> Conditions:
        """The keys with the joint frequencies of their categories."""
        combinations, _, counts = self._grouping
        return Conditions(self.keys, combinations, counts.astype(np.int64))

    @property
    def group(self) -> NDArray[np.int64]:
        """Which row of ``conditions.combinations`` each cell belongs to, ``(n_cells,)``."""
        return self._grouping[1]

    def one_hot(self) -> NDArray[np.float32]:
        """Return the condition input of the model, ``(n_cells, n_conditions)``."""
        return self.conditions.one_hot(self.codes)

    def rows(self, index: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        """Return some cells as a dense array, ``(len(index), n_genes)``, float32."""
        block = self.X[index]
        if not isinstance(block, np.ndarray):
            block = block.toarray()
        return np.ascontiguousarray(block, dtype=np.float32)

    def take(self, index: NDArray[np.integer[Any]]) -> ExpressionData:
        """Return some of the cells, with the same genes and the same categories."""
        return replace(
            self,
            X=self.X[index],
            obs_names=tuple(self.obs_names[i] for i in index),
            codes=self.codes[index],
        )

    def fingerprint(self) -> str:
        """Return a SHA-256 of values, gene names and codes, the same for dense and sparse."""
        digest = hashlib.sha256()
        digest.update(np.array(self.X.shape, "<i8").tobytes())
        digest.update("\0".join(self.var_names).encode())
        for start in range(0, self.n_cells, _ROWS_PER_READ):
            block = self.rows(slice(start, start + _ROWS_PER_READ))
            row, column = np.nonzero(block)
            digest.update((row + start).astype("<i8").tobytes())
            digest.update(column.astype("<i8").tobytes())
            digest.update(block[row, column].astype("<f4").tobytes())
        digest.update(self.codes.astype("<i4").tobytes())
        return digest.hexdigest()

    def check_for(self, likelihood: str) -> None:
        """Raise `DataError` if the values cannot come from a likelihood.

        Parameters
        ----------
        likelihood
            Counts must be whole numbers >= 0 with at least one count in each cell; ``zigamma``
            needs values >= 0; ``bernoulli`` and ``gaussian`` take any finite values.
        """
        support = likelihood_named(likelihood).support
        if support == "real":
            return
        if self.minimum < 0:
            raise DataError(
                f"likelihood {likelihood!r} needs values >= 0, but {self.source} holds "
                f"{self.minimum:g} ({self._where(self._values < 0)}): choose likelihood='gaussian' "
                "for scaled data, or pass the raw values" + self._other_layers() + "."
            )
        if support != "counts":
            return
        if not self.is_integer:
            wrong = self._values != np.rint(self._values)
            looks = " and looks logged" if self.maximum < 25 else ""
            raise DataError(
                f"likelihood {likelihood!r} needs counts, but {self.source} holds "
                f"{self._values[wrong][0]:g} ({self._where(wrong)}), which is no whole "
                f"number{looks}: name the layer with the raw counts, such as "
                f'layer="counts"{self._other_layers()}, or use likelihood="auto".'
            )
        empty = np.flatnonzero(self.library == 0)
        if empty.size:
            raise DataError(
                f"{empty.size} of {self.n_cells} cells have no counts at all in {self.source} "
                f"(first: {self.obs_names[empty[0]]!r}): remove them with drop_empty=True "
                f"(--drop-empty), or for example with adata[{self._in_python}.sum(axis=1) > 0]."
            )

    def _where(self, wrong: NDArray[np.bool_]) -> str:
        """Name the first gene and cell of a mask over `_values`."""
        first = int(np.flatnonzero(wrong)[0])
        if isinstance(self.X, np.ndarray):
            row, column = divmod(first, self.n_genes)
        else:
            row = int(np.searchsorted(self.X.indptr, first, side="right")) - 1
            column = int(self.X.indices[first])
        return f"first in gene {self.var_names[column]!r}, cell {self.obs_names[row]!r}"

    @property
    def advice(self) -> str | None:
        """How to learn from counts, where others than those that were read hold them, or None."""
        if not self.counts_elsewhere:
            return None
        where = self.counts_elsewhere[0]
        found, how = f"layer {where!r}", f"layer={where!r} (--layer {where})"
        if where is None:
            found, how = "raw", "raw=True (--raw)"
        return f"{self.source} holds no counts, but {found} does: to learn from them, pass {how}."

    @property
    def _in_python(self) -> str:
        if self.raw:
            return "adata.raw.X"
        return "adata.X" if self.layer is None else f"adata.layers[{self.layer!r}]"

    def _other_layers(self) -> str:
        return f" (layers here: {', '.join(map(repr, self.layers))})" if self.layers else ""


def concatenate(parts: Sequence[ExpressionData]) -> ExpressionData:
    """Put cells with the same genes and keys one after the other."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    if isinstance(first.X, np.ndarray):
        X = np.concatenate([part.X for part in parts])
    else:
        sparse = require("scipy.sparse", extra="anndata", purpose="Reading expression data")
        X = sparse.vstack([part.X for part in parts], format="csr")
    return replace(
        first,
        X=X,
        obs_names=tuple(name for part in parts for name in part.obs_names),
        codes=np.concatenate([part.codes for part in parts]),
    )
