"""Agreement by category, fold changes, and classes that were made rare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter

from vaexprs.evaluation.report.figures.style import COLORS, INK, NAMES, figure
from vaexprs.evaluation.report.pictures import Pictures
from vaexprs.evaluation.scores.augmentation import AugmentationRow
from vaexprs.evaluation.scores.whole import CategoryRow

__all__ = ["draw_agreement", "draw_augmentation", "draw_folds"]

N_SHOWN = 30
METHODS = {
    "none": ("nothing added", "#8A8F98", "o", (0, (1, 1.5))),
    "oversampling": ("oversampling", "#56B4E9", "s", (0, (4, 2))),
    "smote": ("SMOTE", "#0072B2", "^", "-"),
    "generated": ("generated cells", "#D55E00", "D", "-"),
}


def draw_agreement(rows: Sequence[CategoryRow]) -> Any:
    """Draw the share of each category's cells that a classifier of real cells puts there."""
    keys = list(dict.fromkeys(row.key for row in rows))
    groups = [
        sorted((row for row in rows if row.key == key), key=lambda row: -row.n_real)[:N_SHOWN]
        for key in keys
    ]
    heights = [len(group) + 1.6 for group in groups]
    drawn = figure(10.8, 0.24 * sum(heights) + 0.9)
    axes = np.atleast_1d(
        drawn.subplots(len(groups), 1, sharex=True, height_ratios=heights, squeeze=False)
    ).ravel()
    for axis, key, group in zip(axes, keys, groups, strict=True):
        for place, row in enumerate(group):
            axis.plot([row.real, row.generated], [place, place], color="#C9D0D8", lw=2, zorder=0)
            axis.plot(row.real, place, "o", color=COLORS["test"], ms=7)
            axis.plot(row.generated, place, "D", color=COLORS["generated"], ms=6)
        names = [f"{row.category}  ({row.n_real:,} | {row.n_generated:,})" for row in group]
        axis.set_yticks(range(len(group)), names)
        axis.tick_params(axis="y", length=0, labelcolor=INK)
        axis.set_ylim(len(group) - 0.4, -0.6)
        axis.set_title(f"{key}   (real test cells | generated cells)")
        axis.grid(axis="x", color="#EDF0F3")
        axis.set_axisbelow(True)
    axes[-1].set_xlim(-0.02, 1.02)
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes[-1].set_xlabel("cells that the classifier puts in their category")
    axes[0].plot([], [], "o", color=COLORS["test"], ms=7, label="real (test)")
    axes[0].plot([], [], "D", color=COLORS["generated"], ms=6, label="generated")
    drawn.legend(loc="outside upper right", ncols=2)
    return drawn


def draw_folds(pictures: Pictures) -> Any:
    """Draw the log2 fold changes of the largest categories, generated against test cells."""
    changes = pictures.fold_changes
    n_columns = min(len(changes), 3)
    n_rows = -(-len(changes) // n_columns)
    drawn = figure(3.6 * n_columns if n_columns > 1 else 4.2, 3.3 * n_rows)
    axes = np.atleast_1d(drawn.subplots(n_rows, n_columns, squeeze=False)).ravel()
    for axis in axes[len(changes) :]:
        axis.set_axis_off()
    for axis, change in zip(axes, changes, strict=False):
        extent = 1.05 * max(np.abs(change.test).max(), np.abs(change.generated).max(), 0.1)
        axis.axhline(0, color="#EDF0F3", lw=1)
        axis.axvline(0, color="#EDF0F3", lw=1)
        axis.plot([-extent, extent], [-extent, extent], color="#C9D0D8", lw=1)
        axis.scatter(
            change.test, change.generated, s=6, alpha=0.4, color=COLORS["generated"],
            linewidths=0, rasterized=True,
        )  # fmt: skip
        power = float((change.test**2).sum())
        for place, side in ((0.95, "generated"), (0.86, "control")):
            product = float((change.test * getattr(change, side)).sum())
            text = f"{NAMES[side]}: slope {product / power:.2f}" if power > 0 else ""
            axis.text(
                0.04, place, text, transform=axis.transAxes, va="top", color=COLORS[side], size=8
            )
        axis.set(xlim=(-extent, extent), ylim=(-extent, extent), box_aspect=1)
        axis.set_title(f"{change.category}", wrap=True)
        axis.set_xlabel("log2 fold change, real (test)")
    for axis in axes[::n_columns]:
        axis.set_ylabel("generated")
    return drawn


def draw_augmentation(rows: Sequence[AugmentationRow]) -> Any:
    """Draw the F1 of classes that were made rare, by method and number of real cells kept."""
    categories = list(dict.fromkeys(row.category for row in rows))
    drawn = figure(3.6 * max(len(categories), 2), 3.4)
    axes = np.atleast_1d(drawn.subplots(1, len(categories), sharey=True))
    for axis, category in zip(axes, categories, strict=True):
        for method, (label, color, marker, dash) in METHODS.items():
            found = [row for row in rows if row.category == category and row.method == method]
            if not found:
                continue
            places = [row.n_real for row in found]
            axis.plot(
                places, [np.mean(row.f1) for row in found], color=color, ls=dash, marker=marker,
                ms=6, lw=1.6, label=label,
            )  # fmt: skip
            axis.vlines(
                places, [min(row.f1) for row in found], [max(row.f1) for row in found],
                color=color, lw=1, alpha=0.45,
            )  # fmt: skip
        axis.set_title(category)
        axis.set_xscale("log")
        axis.set_xticks([5, 10, 25], ["5", "10", "25"])
        axis.minorticks_off()
        axis.set_xlim(4, 31)
        axis.set_xlabel("real cells of the class kept")
    axes[0].set_ylim(-0.03, 1.03)
    axes[0].set_ylabel("F1 of the class on real test cells")
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4)
    return drawn
