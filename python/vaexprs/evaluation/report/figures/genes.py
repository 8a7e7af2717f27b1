"""Each gene by itself: scatters, trends, and the genes that give generated cells away."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vaexprs.evaluation.metrics.arrays import Floats
from vaexprs.evaluation.report.figures.style import COLORS, INK, MUTED, NAMES, figure
from vaexprs.evaluation.report.pictures import Pictures
from vaexprs.evaluation.scores.telling import TellingGene

__all__ = ["draw_genes", "draw_telling", "draw_trends"]

_PANELS = (
    ("mean", "Mean expression", True),
    ("variance", "Variance", True),
    ("zero_fraction", "Zero fraction", False),
    ("maximum", "Maximum", False),
)


def draw_genes(pictures: Pictures) -> Any:
    """Draw every gene, generated (above) and control (below) against test cells."""
    drawn = figure(10.8, 5.9)
    axes = drawn.subplots(2, 4)
    linear = pictures.scale == "log"
    for column, (name, title, logged) in enumerate(_PANELS):
        logged = logged and not linear
        real = getattr(pictures.genes["test"], name)
        sides = {side: getattr(pictures.genes[side], name) for side in ("generated", "control")}
        every = np.concatenate([real, *sides.values()])
        floor = every[every > 0].min() if (every > 0).any() else 1.0
        for row, (side, values) in enumerate(sides.items()):
            axis = axes[row, column]
            x, y = (np.maximum(real, floor), np.maximum(values, floor)) if logged else (
                real, values)  # fmt: skip
            low, high = (floor, every.max()) if logged else (every.min(), every.max())
            axis.plot([low, high], [low, high], color="#C9D0D8", lw=1, zorder=0)
            axis.scatter(x, y, s=3.5, alpha=0.35, color=COLORS[side], linewidths=0, rasterized=True)
            if logged:
                axis.set(xscale="log", yscale="log")
                for each in (axis.xaxis, axis.yaxis):
                    each.set_major_locator(LogLocator(numticks=5))
                    each.set_minor_formatter(NullFormatter())
            axis.set_box_aspect(1)
            if row == 0:
                axis.set_title(title)
            if row == 1:
                axis.set_xlabel(NAMES["test"])
            if column == 0:
                axis.set_ylabel(NAMES[side], color=COLORS[side], fontweight="bold")
    return drawn


def draw_trends(pictures: Pictures) -> Any:
    """Draw variance and zero fraction along the mean, values as given, with median trends."""
    drawn = figure(10.8, 3.6)
    axes = drawn.subplots(1, 2)
    linear = pictures.scale == "log"
    for axis, name, title in (
        (axes[0], "variance", "Variance along the mean"),
        (axes[1], "zero_fraction", "Zeros along the mean"),
    ):
        for side, order in (("test", 0), ("generated", 1)):
            genes = pictures.given_genes[side]
            shown = (genes.variance > 0) & (genes.zero_fraction < 1)
            if not linear:
                shown &= genes.mean > 0
            x, y = genes.mean[shown], getattr(genes, name)[shown]
            axis.scatter(
                x, y, s=3.5, alpha=0.15, color=COLORS[side], linewidths=0, rasterized=True,
                zorder=order,
            )  # fmt: skip
            axis.plot(
                *_trend(x, y, not linear), color=COLORS[side], lw=2.2, label=NAMES[side],
                zorder=3 + order, ls="-" if side == "test" else (0, (3, 1.2)),
            )  # fmt: skip
        if not linear:
            axis.set_xscale("log")
            if name == "variance":
                axis.set_yscale("log")
        axis.set(xlabel="mean of values as given", title=title)
    axes[0].set_ylabel("variance")
    axes[1].set_ylabel("zero fraction")
    axes[0].legend(loc="upper left")
    return drawn


def _trend(x: Floats, y: Floats, logged: bool, n_bins: int = 20) -> tuple[Floats, Floats]:
    """Medians in bins of one width along x, or along its logarithm."""
    place = np.log10(x) if logged else x
    edges = np.linspace(place.min(), place.max(), n_bins + 1)
    bins = np.clip(np.searchsorted(edges, place, side="right") - 1, 0, n_bins - 1)
    names, counts = np.unique(bins, return_counts=True)
    used = names[counts >= 5]
    return (
        np.array([np.median(x[bins == index]) for index in used]),
        np.array([np.median(y[bins == index]) for index in used]),
    )


def draw_telling(genes: list[TellingGene], pictures: Pictures) -> Any:
    """Draw how important the most telling genes are, and how their values are distributed."""
    shown = list(pictures.telling)
    drawn = figure(10.8, 4.4)
    left, right = drawn.subfigures(1, 2, width_ratios=(1, 1.9), wspace=0.03)
    axis = left.subplots()
    places = np.arange(len(genes))
    axis.barh(
        places, [gene.importance for gene in genes], color=COLORS["generated"], height=0.62,
        label=NAMES["generated"],
    )  # fmt: skip
    axis.plot(
        [gene.control_importance for gene in genes], places, "|", color=INK, ms=8, mew=1.5,
        label=NAMES["control"],
    )  # fmt: skip
    axis.set_yticks(places, [gene.gene for gene in genes])
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1%}"))
    axis.set_title("Share of importance")
    left.legend(loc="outside lower center", ncols=2)

    axes = np.atleast_1d(right.subplots(2, 4)).ravel()
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for axis, name in zip(axes, shown, strict=False):
        values = pictures.telling[name]
        top = max(side.max() for side in values.values())
        bottom = min(0.0, *(float(side.min()) for side in values.values()))
        edges = np.linspace(bottom, top if top > bottom else bottom + 1, 25)
        for side in ("test", "generated"):
            axis.hist(
                values[side],
                bins=edges,
                weights=np.full(len(values[side]), 1 / len(values[side])),
                histtype="stepfilled" if side == "test" else "step",
                color=COLORS[side],
                alpha=0.3 if side == "test" else 1.0,
                lw=1.5 if side == "generated" else 0,
                label=NAMES[side],
            )
        axis.set_title(name)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        axis.tick_params(labelsize=7, colors=MUTED)
    if len(shown):
        right.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return drawn
