"""Expression as a picture: genes by cells, groups side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, near_matches, require
from vaexprs.plotting.cells import Cells, read_cells
from vaexprs.plotting.labels import NO_LABEL, category_order, labels_of
from vaexprs.plotting.scale import SCALES, Scale, align, choose_scale, rescale
from vaexprs.plotting.style import canvas, palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_heatmap"]

_COLOURS = ("#f8f7f4", "#f6d9a8", "#ee9a5a", "#cf4d4a", "#8a1c5b", "#2f0a3d")
_ALL_GENES = 2000  # up to here every gene has its row
_N_MARKERS = 120
_NAMED_ROWS = 60
_MOST_LINES = 25  # more groups than this are told apart by their colours alone
_ROWS_OF_LEGEND, _MOST_NAMED = 16, 48
_LOOKED_AT = 20_000  # cells of a panel that genes and cells are chosen from
_FEWEST = 6  # cells that a rare group keeps when cells are drawn


def plot_heatmap(
    data: Any,
    *,
    groupby: str | None = None,
    genes: Sequence[str] | None = None,
    n_genes: int | None = None,
    layer: str | None = None,
    scale: Scale = "auto",
    max_cells: int = 500,
    cmap: str | None = None,
    seed: int = 0,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw expression as a heatmap of genes x cells, the cells of each group together.

    Parameters
    ----------
    data
        Cells as AnnData, path or array of cells x genes, or several to draw side by side, as
        ``{"real": adata, "generated": other}`` or a list. The first one sets the genes, their
        order, the scale and the range of the colours, so that all panels can be compared.
    groupby
        ``obs`` column whose groups stand side by side under a bar of colours. None: the order
        of the cells is kept. A further panel without that column, such as the cells of a model
        without conditions, has its cells ordered by hierarchical clustering.
    genes
        Genes to show, in this order.
    n_genes
        How many genes to show; those that mark the groups best are chosen and sorted by group
        (without groups: those of the largest variance). The default is all genes, in their
        order, where there are at most 2,000, and 120 otherwise.
    layer
        Layer to read instead of ``X``, where a panel has it.
    scale
        As in `plot_aug`: ``"auto"``, ``"counts"``, ``"log1p"`` or ``"none"``.
    max_cells
        Cells to show in each panel; more are thinned out at random, groups in proportion but
        rare groups not below 6 where there is room. Of a panel of more than 20,000 cells as
        many are looked at.
    cmap
        Name of a matplotlib colour map; the default goes from paper white to a dark plum.
    seed
        Seed of the choice of cells.
    figsize
        Width and height in inches.

    Returns
    -------
    matplotlib.figure.Figure
        Never shown, and unknown to ``pyplot``.

    Raises
    ------
    DataError
        If there is nothing to draw, a column or gene is unknown (with near matches), or the
        genes of two panels do not match.
    """
    if max_cells < 1:
        raise DataError(f"max_cells must be at least 1, got {max_cells}.")
    panels = [
        _read(name, given, layer, position, seed)
        for position, (name, given) in enumerate(_panels(data).items())
    ]
    labels = [_labels(cells, groupby, first=cells is panels[0]) for cells in panels]
    groups = _groups(panels, groupby, labels)
    place = {group: code for code, group in enumerate(groups)}
    codes = [
        np.array([place[label] for label in side or [groups[0]] * len(cells)], dtype=int)
        for cells, side in zip(panels, labels, strict=True)
    ]
    first = panels[0]
    chosen_scale = choose_scale(first, scale)
    panels = [rescale(align(cells, first), chosen_scale) for cells in panels]
    chosen, sorted_by_group = _choose_genes(panels[0], codes[0], len(groups), genes, n_genes)

    images: list[NDArray[np.float32]] = []
    shown: list[NDArray[np.int64] | None] = []
    for number, (cells, code, label) in enumerate(zip(panels, codes, labels, strict=True)):
        rows = _thin(code, len(groups), max_cells, np.random.default_rng((seed, number)))
        image = cells.take(chosen).dense()[rows]
        images.append((image if label is not None else image[_clustered(image)]).T)
        shown.append(code[rows] if label is not None and groupby is not None else None)

    n_panels, n_rows = len(panels), len(chosen)
    figure = canvas.new_figure(figsize or _figsize(n_panels, groups))
    axes = figure.subplots(1, n_panels, squeeze=False, sharey=True)[0]
    low, high = _range(images[0])
    for ax, cells, image, bar_codes in zip(axes, panels, images, shown, strict=True):
        picture = ax.imshow(
            image,
            aspect="auto",
            cmap=_colour_map() if cmap is None else cmap,
            vmin=low,
            vmax=high,
            interpolation="nearest" if n_rows <= 300 else "auto",
            rasterized=True,
        )
        _dress(ax, cells, image.shape[1])
        if bar_codes is not None:
            _group_bar(ax, bar_codes, groups)
    if groupby is not None:
        _group_legend(axes[-1], groups, groupby)
    axes[0].set_ylabel(f"{n_rows:,} genes" + (" (markers, by group)" if sorted_by_group else ""))
    axes[0].yaxis.label.set_color(canvas.MUTED)
    if n_rows <= _NAMED_ROWS and first.var_names is not None:
        axes[0].set_yticks(np.arange(n_rows), first.var_names[chosen], fontsize=6.5)
        axes[0].tick_params(axis="y", length=0, labelleft=True, labelcolor=canvas.INK)
    beside = axes[-1].inset_axes(
        (1 + 0.16 / _panel_width(n_panels), 0, 0.11 / _panel_width(n_panels), 0.34)
    )
    bar = figure.colorbar(picture, cax=beside)
    bar.set_label(SCALES[chosen_scale], color=canvas.MUTED, fontsize=8)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=canvas.MUTED, labelsize=7.5, length=0)
    return figure


