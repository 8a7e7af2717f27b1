"""`plot_history`: the course of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError
from vaexprs.style import GENERATED, MUTED, REAL, log_axes, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {
    "loss": "Loss",
    "reconstruction": "Reconstruction",
    "kl": "KL divergence",
    "kl_weight": "KL weight",
    "lr": "Learning rate",
    "learning_rate": "Learning rate",
}
#: An axis is logarithmic where the largest value exceeds the smallest by this factor.
_LOG_RATIO = 30.0


class Trained(Protocol):
    """Anything with a history, such as `vaexprs.VAEFit`."""

    @property
    def history(self) -> Any:
        """Values of each epoch, by name."""


@styled
def plot_history(
    source: Trained | Mapping[str, Any],
    *,
    title: str | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the values recorded in each epoch of training, training beside validation.

    Parameters
    ----------
    source
        A `VAEFit`, anything with such a ``history``, or the history itself: a mapping from
        names to one number per epoch. ``val_x`` is drawn in the panel of ``x``; ``epoch``, if
        it is there, gives the horizontal axis. The epoch with the smallest ``val_loss``, whose
        weights a fit keeps, is marked.
    title
        Title over all panels.
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
    columns = _columns(getattr(source, "history", source))
    epochs = columns.pop("epoch", None)
    bases = list(dict.fromkeys(name.removeprefix("val_") for name in columns))
    known = list(_TITLES)
    bases.sort(key=lambda base: known.index(base) if base in known else len(known))
    best = int(np.nanargmin(columns["val_loss"])) if "val_loss" in columns else None

    n_columns = 2 if len(bases) == 4 else min(len(bases), 3)
    n_rows = -(-len(bases) // n_columns)
    figure = new_figure(*(figsize or (0.6 + 3.5 * n_columns, 0.5 + 2.8 * n_rows)))
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    for number, base in enumerate(bases, start=1):
        ax = figure.add_subplot(n_rows, n_columns, number)
        ax.grid(axis="y")
        ax.set_title(_TITLES.get(base, base.replace("_", " ")))
        ax.set_xlabel("epoch")
        ax.locator_params(axis="x", integer=True, nbins=6)
        sides = (("training", base, REAL), ("validation", f"val_{base}", GENERATED))
        lines = [(label, columns[name], ink) for label, name, ink in sides if name in columns]
        for label, values, ink in lines:
            x = epochs if epochs is not None and len(epochs) == len(values) else None
            x = np.arange(1.0, len(values) + 1) if x is None else x
            marker = "o" if len(values) == 1 else None
            ax.plot(x, values, color=ink, lw=1.6, label=label, marker=marker, ms=4)
            marked = label == "validation" and base in ("loss", "reconstruction", "kl")
            if marked and best is not None and best < len(values):
                _mark(ax, float(x[best]), float(values[best]), name=base == "loss")
        finite = np.concatenate([values[np.isfinite(values)] for _, values, _ in lines])
        if finite.min() > 0 and finite.max() > _LOG_RATIO * finite.min() and base != "kl_weight":
            log_axes(ax.yaxis)
        if len(lines) > 1 and base == "loss":
            ax.legend()
    return figure


def _columns(history: Any) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a history that hold anything, as floats."""
    if not isinstance(history, Mapping):
        raise DataError(
            "plot_history needs a fit or a mapping from names to one number per epoch, got "
            f"{type(history).__name__}."
        )
    columns = {}
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


def _mark(ax: Any, x: float, y: float, *, name: bool) -> None:
    """Mark the epoch with the smallest validation loss, whose weights are kept."""
    ax.axvline(x, color=MUTED, lw=0.8, ls=(0, (3, 3)), zorder=1)
    ax.plot(x, y, "o", ms=5, mfc="white", mec=GENERATED, mew=1.6, gid="best")
    if name:
        low, high = ax.get_xlim()
        ha, shift = ("right", -5) if x > (low + high) / 2 else ("left", 5)
        ax.annotate(
            f"best: epoch {x:,.0f}", (x, 1), xytext=(shift, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha=ha, va="top", fontsize=8, color=MUTED,
        )  # fmt: skip
