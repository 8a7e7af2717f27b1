"""Correlations, spread along components, cells' totals, distances to training cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.stats import gaussian_kde

from vaexprs.evaluation.metrics.arrays import Floats
from vaexprs.evaluation.report.figures.style import COLORS, INK, MUTED, NAMES, figure
from vaexprs.evaluation.report.pictures import SIDES, Pictures

__all__ = ["draw_cells", "draw_correlations", "draw_distances", "draw_spread"]


def draw_correlations(pictures: Pictures) -> Any:
    """Draw the correlation matrices side by side, genes in the order of the test cells."""
    drawn = figure(10.8, 3.9)
    axes = drawn.subplots(1, 3)
    image = None
    for axis, side in zip(axes, ("control", "test", "generated"), strict=True):
        image = axis.imshow(
            pictures.correlation[side], cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest"
        )
        axis.set(xticks=[], yticks=[])
        axis.set_title(NAMES[side].capitalize())
        for spine in axis.spines.values():
            spine.set_visible(False)
    axes[0].set_ylabel(f"{len(pictures.correlation['test'])} most variable genes")
    bar = drawn.colorbar(image, ax=axes, shrink=0.72, aspect=28, pad=0.015)
    bar.set_label("Spearman correlation")
    bar.outline.set_visible(False)
    return drawn


def draw_spread(pictures: Pictures) -> Any:
    """Draw the ratio of standard deviations along each component."""
    drawn = figure(10.8, 2.9)
    axis = drawn.subplots()
    axis.axhline(1, color="#C9D0D8", lw=1)
    for side in ("control", "generated"):
        ratio = pictures.spread[side]
        axis.plot(
            np.arange(1, len(ratio) + 1),
            ratio,
            "o-",
            ms=4,
            lw=1.2,
            color=COLORS[side],
            label=NAMES[side],
        )
    every = np.concatenate(list(pictures.spread.values()))
    axis.set_yscale("log", base=2)
    axis.set_yticks([0.1, 0.25, 0.5, 0.71, 1, 1.41, 2, 4])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.minorticks_off()
    axis.set_ylim(min(0.65, every[every > 0].min() * 0.9), max(1.5, every.max() * 1.1))
    axis.grid(axis="y", color="#EDF0F3")
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(MaxNLocator(11, integer=True, steps=[1, 5, 10]))
    axis.set_xlim(0, len(every) / 2 + 1)
    axis.set(xlabel="principal component", ylabel="standard deviation\nover that of test cells")
    axis.legend(ncols=2, loc="upper right", bbox_to_anchor=(1, 1.17))
    return drawn


def draw_cells(pictures: Pictures) -> Any:
    """Draw violins of library sizes and genes detected."""
    drawn = figure(10.8, 3.3)
    axes = drawn.subplots(1, 2)
    counts = pictures.scale == "counts"
    panels = (
        (axes[0], pictures.library, "Library size" if counts else "Sum of values", True),
        (axes[1], pictures.detected, "Genes detected", False),
    )
    for axis, values, title, may_log in panels:
        logged = may_log and all((side > 0).all() for side in values.values())
        for place, side in enumerate(SIDES):
            shown = np.log10(values[side]) if logged else values[side]
            _violin(axis, shown, place, COLORS[side])
        axis.set_xticks(range(3), [NAMES[side] for side in SIDES])
        axis.tick_params(axis="x", length=0, labelsize=9, labelcolor=INK)
        axis.set_title(title)
        if logged:
            _ticks_of_a_logarithm(axis)
        else:
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return drawn


def _ticks_of_a_logarithm(axis: Any) -> None:
    """Mark 1, 2 and 5 times the powers of ten on an axis that shows log10."""
    low, high = axis.get_ylim()
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    ticks = [np.log10(step) + power for power in powers for step in (1, 2, 5)]
    shown = [tick for tick in ticks if low <= tick <= high]
    axis.set_yticks(shown, [f"{10**tick:,.0f}" for tick in shown])


def _violin(axis: Any, values: Floats, place: int, color: str) -> None:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    if np.ptp(values) > 0:
        grid = np.linspace(values.min(), values.max(), 200)
        width = gaussian_kde(values)(grid)
        width = 0.4 * width / width.max()
        axis.fill_betweenx(grid, place - width, place + width, color=color, alpha=0.25, lw=0)
        axis.plot(place - width, grid, color=color, lw=1)
        axis.plot(place + width, grid, color=color, lw=1)
    axis.plot([place, place], [low, high], color=color, lw=5, solid_capstyle="round")
    axis.plot(place, middle, "o", color="white", ms=4, mec=color)


def draw_distances(pictures: Pictures) -> Any:
    """Draw the cumulative share of cells by their distance to the nearest training cell."""
    drawn = figure(10.8, 3.1)
    axes = drawn.subplots(1, 2, width_ratios=(1.25, 1))
    for axis, most in ((axes[0], 1.0), (axes[1], 0.1)):
        for side in SIDES:
            ordered = np.sort(pictures.distances[side])
            share = np.arange(1, len(ordered) + 1) / len(ordered)
            kept = share <= most + 1 / len(ordered)
            axis.step(
                ordered[kept], share[kept], where="post", color=COLORS[side], lw=1.8,
                label=NAMES[side],
            )  # fmt: skip
        axis.set_ylim(0, most)
        axis.set_xlim(left=0)
        axis.set_xlabel("distance to the nearest training cell (components)")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes[0].set_ylabel("cells at most this far")
    axes[0].legend(loc="lower right")
    axes[0].set_title("All cells")
    axes[1].set_title("The nearest tenth: copies would show here")
    axes[1].tick_params(colors=MUTED)
    return drawn
