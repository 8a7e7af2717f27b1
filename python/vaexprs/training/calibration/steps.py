"""After training: fit the latent law, then calibrate it and the decoder on simulated cells.

Each step takes a state and returns the next. The latent law is replaced; the decoder's weights are
corrected in place. Cells are simulated as generation will make them, and compared with the
training cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data import ExpressionData
from vaexprs.data.expression import evenly
from vaexprs.latent.mixtures import MOST_CELLS
from vaexprs.spec import GeneratorSpec
from vaexprs.training.calibration.detected_genes import SizeLaw, detected
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.following import follow
from vaexprs.training.calibration.groups import partitions
from vaexprs.training.calibration.scores import match_scores
from vaexprs.training.inputs.features import Features
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.base import TrainingLaw
from vaexprs.training.network.model import Decoder
from vaexprs.training.progress import Report

#: Rounds of moving the prior's covariances, and of moving its quantiles of size.
_COVARIANCE_ROUNDS, _SIZE_ROUNDS = 2, 2
#: Most draws of a combination for quantiles of size: 75 for each of the 20 levels.
_SIZE_DRAWS = 1500


@dataclass(frozen=True)
class State:
    """A fit under calibration."""

    decoder: Decoder
    law: TrainingLaw
    features: Features
    scaling: Scaling | None
    spec: GeneratorSpec  # with the latent law as it is now
    data: ExpressionData  # all cells, of training and validation
    scores: NDArray[np.float64]  # theirs, and log library sizes of counts
    seed: int
    slope: NDArray[np.float64] | None = None  # by which shapes follow the mean

    def draws(self, seed: int = 0, **options: Any) -> Draws:
        """Return draws from the prior as it is now."""
        return Draws.of(self.decoder, self.scaling, self.spec, self.seed + seed, **options)


Step = Callable[[State], State]


def steps_for(state: State) -> list[Step]:
    """Return the steps that a fit goes through, in order."""
    # The response to a correction of the means is not linear: two follow one another.
    if state.spec.is_counts:
        return [
            correct_means, correct_dispersions, match_covariance, correct_means, match_sizes,
            correct_means, correct_means, correct_dispersions, match_spread,
        ]  # fmt: skip
    both = [correct_means, correct_means, correct_dispersions]
    return [*both, match_covariance, *both]


def calibrated(state: State, report: Report) -> State:
    """Run all steps and show them."""
    steps = steps_for(state)
    with report.phase("calibrating", len(steps)) as show:
        for done, step in enumerate(steps):
            show(step.__name__.replace("_", " "), done)
            state = step(state)
    return state


def correct_means(state: State) -> State:
    """Correct the decoder's means, gene by gene, in each partition from the coarsest on."""
    draws = state.draws()
    state.law.correct_means(state.data, draws, partitions(state.data, draws))
    return state


def correct_dispersions(state: State) -> State:
    """Correct the decoder's dispersions, and let shapes follow the mean again."""
    draws = state.draws()
    some = state.data.sample()  # the shape of a law takes no million cells
    groupings = partitions(some, draws)
    residual = state.law.correct_dispersions(some, draws, groupings)
    if state.slope is not None:
        follow(draws, state.slope, groupings[-1])
    return (
        state if residual is None else replace(state, spec=replace(state.spec, residual=residual))
    )


def match_covariance(state: State) -> State:
    """Move the prior until draws vary along principal components as the cells do."""
    scores, group = state.scores, state.data.group
    if len(group) > MOST_CELLS:
        some = evenly(group, MOST_CELLS)
        scores, group = scores[some], group[some]
    for seed in range(_COVARIANCE_ROUNDS):
        draws = state.draws(seed, in_proportion=True)
        views = []
        for values in draws.observed([2 * seed, 2 * seed + 1]):
            seen = state.features.scores(values).astype(np.float64)
            counts = state.spec.is_counts
            views.append(np.column_stack([seen, np.log(draws.library)]) if counts else seen)
        prior = match_scores(
            state.spec.prior, draws.y, views[0], views[1], draws.group, scores, group,
        )  # fmt: skip
        state = replace(state, spec=replace(state.spec, prior=prior))
    return state


def match_sizes(state: State) -> State:
    """Move the prior until draws show as many genes as the cells do."""
    draws = state.draws(most=_SIZE_DRAWS)
    weight = (state.spec.conditions.n_cells / np.bincount(draws.group))[draws.group]
    real = detected(state.data.X)
    size = detected(draws.observe(state.seed))
    law = SizeLaw(draws.y, size, draws.group, weight, real, state.data.group)
    for _ in range(_SIZE_ROUNDS):
        law.compare(detected(draws.moved_to(law.moved_draws()).observe(state.seed)))
    return replace(state, spec=replace(state.spec, prior=law.moved_prior(state.spec.prior)))


def match_spread(state: State) -> State:
    """Correct the variance of the features that draws show."""
    state.law.match_spread(state.features, state.data, state.draws())
    return state
