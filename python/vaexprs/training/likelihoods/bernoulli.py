"""Bernoulli: the cross-entropy of values scaled to 0..1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.spec import Observation
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import Grouping, add_to_groups
from vaexprs.training.calibration.shrinkage import limited, logit
from vaexprs.training.inputs.features import Features
from vaexprs.training.inputs.moments import column_means, group_sums, square
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.base import Array, Start, TrainingLaw
from vaexprs.training.likelihoods.gaussian import (
    log_scale_step,
    normal_moments,
    rectified_moments,
    variance_within,
)

#: Rounds in which residuals settle; least derivative of a mean that a correction is divided by; and
#: least standard deviation in units of a gene's range.
_ROUNDS, _LEAST_SLOPE, _LEAST_SCALE = 3, 0.05, 1e-6


class Bernoulli(TrainingLaw):
    """Zeros and ones, or values scaled by each gene's extremes."""

    name = "bernoulli"

    def log_prob(self, x: Tensor, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        """Return the negative cross-entropy of values in [0, 1], summed over genes."""
        return (x * heads["logits"] - F.softplus(heads["logits"])).sum(-1)

    def scaling(self, data: ExpressionData) -> Scaling:
        """Scale by minimum and range."""
        return Scaling.by_range(data.X)

    def start(self, data: ExpressionData, features: Features, scaling: Scaling | None) -> Start:
        """Return the mean of each scaled gene as logits."""
        assert scaling is not None
        p = np.clip((column_means(data.X) - scaling.shift) / scaling.divisor, 1e-3, 1 - 1e-3)
        return Start({"logits": np.log(p / (1 - p))}, p * (1 - p), np.ones(data.n_genes))

    def observation(self, data: ExpressionData) -> Observation:
        """Add noise to data that are not binary: the cross-entropy is no law of them."""
        if data.is_integer and data.minimum >= 0 and data.maximum <= 1:
            return "draw"
        return "normal" if data.minimum < 0 else "rectified"

    def residual(self, data: ExpressionData) -> NDArray[np.float32] | None:
        """Return the standard deviation of genes, for data that are not binary."""
        if self.observation(data) == "draw":
            return None
        variance = column_means(square(data.X)) - column_means(data.X) ** 2
        return np.sqrt(np.maximum(variance, 0)).astype(np.float32)

    def correct_means_of(self, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
        """Correct each gene's mean in each group; the model's counts as one cell."""
        scaling, n_cells = draws.scaling, grouping.n_cells
        assert scaling is not None
        p, expected, slope, *_ = _averages(draws, grouping)
        real = group_sums(data.X, grouping.cells, grouping.n_groups) / n_cells
        real = (real - scaling.shift) / scaling.divisor
        wanted = p + (real - expected) * n_cells / (n_cells + 1) / np.maximum(slope, _LEAST_SLOPE)
        step = np.where(scaling.varies, limited(logit(wanted) - logit(p)), 0)
        add_to_groups(draws.decoder, "logits", grouping, step)

    def correct_dispersions(
        self, data: ExpressionData, draws: Draws, groupings: Sequence[Grouping]
    ) -> NDArray[np.float32] | None:
        """Return residuals that leave genes the variance within groups, net of z's."""
        scaling, scale, grouping = draws.scaling, draws.spec.residual, groupings[-1]
        if scale is None:
            return None
        assert scaling is not None
        variance = variance_within(data, grouping) / scaling.divisor**2
        for _ in range(_ROUNDS):
            told = replace(draws, spec=replace(draws.spec, residual=scale))
            _, *averages = _averages(told, grouping)
            scale = (scale * np.exp(log_scale_step(variance, grouping, averages))).astype(
                np.float32
            )
        return scale


def _averages(draws: Draws, grouping: Grouping) -> list[Array]:
    """Return averages over each group's draws: the sigmoid, and moments of scaled values."""
    scaling, residual = draws.scaling, draws.spec.residual
    assert scaling is not None
    device = draws.decoder.member.device
    scale = torch.zeros(1) if residual is None else torch.from_numpy(residual / scaling.divisor)
    zero = torch.from_numpy(scaling.shift / scaling.divisor).to(device)
    scale = scale.clamp(min=_LEAST_SCALE).to(device)
    rectified = draws.spec.observation == "rectified"

    def values(heads: dict[str, Tensor], _: Tensor) -> list[Tensor]:
        p = torch.sigmoid(heads["logits"])
        if rectified:  # at zero of the data, which the model sees at -shift / stretch
            first, slope, second = rectified_moments(p + zero, scale)
            first, second = first - zero, second - 2 * zero * first + zero.square()
        else:
            first, slope, second = normal_moments(p, scale)
        return [p, first, slope, second, first.square()]

    return grouping.moments(draws, ("logits",), values)
