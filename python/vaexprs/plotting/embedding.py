"""Real and generated cells together in one plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, near_matches, require
from vaexprs.plotting import canvas, palette
from vaexprs.plotting.cells import SCALES, Cells, Scale, align, choose_scale, read_cells, rescale
from vaexprs.plotting.projection import MAX_CELLS, Method, method_named, project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_aug"]

#: Columns that generation adds to obs; they are no condition.
_NOT_CONDITIONS = ("source", "library", "unseen_combination")
#: More categories than this are told apart by nobody: the rarest share one colour.
_MAX_CATEGORIES = 40
_OTHERS = "others"
_NO_LABEL = "no label"


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
        method: PCA 10,000, UMAP and NMF 5,000, TSNE 3,000, DiffusionMap 2,000, MDS 750.
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
    key, values = _colour_values(true, made, color)

    true = align(true, made)
    chosen = choose_scale(true, scale)
    if scale == "auto" and chosen != "counts" and choose_scale(made, "auto") == "counts":
        raise DataError(
            "the generated cells are counts and the real ones are not: pass layer=... for the "
            "layer of the real cells that holds counts, or scale=... to draw them as they are."
        )
    true, made = rescale(true, chosen), rescale(made, chosen)
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
        figure = canvas.new_figure(figsize or _figsize(values))
        ax = figure.add_subplot()
    canvas.tidy(ax, ticks=method in ("PCA", "NMF", "MDS"))
    ax.set_xlabel(plane.axes[0])
    ax.set_ylabel(plane.axes[1])
    ax.margins(0.04)
    if isinstance(values[0][0], str):
        _draw_categories(ax, key, values, plane.real, plane.generated)
    else:
        _draw_numbers(ax, key, values, plane.real, plane.generated)
    _source_legend(ax, true, made)
    basis_words = "on the real cells" if plane.basis == "real" else "on both together"
    genes_words = f"{len(genes):,} genes" + (
        " of the largest variance" if len(genes) < made.n_genes else ""
    )
    names = {"TSNE": "t-SNE", "DiffusionMap": "Diffusion map"}
    canvas.title(
        ax,
        f"{names.get(method, method)} of real and generated cells",
        f"{SCALES[chosen]}, {genes_words}; fitted {basis_words}",
        pad=24,
    )
    return canvas.figure_of(ax)


Values = tuple[NDArray[Any], NDArray[Any]]


def _colour_values(real: Cells, generated: Cells, color: str | None) -> tuple[str, Values]:
    """Return what the colours show: its name, and the values of both, either str or float."""
    if color is None:
        shared = [
            str(column)
            for column in generated.obs.columns
            if column in real.obs.columns and column not in _NOT_CONDITIONS
        ]
        if not shared:
            color = "source"
        else:
            labels = [c for c in shared if not _numeric(generated.obs[c])]
            color = (labels or shared)[0]
    if color == "source":
        return "", (_constant("real", len(real)), _constant("generated", len(generated)))
    if color in generated.obs.columns and color in real.obs.columns:
        columns = real.obs[color], generated.obs[color]
        if all(_numeric(column) for column in columns):
            return color, (columns[0].to_numpy(float), columns[1].to_numpy(float))
        return color, (_strings(columns[0]), _strings(columns[1]))
    genes = real.gene(color), generated.gene(color)
    if genes[0] is not None and genes[1] is not None:
        return color, (genes[0], genes[1])
    where = [
        cells.name
        for cells, gene in zip((real, generated), genes, strict=True)
        if color not in cells.obs.columns and gene is None
    ]
    known = [str(c) for c in real.obs.columns if c in generated.obs.columns]
    raise DataError(
        f"color={color!r} is neither an obs column nor a gene of the "
        f"{' and the '.join(where) or 'real and generated'} cells alike: "
        + near_matches(color, [*known, "source"])
    )


def _numeric(column: Any) -> bool:
    """Whether a column holds measurements; few distinct whole numbers are labels."""
    pandas = require("pandas", extra="plot", purpose="Plotting cells")
    types = pandas.api.types
    if types.is_bool_dtype(column) or not types.is_numeric_dtype(column):
        return False
    return not types.is_integer_dtype(column) or column.nunique() > _MAX_CATEGORIES


def _constant(value: str, length: int) -> NDArray[np.object_]:
    return np.full(length, value, dtype=object)


def _strings(column: Any) -> NDArray[np.object_]:
    """Return labels as strings; missing ones by a name of their own."""
    missing = column.isna().to_numpy()
    text = column.astype(object).map(str).to_numpy(dtype=object, copy=True)
    text[missing] = _NO_LABEL
    return text  # type: ignore[no-any-return]


def _most_variable(cells: Cells, n_top_genes: int | None) -> NDArray[np.int64]:
    """Return the genes of the largest variance, in their order."""
    if n_top_genes is not None and n_top_genes < 2:
        raise DataError(f"n_top_genes must be at least 2, got {n_top_genes}.")
    if n_top_genes is None or n_top_genes >= cells.n_genes:
        return np.arange(cells.n_genes)
    X = cells.X
    square = X.multiply(X) if hasattr(X, "tocsr") else X * X
    mean = np.asarray(X.mean(0), dtype=np.float64).ravel()
    variance = np.asarray(square.mean(0), dtype=np.float64).ravel() - mean**2
    return np.sort(np.argsort(-variance, kind="stable")[:n_top_genes])


def _categories(values: Values) -> list[str]:
    """Return the labels to colour, the most frequent ones where there are too many."""
    labels, counts = np.unique(np.concatenate(values).astype(str), return_counts=True)
    known = [(label, count) for label, count in zip(labels, counts, strict=True)]
    named = {label: count for label, count in known if label != _NO_LABEL}
    if len(named) > _MAX_CATEGORIES:
        frequent = sorted(named, key=lambda label: -named[label])[: _MAX_CATEGORIES - 1]
        named = {label: named[label] for label in named if label in frequent}
    return sorted(named, key=_natural)


def _natural(label: str) -> list[tuple[int, float, str]]:
    """Sort key under which ``type10`` comes after ``type2``."""
    parts: list[tuple[int, float, str]] = []
    digits = ""
    for character in [*label.casefold(), ""]:
        if character.isdigit() and character.isascii():
            digits += character
            continue
        if digits:
            parts.append((0, float(digits), ""))
            digits = ""
        parts.append((1, 0.0, character))
    return parts


def _draw_categories(
    ax: Axes, key: str, values: Values, real: NDArray[Any], generated: NDArray[Any]
) -> None:
    categories = _categories(values)
    colour_of = dict(zip(categories, palette.colours(len(categories)), strict=True))
    colours = [
        np.array([colour_of.get(label, palette.MISSING) for label in side]) for side in values
    ]
    _scatter(ax, real, generated, colours[0], colours[1])
    if not key:
        return
    handles = [_dot(colour, label) for label, colour in colour_of.items()]
    rest = set(np.concatenate(values)) - set(categories)
    if rest - {_NO_LABEL}:
        n_rest = len(rest - {_NO_LABEL})
        handles.append(_dot(palette.MISSING, f"{n_rest:,} {_OTHERS}"))
    if _NO_LABEL in rest:
        handles.append(_dot(palette.MISSING, _NO_LABEL))
    legend = ax.legend(
        handles=handles,
        title=key,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        ncols=-(-len(handles) // 21),
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


def _draw_numbers(
    ax: Axes, key: str, values: Values, real: NDArray[Any], generated: NDArray[Any]
) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    finite = np.concatenate(values)
    finite = finite[np.isfinite(finite)]
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
    if not high > low:
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    norm = Normalize(float(low), float(high) if high > low else float(low) + 1.0)
    shades = ScalarMappable(norm, colormaps["viridis"])
    colours = [shades.to_rgba(np.nan_to_num(side, nan=low)) for side in values]
    _scatter(ax, real, generated, colours[0], colours[1])
    bar = canvas.figure_of(ax).colorbar(shades, ax=ax, shrink=0.5, aspect=22, pad=0.02)
    bar.set_label(key, color=canvas.INK, fontsize=9)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=canvas.MUTED, labelsize=8, length=0)


def _scatter(
    ax: Axes, real: NDArray[Any], generated: NDArray[Any], real_colours: Any, made_colours: Any
) -> None:
    """Draw the discs, then the dots, each in random order so that no category covers another."""
    size = float(np.clip(9000 / max(len(real) + len(generated), 1), 3.0, 26.0))
    for points, colours, style in (
        (
            real,
            real_colours,
            {"s": 4.5 * size, "alpha": 0.28, "linewidths": 0, "gid": "real", "zorder": 1},
        ),
        (
            generated,
            made_colours,
            {
                "s": size,
                "alpha": 0.95,
                "linewidths": 0.3,
                "edgecolors": "white",
                "gid": "generated",
                "zorder": 2,
            },
        ),
    ):
        order = np.random.default_rng(0).permutation(len(points))
        # Above some thousand points a vector file is slow to open: draw them as pixels there.
        ax.scatter(
            points[order, 0],
            points[order, 1],
            c=colours[order],
            rasterized=len(points) > 5000,
            **style,
        )


def _source_legend(ax: Axes, real: Cells, generated: Cells) -> None:
    from matplotlib.lines import Line2D

    grey = "#4b5563"
    handles = [
        Line2D([], [], ls="", marker="o", ms=9, mew=0, color=grey, alpha=0.35),
        Line2D([], [], ls="", marker="o", ms=4.5, mew=0, color=grey),
    ]
    ax.legend(
        handles,
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


def _dot(colour: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    shown = label if len(label) <= 32 else label[:31] + "…"
    return Line2D([], [], ls="", marker="o", ms=6.5, mew=0, color=colour, label=shown)


def _figsize(values: Values) -> tuple[float, float]:
    if not isinstance(values[0][0], str):
        return 6.6, 5.4
    categories = _categories(values)
    longest = max((len(label) for label in categories), default=0)
    columns = -(-(len(categories) + 1) // 21)
    return 5.8 + columns * (0.45 + 0.075 * min(max(longest, 6), 32)), 5.6
