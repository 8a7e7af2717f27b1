"""The linear path from z to the genes, fitted gene by gene before the network is trained.

Given the encoder's starting z, each gene is a generalised linear model of it: its link is the
decoder's, its loadings have a normal prior around those of the principal components. Fisher
scoring solves all genes at once (McCullagh and Nelder 1989, section 2.5); a gradient method would
need more steps than a few hundred cells allow before their noise is learned as well. This is one
half of GLM-PCA (Townes et al. 2019); training continues with both halves.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["fisher_scoring"]

#: Precision of the prior of a loading, in squared units of the link per unit of z.
PRECISION = 200.0
_LARGEST_STEP = 0.5
_GENES_PER_STEP = 2048

#: Score and expected information of the linear predictor: ``(x, predictor, genes) -> (r, w)``.
Scores = Callable[[Tensor, Tensor, slice], tuple[Tensor, Tensor]]


def fisher_scoring(
    x: Callable[[slice], Tensor],
    z: Tensor,
    offset: Tensor,
    bias: Tensor,
    weight: Tensor,
    scores: Scores,
    *,
    precision: float = PRECISION,
    iterations: int = 4,
) -> tuple[Tensor, Tensor]:
    """Fit bias and loadings of every gene.

    Parameters
    ----------
    x
        Gives the values of some genes, ``(n, genes)``.
    z
        Regressors, ``(n, d)``.
    offset
        Known part of the linear predictor, ``(n, 1)``.
    bias, weight
        Start, ``(G,)`` and ``(d, G)``; the prior of the loadings is centred there.
    scores
        What the likelihood says of a linear predictor.
    precision
        Of the prior of each loading.
    iterations
        Steps of Fisher scoring.

    Returns
    -------
    bias, weight : as given
    """
    n, d = z.shape
    regressors = torch.cat([torch.ones(n, 1), z], 1)  # (n, d + 1)
    upper = torch.triu_indices(d + 1, d + 1)
    products = regressors[:, upper[0]] * regressors[:, upper[1]]  # (n, pairs)
    prior = torch.full((d + 1,), precision)
    prior[0] = 1e-3
    start = torch.cat([bias[None], weight])  # (d + 1, G)
    result = start.clone()
    for first in range(0, start.shape[1], _GENES_PER_STEP):
        genes = slice(first, first + _GENES_PER_STEP)
        values, centre = x(genes), start[:, genes]
        b = centre.clone()
        for _ in range(iterations):
            residual, information = scores(values, offset + regressors @ b, genes)
            gradient = regressors.T @ residual - prior[:, None] * (b - centre)  # (d + 1, g)
            packed = (products.T @ information).T  # (g, pairs)
            hessian = torch.empty(b.shape[1], d + 1, d + 1)
            hessian[:, upper[0], upper[1]] = packed
            hessian[:, upper[1], upper[0]] = packed
            hessian += torch.diag(prior)
            step = torch.linalg.solve(hessian, gradient.T[:, :, None])[:, :, 0].T
            b = b + step.clamp(-_LARGEST_STEP, _LARGEST_STEP)
        result[:, genes] = b
    return result[0], result[1:]
