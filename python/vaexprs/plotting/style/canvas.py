"""What all plots share: a new figure, its inks, its manners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from vaexprs.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DPI", "FAINT", "INK", "MUTED", "figure_of", "new_figure", "tidy", "title"]

INK = "#1f2430"
MUTED = "#6b7280"
FAINT = "#d7dae0"
DPI = 150


def new_figure(figsize: tuple[float, float], *, constrained: bool = True) -> Figure:
    """Return an empty figure of a size in inches, at 150 dots per inch."""
    require("matplotlib", extra="plot", purpose="Plotting")
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from vaexprs.plotting.style.figure import StandaloneFigure

    return StandaloneFigure(
        figsize=figsize,
        dpi=DPI,
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08) if constrained else None,
    )


def figure_of(ax: Axes) -> Figure:
    """Return the figure that given axes belong to."""
    figure: Any = ax.figure  # a subfigure has a figure of its own
    while figure.figure is not figure:
        figure = figure.figure
    return cast("Figure", figure)


def tidy(ax: Axes, *, ticks: bool = True) -> None:
    """Give axes quiet spines, and ticks in a small grey type or none at all."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.set_facecolor("white")
    if ticks:
        ax.tick_params(colors=MUTED, labelsize=8, length=3, width=0.8, color=FAINT)
    else:
        ax.set_xticks([])
        ax.set_yticks([])
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_color(MUTED)
        axis.label.set_fontsize(9)


def title(ax: Axes, text: str, note: str = "", *, pad: float = 6.0) -> None:
    """Set a title over the left end of axes and a note in grey below it."""
    ax.annotate(
        text,
        (0, 1),
        xytext=(0, pad + (12 if note else 0)),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=11,
        fontweight="bold",
        color=INK,
        annotation_clip=False,
    )
    if note:
        ax.annotate(
            note,
            (0, 1),
            xytext=(0, pad),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=8,
            color=MUTED,
            annotation_clip=False,
        )
