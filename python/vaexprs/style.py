"""The look that every figure shares: colours, settings of matplotlib, titles."""

from __future__ import annotations

import functools
import io
import itertools
import numbers
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast

from vaexprs.errors import ArgumentError, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, FAINT = "#1f2430", "#66707c", "#d7dae0"
#: Real cells, generated cells, and real cells in their place.
REAL, GENERATED, CONTROL = "#0072b2", "#d55e00", "#8a8f98"
#: Cells without a label, and categories past the last one shown.
MISSING = "#c9ccd2"

#: Eight colours of Okabe and Ito (2008), then colours each chosen as far as possible in OKLab from
#: those before it, seen with protanopia, with deuteranopia, and at half weight with normal sight.
#: The closest two are 0.04 apart to colour-blind readers and 0.08 to others; people notice 0.02.
_CATEGORIES = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d", "#e3d026",
    "#2e07a3", "#28edaf", "#9167fa", "#751d82", "#c22990", "#d3c2e4", "#6e0b24", "#5c3ecf",
    "#9a4312", "#7c7553", "#9cc287", "#043d66", "#ec3d5f", "#c251d2", "#814b73", "#f786da",
    "#37bb62", "#1343a8", "#406d3d", "#e49cb2", "#248c20", "#542750", "#659392", "#9644d1",
    "#98e36b", "#1b4338", "#f8986c", "#b082f7", "#65b090", "#4b1183", "#703f0e", "#5056a8",
)  # fmt: skip

_SETTINGS: dict[str, Any] = {
    "text.parse_math": False,  # names of genes and categories may hold dollar signs
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9,
    "text.color": INK,
    "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.titlecolor": INK, "axes.labelcolor": MUTED, "axes.labelsize": 9,
    "axes.edgecolor": FAINT, "axes.spines.top": False, "axes.spines.right": False,
    "axes.axisbelow": True, "grid.color": "#e8ebef",
    "xtick.color": FAINT, "xtick.labelcolor": MUTED, "xtick.labelsize": 8,
    "ytick.color": FAINT, "ytick.labelcolor": MUTED, "ytick.labelsize": 8,
    "legend.frameon": False, "legend.fontsize": 8.5,
    "figure.dpi": 150, "figure.facecolor": "white", "axes.facecolor": "white",
    "savefig.facecolor": "white", "svg.fonttype": "path", "svg.hashsalt": "vaexprs",
}  # fmt: skip

#: Inches. No panel is left of less; more than 2^16 pixels are more than Agg draws.
_SMALLEST, _LARGEST = 1, 400

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that draws, so that it uses this style and restores the settings."""

    @functools.wraps(draw)
    def with_style(*args: P.args, **kwargs: P.kwargs) -> R:
        _check_size(kwargs.get("figsize"))
        if not (kwargs.get("ax") is None or hasattr(kwargs["ax"], "set_axis_off")):
            raise ArgumentError(f"ax must be axes of matplotlib, got {kwargs['ax']!r}.")
        matplotlib = require("matplotlib", extra="plot", purpose="Drawing a figure")
        with matplotlib.rc_context(_SETTINGS):
            drawn = draw(*args, **kwargs)
            for ax in getattr(drawn, "axes", ()):
                for axis in (ax.xaxis, ax.yaxis):
                    axis.get_major_ticks(1)  # later ticks copy this one, whatever the settings
            return drawn

    return with_style


def _check_size(figsize: Any) -> None:
    """Refuse a size that no figure has."""
    if figsize is None:
        return
    sides = tuple(figsize) if isinstance(figsize, Iterable) else ()
    if len(sides) != 2 or not all(
        isinstance(side, numbers.Real) and _SMALLEST <= float(side) <= _LARGEST for side in sides
    ):
        raise ArgumentError(
            f"figsize must be width and height in inches, from {_SMALLEST:g} to {_LARGEST:g} "
            f"each, got {figsize!r}."
        )


def colours(n: int) -> tuple[str, ...]:
    """Return `n` colours as ``"#rrggbb"``; the first ones are the same for every `n`.

    The first 40 differ to colour-blind readers too; then they repeat.
    """
    return tuple(itertools.islice(itertools.cycle(_CATEGORIES), n))


def new_figure(
    width: float, height: float, *, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """Return an empty figure of a size in inches, unknown to ``pyplot``.

    ``pyplot`` would keep the figure alive until it is closed, and fix a backend for the whole
    process. A notebook shows this figure all the same.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    if layout == "constrained":
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    vars(figure)["_repr_png_"] = functools.partial(png, figure)  # notebooks look for this name
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def figure_of(ax: Axes) -> Figure:
    """Return the figure that axes belong to, also through subfigures."""
    figure: Any = ax.figure
    while figure.figure is not figure:
        figure = figure.figure
    return cast("Figure", figure)


def log_axes(*axes: Any) -> None:
    """Make axes with data, such as ``ax.xaxis``, logarithmic, with labels such as 0.1, 1, 10."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for axis in axes:
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        low, high = axis.get_view_interval()
        narrow = high < 100 * max(low, 1e-300)  # two powers of ten are too few labels
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,), numticks=6))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def title(ax: Axes, text: str, note: str = "", *, pad: float = 6.0) -> None:
    """Set a bold title over the left end of axes, and a note in grey below it."""
    lines = [(text, 11, "bold", INK, pad + (12 if note else 0)), (note, 8, "normal", MUTED, pad)]
    for line, size, weight, colour, above in lines:
        ax.annotate(
            line, (0, 1), xytext=(0, above), xycoords="axes fraction",
            textcoords="offset points", fontsize=size, fontweight=weight, color=colour,
            annotation_clip=False, parse_math=False,
        )  # fmt: skip


def short(text: str, longest: int = 32) -> str:
    """Return a text, cut to a number of letters with a sign of it."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
