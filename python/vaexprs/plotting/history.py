"""How training went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError
from vaexprs.plotting.style import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_history"]

_TRAINING = "#0072b2"
_VALIDATION = "#d55e00"
_TITLES = {
    "loss": "Loss",
    "reconstruction": "Reconstruction",
    "kl": "KL divergence",
    "kl_weight": "KL weight",
    "lr": "Learning rate",
    "learning_rate": "Learning rate",
}
#: Where the largest value is this many times the smallest, the axis is logarithmic.
_LOG_RATIO = 30.0


def plot_history(fit_or_history: Any, *, figsize: tuple[float, float] | None = None) -> Figure:
    """Draw what was recorded in each epoch of training, training beside validation.

    Parameters
    ----------
    fit_or_history
        A `VAEFit`, anything with such a ``history``, or the history itself: a mapping from
        names to one number per epoch. ``val_x`` is drawn in the panel of ``x``; ``epoch``, if
        it is there, gives the horizontal axis. The epoch with the smallest ``val_loss``, whose
        weights a fit keeps, is marked.
    figsize
        Width and height in inches; by default it follows the number of panels.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each name. Never shown, and unknown to ``pyplot``.

    Raises
    ------
    DataError
        If there is no history, it is empty, or a column is not one number per epoch.
    """
    columns = _columns(getattr(fit_or_history, "history", fit_or_history))
    epochs = columns.pop("epoch", None)
    panels: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, values in columns.items():
        base = name.removeprefix("val_")
        panels.setdefault(base, {})["validation" if base != name else "training"] = values
    order = sorted(panels, key=lambda base: _rank(base, list(panels)))
    best = _best(columns)

    n_columns = 2 if len(order) == 4 else min(len(order), 3)
    n_rows = -(-len(order) // n_columns)
    figure = canvas.new_figure(figsize or (0.6 + 3.5 * n_columns, 0.5 + 2.8 * n_rows))
    for number, base in enumerate(order):
        ax = figure.add_subplot(n_rows, n_columns, number + 1)
        _draw(
            ax,
            base,
            panels[base],
            epochs,
            best if base in ("loss", "reconstruction", "kl") else None,
        )
    return figure


def _columns(history: Any) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a history that hold anything, as floats."""
    if not isinstance(history, Mapping):
        raise DataError(
            "plot_history needs a fit or a mapping from names to one number per epoch, got "
            f"{type(history).__name__}."
        )
    columns: dict[str, NDArray[np.float64]] = {}
    for name, values in history.items():
        try:
            column = np.array([np.nan if v is None else float(v) for v in values])
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the history's {name!r} must be one number per epoch: {error}."
            ) from error
        if np.isfinite(column).any():
            columns[str(name)] = column
    if not columns.keys() - {"epoch"}:
        raise DataError("the history is empty: train for at least one epoch first.")
    return columns


def _rank(base: str, found: list[str]) -> tuple[int, int]:
    known = list(_TITLES)
    return (known.index(base) if base in known else len(known), found.index(base))


def _best(columns: Mapping[str, NDArray[np.float64]]) -> int | None:
    """Return the position of the epoch whose weights are kept; without validation, the last."""
    return int(np.nanargmin(columns["val_loss"])) if "val_loss" in columns else None


def _draw(
    ax: Axes,
    base: str,
    lines: Mapping[str, NDArray[np.float64]],
    epochs: NDArray[np.float64] | None,
    best: int | None,
) -> None:
    from matplotlib.ticker import MaxNLocator

    canvas.tidy(ax)
    ax.grid(axis="y", color=canvas.FAINT, linewidth=0.6, alpha=0.7)
    ax.set_axisbelow(True)
    for kind, values in sorted(lines.items()):
        x = np.arange(1.0, len(values) + 1)
        if epochs is not None and len(epochs) == len(values):
            x = epochs
        colour = _TRAINING if kind == "training" else _VALIDATION
        ax.plot(
            x,
            values,
            color=colour,
            linewidth=1.6,
            label=kind,
            marker="o" if len(values) == 1 else None,
            markersize=4,
            solid_capstyle="round",
        )
        if best is not None and best < len(values) and kind == "validation":
            ax.axvline(x[best], color=canvas.MUTED, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1)
            ax.plot(x[best], values[best], "o", ms=5, mfc="white", mec=colour, mew=1.6, gid="best")
            right = x[best] > (x[0] + x[-1]) / 2
            if base == "loss":
                ax.annotate(
                    f"best: epoch {x[best]:,.0f}",
                    (x[best], 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(-5 if right else 5, -2),
                    textcoords="offset points",
                    ha="right" if right else "left",
                    va="top",
                    fontsize=8,
                    color=canvas.MUTED,
                )
    finite = np.concatenate([v[np.isfinite(v)] for v in lines.values()])
    if finite.min() > 0 and finite.max() > _LOG_RATIO * finite.min() and base not in ("kl_weight",):
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    canvas.title(ax, _TITLES.get(base, base.replace("_", " ")), pad=8)
    if len(lines) > 1 and base in ("loss",):
        ax.legend(frameon=False, fontsize=8, labelcolor=canvas.INK, loc="best")
