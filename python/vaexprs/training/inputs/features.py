"""Input of the encoder: transformed values, or their principal-component scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaexprs.data import ExpressionData
from vaexprs.data.scale import Scale, to_log
from vaexprs.training.inputs.cross_fitting import Components, cross_fit
from vaexprs.training.inputs.scaling import Scaling

__all__ = ["FeatureKind", "Features", "features_of"]

FeatureKind = Literal["log_normalised", "log1p", "identity"]
Array = NDArray[np.float32]

#: Largest mean over cells of the sum of absolute inputs, where the encoder reads all genes. A step
#: of Adam moves each weight by the learning rate, and a unit by that times this sum: logged RPKM
#: of 20,000 genes would move it by ten in one step.
_MOST_INPUT = 300.0
#: Rows made dense at a time, to bound memory.
_ROWS_PER_STEP = 512


@dataclass(frozen=True)
class Features:
    """A fixed map from expression values to the encoder's input.

    ``(f(x) - gene_shift) * gene_scale``, or, where there are `components`, scores of unit
    variance: ``(f(x) * gene_scale @ components - offset) / score_scale``. ``f`` is log1p of
    counts per 10,000 (``"log_normalised"``), ``"log1p"`` or ``"identity"``.
    """

    kind: FeatureKind
    gene_shift: Array  # (n_genes,)
    gene_scale: Array  # (n_genes,)
    components: Array | None = None  # (n_genes, n_components)
    offset: Array | None = None  # scores of the mean cell, (n_components,)
    score_scale: Array | None = None  # deviation of each score over the training cells

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the encoder."""
        return len(self.gene_scale) if self.components is None else self.components.shape[1]

    def transform(self, X: Any) -> Any:
        """Return ``f`` of the values, sparse where they are sparse."""
        scales: dict[str, Scale] = {"log_normalised": "counts", "log1p": "linear"}
        return to_log(X, scales.get(self.kind, "log"))

    def inputs(self, X: Any) -> Array:
        """Return the encoder's input, dense, ``(n_cells, n_inputs)``, float32."""
        values = self.transform(X)
        if self.components is None:
            dense = values if isinstance(values, np.ndarray) else values.toarray()
            return np.asarray((dense - self.gene_shift) * self.gene_scale, dtype=np.float32)
        assert self.offset is not None
        assert self.score_scale is not None
        scores = values @ (self.components * self.gene_scale[:, None]) - self.offset
        return np.asarray(scores / self.score_scale, dtype=np.float32)


def features_of(
    data: ExpressionData,
    kind: FeatureKind,
    scaling: Scaling | None,
    n_components: int | None,
    seed: int,
    *,
    at_most: int | None = None,
) -> tuple[Features, Components | None]:
    """Return the encoder's features, with components and scores if it reads scores.

    Parameters
    ----------
    n_components
        Number of components, or None for an encoder that reads the genes.
    at_most
        Take up to this number of components where the last of `n_components` is still signal.
    """
    shift = np.zeros(data.n_genes, np.float32)
    scale = np.ones(data.n_genes, np.float32)
    if scaling is not None:
        shift = np.where(scaling.varies, scaling.shift, 0).astype(np.float32)
        scale = np.where(scaling.varies, 1 / scaling.divisor, 0).astype(np.float32)
    features = Features(kind, shift, scale)
    if n_components is None:
        return _bounded(features, data), None
    values = features.transform(data.X)
    scaled = values * scale if isinstance(values, np.ndarray) else values.multiply(scale).tocsr()
    most = max(1, min(n_components, data.n_cells - 1, data.n_genes))
    components = cross_fit(scaled, most, seed)
    if at_most is not None and at_most > most and components.n_signal() == most:
        components = cross_fit(scaled, at_most, seed)
        components = components.first(max(most, components.n_signal()))
    return replace(
        features,
        components=components.vectors.astype(np.float32),
        offset=(components.centre @ components.vectors).astype(np.float32),
        score_scale=np.sqrt(components.total).astype(np.float32),
    ), components


def _bounded(features: Features, data: ExpressionData) -> Features:
    """Centre the genes, and scale them down where their inputs are large together."""
    centre = np.asarray(features.transform(data.X).mean(axis=0), np.float32).ravel()
    centred = replace(features, gene_shift=centre)
    total = 0.0
    for start in range(0, data.n_cells, _ROWS_PER_STEP):
        total += float(np.abs(centred.inputs(data.X[start : start + _ROWS_PER_STEP])).sum())
    mean = total / data.n_cells
    factor = min(1, _MOST_INPUT / mean) if mean > 0 else 1
    return replace(centred, gene_scale=features.gene_scale * np.float32(factor))
