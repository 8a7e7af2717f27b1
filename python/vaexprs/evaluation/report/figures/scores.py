"""Figures of scores: all at one glance, ROC curves, agreement by category, rare classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaexprs.evaluation.comparison.ranges import Score
from vaexprs.evaluation.metrics.conditions import CategoryRow
from vaexprs.evaluation.registry import FAMILIES, kinds
from vaexprs.evaluation.report.figures.common import COLORS, GRID, NAMES, WIDTH, panels, percent
from vaexprs.evaluation.report.pictures import Pictures
from vaexprs.evaluation.scores.augmentation import AugmentationRow
from vaexprs.style import INK, MUTED, new_figure

FARTHEST = 64.0  # half widths of the range: farther scores are drawn here
_MARKS = {
    "within": "#0072b2", "better": "#009e73", "worse": "#d55e00", "off": "#d55e00",
    "none": "#8a8f98",
}  # fmt: skip
_MOST_CATEGORIES = 30  # of a key in `draw_agreement`, the largest ones
#: Label, colour, marker and dashes of each way to top up a rare class.
_METHODS = {
    "none": ("nothing added", "#8a8f98", "o", (0, (1, 1.5))),
    "oversampling": ("oversampling", "#e69f00", "s", (0, (4, 2))),
    "smote": ("SMOTE", "#0072b2", "^", "-"),
    "generated": ("generated cells", "#d55e00", "D", "-"),
}


def squeeze(gap: float) -> float:
    """Put a gap in half widths on an axis that is linear to 1, logarithmic to 64, and ends."""
    gap = min(max(gap, -FARTHEST), FARTHEST)
    return gap if abs(gap) <= 1 else math.copysign(1 + math.log2(abs(gap)), gap)


def draw_overview(scores: Sequence[Score]) -> Any:
    """Draw how far each score lies outside the range of real cells; worse is right."""
    shown = [score for score in scores if not math.isnan(score.gap)]
    places: list[float] = []
    headings: list[tuple[float, str]] = []
    place, family = 0.0, ""
    for score in shown:
        if score.kind.family != family:
            family = score.kind.family
            place += 0.9 if places else 0.4
            headings.append((place - 0.05, FAMILIES.get(family, family)))
            place += 1.0
        places.append(place)
        place += 0.9
    figure = new_figure(WIDTH, 0.205 * place + 0.9)
    axis = figure.subplots()
    values = np.array([squeeze(score.gap) for score in shown])
    axis.axvspan(-1, 1, color="#e7f1f8", lw=0)
    axis.axvline(0, color="#9db7c9", lw=1)
    inks = [_MARKS[score.verdict] for score in shown]
    axis.hlines(places, 0, values, colors=inks, lw=1.4, alpha=0.55)
    axis.scatter(values, places, c=inks, s=36, zorder=3)
    names = [score.kind.title + (f" · {score.of}" if score.of else "") for score in shown]
    axis.set_yticks(places, names)
    axis.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8.5)
    limit = max(3.0, float(values.max(initial=0)) + 0.4)
    axis.set(xlim=(min(-1.6, float(values.min(initial=0)) - 0.3), limit), ylim=(place, -1.2))
    for where, title in headings:
        axis.text(
            -0.005, where, title, transform=axis.get_yaxis_transform(), ha="right", va="center",
            fontweight="bold", size=8.5, color=MUTED,
        )  # fmt: skip
    steps = [2**power for power in range(int(limit))]
    labels = [f"{step:g}" + (" and more" if step == FARTHEST else "") for step in steps]
    axis.set_xticks([-1, 0, *map(squeeze, steps)], ["1", "control", *labels])
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("distance from the control in half widths of its range; right is worse")
    axis.text(0, -0.55, "range of real cells", ha="center", size=8, color=MUTED)
    return figure


def draw_roc(pictures: Pictures) -> Any:
    """Draw the mean ROC curves of each classifier for generated cells and for the control."""
    titles = {kind.key: kind.title.removesuffix(" (AUC)") for kind in kinds()}
    grid = np.linspace(0, 1, 101)
    figure, axes = panels(len(pictures.curves), 3, WIDTH / 3, 3.6, sharey=True)
    for axis, (key, (ours, control)) in zip(axes, pictures.curves.items(), strict=True):
        axis.plot([0, 1], [0, 1], color=GRID, lw=1, ls=(0, (4, 3)))
        axis.fill_between(grid, control, ours, color=COLORS["generated"], alpha=0.12, lw=0)
        for side, curve in (("control", control), ("generated", ours)):
            axis.plot(grid, curve, color=COLORS[side], lw=2, label=NAMES[side])
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="real cells called generated")
        axis.set_title(titles.get(key, key))
    axes[0].set_ylabel("generated cells called generated")
    axes[0].legend(loc="lower right")
    axes[0].annotate(
        "coin toss", (0.72, 0.7), rotation=45, color=MUTED, size=7.5, ha="center", va="top"
    )
    return figure


def draw_agreement(rows: Sequence[CategoryRow]) -> Any:
    """Draw the share of each category's cells that a classifier of real cells puts there."""
    keys = list(dict.fromkeys(row.key for row in rows))
    groups = [
        sorted((row for row in rows if row.key == key), key=lambda row: -row.n_real) for key in keys
    ]
    groups = [group[:_MOST_CATEGORIES] for group in groups]
    heights = [len(group) + 1.6 for group in groups]
    figure = new_figure(WIDTH, 0.24 * sum(heights) + 0.9)
    axes = figure.subplots(len(keys), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axis, key, group in zip(axes, keys, groups, strict=True):
        places = range(len(group))
        real, made = ([getattr(row, side) for row in group] for side in ("real", "generated"))
        axis.hlines(places, real, made, color=GRID, lw=2, zorder=0)
        axis.plot(real, places, "o", color=COLORS["test"], ms=7, label=NAMES["test"])
        axis.plot(made, places, "D", color=COLORS["generated"], ms=6, label=NAMES["generated"])
        names = [f"{row.category}  ({row.n_real:,} | {row.n_generated:,})" for row in group]
        axis.set_yticks(places, names)
        axis.tick_params(axis="y", length=0, labelcolor=INK)
        axis.set_ylim(len(group) - 0.4, -0.6)
        axis.set_title(f"{key}   (real test cells | generated cells)")
        axis.grid(axis="x")
    axes[-1].set_xlim(-0.02, 1.02)
    percent(axes[-1].xaxis)
    axes[-1].set_xlabel("cells that the classifier puts in their category")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def draw_augmentation(rows: Sequence[AugmentationRow]) -> Any:
    """Draw the F1 of classes that were made rare, by method and number of real cells kept."""
    categories = list(dict.fromkeys(row.category for row in rows))
    figure, axes = panels(len(categories), 3, WIDTH / 3, 3.4, sharey=True)
    for axis, category in zip(axes, categories, strict=True):
        for method, (label, color, marker, dash) in _METHODS.items():
            found = [row for row in rows if row.category == category and row.method == method]
            if not found:
                continue
            places, means = [row.n_real for row in found], [np.mean(row.f1) for row in found]
            axis.plot(places, means, color=color, ls=dash, marker=marker, ms=6, lw=1.6, label=label)
            low, high = ([end(row.f1) for row in found] for end in (min, max))
            axis.vlines(places, low, high, color=color, lw=1, alpha=0.45)
        axis.set_title(category)
        axis.set_xscale("log")
        axis.set_xticks([5, 10, 25], ["5", "10", "25"])
        axis.minorticks_off()
        axis.set(xlim=(4, 31), ylim=(-0.03, 1.03), xlabel="real cells of the class kept")
    axes[0].set_ylabel("F1 of the class on real test cells")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
