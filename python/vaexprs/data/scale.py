"""The scale of expression values, found from the values, and the way from each to a log scale."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from vaexprs.data.matrices.chunked import Chunked

#: ``"counts"``: whole numbers. ``"binary"``: zeros and ones. ``"linear"``: in proportion to
#: expression, as RPKM and TPM are. ``"log"``: logged or scaled.
Scale: TypeAlias = Literal["counts", "binary", "linear", "log"]

#: Largest value that can be logged: log1p(1e13) is 30.
_LARGEST_LOG = 30.0

#: Total counts of a cell before the logarithm: the convention of scanpy and Seurat.
_TARGET_LIBRARY = 1e4


def scale_of(X: Any) -> Scale:
    """Return the scale of a matrix by its values.

    Values with a negative among them are logged or scaled; whole numbers are counts, unless they
    are zeros and ones only. Others are linear if the largest exceeds 30.
    """
    if isinstance(X, Chunked):
        facts = X.facts
        smallest, largest, whole = facts.minimum, facts.maximum, facts.is_integer
    else:
        values = stored_values(X)
        if values.size == 0:
            return "binary"
        smallest, largest = values.min(), values.max()
        whole = bool((values == np.rint(values)).all())
    if smallest < 0:
        return "log"
    if whole:
        return "counts" if largest > 1 else "binary"
    return "linear" if largest > _LARGEST_LOG else "log"


def to_log(X: Any, scale: Scale) -> Any:
    """Return values of a scale on a log scale, float32, sparse if given sparse.

    Counts become log1p of counts per 10,000, linear values log1p of themselves; logged and binary
    values are returned as they are.
    """
    if scale == "counts":
        return log_normalise(X)
    if scale == "linear":
        return X.log1p() if hasattr(X, "tocsr") else np.log1p(X)
    return X


def log_normalise(X: Any) -> Any:
    """Return log1p of counts per 10,000, float32, sparse if given sparse."""
    library = np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()
    factor = (_TARGET_LIBRARY / np.where(library > 0, library, 1.0)).astype(np.float32)
    if not hasattr(X, "tocsr"):
        return np.log1p(X * factor[:, None])
    out = X.astype(np.float32, copy=True)
    out.data *= np.repeat(factor, np.diff(out.indptr))
    np.log1p(out.data, out=out.data)
    return out


def stored_values(X: Any) -> Any:
    """Return all values of an array, or those that a sparse matrix stores (the others are 0)."""
    return X.data if hasattr(X, "tocsr") else X
