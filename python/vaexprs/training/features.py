"""What the encoder sees of the cells: transformed values, or their principal-component scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaexprs.data import ExpressionData
from vaexprs.spec import COUNT_LIKELIHOODS, Likelihood
from vaexprs.training.effects import design_of

__all__ = ["Features", "feature_kind"]

#: Counts are put on this scale before the logarithm, as the field does.
TARGET_LIBRARY = 1e4

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """A fixed map from expression values to the encoder's input.

    ``f(x) * gene_scale``, then, where there are `components`, scores of unit variance:
    ``((f(x) * gene_scale) @ components - offset - design @ effects) / score_scale``, where the
    design holds the categories of the cells and the combinations that have effects of their own.

    Attributes
    ----------
    kind
        ``"log_normalised"``: log1p of counts per 10,000; ``"log1p"``; or ``"identity"``.
    gene_scale, gene_shift
        ``(n_genes,)``; the shift is subtracted before the scale (dense input only).
    components
        ``(n_genes, n_components)``, or None where the encoder reads the genes themselves.
    offset
        Scores of a cell of no category, ``(n_components,)``.
    score_scale
        Standard deviation of each score over the training cells, ``(n_components,)``.
    effects
        What each column of the design adds to the scores, ``(n_columns, n_components)``, or None.
    member
        Which categories make up the combinations, ``(n_categories, n_combinations)``, or None.
    """

    kind: Literal["log_normalised", "log1p", "identity"]
    gene_shift: Array
    gene_scale: Array
    components: Array | None = None
    offset: Array | None = None
    score_scale: Array | None = None
    effects: Array | None = None
    member: Array | None = None

    @property
    def n_inputs(self) -> int:
        """Width of what the encoder reads."""
        return len(self.gene_scale) if self.components is None else self.components.shape[1]

    def transform(self, X: Any) -> Any:
        """Apply ``f`` alone, keeping sparse what is sparse."""
        if self.kind == "identity":
            return X
        factor: Any = 1.0
        if self.kind == "log_normalised":
            total = np.asarray(X.sum(axis=1)).reshape(-1, 1)
            factor = (TARGET_LIBRARY / np.maximum(total, 1e-12)).astype(np.float32)
        if isinstance(X, np.ndarray):
            return np.log1p(X * factor)
        out = X.copy()
        if self.kind == "log_normalised":
            out.data *= np.repeat(factor.ravel(), np.diff(X.indptr))
        np.log1p(out.data, out=out.data)
        return out

    def inputs(self, X: Any, condition: ArrayLike) -> Array:
        """Return what the encoder reads of these cells, dense, ``(n_cells, n_inputs)``.

        Parameters
        ----------
        X
            Expression values, ``(n_cells, n_genes)``.
        condition
            Categories of the cells, one-hot for each key, ``(n_cells, n_categories)``.
        """
        values = self.transform(X)
        if self.components is None:
            dense = values if isinstance(values, np.ndarray) else values.toarray()
            return np.asarray((dense - self.gene_shift) * self.gene_scale, dtype=np.float32)
        assert self.offset is not None
        assert self.score_scale is not None
        scores = values @ (self.components * self.gene_scale[:, None]) - self.offset
        if self.effects is not None and self.member is not None:
            scores = scores - design_of(condition, self.member) @ self.effects
        return np.asarray(scores / self.score_scale, dtype=np.float32)


def feature_kind(
    data: ExpressionData, likelihood: Likelihood
) -> Literal["log_normalised", "log1p", "identity"]:
    """Choose the transformation: counts and linear scales are logged, logged ones are not."""
    if likelihood in COUNT_LIKELIHOODS:
        return "log_normalised"
    if likelihood == "zigamma" and data.maximum > 30:
        return "log1p"
    return "identity"
