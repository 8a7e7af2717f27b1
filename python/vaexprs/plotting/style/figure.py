"""The figure that every plot draws on. Importing this file imports matplotlib."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["StandaloneFigure"]


class StandaloneFigure(Figure):
    """A figure outside ``pyplot``, which a notebook shows all the same.

    A figure made through ``pyplot`` is kept alive by it until it is closed, and fixes a
    backend for the whole process. This one belongs to its caller alone.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        """Return the figure as PNG; notebooks look for this name."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
