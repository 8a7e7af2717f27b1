"""The strokes that a diagram is made of: boxes, words, lines and arrows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaexprs.plotting.style import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Pen"]


class Pen:
    """Draws on axes whose unit is the inch."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax

    def box(
        self,
        corner: tuple[float, float],
        size: tuple[float, float],
        colours: tuple[str, str],
        *,
        dashed: bool = False,
    ) -> None:
        """Draw a box with rounded corners from its lower left corner and its width and height."""
        from matplotlib.patches import FancyBboxPatch

        style = f"round,pad=0,rounding_size={min(0.08, *(length / 3 for length in size))}"
        fill, edge = colours
        line = "--" if dashed else "-"
        self.ax.add_patch(
            FancyBboxPatch(
                corner, *size, boxstyle=style, fc=fill, ec=edge, lw=1.1, ls=line, zorder=3
            )
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        colour: str = canvas.INK,
        weight: str = "normal",
        style: str = "normal",
        ha: str = "center",
        va: str = "center",
    ) -> None:
        """Write words, whose size is in points."""
        self.ax.text(
            x,
            y,
            text,
            fontsize=size,
            color=colour,
            fontweight=weight,
            fontstyle=style,
            ha=ha,
            va=va,
            linespacing=1.25,
            zorder=5,
            parse_math=False,  # the names of keys and layers are anybody's
        )

    def line(self, points: list[tuple[float, float]], colour: str) -> None:
        """Draw a line through points."""
        xs, ys = zip(*points, strict=True)
        self.ax.plot(xs, ys, color=colour, lw=1.1, zorder=2)

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], colour: str = canvas.MUTED
    ) -> None:
        """Draw an arrow."""
        self.ax.annotate(
            "",
            end,
            start,
            zorder=4,
            arrowprops={
                "arrowstyle": "-|>,head_width=0.18,head_length=0.32",
                "color": colour,
                "lw": 1.1,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