def _colour_map() -> Any:
    """Return the default colours: zeros, which are most values, are as light as the paper."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("expression", _COLOURS)


def _panel_width(n_panels: int) -> float:
    """Return the width of a panel in inches."""
    return 5.4 if n_panels == 1 else 3.9


def _figsize(n_panels: int, groups: list[str]) -> tuple[float, float]:
    n_columns = -(-min(len(groups), _MOST_NAMED) // _ROWS_OF_LEGEND)
    return 0.9 + n_columns + n_panels * _panel_width(n_panels), 5.6


def _panels(data: Any) -> dict[str, Any]:
    """Return what to draw by name."""
    if isinstance(data, Mapping):
        panels = {str(name): given for name, given in data.items()}
    elif isinstance(data, (list, tuple)) and not (data and all(np.isscalar(row) for row in data)):
        panels = dict(enumerate(data))  # type: ignore[arg-type]
    else:
        panels = {"cells": data}
    if not panels:
        raise DataError("plot_heatmap: there is nothing to draw, got no panel.")
    return panels


def _read(name: Any, given: Any, layer: str | None, position: int, seed: int) -> Cells:
    """Read the cells of a panel; one without a name is called by its source."""
    layers = getattr(given, "layers", {})
    own = layer if layer is not None and (position == 0 or layer in layers) else None
    cells = read_cells(given, name=str(name), max_cells=_LOOKED_AT, seed=seed, layer=own)
    if isinstance(name, int):
        source = cells.obs["source"].astype(str).unique() if "source" in cells.obs else []
        name = source[0] if len(source) == 1 else ("real", "generated", "more")[min(name, 2)]
        cells = Cells(name, cells.X, cells.var_names, cells.obs, cells.n_total)
    return cells


def _labels(cells: Cells, groupby: str | None, *, first: bool) -> list[str] | None:
    """Return the group of each cell; None for a further panel that has no such column."""
    if groupby is None:
        return [""] * len(cells)
    if groupby in cells.obs.columns:
        return [str(label) for label in labels_of(cells, groupby)]
    if not first:
        return None
    known = [str(column) for column in cells.obs.columns]
    raise DataError(
        f"groupby={groupby!r} is no obs column of the {cells.name} cells: "
        + near_matches(groupby, known)
    )


def _groups(panels: list[Cells], groupby: str | None, labels: list[list[str] | None]) -> list[str]:
    """Return the groups of all panels in their order."""
    if groupby is None:
        return [""]
    known = [cells for cells, side in zip(panels, labels, strict=True) if side is not None]
    groups = category_order(known, groupby)
    lost = any(NO_LABEL in side for side in labels if side is not None)
    return [*groups, NO_LABEL] if lost else groups


def _clustered(X: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return an order of cells in which like stand by like: the leaves of a tree by Ward."""
    if len(X) < 3:
        return np.arange(len(X))
    hierarchy = require("scipy.cluster.hierarchy", extra="plot", purpose="Ordering cells")
    tree = hierarchy.linkage(X.astype(np.float64), method="ward")
    return np.asarray(hierarchy.leaves_list(tree), dtype=np.int64)


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
    genes: Sequence[str] | None,
    n_genes: int | None,
) -> tuple[NDArray[np.int64], bool]:
    """Return the genes to show in order, and whether they are markers sorted by group."""
    if genes is not None:
        if cells.var_names is None:
            raise DataError("genes were named, and the cells are an array without gene names.")
        place = {str(gene): at for at, gene in enumerate(cells.var_names)}
        for gene in genes:
            if gene not in place:
                raise DataError(f"unknown gene {gene!r}: " + near_matches(gene, place))
        if not len(genes):
            raise DataError("plot_heatmap: genes is empty, name at least one.")
        return np.array([place[gene] for gene in genes]), False
    if n_genes is None:
        n_genes = cells.n_genes if cells.n_genes <= _ALL_GENES else _N_MARKERS
    if n_genes < 1:
        raise DataError(f"n_genes must be at least 1, got {n_genes}.")
    if n_genes >= cells.n_genes:
        return np.arange(cells.n_genes), False
    if n_groups < 2:
        return np.sort(np.argsort(-cells.variance(), kind="stable")[:n_genes]), False

    means = np.stack([np.ravel(cells.X[codes == g].mean(0)) for g in range(n_groups)])
    means = np.nan_to_num(means)  # a group that the first panel lacks
    owner = means.argmax(0)
    ahead = np.sort(means, axis=0)
    lead = ahead[-1] - ahead[:-1].mean(0)
    chosen: list[int] = []
    for group in range(n_groups):
        quota = n_genes * (group + 1) // n_groups - n_genes * group // n_groups
        own = np.flatnonzero(owner == group)
        chosen += own[np.argsort(-lead[own], kind="stable")[:quota]].tolist()
    return np.array(chosen), True


