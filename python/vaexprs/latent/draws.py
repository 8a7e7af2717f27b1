"""Draws from the latent law: inputs of the graph for cells of given combinations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaexprs.spec import GeneratorSpec
from vaexprs.spec.inputs import Inputs


def fitting_seed(seed: int, purpose: int = 0) -> int:
    """Return the seed of draws made during a fit, far from the seeds that users ask for.

    Cells generated with the seed of the fit must not be the draws that calibrated it.
    """
    return (seed + (8 + purpose) * 2**60) % 2**64


def draw_inputs(
    spec: GeneratorSpec, group: NDArray[np.integer], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return inputs of the graph by name, drawn from the prior and the library law.

    `group` is the combination of each cell. The inputs are ``z (n_cells, n_latent)``, and
    ``condition (n_cells, n_conditions)`` and ``library (n_cells, 1)`` where the graph takes them.
    """
    # A plan of one cell after the other, each of its own combination.
    ends = np.arange(1, len(group) + 1, dtype=np.uint64)
    inputs = Inputs(spec, spec.conditions.combinations, ends, group.astype(np.int32), endless=False)
    return inputs.draw(seed=seed, first_cell=0, n_cells=len(group)).of_decoder
