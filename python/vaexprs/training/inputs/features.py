"""What the encoder sees of the cells: transformed values, or their principal-component scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaexprs.data import ExpressionData
from vaexprs.data.scale import Scale, scale_of, to_log
from vaexprs.spec import COUNT_LIKELIHOODS

__all__ = ["Features", "feature_kind"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """A fixed map from expression values to the encoder's input.

    ``f(x) * gene_scale``, then, where there are `components`, scores of unit variance:
    ``(f(x) * gene_scale - centre) @ components / score_scale``.

    Attributes
    ----------
    kind
        ``"log_normalised"``: log1p of counts per 10,000; ``"log1p"``; or ``"identity"``.
    gene_scale, gene_shift
        ``(n_genes,)``; the shift is subtracted before the scale (dense input only).
    components
        ``(n_genes, n_components)``, or None where the encoder reads the genes themselves.
    offset
        Scores of the mean cell, ``(n_components,)``.
    score_scale
        Standard deviation of each score over the training cells, ``(n_components,)``.
    """

    kind: Literal["log_normalised", "log1p", "identity"]
    gene_shift: Array
    gene_scale: Array
    components: Array | None = None
    offset: Array | None = None
    score_scale: Array | None = None

    @property
    def n_inputs(self) -> int:
        """Width of what the encoder reads."""
        return len(self.gene_scale) if self.components is None else self.components.shape[1]

    def transform(self, X: Any) -> Any:
        """Apply ``f`` alone, keeping sparse what is sparse."""
        scales: dict[str, Scale] = {"log_normalised": "counts", "log1p": "linear"}
        return to_log(X, scales.get(self.kind, "log"))

    def inputs(self, X: Any) -> Array:
        """Return what the encoder reads of these cells, dense, ``(n_cells, n_inputs)``."""
        values = self.transform(X)
        if self.components is None:
            dense = values if isinstance(values, np.ndarray) else values.toarray()
            return np.asarray((dense - self.gene_shift) * self.gene_scale, dtype=np.float32)
        assert self.offset is not None
        assert self.score_scale is not None
        scores = values @ (self.components * self.gene_scale[:, None]) - self.offset
        return np.asarray(scores / self.score_scale, dtype=np.float32)


def feature_kind(
    data: ExpressionData, likelihood: str
) -> Literal["log_normalised", "log1p", "identity"]:
    """Choose the transformation: counts and linear scales are logged, logged ones are not."""
    if likelihood in COUNT_LIKELIHOODS:
        return "log_normalised"
    if likelihood == "zigamma" and scale_of(data.X) == "linear":
        return "log1p"
    return "identity"
