"""Expression data as the model sees it: one matrix, its gene names, its condition codes.

`read_expression` takes what a user has (an AnnData, a view of one, a file-backed one, a matrix
or a data frame with labels) and returns `ExpressionData`, or says what is wrong with it. It
never changes what it was given and never turns a sparse matrix into a dense one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaexprs.errors import ConditionError, DataError, near_matches, require
from vaexprs.spec import COUNT_LIKELIHOODS, ConditionKey, Conditions, Likelihood

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["ExpressionData", "concatenate", "read_expression"]

_log = logging.getLogger("vaexprs")
#: Rows read at a time from a dense matrix that lies in a file.
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
    """

    X: csr_matrix | NDArray[np.float32]
    var_names: tuple[str, ...]
    obs_names: tuple[str, ...]
    keys: tuple[ConditionKey, ...]
    codes: NDArray[np.int32]
    source: str = "X"
    layers: tuple[str, ...] = field(default=(), repr=False)

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
        starts = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)
        out = np.zeros((self.n_cells, int(starts[-1])), np.float32)
        rows = np.arange(self.n_cells)
        for key, start in enumerate(starts[:-1]):
            out[rows, start + self.codes[:, key]] = 1.0
        return out

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

    def check_for(self, likelihood: Likelihood) -> None:
        """Raise `DataError` if the values cannot come from a likelihood.

        Parameters
        ----------
        likelihood
            Counts must be whole numbers >= 0 with at least one count in each cell; ``zigamma``
            needs values >= 0; ``bernoulli`` and ``gaussian`` take any finite values.
        """
        if likelihood in ("bernoulli", "gaussian"):
            return
        if self.minimum < 0:
            raise DataError(
                f"likelihood {likelihood!r} needs values >= 0, but {self.source} holds "
                f"{self.minimum:g} ({self._where(self._values < 0)}): choose likelihood='gaussian' "
                "for scaled data, or pass the raw values" + self._other_layers() + "."
            )
        if likelihood not in COUNT_LIKELIHOODS:
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
                f"(first: {self.obs_names[empty[0]]!r}): remove them, for example with "
                "adata[adata.X.sum(axis=1) > 0]."
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


