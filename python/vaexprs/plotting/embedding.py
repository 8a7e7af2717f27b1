"""`plot_aug`: real and generated cells together in one plane."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaexprs.checks import whole
from vaexprs.data.matching import Choice, matching_choice
from vaexprs.data.open import CellsLike, open_cells
from vaexprs.errors import DataError
from vaexprs.plotting.cells import SCALES, Cells, Scale, align, choose_scale, read_cells, rescale
from vaexprs.plotting.colouring import Colouring, choose_colouring
from vaexprs.plotting.projection import (
    MAX_CELLS,
    Method,
    Projection,
    check_options,
    method_named,
    project,
    refusals_of,
)
from vaexprs.style import INK, MISSING, MUTED, figure_of, new_figure, short, styled
from vaexprs.style import title as draw_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_log = logging.getLogger("vaexprs")

_NAMES = {"TSNE": "t-SNE", "DiffusionMap": "Diffusion map"}
_LEGEND_ROWS = 21  # as tall as the axes


@styled
def plot_aug(
    generated: CellsLike,
    method: Method | str = "PCA",
    *,
    real: CellsLike,
    color: str | None = None,
    layout: Literal["overlay", "side"] = "overlay",
    real_labels: Sequence[Any] | None = None,
    generated_labels: Sequence[Any] | None = None,
    layer: str | None = None,
    scale: Scale = "auto",
    n_top_genes: int | None = 2000,
    basis: Literal["real", "joint"] | None = None,
    max_cells: int | None = None,
    seed: int = 0,
    title: str | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
    **options: Any,
) -> Figure:
    """Draw real and generated cells together in two dimensions.

    As an overlay real cells are pale discs and generated cells small dots on top, both in the
    colour of their condition: dots off the discs are cells that the data do not have, and bare
    discs are cells that the model does not make.

    Parameters
    ----------
    generated, real
        Cells as AnnData, as a path to an ``.h5ad`` or ``.zarr`` file, or as an array of cells x
        genes. Genes are matched by name; the real cells may have more of them.
    method
        ``"PCA"``, ``"MDS"``, ``"TSNE"``, ``"UMAP"``, ``"NMF"`` or ``"DiffusionMap"``, in any
        case of letters. PCA and NMF work on the genes, the others on 30 principal components.
    color
        What the colours show: an ``obs`` column that both have, a gene, or ``"source"``. The
        default is the first condition that the generated cells carry.
    layout
        ``"overlay"``, or ``"side"``: real and generated cells in two panels with the same axes.
    real_labels, generated_labels
        Labels of the cells where arrays are given, one per cell.
    layer
        Layer of the real cells to compare with, as given to `fit_vae`.
    scale
        ``"counts"``: log1p of counts per 10,000 is drawn. ``"linear"``: log1p of the values.
        ``"log"``: the values. ``"auto"`` looks at the real cells: whole numbers are counts, or
        drawn as they are if they are zeros and ones; other values are logged unless one is
        negative or none exceeds 30. Both sources are treated alike.
    n_top_genes
        Keep the genes with the largest variance among the real cells. None: all.
    basis
        ``"real"``: the plane is fitted on the real cells and the generated ones are placed in
        it; the default of PCA, NMF and UMAP. ``"joint"``: it is fitted on both together; the
        default, and the only way, of MDS, TSNE and DiffusionMap. Placing new cells in a UMAP
        puts them near their neighbours in the plane: for a stricter eye pass ``"joint"``.
    max_cells
        If a source has more cells, this number is drawn at random. The default depends on the
        method: PCA 10,000, UMAP and NMF 5,000, TSNE 2,500, DiffusionMap 2,000, MDS 750.
    seed
        Seed of the choice of cells and of the methods that draw, 0 or more.
    title
        Title instead of "PCA of real and generated cells".
    figsize
        Width and height in inches; by default as wide as the legend needs.
    ax
        Axes to draw an overlay on instead of a new figure.
    **options
        Passed to the library that does the method: `sklearn.decomposition.PCA` and ``NMF``,
        `sklearn.manifold.MDS` and ``TSNE``, `umap.UMAP`, `scanpy.pp.neighbors`.

    Returns
    -------
    matplotlib.figure.Figure
        Never shown, and unknown to ``pyplot``.

    Raises
    ------
    ArgumentError
        If a number is out of its range, or `ax` or `figsize` is none.
    UnknownArgumentError
        If neither `plot_aug` nor the library of the method has such an argument.
    DataError
        If the method, a column or a layer is unknown (with near matches), the genes do not
        match, the cells of one source are logged and those of the other counts, or the cells
        cannot be read.
    MissingExtraError
        If the library that a method needs is not installed.
    """
    method = method_named(method)
    if layout not in ("overlay", "side"):
        raise DataError(f"unknown layout {layout!r}: known: 'overlay', 'side'.")
    if layout == "side" and ax is not None:
        raise DataError("layout='side' draws on two axes of a new figure: leave ax out.")
    limit = MAX_CELLS[method] if max_cells is None else whole("max_cells", max_cells, 1)
    n_top_genes = None if n_top_genes is None else whole("n_top_genes", n_top_genes, 2)
    seed = whole("seed", seed, 0)
    if not (color is None or isinstance(color, str)):
        raise DataError(f"color must be the name of a column or of a gene, got {color!r}.")
    own = inspect.signature(plot_aug).parameters
    check_options(method, options, [name for name in own if name != "options"])
    true, made, chosen = _comparable(
        real, generated, real_labels, generated_labels, layer, scale, max_cells=limit, seed=seed
    )
    if (real_labels is None) != (generated_labels is None):
        _check_labels(true, made, "generated" if real_labels is None else "real")
    colouring = choose_colouring(true, made, color)
    genes = _most_variable(true, n_top_genes)
    with refusals_of(method):
        plane = project(
            true.take(genes).dense(), made.take(genes).dense(), method, basis=basis, seed=seed,
            options=options,
        )  # fmt: skip

    if ax is None:
        figure = new_figure(*(figsize or _figsize(colouring, layout)))
        axes = list(figure.subplots(1, 2 if layout == "side" else 1, squeeze=False)[0])
    else:
        axes = [ax]
    _draw(axes, colouring, plane)
    for each in axes:
        each.set_xlabel(plane.axes[0])
        each.margins(0.04)
        each.spines[["top", "right"]].set_visible(False)
        if method not in ("PCA", "NMF", "MDS"):  # elsewhere distances have no unit
            each.set(xticks=[], yticks=[])
    axes[0].set_ylabel(plane.axes[1])
    which = " of the largest variance" if len(genes) < made.n_genes else ""
    fitted = "on the real cells" if plane.basis == "real" else "on both together"
    title = title or f"{_NAMES.get(method, method)} of real and generated cells"
    note = f"{SCALES[chosen]}, {len(genes):,} genes{which}; fitted {fitted}"
    if layout == "side":
        _title_sides(axes, (true, made), title, note)
    else:
        _source_legend(axes[0], true, made, colouring)
        draw_title(axes[0], title, note, pad=24)
    return figure_of(axes[0])


def _comparable(
    real: Any,
    generated: Any,
    real_labels: Sequence[Any] | None,
    generated_labels: Sequence[Any] | None,
    layer: str | None,
    scale: Scale,
    **drawn: Any,
) -> tuple[Cells, Cells, str]:
    """Read real and generated cells, of the same genes and on one scale; return its name too."""
    given, real = open_cells(generated), open_cells(real)
    made = read_cells(given, name="generated", labels=generated_labels, **drawn)
    choice = Choice(layer)
    if layer is None and scale == "auto":
        choice = matching_choice(real, given, made=made.X)
        if choice.reason is not None:
            _log.info("plot_aug: %s", choice.reason)
    where: dict[str, Any] = {"layer": choice.layer, "raw": choice.raw}
    true = align(read_cells(real, name="real", labels=real_labels, **where, **drawn), made)
    chosen = choose_scale(true, scale)
    return rescale(true, chosen), rescale(made, chosen), chosen


def _check_labels(true: Cells, made: Cells, given: str) -> None:
    """Raise `DataError` if labels were given for one side and the other has none of that name."""
    if not set(true.obs.columns) & set(made.obs.columns) - {"source"}:
        other = "generated" if given == "real" else "real"
        raise DataError(
            f"{given}_labels were given, and the {other} cells have no labels of that name: label "
            "both sides, or neither."
        )


def _title_sides(axes: list[Axes], sides: Sequence[Cells], title: str, note: str) -> None:
    """Give two panels the same axes, and titles."""
    axes[1].sharex(axes[0])
    axes[1].sharey(axes[0])
    axes[1].tick_params(labelleft=False)
    axes[0].autoscale()
    for ax, cells in zip(axes, sides, strict=True):
        ax.set_title(f"{cells.name} ({cells.count()})", fontsize=9, fontweight="normal")
    figure = figure_of(axes[0])
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color=MUTED)


def _most_variable(cells: Cells, n_top_genes: int | None) -> NDArray[np.int64]:
    """Return the genes of the largest variance, in their order."""
    if n_top_genes is None or n_top_genes >= cells.n_genes:
        return np.arange(cells.n_genes)
    return np.sort(np.argsort(-cells.variance(), kind="stable")[:n_top_genes])


def _draw(axes: list[Axes], colouring: Colouring, plane: Projection) -> None:
    """Draw both sources, each in random order so that no category covers another."""
    real, generated = colouring.real, colouring.generated
    if colouring.is_numeric:
        real, generated = _shades(axes, colouring)
    elif colouring.title:
        _category_legend(axes[-1], colouring)
    size = float(np.clip(24_000 / (len(real) + len(generated)), 5.0, 26.0))  # points squared
    dots: dict[str, Any] = {"s": size, "alpha": 1.0, "linewidths": 0.25, "edgecolors": "white"}
    discs = {"s": 3.6 * size, "alpha": 0.26, "linewidths": 0} if len(axes) == 1 else dots
    for ax, points, inks, style, gid in (
        (axes[0], plane.real, real, discs, "real"),
        (axes[-1], plane.generated, generated, dots, "generated"),
    ):
        order = np.random.default_rng(0).permutation(len(points))
        # A vector file of very many points is slow to open: they become pixels in it.
        many = len(points) > 5000
        x, y = points[order].T
        ax.scatter(x, y, c=inks[order], rasterized=many, gid=gid, **style)


def _category_legend(ax: Axes, colouring: Colouring) -> None:
    legend = ax.legend(
        handles=[_dot(colour, label=short(label)) for label, colour in colouring.entries],
        title=short(colouring.title), loc="upper left", bbox_to_anchor=(1.0, 1.0),
        ncols=_n_columns(colouring), title_fontproperties={"weight": "bold", "size": 9},
        alignment="left", handletextpad=0.3, columnspacing=1.0, borderaxespad=0.4,
    )  # fmt: skip
    ax.add_artist(legend)  # or the next legend takes its place
    legend.set_clip_on(False)


def _shades(axes: list[Axes], colouring: Colouring) -> tuple[Any, Any]:
    """Draw a colour bar and return the colours of the numbers; outliers do not set its ends."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    numbers = np.concatenate([colouring.real, colouring.generated])
    numbers = numbers[np.isfinite(numbers)]
    low, high = np.percentile(numbers, (1, 99)) if len(numbers) else (0.0, 1.0)
    if high <= low and len(numbers):
        low, high = numbers.min(), numbers.max()
    shades = ScalarMappable(
        Normalize(float(low), float(high) if high > low else float(low) + 1.0),
        colormaps["viridis"].with_extremes(bad=MISSING),
    )
    bar = figure_of(axes[0]).colorbar(shades, ax=axes, shrink=0.5, aspect=22, pad=0.02)
    bar.set_label(colouring.title, color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    real, generated = map(np.ma.masked_invalid, (colouring.real, colouring.generated))
    return shades.to_rgba(real), shades.to_rgba(generated)


def _source_legend(ax: Axes, real: Cells, generated: Cells, colouring: Colouring) -> None:
    inks = [INK, INK] if colouring.title else [colour for _, colour in colouring.entries]
    ax.legend(
        [_dot(inks[0], ms=9, alpha=0.45), _dot(inks[1], ms=4.5)],
        [f"real ({real.count()})", f"generated ({generated.count()})"],
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, handletextpad=0.2, columnspacing=1.2,
        borderaxespad=0.1, borderpad=0.2,
    )  # fmt: skip


def _dot(colour: str, *, ms: float = 6.5, **style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="", marker="o", ms=ms, mew=0, color=colour, **style)


def _n_columns(colouring: Colouring) -> int:
    return -(-len(colouring.entries) // _LEGEND_ROWS)


def _figsize(colouring: Colouring, layout: str) -> tuple[float, float]:
    width = 10.4 if layout == "side" else 5.8
    if colouring.is_numeric or not colouring.title:
        return width + 0.6, 5.6
    longest = max(len(short(label)) for label in (colouring.title, *dict(colouring.entries)))
    return width + _n_columns(colouring) * (0.45 + 0.075 * max(longest, 6)), 5.6
