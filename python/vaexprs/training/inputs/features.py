"""Input of the encoder: transformed values, or their principal-component scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaexprs.data import ExpressionData
from vaexprs.data.matrices.chunked import by_chunk
from vaexprs.data.scale import Scale, to_log
from vaexprs.latent.hidden_groups import HiddenGroups
from vaexprs.latent.programs import Programs
from vaexprs.training.inputs.cross_fitting import Components, cross_fit
from vaexprs.training.inputs.scaling import Scaling

FeatureKind = Literal["log_normalised", "log1p", "identity"]
Array = NDArray[np.float32]

#: Largest mean over cells of the sum of absolute inputs, where the encoder reads all genes. A step
#: of Adam moves each weight by the learning rate, and a unit by that times this sum: logged RPKM
#: of 20,000 genes would move it by ten in one step.
_MOST_INPUT = 300.0
_IN_UNITS_OF_GENES = ("gene_scale", "offset", "score_scale")
_SCALES: dict[str, Scale] = {"log_normalised": "counts", "log1p": "linear"}
#: Rows made dense at a time, to bound memory.
_ROWS_PER_STEP = 512
#: What the dimensions of the arrays of `Features` count.
_DIMENSIONS: dict[str, tuple[str, ...]] = {
    "gene_shift": ("genes",),
    "gene_scale": ("genes",),
    "components": ("genes", "components"),
    "offset": ("components",),
    "score_scale": ("components",),
    "group_weight": ("components", "kinds"),
    "group_bias": ("kinds",),
    "program_combination": ("combinations",),
    "program_centre": ("combinations and others", "kinds", "components"),
    "program_direction": ("components", "programs"),
    "program_threshold": ("combinations and others", "programs"),
    "program_group": ("kinds", "patterns"),
}


@dataclass(frozen=True)
class Features:
    """A fixed map from expression values to principal-component scores and the encoder's input.

    Scores have unit variance: ``(f(x) * gene_scale @ components - offset) / score_scale``. ``f`` is
    log1p of counts per 10,000 (``"log_normalised"``), ``"log1p"`` or ``"identity"``. The encoder
    reads the scores, or, where it `reads_genes`, ``(f(x) - gene_shift) * gene_scale``.
    """

    kind: FeatureKind
    reads_genes: bool
    gene_shift: Array  # (n_genes,)
    gene_scale: Array  # (n_genes,)
    components: Array  # (n_genes, n_components)
    offset: Array  # scores of the mean cell, (n_components,)
    score_scale: Array  # deviation of each score over the training cells
    group_weight: Array | None = None  # of kinds of cells, (n_components, n_kinds)
    group_bias: Array | None = None  # (n_kinds,)
    program_combination: NDArray[np.int64] | None = None  # these arrays are those of `Programs`
    program_centre: Array | None = None  # (n_combinations + 1, n_kinds, n_components)
    program_direction: Array | None = None  # (n_components, n_programs)
    program_threshold: Array | None = None  # (n_combinations + 1, n_programs)
    program_group: NDArray[np.int32] | None = None  # (n_kinds, 2**n_programs)

    def check(self, n_genes: int, n_groups: int) -> None:
        """Refuse arrays, read from a file, that do not fit one another.

        Raises
        ------
        ValueError
            If a shape or a value is not what the other arrays, or the numbers of genes and of
            hidden groups, let expect.
        """
        arrays = {name: getattr(self, name) for name in _DIMENSIONS}
        for start in ("group_", "program_"):
            absent = [name for name in arrays if name.startswith(start) and arrays[name] is None]
            if 0 < len(absent) < sum(name.startswith(start) for name in arrays):
                raise ValueError(f"features.{absent[0]} is missing.")
        arrays = {name: array for name, array in arrays.items() if array is not None}
        sizes = {"genes": n_genes, "components": self.components.shape[-1]}
        sizes["kinds"] = 1 if self.group_bias is None else len(self.group_bias)
        if self.program_direction is not None and self.program_combination is not None:
            programs, combinations = self.program_direction.shape[-1], len(self.program_combination)
            sizes |= {"programs": programs, "patterns": 2**programs}
            sizes |= {"combinations": combinations, "combinations and others": combinations + 1}
        for name, array in arrays.items():
            expected = tuple(sizes[dimension] for dimension in _DIMENSIONS[name])
            if array.shape != expected:
                raise ValueError(
                    f"features.{name}: expected shape {expected} "
                    f"({', '.join(_DIMENSIONS[name])}), got {array.shape}."
                )
            infinite = name == "program_threshold"  # where a program is never on
            if not (~np.isnan(array) if infinite else np.isfinite(array)).all():
                raise ValueError(f"features.{name} has values that are not numbers.")
        if self.n_groups != n_groups:
            raise ValueError(f"features: expected {n_groups} hidden groups, got {self.n_groups}.")
        group = self.program_group
        if group is not None and np.unique(group).tolist() != list(range(n_groups)):
            raise ValueError(f"features.program_group: expected each of 0 to {n_groups - 1}.")

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the encoder."""
        return len(self.gene_scale) if self.reads_genes else self.components.shape[1]

    @property
    def n_groups(self) -> int:
        """Number of hidden groups, 0 for none."""
        if self.program_group is not None:
            return int(self.program_group.max()) + 1
        return 0 if self.group_bias is None else len(self.group_bias)

    def groups(self, scores: Array, combination: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the hidden group of each cell, ``(n_cells,)``.

        By its scores ``(n_cells, n_components)`` and combination ``(n_cells,)``, numbered as
        `Conditions.flat` does.
        """
        kind = np.zeros(len(scores), np.int32)
        if self.group_weight is not None and self.group_bias is not None:
            kind = HiddenGroups(self.group_weight, self.group_bias).of(scores)
        known, centre = self.program_combination, self.program_centre
        direction, threshold = self.program_direction, self.program_threshold
        group = self.program_group
        if known is None or centre is None:
            return kind
        assert direction is not None
        assert threshold is not None
        assert group is not None
        return Programs(known, centre, direction, threshold, group).of(scores, combination, kind)

    def transform(self, X: Any) -> Any:
        """Return ``f`` of the values, sparse where they are sparse."""
        return by_chunk(partial(to_log, scale=_SCALES.get(self.kind, "log")), X)

    def inputs(self, X: Any) -> Array:
        """Return the encoder's input, dense, ``(n_cells, n_inputs)``, float32."""
        if not self.reads_genes:
            return self.scores(X)
        values = self.transform(X)
        dense = values if isinstance(values, np.ndarray) else values.toarray()
        return np.asarray((dense - self.gene_shift) * self.gene_scale, dtype=np.float32)

    def scores(self, X: Any) -> Array:
        """Return the scores of cells, ``(n_cells, n_components)``, float32."""
        scores = self.transform(X) @ (self.components * self.gene_scale[:, None]) - self.offset
        return np.asarray(scores / self.score_scale, dtype=np.float32)


def features_of(
    data: ExpressionData,
    kind: FeatureKind,
    scaling: Scaling | None,
    n_components: int,
    seed: int,
    *,
    at_most: int | None = None,
    reads_genes: bool = False,
) -> tuple[Features, Components]:
    """Return the features of a fit, with components and scores of the training cells.

    With ``at_most``, more than ``n_components`` are taken, up to that, while the last is still
    signal, and fewer where the last are noise, or new cells do not show them.
    """
    shift = np.zeros(data.n_genes, np.float32)
    scale = np.ones(data.n_genes, np.float32)
    if scaling is not None:
        shift = np.where(scaling.varies, scaling.shift, 0).astype(np.float32)
        scale = np.where(scaling.varies, 1 / scaling.divisor, 0).astype(np.float32)
    values = by_chunk(partial(to_log, scale=_SCALES.get(kind, "log")), data.X)
    scaled = by_chunk(partial(_times, scale), values)
    most = max(1, min(n_components, data.n_cells - 1, data.n_genes))
    components = cross_fit(scaled, most, seed)
    if at_most is not None and at_most > most and components.n_signal() == most:
        components = cross_fit(scaled, at_most, seed)
    if at_most is not None:
        components = components.first(max(1, min(components.n_signal(), components.n_shown())))
    features = Features(
        kind, reads_genes, shift, scale, components.vectors.astype(np.float32),
        offset=(components.centre @ components.vectors).astype(np.float32),
        score_scale=np.sqrt(components.total).astype(np.float32),
    )  # fmt: skip
    return _bounded(features, data) if reads_genes else features, components


def _times(scale: Array, values: Any) -> Any:
    return values * scale if isinstance(values, np.ndarray) else values.multiply(scale).tocsr()


def _bounded(features: Features, data: ExpressionData) -> Features:
    """Centre the genes, and scale them down where their inputs are large together."""
    centre = np.asarray(features.transform(data.X).mean(axis=0), np.float32).ravel()
    centred = replace(features, gene_shift=centre)
    total = 0.0
    for _, rows in data.blocks(_ROWS_PER_STEP):
        total += float(np.abs(centred.inputs(rows)).sum())
    mean = total / data.n_cells
    factor = np.float32(min(1, _MOST_INPUT / mean) if mean > 0 else 1)
    scaled = {name: getattr(centred, name) * factor for name in _IN_UNITS_OF_GENES}
    return replace(centred, **scaled)
