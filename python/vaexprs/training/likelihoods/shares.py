"""Mean shares of genes among the counts of draws, and how corrections of the logits move them.

To decode draws takes most of the time of a correction. Where a correction of categories comes
before one of combinations, the second is found without decoding anew: in the mean of a
combination, a step of one logit for all of its cells multiplies the gene's share, and all shares
are divided by their new sum. That leaves out how the sum varies from cell to cell; draws that are
decoded later show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import Grouping

Array = NDArray[np.float64]

#: Largest squared coefficient of variation that draws are taken to have: more is one outlier.
_MOST_VARIATION = 50.0
_TINY = 1e-12


@dataclass(frozen=True)
class Shares:
    """Moments of shares over the draws of each group of a partition."""

    cells: Array  # that the draws of each group stand for, (n_groups,)
    library: Array  # mean library size, (n_groups, 1)
    counts: Array  # mean of share times library size, (n_groups, n_genes)
    mean: Array  # mean share, (n_groups, n_genes)
    square: Array  # mean squared share, (n_groups, n_genes)

    @classmethod
    def of(cls, draws: Draws, grouping: Grouping) -> Shares:
        """Decode draws and return the moments over each group."""
        inflated = "zero_logits" in draws.decoder.heads

        def values(heads: dict[str, Tensor], library: Tensor) -> list[Tensor]:
            share = torch.softmax(heads["logits"], -1)
            if inflated:
                share = share * torch.sigmoid(-heads["zero_logits"])
            return [library, share * library, share, share.square()]

        names = ("logits", "zero_logits") if inflated else ("logits",)
        found = grouping.moments(draws, names, values)
        weight = grouping.weight * np.bincount(draws.group, minlength=draws.n_groups)
        cells = np.bincount(grouping.draws, weight, minlength=grouping.n_groups).astype(np.float64)
        return cls(cells, *found)

    def over(self, grouping: Grouping) -> Shares:
        """Return the moments over coarser groups; those of `self` are combinations."""
        cells = np.bincount(grouping.draws, self.cells, minlength=grouping.n_groups).astype(
            np.float64
        )

        def mean(values: Array) -> Array:
            out = np.zeros((grouping.n_groups, values.shape[1]))
            np.add.at(out, grouping.draws, self.cells[:, None] * values)
            return out / cells[:, None]

        moments = (self.library, self.counts, self.mean, self.square)
        return Shares(cells, *map(mean, moments))

    def moved(self, grouping: Grouping, step: Array) -> Shares:
        """Return the moments after a step of the logits of each group, ``(n_groups, n_genes)``."""
        corrected = (grouping.rows >= 0)[grouping.draws, None]
        factor = np.exp(np.where(corrected, step[grouping.draws], 0.0))
        total = self.mean.sum(1, keepdims=True)
        counts, mean = factor * self.counts, factor * self.mean
        by = total / np.maximum(mean.sum(1, keepdims=True), _TINY)
        whole = self.counts.sum(1, keepdims=True) / np.maximum(counts.sum(1, keepdims=True), _TINY)
        square = (factor * by) ** 2 * self.square
        return Shares(self.cells, self.library, counts * whole, mean * by, square)

    @property
    def by_library(self) -> Array:
        """Mean share, weighted by library size, ``(n_groups, n_genes)``."""
        return self.counts / self.library

    @property
    def variation(self) -> Array:
        """Squared coefficient of variation of the share, ``(n_groups, n_genes)``."""
        found = self.square / np.maximum(self.mean**2, _TINY**2) - 1
        return np.clip(found, 0, _MOST_VARIATION)
