"""Overlays of real and generated cells, and the ROC curves of the discriminators."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaexprs.evaluation.report.figures.style import (
    COLORS,
    INK,
    MUTED,
    NAMES,
    category_colors,
    figure,
    thin,
)
from vaexprs.evaluation.report.pictures import Pictures

__all__ = ["draw_embedding", "draw_roc"]

_TITLES = {
    "forest_auc_components": "Random forest, components",
    "forest_auc_genes": "Random forest, 500 genes",
    "logistic_auc_genes": "Logistic regression, 500 genes",
}
N_LEGEND = 24


def draw_embedding(pictures: Pictures, name: str) -> Any:
    """Draw real and generated cells together, then each alone by category, on the same axes."""
    placed = pictures.embeddings[name]
    test, made = placed["test"], placed["generated"]
    n_panels = 3 if pictures.groups else 2
    drawn = figure(3.6 * n_panels, 3.9)
    axes = drawn.subplots(1, n_panels, sharex=True, sharey=True)
    size = float(np.clip(4200 / max(len(test), 1), 4, 26))

    both = np.concatenate([test, made])
    colors = np.repeat([COLORS["test"], COLORS["generated"]], [len(test), len(made)])
    order = thin(len(both), len(both))
    axes[0].scatter(
        *both[order].T, c=colors[order], s=size, alpha=0.6, linewidths=0, rasterized=True
    )
    axes[0].set_title("Together")
    for side in ("test", "generated"):
        axes[0].scatter([], [], c=COLORS[side], s=22, label=NAMES[side])
    axes[0].legend(
        loc="lower right",
        bbox_to_anchor=(0.99, 0.985),
        ncols=2,
        handletextpad=0.0,
        columnspacing=0.6,
        borderpad=0,
    )

    if pictures.groups:
        names = sorted({str(name) for name in pictures.groups["test"]})
        palette = category_colors(names)
        for axis, side, points in ((axes[1], "test", test), (axes[2], "generated", made)):
            order = thin(len(points), len(points))
            groups = pictures.groups[side][order]
            axis.scatter(
                *points[order].T,
                c=[palette[group] for group in groups],
                s=size,
                alpha=0.8,
                linewidths=0,
                rasterized=True,
            )
            axis.set_title(f"{NAMES[side].capitalize()} by {pictures.key}")
        if len(names) <= N_LEGEND:
            handles = [
                axes[1].scatter([], [], color=palette[name], s=22, label=name) for name in names
            ]
            drawn.legend(
                handles=handles,
                loc="outside lower center",
                ncols=min(6, len(names)),
                handletextpad=0.1,
                columnspacing=1.2,
            )
    else:
        axes[1].scatter(*test.T, c=COLORS["test"], s=size, alpha=0.6, lw=0, rasterized=True)
        axes[1].set_title("Real (test) alone")
    for axis in axes:
        axis.set(xticks=[], yticks=[], xlabel=f"{name} 1")
    axes[0].set_ylabel(f"{name} 2")
    return drawn


def draw_roc(pictures: Pictures) -> Any:
    """Draw how each discriminator does on generated cells and on the control."""
    grid = np.linspace(0, 1, 101)
    drawn = figure(3.6 * len(pictures.curves), 3.6)
    axes = np.atleast_1d(drawn.subplots(1, len(pictures.curves), sharey=True))
    for axis, (key, (ours, theirs)) in zip(axes, pictures.curves.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="#C9D0D8", lw=1, ls=(0, (4, 3)))
        axis.fill_between(grid, theirs, ours, color=COLORS["generated"], alpha=0.12, lw=0)
        axis.plot(grid, theirs, color=COLORS["control"], lw=2, label=NAMES["control"])
        axis.plot(grid, ours, color=COLORS["generated"], lw=2, label=NAMES["generated"])
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="real cells called generated")
        axis.set_title(_TITLES.get(key, key))
    axes[0].set_ylabel("generated cells called generated")
    axes[0].legend(loc="lower right", labelcolor=INK)
    axes[0].annotate(
        "coin toss", (0.72, 0.70), rotation=45, color=MUTED, size=7.5, ha="center", va="top"
    )
    return drawn
