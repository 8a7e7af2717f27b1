"""Zero-inflated negative binomial counts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vaexprs.training.likelihoods.base import DISPERSION_BOUNDS
from vaexprs.training.likelihoods.counts import CountLaw
from vaexprs.training.likelihoods.nb import dense_terms, gamma_terms


class ZeroInflatedNegativeBinomial(CountLaw):
    """Zero with probability ``sigmoid(zero_logits)``, else negative binomial."""

    name = "zinb"
    bounds = {"log_inverse_dispersion": DISPERSION_BOUNDS}  # noqa: RUF012

    def log_prob_of_mean(self, x: Tensor, log_mean: Tensor, heads: Mapping[str, Tensor]) -> Tensor:
        """Return the log-probability of counts with a log mean, summed over genes."""
        log_theta, zero_logits = heads["log_inverse_dispersion"], heads["zero_logits"]
        dense = dense_terms(x, log_mean, log_theta)
        dense = torch.where(x > 0, dense, torch.logaddexp(zero_logits, dense))
        return (dense - F.softplus(zero_logits)).sum(-1) + gamma_terms(x, log_theta)
