"""Zero-inflated gamma values: continuous and positive, with exact zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.data.scale import scale_of
from vaexprs.spec import Observation
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import Grouping, add_to_groups, gene_wise, set_gene_wise
from vaexprs.training.calibration.shrinkage import limited, logit, shrinkage
from vaexprs.training.inputs.features import FeatureKind, Features
from vaexprs.training.inputs.moments import column_extremes, group_sums, square
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.base import DISPERSION_BOUNDS, Array, Start, TrainingLaw

#: A mean may reach twice the largest value of its gene.
_ABOVE_LARGEST = 2.0
#: Positive cells at which the loadings of a gene are half trusted.
_EVIDENCE = 5.0
#: Starting zero logit of a gene that is never positive.
_NEVER = 15.0
#: Cells that the model's share of zeros counts for.
_ZERO_EVIDENCE = 2.0
#: Largest log of a mean or ratio before exp, far from float32's 88 also when squared in gradients.
_LARGEST_LOG = 60.0
#: Largest squared coefficient of variation that draws are taken to have: more is one outlier.
_MOST_VARIATION = 50.0
#: Values that the trend over genes of like level counts for in a gene's shape; the trend has at
#: most 20 levels of at least 50 genes.
_TREND_VALUES, _LEVELS, _GENES_OF_LEVEL = 4, 20, 50
_TINY = 1e-12


class ZeroInflatedGamma(TrainingLaw):
    """Zero with probability ``sigmoid(zero_logits)``, else gamma with mean ``exp(logits)``."""

    name = "zigamma"
    bounds = {"log_inverse_dispersion": DISPERSION_BOUNDS}  # noqa: RUF012

    def log_prob(self, x: Tensor, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        r"""Return the log-probability of each cell, with :math:`Var = \mu^2 / \theta`."""
        log_theta, zero_logits = heads["log_inverse_dispersion"], heads["zero_logits"]
        theta = log_theta.exp()
        log_x = torch.log(torch.where(x > 0, x, torch.ones_like(x)))
        log_ratio = log_x - heads["logits"]
        gamma = theta * (log_theta + log_ratio - _exp(log_ratio)) - log_x - torch.lgamma(theta)
        return (torch.where(x > 0, gamma, zero_logits) - F.softplus(zero_logits)).sum(-1)

    def shape_terms(self, x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
        """Return the log-probability of each positive value, up to a constant."""
        theta = log_theta.exp()
        log_ratio = torch.log(torch.where(x > 0, x, torch.ones_like(x))) - log_mean
        gamma = theta * (log_theta + log_ratio - _exp(log_ratio)) - torch.lgamma(theta)
        return torch.where(x > 0, gamma, 0)

    def feature_kind(self, data: ExpressionData) -> FeatureKind:
        """Log values unless they are logged already."""
        return "identity" if scale_of(data.X) in ("log", "binary") else "log1p"

    def observation(self, data: ExpressionData) -> Observation:
        """Return ``"rounded"`` for counts of reads, which stay whole numbers."""
        return "rounded" if data.is_integer else "draw"

    def start(self, data: ExpressionData, features: Features, scaling: Scaling | None) -> Start:
        """Return means and shapes of positive values, and shares of zeros."""
        X, n, group = data.X, data.n_cells, data.group
        positive = (X > 0).astype(np.float64)
        n_positive = np.asarray(positive.sum(axis=0)).ravel()
        total = np.asarray(X.sum(axis=0, dtype=np.float64)).ravel()
        overall = total.sum() / max(n_positive.sum(), 1)
        mean = np.where(n_positive > 0, total / np.maximum(n_positive, 1), overall)

        sums, sizes = group_sums(X, group), group_sums(positive, group)
        mu = np.where(sizes > 0, sums / np.maximum(sizes, 1), 0)
        squares = np.asarray(square(X).sum(axis=0)).ravel()
        explained = (sizes * mu**2).sum(0)
        # one more value with a coefficient of variation of 1
        spread = (np.maximum(squares - explained, 0) + mean**2) / (explained + mean**2)
        theta = np.clip(1 / np.maximum(spread, 1e-6), *DISPERSION_BOUNDS)

        n_zero = n - n_positive
        zero_logits = np.log((n_zero + 0.5) / (n_positive + 0.5))
        zero_logits = np.where(n_positive == 0, _NEVER, zero_logits)
        always = np.minimum(zero_logits, -np.log(2 * n + 1))
        zero_logits = np.where(n_zero == 0, always, zero_logits)
        logged = features.kind == "log1p"
        slope = np.ones(data.n_genes) if logged else np.maximum(mean, 1e-6)
        heads = {
            "logits": np.log(np.maximum(mean, 1e-30)),
            "log_inverse_dispersion": np.log(theta),
            "zero_logits": zero_logits,
        }
        return Start(heads, slope, n_positive / (n_positive + _EVIDENCE))

    def ceiling(self, data: ExpressionData) -> Array:
        """Return the largest mean of each gene: draws from the prior may overshoot through exp."""
        seen = column_extremes(data.X)[1]
        return _ABOVE_LARGEST * np.where(seen > 0, seen, seen.max()).astype(np.float64)

    def correct_means_of(self, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
        """Correct each gene's share of zeros, then the mean of its positive values."""
        n_groups, n_cells = grouping.n_groups, grouping.n_cells
        positive = group_sums((data.X > 0).astype(np.float64), grouping.cells, n_groups)
        (expected,) = grouping.moments(
            draws, ("zero_logits",), lambda heads, _: [torch.sigmoid(heads["zero_logits"])]
        )
        target = (n_cells - positive + _ZERO_EVIDENCE * expected) / (n_cells + _ZERO_EVIDENCE)
        step = limited(logit(target) - logit(expected))
        add_to_groups(draws.decoder, "zero_logits", grouping, step)

        def values(heads: dict[str, Tensor], _: Tensor) -> list[Tensor]:
            kept = torch.sigmoid(-heads["zero_logits"])
            mean = _exp(heads["logits"])
            return [kept, kept * mean, kept * mean.square()]

        kept, mean, second = grouping.moments(draws, ("logits", "zero_logits"), values)
        expected = mean / np.maximum(kept, _TINY)
        variation = second * kept / np.maximum(mean**2, _TINY**2) - 1
        real = group_sums(data.X, grouping.cells, n_groups) / np.maximum(positive, 1)
        ratio = np.log(np.maximum(real, 1e-30) / np.maximum(expected, 1e-30))
        ratio = np.where(positive > 0, ratio, 0)
        theta = np.exp(gene_wise(draws.decoder, "log_inverse_dispersion"))
        scatter = 1 / theta + np.clip(variation, 0, _MOST_VARIATION)
        step = limited(ratio * shrinkage(ratio, scatter / np.maximum(positive, 0.1)))
        add_to_groups(draws.decoder, "logits", grouping, step)

    def correct_dispersions(
        self, data: ExpressionData, draws: Draws, groupings: Sequence[Grouping]
    ) -> None:
        """Set the shapes of positive values, net of z's variation."""
        grouping = groupings[-1]

        def values(heads: dict[str, Tensor], _: Tensor) -> list[Tensor]:
            return [(mean := _exp(heads["logits"])), mean.square()]

        mean, second = grouping.moments(draws, ("logits",), values)
        variation = np.clip(second / np.maximum(mean**2, _TINY**2) - 1, 0, _MOST_VARIATION)
        gene = gamma_dispersion(data.X, grouping.cells, grouping.n_groups, variation)
        set_gene_wise(draws.decoder, "log_inverse_dispersion", gene)


