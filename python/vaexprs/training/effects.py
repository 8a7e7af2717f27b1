"""What the categories of cells bring to their expression, by ridge regression.

A conditional decoder is told the categories, so that its latent variables are free for what is
left: components are sought in cells less what their categories bring. Of all cells, the first of
them would tell types apart that the decoder knows, and programs within a type would come last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Effects", "design_of"]

Array = NDArray[np.float64]

#: Cells of no effect that the cells of each category are averaged with.
_RIDGE = 1.0


def design_of(condition: ArrayLike, member: ArrayLike) -> Array:
    """Write down the categories of cells, and the combinations that have effects of their own.

    Parameters
    ----------
    condition
        Categories of each cell, one-hot for each key, ``(n_cells, n_categories)``.
    member
        Which categories make up each of the combinations, ``(n_categories, n_combinations)``.

    Returns
    -------
    array, ``(n_cells, n_categories + n_combinations)``
        Zeros and ones.
    """
    condition, member = np.asarray(condition, np.float64), np.asarray(member, np.float64)
    whole = condition @ member == member.sum(axis=0)
    return np.concatenate([condition, whole], axis=1)


@dataclass(frozen=True)
class Effects:
    """A linear fit of genes to a design.

    Attributes
    ----------
    intercept
        ``(n_genes,)``.
    slopes
        What each column of the design adds, ``(n_columns, n_genes)``.
    """

    intercept: Array
    slopes: Array

    @classmethod
    def of(cls, values: Any, design: Array) -> Effects:
        """Fit values of cells, sparse or dense, ``(n_cells, n_genes)``, by ridge regression."""
        mean = np.asarray(values.mean(axis=0), np.float64).ravel()
        centred = design - design.mean(axis=0)
        gram = centred.T @ centred + _RIDGE * np.eye(design.shape[1])
        cross = np.asarray((values.T @ centred).T, np.float64)
        slopes = np.linalg.solve(gram, cross) if design.shape[1] else cross
        return cls(mean - design.mean(axis=0) @ slopes, slopes)

    def of_genes(self, which: Any) -> Effects:
        """Return the effects on some genes."""
        return Effects(self.intercept[which], self.slopes[:, which])

    def along(self, vectors: Array) -> Effects:
        """Return the effects on scores along vectors, ``(n_genes, n_scores)``."""
        return Effects(self.intercept @ vectors, self.slopes @ vectors)

    def expected(self, design: Array) -> Array:
        """Return what is expected of cells, ``(n_cells, n_genes)``."""
        return self.intercept + design @ self.slopes

    def residual_variance(self, values: Any, design: Array) -> Array:
        """Return the variance of what is left of each gene, ``(n_genes,)``; no copy is dense."""
        square = values**2 if isinstance(values, np.ndarray) else values.multiply(values)
        n = values.shape[0]
        full = np.column_stack([np.ones(n), design])
        weights = np.concatenate([self.intercept[None], self.slopes])
        cross = np.asarray((values.T @ full).T, np.float64)
        squares = np.asarray(square.sum(axis=0), np.float64).ravel()
        fitted = (weights * (full.T @ full @ weights)).sum(axis=0)
        return np.asarray(np.maximum(squares - 2 * (weights * cross).sum(axis=0) + fitted, 0) / n)
