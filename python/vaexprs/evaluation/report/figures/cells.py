"""Figures of cells: planes, totals, spread along components, distances to training cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaexprs.evaluation.arrays import Floats
from vaexprs.evaluation.metrics.marginals import cells_of
from vaexprs.evaluation.metrics.privacy import from_training_cells
from vaexprs.evaluation.metrics.structure import component_spread
from vaexprs.evaluation.report.figures.common import COLORS, GRID, NAMES, WIDTH, panels, percent
from vaexprs.evaluation.report.pictures import Pictures
from vaexprs.style import INK, colours, new_figure

_MOST_NAMED = 24  # categories in a legend


def draw_plane(pictures: Pictures, name: str) -> Any:
    """Draw real and generated cells together, then each alone by category, on the same axes."""
    placed, key = pictures.planes[name], pictures.key
    figure, axes = panels(3, 3, WIDTH / 3, 3.9, sharex=True, sharey=True)
    labels = {side: pictures.sides[side].cells.labels.get(key) for side in placed}
    names = [] if labels["test"] is None else sorted({str(label) for label in labels["test"]})
    ink = dict(zip(names, colours(len(names)), strict=True))
    style: dict[str, Any] = {
        "s": float(np.clip(4200 / max(len(placed["test"]), 1), 4, 26)), "linewidths": 0,
        "rasterized": True,
    }  # fmt: skip
    both = np.concatenate(list(placed.values()))
    source = np.repeat([COLORS[side] for side in placed], [len(placed[side]) for side in placed])
    order = np.random.default_rng(0).permutation(len(both))  # so that neither side lies on top
    axes[0].scatter(*both[order].T, c=source[order], alpha=0.6, **style)
    axes[0].set_title("Together")
    for side in placed:
        axes[0].scatter([], [], c=COLORS[side], s=22, label=NAMES[side])
    axes[0].legend(
        loc="lower right", bbox_to_anchor=(0.99, 0.985), ncols=2, handletextpad=0.0,
        columnspacing=0.6, borderpad=0,
    )  # fmt: skip
    for axis, (side, points) in zip(axes[1:], placed.items(), strict=True):
        order = np.random.default_rng(0).permutation(len(points))
        groups = labels[side]
        shades = COLORS[side] if groups is None else [ink.get(g, GRID) for g in groups[order]]
        axis.scatter(*points[order].T, c=shades, alpha=0.8, **style)
        axis.set_title(NAMES[side].capitalize() + (f" by {key}" if key else ""))
    if 0 < len(names) <= _MOST_NAMED:
        handles = [axes[1].scatter([], [], color=ink[label], s=22, label=label) for label in names]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(6, len(names)),
            handletextpad=0.1, columnspacing=1.2,
        )  # fmt: skip
    for axis in axes:
        axis.set(xticks=[], yticks=[], xlabel=f"{name} 1")
    axes[0].set_ylabel(f"{name} 2")
    return figure


def draw_cells(pictures: Pictures) -> Any:
    """Draw violins of library sizes and genes detected."""
    figure, axes = panels(2, 2, WIDTH / 2, 3.3)
    found = {name: side.once(cells_of) for name, side in pictures.sides.items()}
    sums = "Library size" if pictures.cells.scale == "counts" else "Sum of values"
    for which, (axis, title) in enumerate(zip(axes, (sums, "Genes detected"), strict=True)):
        values = [side[which] for side in found.values()]
        logged = which == 0 and all((side > 0).all() for side in values)
        for place, (side, ink) in enumerate(COLORS.items()):
            shown = found[side][which]
            _violin(axis, np.log10(shown) if logged else shown, place, ink)
        axis.set_xticks(range(3), list(NAMES.values()))
        axis.tick_params(axis="x", length=0, labelsize=9, labelcolor=INK)
        axis.set_title(title)
        if logged:
            low, high = axis.get_ylim()
            powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
            ticks = [np.log10(step) + power for power in powers for step in (1, 2, 5)]
            ticks = [tick for tick in ticks if low <= tick <= high]
            axis.set_yticks(ticks, [f"{10**tick:,.0f}" for tick in ticks])
        else:
            axis.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def _violin(axis: Any, values: Floats, place: int, ink: str) -> None:
    if np.ptp(values) > 0:
        for body in axis.violinplot(values, [place], widths=0.8, showextrema=False)["bodies"]:
            body.set(facecolor=ink, edgecolor=ink, alpha=0.3)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    axis.plot([place, place], [low, high], color=ink, lw=5, solid_capstyle="round")
    axis.plot(place, middle, "o", color="white", ms=4, mec=ink)


def draw_spread(pictures: Pictures) -> Any:
    """Draw the ratio of standard deviations along each component."""
    figure = new_figure(WIDTH, 2.9)
    axis = figure.subplots()
    test = pictures.cells.test.components
    axis.axhline(1, color=GRID, lw=1)
    every = []
    for side in ("control", "generated"):
        ratio = component_spread(test, pictures.sides[side].components)
        every.append(ratio)
        axis.plot(
            np.arange(1, len(ratio) + 1), ratio, "o-", ms=4, lw=1.2, color=COLORS[side],
            label=NAMES[side],
        )  # fmt: skip
    low, high = np.concatenate(every).min(), np.concatenate(every).max()
    axis.set_yscale("log", base=2)
    axis.set_yticks([0.1, 0.25, 0.5, 0.71, 1, 1.41, 2, 4])
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    axis.set_ylim(min(0.65, max(low, 0.05) * 0.9), max(1.5, high * 1.1))
    axis.grid(axis="y")
    axis.set(xlabel="principal component", ylabel="standard deviation\nover that of test cells")
    axis.locator_params(axis="x", integer=True)
    axis.legend(ncols=2, loc="upper right", bbox_to_anchor=(1, 1.17))
    return figure


def draw_distances(pictures: Pictures) -> Any:
    """Draw the cumulative share of cells by their distance to the nearest training cell."""
    figure, axes = panels(2, 2, WIDTH / 2, 3.1)
    titles = ("All cells", "The nearest tenth: copies would show here")
    for axis, most, title in zip(axes, (1.0, 0.1), titles, strict=True):
        for name, side in pictures.sides.items():
            ordered = np.sort(side.once(from_training_cells, pictures.cells.fitted))
            share = np.arange(1, len(ordered) + 1) / len(ordered)
            kept = share <= most + 1 / len(ordered)
            axis.step(
                ordered[kept], share[kept], where="post", color=COLORS[name], lw=1.8,
                label=NAMES[name],
            )  # fmt: skip
        axis.set_ylim(0, most)
        axis.set_xlim(left=0)
        axis.set_xlabel("distance to the nearest training cell (components)")
        axis.set_title(title)
        percent(axis.yaxis)
    axes[0].set_ylabel("cells at most this far")
    axes[0].legend(loc="lower right")
    return figure