def _exp(x: Tensor) -> Tensor:
    return x.clamp(max=_LARGEST_LOG).exp()


def gamma_dispersion(X: Any, group: NDArray[np.int64], n_groups: int, variation: Array) -> Array:
    r"""Return the log inverse dispersion of each gene's positive values, net of z's variation.

    For a gamma law of shape :math:`\theta`, the logarithm of the mean exceeds the mean of the
    logarithms by :math:`s = \log \theta - \psi(\theta)`; the inverse is Minka's (2002)
    approximation of the maximum-likelihood shape. ``s`` is pooled over groups and shrunk towards
    the trend over genes of similar mean.
    """
    n_genes = X.shape[1]
    coo = sparse.coo_matrix(X)
    positive = coo.data > 0
    where = group[coo.row[positive]] * n_genes + coo.col[positive]
    value = coo.data[positive].astype(np.float64)
    shape, size = (n_groups, n_genes), n_groups * n_genes
    n = np.bincount(where, minlength=size).reshape(shape)
    mean = np.bincount(where, value, minlength=size).reshape(shape) / np.maximum(n, 1)
    logs = np.bincount(where, np.log(value), minlength=size).reshape(shape) / np.maximum(n, 1)
    gap = np.where(n > 1, np.log(np.maximum(mean, 1e-30)) - logs, 0)
    # the gap of n values falls short of the law's by about the part n - 1 of n
    freedom = np.where(n > 1, n - 1.0, 0).sum(0)
    total = (n * gap).sum(0)
    level = (n * mean).sum(0) / np.maximum(n.sum(0), 1)
    order = np.argsort(level, kind="stable")
    trend = np.empty(n_genes)
    for part in np.array_split(order, max(1, min(_LEVELS, n_genes // _GENES_OF_LEVEL))):
        trend[part] = total[part].sum() / max(freedom[part].sum(), 1.0)
    trend = np.maximum(trend, 1e-3)
    s = np.maximum((total + _TREND_VALUES * trend) / (freedom + _TREND_VALUES), 1e-4)
    marginal = (3 - s + np.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)
    weight = n / np.maximum(n.sum(0), 1)
    latent = (weight * variation).sum(0)
    inverse = np.maximum((1 / marginal - latent) / (1 + latent), 1e-3)
    return np.clip(-np.log(inverse), *np.log(DISPERSION_BOUNDS))