def read_expression(
    data: Any,
    *,
    condition_keys: str | Sequence[str] | None = None,
    labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
    layer: str | None = None,
    known_keys: tuple[ConditionKey, ...] | None = None,
    genes: tuple[str, ...] | None = None,
) -> ExpressionData:
    """Read expression values and conditions from what a user has.

    Parameters
    ----------
    data
        An AnnData (also a view, also file-backed), or cells x genes values: an array, a sparse
        matrix, a pandas data frame whose columns name the genes.
    condition_keys
        Columns of ``obs`` that the model is told about: categoricals (their order is kept,
        categories without cells are left out), strings, bools or whole numbers.
    labels
        In place of ``obs`` where `data` is no AnnData: one label per cell, or a mapping from
        names to labels. A plain sequence is called `condition_keys`, or ``"label"``.
    layer
        Layer of the AnnData to read instead of ``X``.
    known_keys
        Read the conditions with these categories instead of those found, as when new cells
        are encoded by a fitted model.
    genes
        Pick these genes, in this order, instead of all.

    Returns
    -------
    ExpressionData
        Finite float32 values with unique gene names.

    Raises
    ------
    DataError
        If values are missing, infinite, or not numbers, gene names repeat, labels are missing
        or empty, or there is no cell or no gene.
    ConditionError
        If a column or a category is not known.
    """
    columns: Mapping[str, Any]
    layers: tuple[str, ...] = ()
    if _is_anndata(data):
        if labels is not None:
            raise DataError(
                "labels are for arrays; of an AnnData, name columns of obs by condition_keys."
            )
        matrix, source, layers = _matrix_of(data, layer)
        names = [str(name) for name in data.var_names]
        cells = [str(name) for name in data.obs_names]
        columns = {str(name): data.obs[name] for name in data.obs.columns}
    else:
        if layer is not None:
            raise DataError("layer is for AnnData objects; pass the array that you mean.")
        matrix, source = data, "the array"
        if type(data).__module__.partition(".")[0] == "pandas":
            matrix, names = data.to_numpy(), [str(name) for name in data.columns]
            cells = [str(name) for name in data.index]
        else:
            if len(getattr(matrix, "shape", np.shape(matrix))) != 2:
                raise DataError(
                    "expected an AnnData or a cells x genes matrix, got "
                    f"{type(data).__name__} of shape {np.shape(data)}."
                )
            names, cells = [], []
        condition_keys, columns = _labels_as_columns(labels, condition_keys)

    X = _canonical(matrix, source)
    n_cells, n_genes = X.shape
    names = names or [f"gene{index}" for index in range(n_genes)]
    cells = cells or [str(index) for index in range(n_cells)]
    if n_cells == 0 or n_genes == 0:
        raise DataError(
            f"there is nothing to learn from: {source} holds {n_cells} cells x {n_genes} genes."
        )
    _check_text(names, "gene names")
    _check_unique(names)
    if genes is not None and tuple(names) != genes:
        X, names = X[:, _positions(names, genes)], list(genes)
    result = ExpressionData(
        X, tuple(names), tuple(cells), (), np.zeros((n_cells, 0), np.int32), source, layers
    )
    bad = ~np.isfinite(result._values)
    if bad.any():
        raise DataError(
            f"{source} holds {result._values[bad][0]} ({result._where(bad)}; "
            f"{int(bad.sum())} in all): expression values must be finite numbers."
        )

    wanted = [key.name for key in known_keys] if known_keys is not None else condition_keys
    wanted = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if len(set(wanted)) != len(wanted):
        raise ConditionError(f"condition keys must be unique, got {wanted}.")
    keys, codes = [], []
    for index, name in enumerate(wanted):
        _check_text([name], "condition keys")
        if name not in columns:
            raise ConditionError(f"no column {name!r} in obs: " + near_matches(name, columns))
        if len(columns[name]) != n_cells:
            raise DataError(
                f"{len(columns[name])} labels under {name!r} for {n_cells} cells: expected one "
                "label per cell."
            )
        known = known_keys[index] if known_keys is not None else None
        key, code = _encode_labels(name, columns[name], known)
        keys.append(key)
        codes.append(code)
    stacked = np.stack(codes, axis=1) if codes else np.zeros((n_cells, 0), np.int32)
    return replace(result, keys=tuple(keys), codes=stacked)


def _is_anndata(data: Any) -> bool:
    return all(hasattr(data, name) for name in ("obs", "var_names", "obs_names", "layers"))


def _matrix_of(adata: Any, layer: str | None) -> tuple[Any, str, tuple[str, ...]]:
    # anndata 0.13 lists X itself as the layer None
    layers = tuple(str(name) for name in adata.layers if name is not None)
    if layer is None:
        if adata.X is None:
            raise DataError(f"X is empty; name one of the layers: {', '.join(layers) or 'none'}.")
        return adata.X, "X", tuple(name for name in layers)
    if layer not in layers:
        raise DataError(f"no layer {layer!r}: " + near_matches(layer, layers))
    return adata.layers[layer], f"layer {layer!r}", layers


def _labels_as_columns(
    labels: Any, condition_keys: str | Sequence[str] | None
) -> tuple[str | Sequence[str] | None, Mapping[str, Any]]:
    """Give the labels that came with an array the form of obs columns."""
    if labels is None:
        return condition_keys, {}
    if isinstance(labels, Mapping) or hasattr(labels, "columns"):
        columns = {str(name): labels[name] for name in labels}
        return (list(columns) if condition_keys is None else condition_keys), columns
    names = [condition_keys] if isinstance(condition_keys, str) else list(condition_keys or ())
    if len(names) > 1:
        raise ConditionError(
            f"one sequence of labels came for {len(names)} condition keys: pass a mapping "
            "from each key to its labels."
        )
    return names or ["label"], {(names or ["label"])[0]: labels}


