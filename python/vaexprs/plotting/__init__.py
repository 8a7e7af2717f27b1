"""Figures of models, cells and training: each function returns a matplotlib figure.

Nothing here calls ``show``, imports ``pyplot`` or touches a setting of matplotlib: a figure is
saved with ``figure.savefig(path)`` and shows itself at the end of a notebook cell.
"""

from vaexprs.plotting.architecture import plot_vae
from vaexprs.plotting.embedding import plot_aug
from vaexprs.plotting.heatmap import plot_heatmap
from vaexprs.plotting.history import plot_history

__all__ = ["plot_aug", "plot_heatmap", "plot_history", "plot_vae"]
