"""Poisson counts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vaexprs.training.likelihoods.counts import CountLaw, add_up
from vaexprs.training.network.model import wide


class Poisson(CountLaw):
    """Counts whose variance is their mean."""

    name = "poisson"

    def log_prob_of_mean(self, x: Tensor, log_mean: Tensor, heads: Mapping[str, Tensor]) -> Tensor:
        """Return the log-probability of counts with a log mean, summed over genes."""
        row, column = torch.nonzero(x, as_tuple=True)
        log_factorial = add_up(torch.lgamma(wide(x[row, column]) + 1.0), row, x)
        return (x * log_mean - log_mean.exp()).sum(-1) - log_factorial
