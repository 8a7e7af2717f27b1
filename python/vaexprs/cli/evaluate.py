"""``vaexprs evaluate``: how real generated cells are, beside real-vs-real controls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluate"]


def evaluate(
    real_train: Annotated[
        Path, typer.Argument(help="Real cells the model was trained on (.h5ad).")
    ],
    generated: Annotated[Path, typer.Argument(help="Generated cells (.h5ad).")],
) -> None:
    """Measure generated cells beside real-vs-real controls; write a report."""
