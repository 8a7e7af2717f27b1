"""After training: the latent prior, the law of library sizes, and what draws from them tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data import ExpressionData, concatenate
from vaexprs.latent.fit import fit_library, fit_prior
from vaexprs.spec import Conditions
from vaexprs.training.calibration.detected_genes import SizeLaw, detected
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.means import calibrate as calibrate_decoder
from vaexprs.training.calibration.scores import match_scores
from vaexprs.training.calibration.spread import match_spread
from vaexprs.training.inputs.batches import Cells
from vaexprs.training.result import VAEFit

__all__ = ["fit_generator"]

_MATCHING_STEPS = 3
_SIZE_STEPS, _SIZE_DRAWS = 3, 1500


def fit_generator(
    fit: VAEFit, parts: list[Cells], conditions: Conditions, calibrate: bool, seed: int
) -> None:
    """Fit the prior and the law of library sizes, then correct the decoder on their draws."""
    data = concatenate([part.data for part in parts])
    posteriors = [fit.posterior(part) for part in parts]
    mean = np.concatenate([mean for mean, _ in posteriors])
    log_variance = np.concatenate([log_variance for _, log_variance in posteriors])
    rng = np.random.default_rng([seed, 1])
    noise = rng.standard_normal(mean.shape)
    z = mean + np.exp(0.5 * log_variance) * noise
    n_groups = len(conditions.n_cells)
    law = fit_library(data.library, data.group, n_groups) if fit.spec.is_counts else None
    log_library = np.log(data.library) if fit.spec.is_counts else None
    design = conditions.one_hot(conditions.combinations) if conditions.keys else None
    prior = fit_prior(
        z, log_library, data.group, n_groups, seed, design, conditions.sizes, _importance(fit)
    )
    fit.spec = replace(fit.spec, prior=prior, library=law)
    if not calibrate:
        return
    calibrate_decoder(fit.vae, data, Draws.of(fit.vae, fit.scaling, fit.spec, seed))
    if fit.features.components is None:
        return
    scores = np.concatenate([part.inputs for part in parts])
    known = scores if log_library is None else np.column_stack([scores, log_library])
    known = known.astype(np.float64)
    for step in range(_MATCHING_STEPS):
        draws = Draws.of(fit.vae, fit.scaling, fit.spec, seed + step)
        first, second = (
            _scores(fit, draws.observe(seed=2 * step + view), draws) for view in range(2)
        )
        prior = match_scores(prior, draws.y, first, second, draws.group, known, data.group)
        fit.spec = replace(fit.spec, prior=prior)
    if fit.spec.is_counts:
        calibrate_decoder(fit.vae, data, Draws.of(fit.vae, fit.scaling, fit.spec, seed))
        _match_sizes(fit, data, seed)
    last = Draws.of(fit.vae, fit.scaling, fit.spec, seed)
    calibrate_decoder(fit.vae, data, last)
    if fit.spec.likelihood == "nb":
        match_spread(fit.vae, fit.features, data, last)


def _importance(fit: VAEFit) -> NDArray[np.float64]:
    """Say what a unit of each latent means: latents start as scores of a variance of one each."""
    out = np.ones(fit.spec.n_latent)
    scale = fit.features.score_scale
    if scale is not None:
        out[:] = scale.min()
        out[: len(scale)] = scale[: len(out)]
    return out


def _match_sizes(fit: VAEFit, data: ExpressionData, seed: int) -> None:
    """Give drawn cells as many detected genes as the training cells have."""
    draws = Draws.of(fit.vae, fit.scaling, fit.spec, seed, most=_SIZE_DRAWS)
    weight = (fit.spec.conditions.n_cells / np.bincount(draws.group))[draws.group]
    law = SizeLaw(
        draws.y, detected(draws.observe(seed)), draws.group, weight, detected(data.X), data.group
    )
    for _ in range(_SIZE_STEPS):
        law.compare(detected(draws.moved_to(law.moved_draws()).observe(seed)))
    fit.spec = replace(fit.spec, prior=law.moved_prior(fit.spec.prior))


def _scores(fit: VAEFit, X: Any, draws: Draws) -> NDArray[np.float64]:
    """Score drawn cells as the encoder would see them; for counts with their log library size."""
    assert fit.features.components is not None
    seen = fit.features.inputs(X).astype(np.float64)
    return np.column_stack([seen, np.log(draws.library)]) if fit.spec.is_counts else seen
