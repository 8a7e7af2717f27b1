"""Negative binomial counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.training.calibration.dispersion import marginal_dispersion
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import (
    Grouping,
    add_to_groups,
    combinations,
    set_gene_wise,
)
from vaexprs.training.calibration.spread import match_spread
from vaexprs.training.inputs.features import Features
from vaexprs.training.likelihoods.base import DISPERSION_BOUNDS
from vaexprs.training.likelihoods.counts import CountLaw, add_up
from vaexprs.training.likelihoods.shares import Shares
from vaexprs.training.network.affine import in_pieces
from vaexprs.training.network.model import wide

#: Smallest share of a gene.
_TINY = 1e-12
#: Rows that one thread takes at a time, for its cache: 0.5 MB with 14,000 genes.
_ROWS = 8


class NegativeBinomial(CountLaw):
    """Counts with variance ``mean + mean^2 / inverse_dispersion``."""

    name = "nb"
    bounds = {"log_inverse_dispersion": DISPERSION_BOUNDS}  # noqa: RUF012

    def log_prob_of_mean(self, x: Tensor, log_mean: Tensor, heads: Mapping[str, Tensor]) -> Tensor:
        r"""Return the log-probability of counts with a log mean, summed over genes.

        .. math:: \log\Gamma(x + \theta) - \log\Gamma(\theta) - \log x!
                  - \theta \log(1 + \mu / \theta) + x \log \frac{\mu}{\theta + \mu}
        """
        log_theta = heads["log_inverse_dispersion"]
        total: Tensor = _DenseTerms.apply(x, log_mean, log_theta)  # type: ignore[no-untyped-call]
        return total + gamma_terms(x, log_theta)

    def shape_terms(self, x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
        """Return the log-probability of each count, up to a constant."""
        terms = dense_terms(x, log_mean, log_theta)
        row, column = torch.nonzero(x, as_tuple=True)
        theta = wide(log_theta[row, column]).exp()
        gammas = torch.lgamma(wide(x[row, column]) + theta) - torch.lgamma(theta)
        terms[row, column] += gammas.to(terms)
        return terms

    def correct_dispersions(
        self, data: ExpressionData, draws: Draws, groupings: Sequence[Grouping]
    ) -> None:
        """Set dispersions by marginal maximum likelihood; see `marginal_dispersion`."""
        decoder, name = draws.decoder, "log_inverse_dispersion"
        finest, keys = groupings[-1], [each for each in groupings if each.block == "condition"]
        if finest.block == "condition":  # likelihoods are of combinations, corrected or not
            finest = combinations(data, draws, finest.weight)
        shares = Shares.of(draws, finest)
        categories = np.zeros((finest.n_groups, len(keys)), np.int64)
        for column, key in enumerate(keys):
            categories[:, column] = key.draws
        found = marginal_dispersion(
            sparse.csr_matrix(data.X),
            data.library,
            finest.cells,
            np.maximum(shares.by_library, _TINY),
            shares.variation,
            decoder.shape.typical_library,
            categories,
            (finest.rows >= 0) & (len(keys) > 1),
        )
        set_gene_wise(decoder, name, found.gene)
        if found.key is not None and found.category is not None:
            add_to_groups(decoder, name, keys[found.key], found.category)
        if found.deviation.any():
            add_to_groups(decoder, name, finest, found.deviation)
        if found.exponent:
            slope = torch.full((1, data.n_genes), found.exponent, device=decoder.member.device)
            decoder.head(name).add_block("depth", slope)

    def match_spread(self, features: Features, data: ExpressionData, draws: Draws) -> None:
        """Correct the variance of log counts; see `vaexprs.training.calibration.spread`."""
        match_spread(features, data, draws)


class _DenseTerms(torch.autograd.Function):
    r"""The sum of `dense_terms` over genes, with its derivatives in closed form.

    With :math:`p = \mu / (\theta + \mu)`, the derivative by the log mean is
    :math:`d = x - (x + \theta) p`, and that by :math:`\log \theta` is
    :math:`-d - \theta \log(1 + \mu / \theta)`. Automatic differentiation would pass over the
    ``(n_cells, n_genes)`` values more often. One thread takes a few rows at a time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
        """Return the sums, ``(n_cells,)``."""
        theta = log_theta.exp()
        slope, excess = torch.empty_like(log_mean), torch.empty_like(log_mean)
        sums = log_mean.new_empty(len(x))
        step = _ROWS if in_pieces(x) else max(len(x), 1)
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            own = rows if len(theta) > 1 else slice(None)
            log_ratio = log_mean[rows] - log_theta[own]
            weighted = x[rows] + theta[own]
            torch.addcmul(x[rows], weighted, torch.sigmoid(log_ratio), value=-1, out=slope[rows])
            excess[rows] = F.softplus(log_ratio)
            terms = log_ratio.sub_(excess[rows]).mul_(x[rows])
            sums[rows] = terms.sum(-1) - (theta[own] * excess[rows]).sum(-1)
        ctx.save_for_backward(slope, theta, excess)
        return sums

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[None, Tensor, Tensor]:
        """Return the gradients, shaped as the log mean and the log inverse dispersion are."""
        (of_cell,) = grads
        slope, theta, excess = ctx.saved_tensors
        by_mean = slope * of_cell[:, None]
        if theta.shape[0] > 1:
            return None, by_mean, -by_mean - of_cell[:, None] * theta * excess
        return None, by_mean, -(of_cell @ slope + theta[0] * (of_cell @ excess))[None]


def dense_terms(x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """Return the terms without gamma functions, ``(n_cells, n_genes)``."""
    theta = log_theta.exp()
    log_ratio = log_mean - log_theta
    # log(1 + mean / theta) by softplus holds for the smallest and the largest ratios
    excess = F.softplus(log_ratio)
    return x * (log_ratio - excess) - theta * excess


def gamma_terms(x: Tensor, log_theta: Tensor) -> Tensor:
    """Return the gamma functions, summed over genes, ``(n_cells,)``.

    They are zero where x is, and the dearest part: sparse data need them in one entry of twenty.
    """
    row, column = torch.nonzero(x, as_tuple=True)
    value = wide(x[row, column])  # differences of large numbers, which float32 would lose
    if log_theta.shape[0] == 1:  # one of each gene
        of_gene = wide(log_theta[0]).exp()
        where = column.to(value.device)
        theta, start = (each.index_select(0, where) for each in (of_gene, torch.lgamma(of_gene)))
    else:
        theta = wide(log_theta[row, column]).exp()
        start = torch.lgamma(theta)
    terms = torch.lgamma(value + theta) - start - torch.lgamma(value + 1.0)
    return add_up(terms, row, x)
