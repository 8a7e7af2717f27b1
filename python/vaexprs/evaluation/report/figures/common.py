"""Colours and names of the three sides, and helpers of the figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from vaexprs.style import CONTROL, GENERATED, REAL, new_figure

COLORS = {"test": REAL, "control": CONTROL, "generated": GENERATED}
NAMES = {"test": "real (test)", "control": "real (control)", "generated": "generated"}
#: Lines of reference.
GRID = "#c9d0d8"
#: Inches; the page shows 1,032 pixels of it.
WIDTH = 10.8


def panels(n: int, columns: int, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    """Return a figure and a flat array of n axes in rows of ``columns``; sizes of one panel."""
    rows = -(-n // columns)
    columns = min(n, columns)
    figure = new_figure(width * columns, height * rows)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False, **options))
    for axis in axes[n:]:
        axis.set_axis_off()
    return figure, axes[:n]


def percent(axis: Any) -> None:
    """Label an axis, such as ``ax.yaxis``, in percent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0))
