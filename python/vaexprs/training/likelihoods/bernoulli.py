"""Bernoulli: the cross-entropy of values scaled to 0..1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.spec import Observation
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import Grouping, add_to_groups
from vaexprs.training.calibration.shrinkage import limited, logit
from vaexprs.training.inputs.features import Features
from vaexprs.training.inputs.moments import column_means, group_sums
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.base import Start, TrainingLaw

__all__ = ["Bernoulli"]


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
        """Return ``"mean"`` for data that are not binary: the cross-entropy is no law of them."""
        binary = data.is_integer and data.minimum >= 0 and data.maximum <= 1
        return "draw" if binary else "mean"

    def correct_means(self, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
        """Correct each gene's mean in each group; the model's counts as one cell."""
        (expected,) = grouping.moments(
            draws, ("logits",), lambda heads, _: [torch.sigmoid(heads["logits"])]
        )
        assert draws.scaling is not None
        n_cells = grouping.n_cells
        real = group_sums(data.X, grouping.cells, grouping.n_groups) / n_cells
        real = (real - draws.scaling.shift) / draws.scaling.divisor
        step = limited(logit((n_cells * real + expected) / (n_cells + 1)) - logit(expected))
        step = np.where(draws.scaling.varies, step, 0)
        add_to_groups(draws.decoder, "logits", grouping, step)
