"""Draws from the latent law: inputs of the graph for cells of given combinations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.spec import GeneratorSpec

__all__ = ["draw_inputs"]


def draw_inputs(
    spec: GeneratorSpec, group: NDArray[np.integer], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return inputs of the graph by name, drawn from the prior and the library law.

    Parameters
    ----------
    spec
        With a Gaussian mixture as its prior, or a standard normal law.
    group
        Combination of each cell, ``(n_cells,)``.
    seed
        The same seed gives the same inputs.

    Returns
    -------
    dict
        ``z (n_cells, n_latent)``; ``condition (n_cells, n_conditions)`` and ``library (n_cells,
        1)`` where the graph takes them.
    """
    prior, law = spec.prior, spec.library
    codes = np.ascontiguousarray(group, np.int32)
    y = np.empty((len(group), spec.n_latent + prior.with_log_library), np.float32)
    if prior.kind == "standard_normal":
        _core.fill_latent(y, seed=seed)
    else:
        _core.fill_latent_mixture(
            y, codes, prior.offsets, prior.weights, prior.means, prior.tril, prior.factor, seed=seed
        )
    inputs = {"z": np.ascontiguousarray(y[:, : spec.n_latent])}
    if spec.conditions.keys:
        inputs["condition"] = spec.conditions.one_hot(spec.conditions.combinations[group])
    if law is not None:
        library = np.empty(len(group), np.float32)
        if prior.with_log_library:
            # clipped before exp: float32 overflows at 88
            library = np.exp(np.minimum(y[:, -1], np.float32(80)))
        else:
            _core.fill_library(library, codes, law.location, law.scale, seed=seed)
        inputs["library"] = np.clip(library, law.minimum[group], law.maximum[group])[:, None]
    return inputs