def _canonical(matrix: Any, source: str) -> Any:
    """Return float32 CSR with sorted indices and no stored zeros, or a float32 array."""
    sparse = require("scipy.sparse", extra="anndata", purpose="Reading expression data")
    if hasattr(matrix, "to_memory"):  # a sparse matrix in a file
        matrix = matrix.to_memory()
    elif hasattr(matrix, "compute"):  # a dask array
        matrix = matrix.compute()
    elif hasattr(matrix, "chunks") and hasattr(matrix, "id"):  # a dense matrix in an HDF5 file
        blocks = [
            sparse.csr_matrix(np.asarray(matrix[start : start + _ROWS_PER_READ], np.float32))
            for start in range(0, matrix.shape[0], _ROWS_PER_READ)
        ]
        matrix = sparse.vstack(blocks, format="csr") if blocks else np.zeros(matrix.shape)
    try:
        if not sparse.issparse(matrix):
            matrix = np.asarray(matrix)
        if matrix.dtype.kind not in "biufO":
            raise TypeError(f"its values are of type {matrix.dtype}")
        if not sparse.issparse(matrix):
            return np.ascontiguousarray(matrix, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source} does not hold numbers: {error}.") from error
    csr = sparse.csr_matrix(matrix, dtype=np.float32)  # shares memory where nothing changes
    if not csr.has_canonical_format or (csr.data == 0).any():
        csr = csr.copy()
        csr.sum_duplicates()
        csr.eliminate_zeros()
    return csr


def _check_text(names: Iterable[str], what: str) -> None:
    """Refuse names that no file can hold."""
    for name in names:
        if "\0" in name or not _is_unicode(name):
            raise DataError(f"{what} must be text, but {name!r} is none: rename it.")


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    repeated = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if repeated:
        raise DataError(
            f"{len(repeated)} gene names repeat (first: {repeated[0]!r}): make them unique, for "
            "example with adata.var_names_make_unique()."
        )


def _positions(names: list[str], genes: tuple[str, ...]) -> NDArray[np.int64]:
    where = {name: index for index, name in enumerate(names)}
    missing = [gene for gene in genes if gene not in where]
    if missing:
        raise DataError(
            f"{len(missing)} of the model's {len(genes)} genes are not in the data (first: "
            f"{missing[0]!r}): give the data all genes that the model was trained on."
        )
    return np.array([where[gene] for gene in genes], dtype=np.int64)


def _encode_labels(
    name: str, column: Any, known: ConditionKey | None
) -> tuple[ConditionKey, NDArray[np.int32]]:
    """Turn a column of labels into a key and codes; never touches the column."""
    pandas = require("pandas", extra="anndata", purpose="Reading labels")
    series = pandas.Series(column).reset_index(drop=True)
    missing = int(series.isna().sum())
    if missing:
        raise DataError(
            f"{missing} of {len(series)} cells have no label under {name!r}: fill them in, as in "
            f"adata.obs[{name!r}].fillna('unknown'), or leave these cells out."
        )
    if isinstance(series.dtype, pandas.CategoricalDtype):
        categorical = series.cat
        ordered, values = bool(categorical.ordered), list(categorical.categories)
        raw = categorical.codes.to_numpy().astype(np.int64)
    else:
        if pandas.api.types.is_float_dtype(series.dtype):
            whole = np.isfinite(series) & (series == series.round())
            if not whole.all():
                raise DataError(
                    f"{name!r} holds numbers that are not whole, such as "
                    f"{series[~whole].iloc[0]:g}: a condition needs categories; make some with "
                    "pandas.cut."
                )
            series = series.astype("int64")
        found = series.unique().tolist()
        try:
            values = sorted(found)
        except TypeError:  # labels of mixed types
            values = sorted(found, key=str)
        ordered = False
        position = {value: code for code, value in enumerate(values)}
        raw = np.array([position[value] for value in series.tolist()], dtype=np.int64)
    used = np.unique(raw)
    if len(used) < len(values):
        _log.info("%r: left out %d categories without cells", name, len(values) - len(used))
    categories = [str(values[code]) for code in used]
    codes = np.searchsorted(used, raw)
    _check_text(categories, f"labels under {name!r}")
    if any(not category.strip() for category in categories):
        raise DataError(
            f"some labels under {name!r} are empty: name that category, or leave its cells out."
        )
    if len(set(categories)) != len(categories):
        twice = next(c for c in categories if categories.count(c) > 1)
        raise DataError(
            f"two categories of {name!r} read the same as text: {twice!r}. Rename one of them."
        )
    if known is None:
        return ConditionKey(name, tuple(categories), ordered), codes.astype(np.int32)
    translation = np.array([known.code(category) for category in categories], dtype=np.int32)
    return known, translation[codes]
