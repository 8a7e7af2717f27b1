"""Poisson counts."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vaexprs.training.likelihoods.counts import CountLaw, log_factorial, log_mean

__all__ = ["Poisson", "poisson_log_prob"]


class Poisson(CountLaw):
    """Counts whose variance is their mean."""

    name = "poisson"

    def log_prob(self, x: Tensor, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        """Return the log-probability of each cell."""
        return poisson_log_prob(x, log_mean(heads, log_library))


def poisson_log_prob(x: Tensor, log_mean: Tensor) -> Tensor:
    """Return the log-probability of Poisson counts, summed over genes, ``(n_cells,)``."""
    return (x * log_mean - log_mean.exp()).sum(-1) - log_factorial(x)
