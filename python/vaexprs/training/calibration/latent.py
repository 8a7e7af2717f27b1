"""Fit the latent prior and the law of library sizes to encoded cells."""

from __future__ import annotations

import numpy as np

from vaexprs import _core
from vaexprs.data import ExpressionData
from vaexprs.latent.draws import fitting_seed
from vaexprs.latent.fit import fit_library, fit_prior
from vaexprs.spec import LibraryLaw, Prior
from vaexprs.training.inputs.batches import Cells, posterior
from vaexprs.training.network.model import VAE

__all__ = ["fit_latent_law"]


def fit_latent_law(
    vae: VAE, parts: list[Cells], data: ExpressionData, seed: int
) -> tuple[Prior, LibraryLaw | None]:
    """Return the prior and, for counts, the library law of cells given in parts and together.

    The prior is fitted to one draw from the posterior of each cell.
    """
    posteriors = [posterior(vae, part) for part in parts]
    mean, log_variance = (np.concatenate(both) for both in zip(*posteriors, strict=True))
    z = _core.reparameterize(mean, log_variance, seed=fitting_seed(seed, 1))
    conditions = data.conditions
    n_groups, counts = len(conditions.n_cells), vae.shape.reads_library
    # latents start as scores of variance 1, which move expression by the scores' deviation
    importance = np.ones(z.shape[1])
    scale = parts[0].features.score_scale
    if scale is not None:
        importance[:] = scale.min()
        importance[: len(scale)] = scale[: len(importance)]
    prior = fit_prior(
        z,
        np.log(data.library) if counts else None,
        data.group,
        n_groups,
        seed,
        conditions.one_hot(conditions.combinations) if conditions.keys else None,
        conditions.sizes,
        importance,
    )
    return prior, fit_library(data.library, data.group, n_groups) if counts else None
