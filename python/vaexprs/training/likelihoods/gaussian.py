"""Normal values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import Grouping, add_to_groups, gene_wise, set_gene_wise
from vaexprs.training.calibration.shrinkage import limited, shrinkage
from vaexprs.training.inputs.features import Features
from vaexprs.training.inputs.moments import group_sums, square
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.base import Array, Start, TrainingLaw

__all__ = ["Gaussian"]

#: Least share of a gene's variance that is left to the law where z explains nearly all of it.
_LEAST_SHARE = 0.05


class Gaussian(TrainingLaw):
    """Continuous values; the model sees them with mean 0 and variance 1."""

    name = "gaussian"

    def log_prob(self, x: Tensor, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        """Return the log-probability of each cell."""
        log_scale = heads["log_scale"]
        deviation = (x - heads["logits"]) * (-log_scale).exp()
        return (-0.5 * deviation.square() - log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)

    def scaling(self, data: ExpressionData) -> Scaling:
        """Scale by mean and standard deviation."""
        return Scaling.by_deviation(data.X)

    def start(self, data: ExpressionData, features: Features, scaling: Scaling | None) -> Start:
        """Return the standard deviation within combinations."""
        assert scaling is not None
        sizes = np.bincount(data.group)
        means = group_sums(data.X, data.group) / sizes[:, None]
        squares = np.asarray(square(data.X).sum(axis=0)).ravel()
        within = squares - (sizes[:, None] * means**2).sum(0)
        variance = np.maximum(within, 0) / np.maximum(data.n_cells - len(sizes), 1)
        log_scale = 0.5 * np.log(np.clip(variance / scaling.divisor**2, 1e-4, 1.0))
        ones = np.ones(data.n_genes)
        return Start({"logits": 0 * ones, "log_scale": log_scale}, ones, ones)

    def correct_means(self, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
        """Correct each gene's mean in each group, shrunk by its noise."""
        expected, second = _moments(draws, grouping)
        assert draws.scaling is not None
        real = group_sums(data.X, grouping.cells, grouping.n_groups) / grouping.n_cells
        real = (real - draws.scaling.shift) / draws.scaling.divisor
        difference = np.where(draws.scaling.varies, real - expected, 0)
        noise = np.exp(2 * gene_wise(draws.decoder, "log_scale")) + second - expected**2
        step = limited(difference * shrinkage(difference, noise / grouping.n_cells))
        add_to_groups(draws.decoder, "logits", grouping, step)

    def correct_dispersions(
        self, data: ExpressionData, draws: Draws, groupings: Sequence[Grouping]
    ) -> None:
        """Set standard deviations to the variance within groups, net of z's."""
        grouping = groupings[-1]
        first, second = _moments(draws, grouping)
        assert draws.scaling is not None
        n_cells, n_groups = grouping.n_cells, grouping.n_groups
        sums = group_sums(data.X, grouping.cells, n_groups)
        squares = group_sums(square(data.X), grouping.cells, n_groups)
        within = (squares - sums**2 / np.maximum(n_cells, 1)).sum(0)
        latent = (n_cells * (second - first**2)).sum(0) / n_cells.sum()
        freedom = max(data.n_cells - n_groups, 1)
        variance = within / freedom / draws.scaling.divisor**2
        left = np.maximum(variance - latent, _LEAST_SHARE * variance + 1e-8)
        set_gene_wise(draws.decoder, "log_scale", 0.5 * np.log(left))


def _moments(draws: Draws, grouping: Grouping) -> list[Array]:
    return grouping.moments(
        draws, ("logits",), lambda heads, _: [heads["logits"], heads["logits"].square()]
    )