def _range(image: NDArray[np.float32]) -> tuple[float, float]:
    """Return the values of the darkest and the lightest colour: outliers do not set them."""
    low, high = (float(bound) for bound in (image.min(), image.max()))
    above = image[image > low]
    if above.size:
        high = float(np.percentile(above, 98))
        low = 0.0 if low >= 0 else float(np.percentile(image, 2))
    return (low, high) if high > low else (low, low + 1.0)


def _dress(ax: Axes, cells: Cells, n_shown: int) -> None:
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xticks([])
    ax.tick_params(axis="y", left=False, labelleft=False)
    shown = f"{n_shown:,}" if n_shown == cells.n_total else f"{n_shown:,} of {cells.n_total:,}"
    ax.set_xlabel(f"{cells.name}: {shown} cells" if cells.name != "cells" else f"{shown} cells")
    ax.xaxis.label.set_color(canvas.INK)


def _group_bar(ax: Axes, codes: NDArray[np.int64], groups: list[str]) -> None:
    """Draw a bar of colours over the groups, and lines between them."""
    from matplotlib.colors import ListedColormap

    colours = palette.colours(len(groups))
    strip = ax.inset_axes((0, 1.008, 1, 0.028))
    strip.set_axis_off()
    strip.imshow(
        codes[None],
        aspect="auto",
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(groups) - 0.5,
        interpolation="nearest",
        gid="groups",
    )
    if len(groups) <= _MOST_LINES:
        for edge in np.flatnonzero(np.diff(codes)):
            ax.axvline(edge + 0.5, color=canvas.INK, linewidth=0.35)


def _group_legend(ax: Axes, groups: list[str], key: str) -> None:
    from matplotlib.patches import Patch

    colours = palette.colours(len(groups))
    handles = [
        Patch(color=colour, label=group if len(group) <= 28 else group[:27] + "…")
        for colour, group in zip(colours, groups, strict=True)
    ]
    if len(handles) > _MOST_NAMED:
        n_more = len(handles) - _MOST_NAMED + 1
        handles = [*handles[: _MOST_NAMED - 1], Patch(color="none", label=f"{n_more:,} more")]
    legend = ax.legend(
        handles=handles,
        title=key,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.045),
        ncols=-(-len(handles) // _ROWS_OF_LEGEND),
        frameon=False,
        fontsize=8,
        labelcolor=canvas.INK,
        title_fontproperties={"weight": "bold", "size": 9},
        alignment="left",
        handlelength=1.0,
        handleheight=1.0,
        borderaxespad=0.6,
    )
    legend.get_title().set_color(canvas.INK)
