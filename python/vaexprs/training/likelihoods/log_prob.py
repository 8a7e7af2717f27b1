"""Log-probabilities of expression values, written for training.

Each function takes what a decoder computes, in the form in which it is stable (log means, logits),
and returns the log-probability of each cell summed over its genes, ``(n_cells,)``. Values ``x``
are ``(n_cells, n_genes)``; parameters broadcast against it, so gene-wise ones are ``(1, n_genes)``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "bernoulli_log_prob",
    "gaussian_log_prob",
    "kl_divergence",
    "nb_log_prob",
    "poisson_log_prob",
    "zigamma_log_prob",
    "zinb_log_prob",
]


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of ``N(mean, exp(log_variance))`` from ``N(0, I)``.

    .. math:: \tfrac12 \sum_k (\mu_k^2 + \sigma_k^2 - 1 - \log \sigma_k^2)

    (Kingma and Welling 2014, appendix B), summed over the latents: ``(n_cells,)``, nats.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(-1)


def bernoulli_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of values in [0, 1] with the probabilities ``sigmoid(logits)``, negated."""
    return (x * logits - F.softplus(logits)).sum(-1)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Compute that of normal values; ``log_scale`` is the logarithm of the standard deviation."""
    deviation = (x - mean) * (-log_scale).exp()
    return (-0.5 * deviation.square() - log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)


def poisson_log_prob(x: Tensor, log_mean: Tensor) -> Tensor:
    """Poisson law of counts."""
    return (x * log_mean - log_mean.exp()).sum(-1) - _log_factorial(x)


def nb_log_prob(x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    r"""Negative binomial law with :math:`Var = \mu + \mu^2 / \theta`.

    .. math:: \log\Gamma(x + \theta) - \log\Gamma(\theta) - \log x!
              - \theta \log(1 + \mu / \theta) + x \log \frac{\mu}{\theta + \mu}

    The gamma functions differ from zero only where x does: in sparse data that is one entry in
    twenty, and they are the dearest part.
    """
    return _nb_dense(x, log_mean, log_theta).sum(-1) + _nb_gammas(x, log_theta)


def zinb_log_prob(x: Tensor, log_mean: Tensor, log_theta: Tensor, zero_logits: Tensor) -> Tensor:
    """Compute that of counts: zero with probability ``sigmoid(zero_logits)``, else as in NB."""
    dense = _nb_dense(x, log_mean, log_theta)
    dense = torch.where(x > 0, dense, torch.logaddexp(zero_logits, dense))
    return (dense - F.softplus(zero_logits)).sum(-1) + _nb_gammas(x, log_theta)


def zigamma_log_prob(x: Tensor, log_mean: Tensor, log_theta: Tensor, zero_logits: Tensor) -> Tensor:
    r"""Compute that of values: zero with probability ``sigmoid(zero_logits)``, else gamma.

    The gamma law has the mean ``exp(log_mean)`` and the shape :math:`\theta`, so
    :math:`Var = \mu^2 / \theta`.
    """
    theta = log_theta.exp()
    log_x = torch.log(torch.where(x > 0, x, torch.ones_like(x)))
    log_ratio = log_x - log_mean
    gamma = (
        theta * (log_theta + log_ratio - log_ratio.clamp(max=60).exp())
        - log_x
        - torch.lgamma(theta)
    )
    return (torch.where(x > 0, gamma, zero_logits) - F.softplus(zero_logits)).sum(-1)


def _nb_dense(x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """Compute the terms that every entry has."""
    theta = log_theta.exp()
    log_ratio = log_mean - log_theta
    # log(1 + mean / theta), by softplus, which holds for the smallest and the largest ratios
    excess = F.softplus(log_ratio)
    return x * (log_ratio - excess) - theta * excess


def _nb_gammas(x: Tensor, log_theta: Tensor) -> Tensor:
    """Compute the terms that are zero where x is, summed over the genes of each cell."""
    row, column = torch.nonzero(x, as_tuple=True)
    value = x[row, column].double()  # differences of large numbers: float32 would lose them
    if log_theta.shape[0] == 1:
        theta = log_theta[0].double().exp().index_select(0, column)
    else:
        theta = log_theta[row, column].double().exp()
    terms = torch.lgamma(value + theta) - torch.lgamma(theta) - torch.lgamma(value + 1.0)
    out = torch.zeros(x.shape[0], dtype=torch.float64, device=x.device)
    return out.index_add(0, row, terms).to(x.dtype)


def _log_factorial(x: Tensor) -> Tensor:
    row, column = torch.nonzero(x, as_tuple=True)
    terms = torch.lgamma(x[row, column].double() + 1.0)
    out = torch.zeros(x.shape[0], dtype=torch.float64, device=x.device)
    return out.index_add(0, row, terms).to(x.dtype)
