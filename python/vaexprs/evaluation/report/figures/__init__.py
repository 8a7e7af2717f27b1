"""The figures of the page, one file per family; each takes `Pictures` or a report's parts."""

from __future__ import annotations

from vaexprs.evaluation.report.figures.clouds import draw_embedding, draw_roc
from vaexprs.evaluation.report.figures.conditions import (
    draw_agreement,
    draw_augmentation,
    draw_folds,
)
from vaexprs.evaluation.report.figures.genes import draw_genes, draw_telling, draw_trends
from vaexprs.evaluation.report.figures.overview import draw_overview
from vaexprs.evaluation.report.figures.structure import (
    draw_cells,
    draw_correlations,
    draw_distances,
    draw_spread,
)

__all__ = [
    "draw_agreement",
    "draw_augmentation",
    "draw_cells",
    "draw_correlations",
    "draw_distances",
    "draw_embedding",
    "draw_folds",
    "draw_genes",
    "draw_overview",
    "draw_roc",
    "draw_spread",
    "draw_telling",
    "draw_trends",
]
