"""Fit the latent prior and the law of library sizes to encoded cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.data import ExpressionData
from vaexprs.latent.draws import fitting_seed
from vaexprs.latent.fit import fit_library, fit_prior
from vaexprs.latent.hidden_groups import gather
from vaexprs.spec import Conditions, GeneratorSpec, LibraryLaw, Prior
from vaexprs.training.inputs.batches import Cells, posterior
from vaexprs.training.network.model import VAE, Decoder


def fit_latent_law(
    vae: VAE, parts: list[Cells], data: ExpressionData, seed: int
) -> tuple[Prior, LibraryLaw | None, NDArray[np.float32]]:
    """Return the prior and, for counts, the library law of cells given in parts and together.

    The prior is fitted to one draw from the posterior of each cell; of a plain stack, whose
    posteriors are far wider than kinds of cells after a short training, to the means. What they
    lack is made up for by the calibration.
    """
    posteriors = [posterior(vae, part) for part in parts]
    mean, log_variance = (np.concatenate(both) for both in zip(*posteriors, strict=True))
    features, z = parts[0].features, mean
    if not features.reads_genes:
        z = _core.reparameterize(mean, log_variance, seed=fitting_seed(seed, 1))
    conditions = data.conditions
    n_groups, counts = len(conditions.n_cells), vae.shape.reads_library
    # latents start as scores of variance 1, which move expression by the scores' deviation
    importance = np.ones(z.shape[1])
    if not features.reads_genes:
        scale = features.score_scale
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
    return prior, fit_library(data.library, data.group, n_groups) if counts else None, z


def with_groups_in_z(
    spec: GeneratorSpec, decoder: Decoder, conditions: Conditions
) -> GeneratorSpec:
    """Return the spec of a model without its last condition, the hidden group.

    The decoder reads the group from z from now on. `conditions` are those that remain.
    """
    centres, prior, library = gather(spec.prior, spec.library, spec.conditions, conditions)
    decoder.centres.copy_(torch.from_numpy(centres))
    n_latent = prior.means.shape[1] - prior.with_log_library
    return replace(spec, n_latent=n_latent, conditions=conditions, prior=prior, library=library)
