"""One look for all figures: colours that colour-blind readers tell apart, thin axes, no show."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vaexprs.errors import require
from vaexprs.evaluation.metrics.arrays import Array

__all__ = [
    "COLORS",
    "INK",
    "MUTED",
    "NAMES",
    "category_colors",
    "embed",
    "figure",
    "style",
    "thin",
]

#: Real cells blue, control grey, generated orange (Okabe and Ito's palette).
COLORS = {"test": "#0072B2", "control": "#8A8F98", "generated": "#D55E00"}
NAMES = {"test": "real (test)", "control": "real (control)", "generated": "generated"}
INK = "#1F2933"
MUTED = "#66707C"

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#B8C0CA",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "vaexprs",
    "figure.dpi": 100,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's look, and leave the reader's settings as they are."""
    matplotlib = require("matplotlib", extra="evaluate", purpose="Drawing a report")
    with matplotlib.rc_context(_RC):
        yield


def figure(width: float, height: float) -> Any:
    """Return a figure that no window knows of; sizes in inches."""
    module = require("matplotlib.figure", extra="evaluate", purpose="Drawing a report")
    return module.Figure(figsize=(width, height), layout="constrained")


def embed(drawn: Any) -> str:
    """Return a figure as a data URI: an SVG, in which many points are one picture."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="svg", dpi=170, metadata={"Date": None, "Creator": "vaexprs"})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def category_colors(names: Sequence[str]) -> dict[str, Any]:
    """Return a colour for each category, the same for the same names."""
    colormaps = require("matplotlib", extra="evaluate", purpose="Drawing a report").colormaps
    if len(names) <= 10:
        palette = list(colormaps["tab10"].colors)
    elif len(names) <= 20:
        palette = [*colormaps["tab20"].colors[::2], *colormaps["tab20"].colors[1::2]]
    else:
        palette = [colormaps["turbo"](x) for x in np.linspace(0.03, 0.97, len(names))]
    return {name: palette[index] for index, name in enumerate(names)}


def thin(n: int, most: int) -> Array:
    """Return at most ``most`` of n rows in a mixed order that is always the same."""
    return np.random.default_rng(0).permutation(n)[:most]
