"""Expression data as the model sees it: one matrix, its gene names, its condition codes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.matrices.chunked import Chunked, Facts, facts_of
from vaexprs.data.scale import stored_values
from vaexprs.errors import DataError, require
from vaexprs.spec import ConditionKey, Conditions, likelihood_named

__all__ = ["ExpressionData", "as_dense", "concatenate"]

#: Rows that are turned into bytes at a time.
_ROWS_PER_READ = 1024
#: Largest value and sum of values that are trained on: squares of values must fit float32 (3e38),
#: and draws of counts 64-bit integers (9e18).
_LARGEST = 1e18
#: Cells of a combination that a sample holds at least.
_FEWEST = 200


def evenly(group: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return rows, about `most` of them, evenly over the rows of each group.

    Each group keeps its share, but at least 200 rows, or all that it has.
    """
    kept = []
    for g, n in enumerate(np.bincount(group)):
        wanted = min(n, max(_FEWEST, int(most / len(group) * n)))
        kept.append(np.flatnonzero(group == g)[np.arange(wanted) * n // max(wanted, 1)])
    return np.sort(np.concatenate(kept))


@dataclass(frozen=True)
class ExpressionData:
    """Cells x genes values with what is known about each cell.

    Attributes
    ----------
    X
        Expression values, ``(n_cells, n_genes)``, float32: a canonical CSR matrix, an array, or
        either in chunks.
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
    var
        Texts of each gene, by column of ``var``.
    """

    X: Any
    var_names: tuple[str, ...]
    obs_names: tuple[str, ...]
    keys: tuple[ConditionKey, ...]
    codes: NDArray[np.int32]
    source: str = "X"
    layers: tuple[str, ...] = field(default=(), repr=False)
    layer: str | None = None
    raw: bool = False
    counts_elsewhere: tuple[str | None, ...] = field(default=(), repr=False)
    var: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

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
        """Whether `X` is a CSR matrix, or one in chunks."""
        return not isinstance(self.X[:1], np.ndarray)

    def blocks(self, size: int) -> Iterator[tuple[int, Any]]:
        """Yield consecutive rows, `size` at a time, and where they begin."""
        for rows, part in self._parts():
            for start in range(0, part.shape[0], size):
                yield rows.start + start, part[start : start + size]

    def _parts(self) -> Iterator[tuple[slice, Any]]:
        if isinstance(self.X, Chunked):
            yield from self.X.chunks()
        else:
            yield slice(0, self.n_cells), self.X

    @cached_property
    def _facts(self) -> Facts:
        if isinstance(self.X, Chunked):
            return self.X.facts
        return facts_of(iter([self.X]))

    @cached_property
    def library(self) -> NDArray[np.float64]:
        """Total of each cell's values, ``(n_cells,)``."""
        return self.X.totals if isinstance(self.X, Chunked) else self._facts.totals

    @property
    def largest(self) -> NDArray[np.float32]:
        """Largest absolute value of each cell, ``(n_cells,)``."""
        return self._facts.largest

    @property
    def n_nonzero(self) -> int:
        """Number of values that are not zero."""
        return self._facts.n_nonzero

    @property
    def minimum(self) -> float:
        """The smallest value."""
        return self._facts.minimum

    @property
    def maximum(self) -> float:
        """The largest value."""
        return self._facts.maximum

    @property
    def is_integer(self) -> bool:
        """Whether every value, not only a few of them, is a whole number."""
        return self._facts.is_integer

    @property
    def is_finite(self) -> bool:
        """Whether no value is missing or infinite."""
        return self._facts.is_finite

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
        return as_dense(self.X[index])

    def take(self, index: NDArray[np.integer[Any]]) -> ExpressionData:
        """Return some of the cells, with the same genes and the same categories."""
        return replace(
            self,
            X=self.X.take(index) if isinstance(self.X, Chunked) else self.X[index],
            obs_names=tuple(self.obs_names[i] for i in index),
            codes=self.codes[index],
        )

    def sample(self) -> ExpressionData:
        """Return the cells, or where they come in chunks about a chunk of them, in memory.

        Each combination keeps its share, but at least 200 of its cells, evenly over the rows.
        """
        if not isinstance(self.X, Chunked):
            return self
        taken = self.take(evenly(self.group, self.X.chunk))
        return replace(taken, X=taken.X[:])

    def fingerprint(self) -> str:
        """Return a SHA-256 of values, gene names and codes, the same for dense and sparse."""
        digest = hashlib.sha256()
        digest.update(np.array(self.X.shape, "<i8").tobytes())
        digest.update("\0".join(self.var_names).encode())
        for start, rows in self.blocks(_ROWS_PER_READ):
            block = as_dense(rows)
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
            needs values >= 0; ``bernoulli`` and ``gaussian`` take any finite values. None takes
            values, or sums over a cell, of 1e18 and more.
        """
        support = likelihood_named(likelihood).support
        if max(self.maximum, -self.minimum, float(np.abs(self.library).max())) >= _LARGEST:
            raise DataError(
                f"{self.source} holds values from {self.minimum:g} to {self.maximum:g}: values and "
                f"their sums over a cell must stay within {_LARGEST:g}; correct them, or divide "
                "all of them."
            )
        if support == "real":
            return
        if self.minimum < 0:
            _, where, _ = self.first(lambda values: values < 0)
            raise DataError(
                f"likelihood {likelihood!r} needs values >= 0, but {self.source} holds "
                f"{self.minimum:g} ({where}): fit scaled data with likelihood='gaussian', "
                "or pass the raw values" + self._other_layers() + "."
            )
        if support != "counts":
            return
        if not self.is_integer:
            value, where, _ = self.first(lambda values: values != np.rint(values))
            looks = " and looks logged" if self.maximum < 25 else ""
            raise DataError(
                f"likelihood {likelihood!r} needs counts, but {self.source} holds "
                f"{value:g} ({where}), which is no whole "
                f"number{looks}: name the layer with the raw counts, such as "
                f'layer="counts"{self._other_layers()}, or fit with likelihood="auto".'
            )
        empty = np.flatnonzero(self.library == 0)
        if empty.size:
            raise DataError(
                f"{empty.size} of {self.n_cells} cells have no counts at all in {self.source} "
                f"(first: {self.obs_names[empty[0]]!r}): remove them, as in "
                f"adata[{self._in_python}.sum(axis=1) > 0]; a fit leaves them out with "
                "drop_empty=True (--drop-empty)."
            )

    def first(self, wrong: Callable[[Any], NDArray[np.bool_]]) -> tuple[float, str, int]:
        """Return the first of some values, which gene and cell it is of, and how many there are."""
        found: tuple[float, str] | None = None
        n = 0
        for rows, part in self._parts():
            values = stored_values(part).ravel()
            places = np.flatnonzero(wrong(values))
            n += len(places)
            if found is not None or not len(places):
                continue
            place = int(places[0])
            if isinstance(part, np.ndarray):
                row, column = divmod(place, self.n_genes)
            else:
                row = int(np.searchsorted(part.indptr, place, side="right")) - 1
                column = int(part.indices[place])
            gene, cell = self.var_names[column], self.obs_names[rows.start + row]
            found = float(values[place]), f"first in gene {gene!r}, cell {cell!r}"
        assert found is not None
        return *found, n

    @property
    def advice(self) -> str | None:
        """How to learn from counts, where others than those that were read hold them, or None."""
        if not self.counts_elsewhere:
            return None
        where = self.counts_elsewhere[0]
        found, how = f"layer {where!r}", f"layer={where!r} (--layer {where})"
        if where is None:
            found, how = "raw", "raw=True (--raw)"
        if self.is_integer:  # counts behind other values
            return (
                f"{self.source} is fitted; {found} holds counts as they are: pass {how} for them."
            )
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
    X: Any
    if isinstance(first.X, Chunked):
        others: list[Any] = [part.X for part in parts[1:]]
        X = first.X.followed_by(others)
    elif isinstance(first.X, np.ndarray):
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


def as_dense(rows: Any) -> NDArray[np.float32]:
    """Return rows as a dense array, float32."""
    dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return np.ascontiguousarray(dense, dtype=np.float32)
