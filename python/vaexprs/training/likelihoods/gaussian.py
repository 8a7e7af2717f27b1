"""Normal values, and normal values rectified at zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import Grouping, add_to_groups, gene_wise, set_gene_wise
from vaexprs.training.calibration.shrinkage import limited, shrinkage
from vaexprs.training.inputs.features import Features
from vaexprs.training.inputs.moments import column_means, group_sums, square
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.base import Array, Start, TrainingLaw

#: Least share of a gene's variance that is left to the law where z explains nearly all of it.
_LEAST_SHARE = 0.05
#: Least derivative of a mean by its logit that a correction is divided by.
_LEAST_SLOPE = 0.05
#: Variance of a gene, in units of its variance, that counts for none.
_TINY = 1e-8


class Gaussian(TrainingLaw):
    """Continuous values; the model sees them with mean 0 and variance 1."""

    name = "gaussian"
    #: Rounds in which standard deviations settle.
    rounds = 1

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

    def moments(self, mean: Tensor, scale: Tensor) -> list[Tensor]:
        """Return mean, its derivative by the normal law's, and mean square of values."""
        return normal_moments(mean, scale)

    def _averages(self, draws: Draws, grouping: Grouping) -> list[Array]:
        """Return averages over each group of the moments, and of the squared mean."""

        def values(heads: dict[str, Tensor], _: Tensor) -> list[Tensor]:
            found = self.moments(heads["logits"], heads["log_scale"].exp())
            return [*found, found[0].square()]

        return grouping.moments(draws, ("logits", "log_scale"), values)

    def correct_means_of(self, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
        """Correct each gene's mean in each group, shrunk by its noise."""
        expected, slope, second, _ = self._averages(draws, grouping)
        assert draws.scaling is not None
        real = group_sums(data.X, grouping.cells, grouping.n_groups) / grouping.n_cells
        real = (real - draws.scaling.shift) / draws.scaling.divisor
        difference = np.where(draws.scaling.varies, real - expected, 0)
        noise = second - expected**2
        believed = difference * shrinkage(difference, noise / grouping.n_cells)
        step = limited(believed / np.maximum(slope, _LEAST_SLOPE))
        add_to_groups(draws.decoder, "logits", grouping, step)

    def correct_dispersions(
        self, data: ExpressionData, draws: Draws, groupings: Sequence[Grouping]
    ) -> None:
        """Set standard deviations to the variance within groups, net of z's."""
        grouping = groupings[-1]
        assert draws.scaling is not None
        variance = variance_within(data, grouping) / draws.scaling.divisor**2
        for _ in range(self.rounds):
            step = log_scale_step(variance, grouping, self._averages(draws, grouping))
            log_scale = gene_wise(draws.decoder, "log_scale")
            set_gene_wise(draws.decoder, "log_scale", log_scale + step)


def normal_moments(mean: Tensor, scale: Tensor) -> list[Tensor]:
    """Return mean, its derivative by itself, and mean square of normal values."""
    return [mean, torch.ones_like(mean), mean.square() + scale.square()]


def rectified_moments(mean: Tensor, scale: Tensor) -> list[Tensor]:
    """Return mean, its derivative by the normal law's, and mean square of rectified values."""
    ratio = mean / scale
    above = torch.special.ndtr(ratio)
    density = scale * (-0.5 * ratio.square()).exp() / math.sqrt(2 * math.pi)
    second = (mean.square() + scale.square()) * above + mean * density
    return [mean * above + density, above, second]


def variance_within(data: ExpressionData, grouping: Grouping) -> Array:
    """Return the variance of each gene within groups, ``(n_genes,)``."""
    sums = group_sums(data.X, grouping.cells, grouping.n_groups)
    squares = group_sums(square(data.X), grouping.cells, grouping.n_groups)
    within = (squares - sums**2 / np.maximum(grouping.n_cells, 1)).sum(0)
    return within / max(data.n_cells - grouping.n_groups, 1)


def log_scale_step(variance: Array, grouping: Grouping, averages: list[Array]) -> Array:
    """Return the change of log standard deviations that gives values a variance within groups.

    `averages` are those of the moments and of the squared mean over each group's draws.
    """
    mean, _, second, of_means = averages
    share = grouping.n_cells / grouping.n_cells.sum()
    latent, own = (share * (of_means - mean**2)).sum(0), (share * (second - of_means)).sum(0)
    left = np.maximum(variance - latent, _LEAST_SHARE * variance + _TINY)
    return limited(0.5 * np.log(left / np.maximum(own, _TINY)))


class RectifiedGaussian(Gaussian):
    """A normal law censored at 0; the model sees values scaled to variance 1."""

    name = "rectified_gaussian"
    rounds = 3

    def log_prob(self, x: Tensor, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        """Return the log-probability of each cell (Tobin 1958)."""
        log_scale = heads["log_scale"]
        deviation = (x - heads["logits"]) * (-log_scale).exp()
        seen = -0.5 * deviation.square() - log_scale - 0.5 * math.log(2 * math.pi)
        return torch.where(x > 0, seen, torch.special.log_ndtr(deviation)).sum(-1)

    def scaling(self, data: ExpressionData) -> Scaling:
        """Scale by standard deviation, without a shift; a constant gene is shifted to 0."""
        scaling = Scaling.by_deviation(data.X)
        return replace(scaling, shift=np.where(scaling.varies, np.float32(0), scaling.shift))

    def start(self, data: ExpressionData, features: Features, scaling: Scaling | None) -> Start:
        """Return means, and the standard deviation within combinations."""
        found = super().start(data, features, scaling)
        assert scaling is not None
        return replace(
            found,
            heads={
                **found.heads,
                "logits": (column_means(data.X) - scaling.shift) / scaling.divisor,
            },
        )

    def moments(self, mean: Tensor, scale: Tensor) -> list[Tensor]:
        """Return mean, its derivative by the normal law's, and mean square of values."""
        return rectified_moments(mean, scale)
