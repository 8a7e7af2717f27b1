"""`plot_heatmap`: expression as a picture of genes by cells, groups side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.checks import whole
from vaexprs.data.matching import Choice, matching_choice
from vaexprs.data.open import CellsLike, open_cells
from vaexprs.errors import DataError, near_matches, require
from vaexprs.plotting.cells import SCALES, Cells, Scale, align, choose_scale, read_cells, rescale
from vaexprs.plotting.colouring import NO_LABEL, category_order, labels_of, shared_labels
from vaexprs.style import INK, MUTED, colours, new_figure, short, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: From paper white for zeros, which are most values, to a dark plum.
_SHADES = ("#f8f7f4", "#f6d9a8", "#ee9a5a", "#cf4d4a", "#8a1c5b", "#2f0a3d")
_ALL_GENES = 1000  # with more, rows of the figure are thinner than its pixels
_N_MARKERS = 120  # rows of three points each
_NAMED_ROWS = 60  # rows tall enough for a name of 6.5 points
_MOST_LINES = 25  # lines between more groups would hide the cells
_LEGEND_ROWS, _MOST_NAMED = 16, 48  # of groups in the legend
_LOOKED_AT = 20_000  # cells of a panel that genes and cells are chosen from
_FEWEST = 6  # cells that a rare group keeps when cells are drawn


@styled
def plot_heatmap(
    source: CellsLike | Mapping[str, CellsLike] | Sequence[CellsLike],
    *,
    groupby: str | None = "auto",
    genes: str | Sequence[str] | None = None,
    n_genes: int | None = None,
    layer: str | None = None,
    scale: Scale = "auto",
    max_cells: int = 500,
    cmap: str | None = None,
    seed: int = 0,
    title: str | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw expression as a heatmap of genes x cells, the cells of each group together.

    Parameters
    ----------
    source
        Cells as AnnData, path or array of cells x genes, or several to draw side by side, as
        ``{"real": adata, "generated": other}`` or a list. The first one sets the genes, their
        order, the scale and the range of the colours, so that all panels can be compared.
    groupby
        ``obs`` column whose groups stand side by side under a bar of colours. ``"auto"``: the
        first column of labels that all panels have. None: the order of the cells is kept. A
        further panel without that column, such as the cells of a model without conditions, has
        its cells ordered by hierarchical clustering.
    genes
        Genes to show, in this order, or one.
    n_genes
        Number of genes to show: markers of each group in turn (without groups: those of the
        largest variance). The default is all genes, in their order, where there are at most
        1,000, and 120 otherwise.
    layer
        Layer to read instead of ``X``, where a panel has it.
    scale
        As in `plot_aug`: ``"auto"``, ``"counts"``, ``"linear"`` or ``"log"``.
    max_cells
        Cells to show in each panel; more are thinned out at random, groups in proportion but
        rare groups not below 6 where there is room. Of a panel of more than 20,000 cells a
        random 20,000 are looked at.
    cmap
        Name of a matplotlib colour map; the default goes from paper white to a dark plum.
    seed
        Seed of the choice of cells.
    title
        Title over all panels.
    figsize
        Width and height in inches.

    Returns
    -------
    matplotlib.figure.Figure
        Never shown, and unknown to ``pyplot``.

    Raises
    ------
    ArgumentError
        If a number is out of its range, or `figsize` is none.
    DataError
        If there is nothing to draw, a column or gene is unknown (with near matches), or the
        genes of two panels do not match.
    """
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    max_cells = whole("max_cells", max_cells, 1)
    n_genes = None if n_genes is None else whole("n_genes", n_genes, 1)
    if cmap is not None and cmap not in colormaps:
        raise DataError(f"no colour map {cmap!r}: " + near_matches(cmap, list(colormaps)))
    seed = whole("seed", seed, 0)
    panels = _read(source, layer, scale, seed)
    first = panels[0]
    if groupby == "auto":
        shared = shared_labels(panels)
        groupby = shared[0] if shared else None
    if groupby is not None and groupby not in first.obs:
        raise DataError(
            f"groupby={groupby!r} is no obs column of the {first.name} cells: "
            + near_matches(groupby, [str(column) for column in first.obs])
        )
    grouped = [groupby is not None and groupby in cells.obs for cells in panels]
    groups, codes = _group(panels, groupby)
    chosen_scale = choose_scale(first, scale)
    panels = [rescale(align(cells, first), chosen_scale) for cells in panels]
    rows, are_markers = _choose_genes(panels[0], codes[0], len(groups), genes, n_genes)

    width = 5.4 if len(panels) == 1 else 3.9  # of a panel, inches
    legend_columns = -(-min(len(groups), _MOST_NAMED) // _LEGEND_ROWS)
    figure = new_figure(*(figsize or (0.9 + legend_columns + len(panels) * width, 5.6)))
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    shades = cmap or LinearSegmentedColormap.from_list("expression", _SHADES)
    limits = None
    for number, (ax, cells, code) in enumerate(zip(axes, panels, codes, strict=True)):
        shown = _thin(code, len(groups), max_cells, np.random.default_rng((seed, number)))
        image = cells.take(rows).dense()[shown]
        if groupby is not None and not grouped[number]:
            image = image[_clustered(image)]
        limits = limits or _range(image)
        picture = ax.imshow(
            image.T, aspect="auto", cmap=shades, vmin=limits[0], vmax=limits[1], rasterized=True,
            interpolation="nearest" if len(rows) <= 300 else "auto",
        )  # fmt: skip
        ax.spines[:].set_visible(False)
        ax.set_xticks([])
        ax.tick_params(axis="y", left=False, labelleft=False)
        n = f"{len(shown):,}" + (f" of {cells.n_total:,}" if len(shown) < cells.n_total else "")
        ax.set_xlabel(f"{n} cells" if cells.name == "cells" else f"{cells.name}: {n} cells")
        if grouped[number]:
            _group_bar(ax, code[shown], groups)
    if groupby is not None:
        _group_legend(axes[-1], groups, groupby)
    axes[0].set_ylabel(f"{len(rows):,} genes" + (" (markers, by group)" if are_markers else ""))
    if len(rows) <= _NAMED_ROWS and first.var_names is not None:
        axes[0].set_yticks(np.arange(len(rows)), first.var_names[rows], fontsize=6.5)
        axes[0].tick_params(axis="y", labelleft=True, labelcolor=INK)
    bar = figure.colorbar(
        picture, cax=axes[-1].inset_axes((1 + 0.16 / width, 0, 0.11 / width, 0.34))
    )
    bar.set_label(SCALES[chosen_scale], color=MUTED, fontsize=8)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return figure


def _read(source: Any, layer: str | None, scale: str, seed: int) -> list[Cells]:
    """Read the cells of each panel; one without a name is called by its ``source``."""
    if isinstance(source, Mapping):
        given = list(source.items())
    elif isinstance(source, (list, tuple)) and not (source and np.isscalar(source[0])):
        given = [(None, part) for part in source]
    else:
        given = [("cells", source)]
    if not given:
        raise DataError("plot_heatmap: there is nothing to draw, got no panel.")
    panels: list[Cells] = []
    opened = [open_cells(part) for _, part in given]
    for number, ((name, _), part) in reversed(list(enumerate(zip(given, opened, strict=True)))):
        choice = Choice(layer if number == 0 or layer in part.layers else None)
        if layer is None and number == 0 and panels and scale == "auto":
            choice = matching_choice(part, opened[1], made=panels[0].X)
        where: dict[str, Any] = {"layer": choice.layer, "raw": choice.raw}
        cells = read_cells(part, name=str(name), max_cells=_LOOKED_AT, seed=seed, **where)
        if name is None:
            found = cells.obs["source"].astype(str).unique() if "source" in cells.obs else []
            usual = ("real", "generated", "more")[min(number, 2)]
            cells = replace(cells, name=found[0] if len(found) == 1 else usual)
        panels.insert(0, cells)
    return panels


def _group(panels: list[Cells], groupby: str | None) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Return the groups in order, and the group of each cell; panels without it have but one."""
    codes = [np.zeros(len(cells), dtype=int) for cells in panels]
    if groupby is None:
        return [""], codes
    labels = {i: labels_of(side, groupby) for i, side in enumerate(panels) if groupby in side.obs}
    lost = any((side == NO_LABEL).any() for side in labels.values())
    groups = category_order([panels[i] for i in labels], groupby) + [NO_LABEL] * lost
    place = {group: code for code, group in enumerate(groups)}
    for i, side in labels.items():
        codes[i] = np.array([place[label] for label in side])
    return groups, codes


def _clustered(X: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return an order of cells in which similar ones are adjacent (Ward's clustering)."""
    if len(X) < 3:
        return np.arange(len(X))
    hierarchy = require("scipy.cluster.hierarchy", extra="plot", purpose="Ordering cells")
    tree = hierarchy.linkage(X.astype(np.float64), method="ward")
    return np.asarray(hierarchy.leaves_list(tree))


def _thin(
    codes: NDArray[np.int64], n_groups: int, max_cells: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the cells to show: groups one after the other, thinned in proportion."""
    share = min(1.0, max_cells / len(codes))
    fewest = min(_FEWEST, max(1, max_cells // n_groups))
    parts = []
    for group in range(n_groups):
        cells = np.flatnonzero(codes == group)
        n_kept = min(len(cells), max(fewest, round(share * len(cells))))
        if share < 1 and n_kept < len(cells):
            cells = np.sort(rng.choice(cells, n_kept, replace=False))
        parts.append(cells)
    return np.concatenate(parts)


def _choose_genes(
    cells: Cells,
    codes: NDArray[np.int64],
    n_groups: int,
    genes: str | Sequence[str] | None,
    n_genes: int | None,
) -> tuple[NDArray[np.int64], bool]:
    """Return the genes to show in order, and whether they are markers sorted by group."""
    if genes is not None:
        if cells.var_names is None:
            raise DataError("genes were named, and the cells are an array without gene names.")
        genes = [genes] if isinstance(genes, str) else genes
        if not isinstance(genes, Iterable):
            raise DataError(f"genes must be a name or a list of names, got {genes!r}.")
        place = {str(gene): at for at, gene in enumerate(cells.var_names)}
        for gene in genes:
            if gene not in place:
                raise DataError(f"unknown gene {gene!r}: " + near_matches(gene, place))
        if not len(genes):
            raise DataError("plot_heatmap: genes is empty, name at least one.")
        return np.array([place[gene] for gene in genes]), False
    if n_genes is None:
        n_genes = cells.n_genes if cells.n_genes <= _ALL_GENES else _N_MARKERS
    if n_genes >= cells.n_genes:
        return np.arange(cells.n_genes), False
    if n_groups < 2:
        return np.sort(np.argsort(-cells.variance(), kind="stable")[:n_genes]), False
    means = np.nan_to_num(  # a group may have no cell in the first panel
        [np.ravel(cells.X[codes == g].mean(0)) if (codes == g).any() else 0 * cells.variance()
         for g in range(n_groups)]
    )  # fmt: skip
    owner, ranked = means.argmax(0), np.sort(means, axis=0)
    lead = ranked[-1] - ranked[:-1].mean(0)
    chosen: list[int] = []
    for group in range(n_groups):
        quota = n_genes * (group + 1) // n_groups - n_genes * group // n_groups
        own = np.flatnonzero(owner == group)
        chosen += own[np.argsort(-lead[own], kind="stable")[:quota]].tolist()
    return np.array(chosen), True


def _range(image: NDArray[np.float32]) -> tuple[float, float]:
    """Return the values of the lightest and the darkest colour, robust to outliers."""
    low, high = float(image.min()), float(image.max())
    above = image[image > low]
    if above.size:
        high = float(np.percentile(above, 98))
        low = 0.0 if low >= 0 else float(np.percentile(image, 2))
    return (low, high) if high > low else (low, low + 1.0)


def _group_bar(ax: Axes, codes: NDArray[np.int64], groups: list[str]) -> None:
    """Draw a bar of colours over the groups, and lines between them."""
    from matplotlib.colors import ListedColormap

    strip = ax.inset_axes((0, 1.008, 1, 0.028))
    strip.set_axis_off()
    strip.imshow(
        codes[None], aspect="auto", cmap=ListedColormap(colours(len(groups))), vmin=-0.5,
        vmax=len(groups) - 0.5, interpolation="nearest", gid="groups",
    )  # fmt: skip
    if len(groups) <= _MOST_LINES:
        for edge in np.flatnonzero(np.diff(codes)):
            ax.axvline(edge + 0.5, color=INK, linewidth=0.35)


def _group_legend(ax: Axes, groups: list[str], key: str) -> None:
    from matplotlib.patches import Patch

    named = list(zip(groups, colours(len(groups)), strict=True))
    if len(named) > _MOST_NAMED:
        n_more = len(named) - _MOST_NAMED + 1
        named = [*named[: _MOST_NAMED - 1], (f"{n_more:,} more", "none")]
    ax.legend(
        handles=[Patch(color=colour, label=short(group, 28)) for group, colour in named],
        title=key, loc="upper left", bbox_to_anchor=(1.0, 1.045), fontsize=8,
        ncols=-(-len(named) // _LEGEND_ROWS), alignment="left",
        title_fontproperties={"weight": "bold", "size": 9},
        handlelength=1.0, handleheight=1.0, borderaxespad=0.6,
    )  # fmt: skip
