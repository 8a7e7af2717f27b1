"""Figures of genes: statistics, trends, correlations, fold changes, giveaways."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from vaexprs.evaluation.arrays import Array, Floats
from vaexprs.evaluation.metrics.conditions import contrasts_of
from vaexprs.evaluation.metrics.marginals import binned_medians, genes_of, given_genes_of
from vaexprs.evaluation.metrics.structure import correlations_of
from vaexprs.evaluation.report.figures.common import COLORS, GRID, NAMES, WIDTH, panels, percent
from vaexprs.evaluation.report.pictures import Pictures
from vaexprs.style import INK, log_axes, new_figure

_MOST_CATEGORIES = 6  # in `draw_folds`, the largest ones
_MOST_GIVEAWAYS = 8  # genes whose values are drawn
_POINTS: dict[str, Any] = {"s": 3.5, "linewidths": 0, "rasterized": True}  # s in points squared


def draw_genes(pictures: Pictures) -> Any:
    """Draw every gene, generated (above) and control (below) against test cells."""
    figure, axes = panels(8, 4, WIDTH / 4, 2.95)
    statistics = {name: side.once(genes_of) for name, side in pictures.sides.items()}
    for column, (name, title, may_log) in enumerate(
        (
            ("mean", "Mean expression", True),
            ("variance", "Variance", True),
            ("zero_fraction", "Zero fraction", False),
            ("maximum", "Maximum", False),
        )
    ):
        logged = may_log and pictures.cells.scale != "log"
        values = {side: getattr(found, name) for side, found in statistics.items()}
        every = np.concatenate(list(values.values()))
        if logged:  # genes that only one side shows lie along the axes
            floor = every[every > 0].min() if (every > 0).any() else 1.0
            values = {side: np.maximum(found, floor) for side, found in values.items()}
            every = np.maximum(every, floor)
        for row, side in enumerate(("generated", "control")):
            axis = axes[4 * row + column]
            ends = [every.min(), every.max()]
            axis.plot(ends, ends, color=GRID, lw=1, zorder=0)
            axis.scatter(values["test"], values[side], alpha=0.35, color=COLORS[side], **_POINTS)
            if logged:
                log_axes(axis.xaxis, axis.yaxis)
            axis.set_box_aspect(1)
            if row == 0:
                axis.set_title(title)
            else:
                axis.set_xlabel(NAMES["test"])
            if column == 0:
                axis.set_ylabel(NAMES[side], color=COLORS[side], fontweight="bold")
    return figure


def draw_trends(pictures: Pictures) -> Any:
    """Draw variance and zero fraction along the mean, values as given, with median trends."""
    figure, axes = panels(2, 2, WIDTH / 2, 3.6)
    linear = pictures.cells.scale == "log"
    for axis, name in zip(axes, ("variance", "zero_fraction"), strict=True):
        for order, side in enumerate(("test", "generated")):
            genes = pictures.sides[side].once(given_genes_of)
            shown = (genes.variance > 0) & (genes.zero_fraction < 1)
            shown &= linear | (genes.mean > 0)
            if not shown.any():  # no gene varies in these cells
                continue
            x, y = genes.mean[shown], getattr(genes, name)[shown]
            axis.scatter(x, y, alpha=0.15, color=COLORS[side], zorder=order, **_POINTS)
            place = x if linear else np.log10(x)
            edges = np.linspace(place.min(), place.max(), 21)
            medians = [list(binned_medians(place, v, edges).values()) for v in (x, y)]
            axis.plot(
                *medians, color=COLORS[side], lw=2.2, label=NAMES[side],
                zorder=3 + order, ls="-" if side == "test" else (0, (3, 1.2)),
            )  # fmt: skip
        if not linear:
            log_axes(axis.xaxis, *([axis.yaxis] if name == "variance" else []))
        axis.set(xlabel="mean of values as given", ylabel=name.replace("_", " "))
    axes[0].set_title("Variance along the mean")
    axes[1].set_title("Zeros along the mean")
    axes[0].legend(loc="upper left")
    return figure


def draw_correlations(pictures: Pictures) -> Any:
    """Draw the correlation matrices side by side, genes clustered by the test cells."""
    matrices = {name: side.once(correlations_of) for name, side in pictures.sides.items()}
    order = _leaf_order(matrices["test"])
    figure, axes = panels(3, 3, WIDTH / 3, 3.9)
    for axis, side in zip(axes, ("control", "test", "generated"), strict=True):
        image = axis.imshow(
            matrices[side][np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1,
            interpolation="nearest",
        )  # fmt: skip
        axis.set(xticks=[], yticks=[])
        axis.set_title(NAMES[side].capitalize())
        axis.spines[:].set_visible(False)
    axes[0].set_ylabel(f"{len(order)} most variable genes")
    bar = figure.colorbar(image, ax=axes, shrink=0.72, aspect=28, pad=0.015)
    bar.set_label("Spearman correlation")
    bar.outline.set_visible(False)
    return figure


def _leaf_order(matrix: Floats) -> Array:
    """Return an order of genes in which correlated ones are adjacent."""
    if len(matrix) < 3:
        return np.arange(len(matrix))
    distance = np.clip(1.0 - (matrix + matrix.T) / 2, 0.0, None)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)
    return np.asarray(leaves_list(tree))


def draw_folds(pictures: Pictures) -> Any | None:
    """Draw the log2 fold changes of the largest categories, generated against test cells."""
    key, sides = pictures.key, pictures.sides
    if not key:
        return None
    found = {name: side.once(contrasts_of, key) for name, side in sides.items()}
    labels, counts = np.unique(sides["test"].cells.labels[key], return_counts=True)
    names = [str(label) for label in labels[np.argsort(-counts)]]
    names = [name for name in names if all(name in side for side in found.values())]
    names = names[:_MOST_CATEGORIES]
    if not names:
        return None
    figure, axes = panels(len(names), 3, WIDTH / 3, 3.3)
    for axis, name in zip(axes, names, strict=True):
        test, made, control = (
            found[side][name].log_fold_change for side in ("test", "generated", "control")
        )
        extent = 1.05 * max(np.abs(test).max(), np.abs(made).max(), 0.1)
        axis.plot([-extent, extent], [-extent, extent], color=GRID, lw=1)
        axis.grid()
        axis.scatter(test, made, alpha=0.4, color=COLORS["generated"], **(_POINTS | {"s": 6}))
        power = max(float((test**2).sum()), 1e-12)
        for place, side, values in ((0.95, "generated", made), (0.86, "control", control)):
            text = f"{NAMES[side]}: slope {float((test * values).sum()) / power:.2f}"
            axis.text(
                0.04, place, text, transform=axis.transAxes, va="top", color=COLORS[side], size=8
            )
        axis.set(xlim=(-extent, extent), ylim=(-extent, extent), box_aspect=1)
        axis.set_title(name, wrap=True)
        axis.set_xlabel("log2 fold change, real (test)")
    for axis in axes[::3]:
        axis.set_ylabel("generated")
    return figure


def draw_giveaways(pictures: Pictures) -> Any:
    """Draw the importance of the giveaway genes, and the values of the first ones."""
    genes = pictures.giveaways
    figure = new_figure(WIDTH, 4.4)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.9), wspace=0.03)
    left, right = parts
    axis, places = left.subplots(), np.arange(len(genes))
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
    percent(axis.xaxis)
    axis.set_title("Share of importance")
    left.legend(loc="outside lower center", ncols=2)

    shown = genes[:_MOST_GIVEAWAYS]
    column = {pictures.names[gene]: i for i, gene in enumerate(pictures.cells.basis.genes)}
    axes = np.ravel(right.subplots(2, 4))
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for axis, gene in zip(axes, shown, strict=False):
        values = {
            side: pictures.sides[side].block[:, column[gene.gene]] for side in ("test", "generated")
        }
        low = min(0.0, *(float(side.min()) for side in values.values()))
        high = max(float(side.max()) for side in values.values())
        edges = np.linspace(low, high if high > low else low + 1, 25)
        for side, style in (
            ("test", {"histtype": "stepfilled", "alpha": 0.3}),
            ("generated", {"histtype": "step", "lw": 1.5}),
        ):
            weights = np.full(len(values[side]), 1 / len(values[side]))
            axis.hist(
                values[side], bins=edges, weights=weights, color=COLORS[side], label=NAMES[side],
                **style,
            )  # fmt: skip
        axis.set_title(gene.gene)
        percent(axis.yaxis)
        axis.tick_params(labelsize=7)
    right.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
