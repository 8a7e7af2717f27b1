"""Real and generated cells together in one plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError
from vaexprs.plotting.cells import Cells, read_cells
from vaexprs.plotting.colouring import Colouring, choose_colouring
from vaexprs.plotting.projection import MAX_CELLS, Method, Projection, method_named, project
from vaexprs.plotting.scale import SCALES, Scale, align, choose_scale, rescale
from vaexprs.plotting.style import canvas, palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_aug"]


def plot_aug(
    generated: Any,
    method: Method | str = "PCA",
    *,
    real: Any,
    color: str | None = None,
    real_labels: Sequence[Any] | None = None,
    generated_labels: Sequence[Any] | None = None,
    layer: str | None = None,
    scale: Scale = "auto",
    n_top_genes: int | None = 2000,
    basis: Literal["real", "joint"] | None = None,
    max_cells: int | None = None,
    seed: int = 0,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
    **options: Any,
) -> Figure:
    """Draw real and generated cells together in two dimensions.

    Real cells are pale discs, generated cells small dots on top, both in the colour of their
    condition, so that dots off the discs are cells that the data do not have, and bare discs
    are cells that the model does not make.

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
    real_labels, generated_labels
        Labels of the cells where arrays are given, one per cell.
    layer
        Layer of the real cells to compare with, as given to `fit_vae`.
    scale
        ``"counts"``: log1p of counts per 10,000. ``"log1p"``: log1p of the values. ``"none"``:
        the values. ``"auto"`` looks at the real cells: whole numbers are counts; other values
        are logged unless they are already, which is assumed of data with negative values or
        without a large spread. Both sources are treated alike.
    n_top_genes
        Keep the genes with the largest variance among the real cells. None: all.
    basis
        ``"real"``: the plane is fitted on the real cells and the generated ones are placed in
        it; the default of PCA, NMF and UMAP. ``"joint"``: it is fitted on both together; the
        default, and the only way, of MDS, TSNE and DiffusionMap. Placing new cells in a UMAP
        puts them near their neighbours in the plane: for a stricter eye pass ``"joint"``.
    max_cells
        If a source has more cells, as many are drawn at random. The default depends on the
        method: PCA 10,000, UMAP and NMF 5,000, TSNE 2,500, DiffusionMap 2,000, MDS 750.
    seed
        Seed of the choice of cells and of the methods that draw.
    figsize
        Width and height in inches; by default as wide as the legend needs.
    ax
        Axes to draw on instead of a new figure.
    **options
        Passed to the library that does the method: `sklearn.decomposition.PCA` and ``NMF``,
        `sklearn.manifold.MDS` and ``TSNE``, `umap.UMAP`, `scanpy.pp.neighbors`.

    Returns
    -------
    matplotlib.figure.Figure
        Never shown, and unknown to ``pyplot``.

    Raises
    ------
    DataError
        If the method, a column or a layer is unknown (with near matches), the genes do not
        match, the real cells look logged while the generated ones are counts, or the cells
        cannot be read.
    MissingExtraError
        If the library that a method needs is not installed.
    """
    method = method_named(method)
    limit = MAX_CELLS[method] if max_cells is None else max_cells
    made = read_cells(
        generated, name="generated", max_cells=limit, seed=seed, labels=generated_labels
    )
    true = read_cells(
        real, name="real", max_cells=limit, seed=seed, layer=layer, labels=real_labels
    )

    true = align(true, made)
    chosen = choose_scale(true, scale)
    if scale == "auto" and chosen != "counts" and choose_scale(made, "auto") == "counts":
        raise DataError(
            "the generated cells are counts and the real ones are not: pass layer=... for the "
            "layer of the real cells that holds counts, or scale=... to draw them as they are."
        )
    true, made = rescale(true, chosen), rescale(made, chosen)
    colouring = choose_colouring(true, made, color)
    genes = _most_variable(true, n_top_genes)
    plane = project(
        true.take(genes).dense(),
        made.take(genes).dense(),
        method,
        basis=basis,
        seed=seed,
        options=options,
    )

    if ax is None:
        ax = canvas.new_figure(figsize or _figsize(colouring)).add_subplot()
    canvas.tidy(ax, ticks=method in ("PCA", "NMF", "MDS"))
    ax.set_xlabel(plane.axes[0])
    ax.set_ylabel(plane.axes[1])
    ax.margins(0.04)
    _draw(ax, colouring, plane)
    _source_legend(ax, true, made, colouring)
    names = {"TSNE": "t-SNE", "DiffusionMap": "Diffusion map"}
    genes_words = f"{len(genes):,} genes" + (
        " of the largest variance" if len(genes) < made.n_genes else ""
    )
    basis_words = "on the real cells" if plane.basis == "real" else "on both together"
    canvas.title(
        ax,
        f"{names.get(method, method)} of real and generated cells",
        f"{SCALES[chosen]}, {genes_words}; fitted {basis_words}",
        pad=24,
    )
    return canvas.figure_of(ax)


def _most_variable(cells: Cells, n_top_genes: int | None) -> NDArray[np.int64]:
    """Return the genes of the largest variance, in their order."""
    if n_top_genes is not None and n_top_genes < 2:
        raise DataError(f"n_top_genes must be at least 2, got {n_top_genes}.")
    if n_top_genes is None or n_top_genes >= cells.n_genes:
        return np.arange(cells.n_genes)
    return np.sort(np.argsort(-cells.variance(), kind="stable")[:n_top_genes])


def _draw(ax: Axes, colouring: Colouring, plane: Projection) -> None:
    """Draw the discs, then the dots, each in random order so that no category covers another."""
    real, generated = colouring.real, colouring.generated
    if colouring.is_numeric:
        real, generated = _shades(ax, colouring)
    elif colouring.title:
        _category_legend(ax, colouring)
    size = float(np.clip(24_000 / (len(real) + len(generated)), 5.0, 26.0))
    discs: dict[str, Any] = {"s": 3.6 * size, "alpha": 0.26, "linewidths": 0, "gid": "real"}
    dots: dict[str, Any] = {
        "s": size, "alpha": 1.0, "linewidths": 0.25, "edgecolors": "white", "gid": "generated"
    }  # fmt: skip
    for points, colours, style in ((plane.real, real, discs), (plane.generated, generated, dots)):
        order = np.random.default_rng(0).permutation(len(points))
        ax.scatter(
            points[order, 0],
            points[order, 1],
            c=colours[order],
            # A vector file of very many points is slow to open: they become pixels in it.
            rasterized=len(points) > 5000,
            **style,
        )


def _category_legend(ax: Axes, colouring: Colouring) -> None:
    legend = ax.legend(
        handles=[_dot(colour, label=_short(label)) for label, colour in colouring.entries],
        title=_short(colouring.title),
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        ncols=_n_columns(colouring),
        frameon=False,
        fontsize=8.5,
        labelcolor=canvas.INK,
        title_fontproperties={"weight": "bold", "size": 9},
        alignment="left",
        handletextpad=0.3,
        columnspacing=1.0,
        borderaxespad=0.4,
    )
    legend.get_title().set_color(canvas.INK)
    ax.add_artist(legend)  # or the next legend takes its place
    legend.set_clip_on(False)


def _shades(ax: Axes, colouring: Colouring) -> tuple[Any, Any]:
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
        colormaps["viridis"].with_extremes(bad=palette.MISSING),
    )
    bar = canvas.figure_of(ax).colorbar(shades, ax=ax, shrink=0.5, aspect=22, pad=0.02)
    bar.set_label(colouring.title, color=canvas.INK, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=canvas.MUTED, labelsize=8, length=0)
    masked = (np.ma.masked_invalid(side) for side in (colouring.real, colouring.generated))
    real, generated = (shades.to_rgba(side) for side in masked)
    return real, generated


def _source_legend(ax: Axes, real: Cells, generated: Cells, colouring: Colouring) -> None:
    colours = ("#4b5563", "#4b5563")
    if not colouring.title:
        colours = (colouring.entries[0][1], colouring.entries[1][1])
    ax.legend(
        [_dot(colours[0], ms=9, alpha=0.45), _dot(colours[1], ms=4.5)],
        [f"real ({real.count()})", f"generated ({generated.count()})"],
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=2,
        frameon=False,
        fontsize=8.5,
        labelcolor=canvas.INK,
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0.1,
        borderpad=0.2,
    )


def _dot(colour: str, *, ms: float = 6.5, **style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="", marker="o", ms=ms, mew=0, color=colour, **style)


def _short(label: str) -> str:
    return label if len(label) <= 32 else label[:31] + "…"


def _n_columns(colouring: Colouring) -> int:
    return -(-len(colouring.entries) // 21)


def _figsize(colouring: Colouring) -> tuple[float, float]:
    if colouring.is_numeric or not colouring.title:
        return 6.4, 5.6
    longest = max(len(_short(label)) for label in (colouring.title, *dict(colouring.entries)))
    return 5.8 + _n_columns(colouring) * (0.45 + 0.075 * max(longest, 6)), 5.6
