"""Zero-inflated negative binomial counts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vaexprs.training.likelihoods.base import DISPERSION_BOUNDS
from vaexprs.training.likelihoods.counts import CountLaw, log_mean
from vaexprs.training.likelihoods.nb import dense_terms, gamma_terms

__all__ = ["ZeroInflatedNegativeBinomial", "zinb_log_prob"]


class ZeroInflatedNegativeBinomial(CountLaw):
    """Zero with probability ``sigmoid(zero_logits)``, else negative binomial."""

    name = "zinb"
    bounds = {"log_inverse_dispersion": DISPERSION_BOUNDS}  # noqa: RUF012

    def log_prob(self, x: Tensor, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        """Return the log-probability of each cell."""
        log_theta, zero_logits = heads["log_inverse_dispersion"], heads["zero_logits"]
        return zinb_log_prob(x, log_mean(heads, log_library), log_theta, zero_logits)


def zinb_log_prob(x: Tensor, log_mean: Tensor, log_theta: Tensor, zero_logits: Tensor) -> Tensor:
    """Return the log-probability of zero-inflated counts, summed over genes, ``(n_cells,)``."""
    dense = dense_terms(x, log_mean, log_theta)
    dense = torch.where(x > 0, dense, torch.logaddexp(zero_logits, dense))
    return (dense - F.softplus(zero_logits)).sum(-1) + gamma_terms(x, log_theta)
