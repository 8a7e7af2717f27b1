"""What goes into a decoder for the cells of a plan, drawn by the core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.generation.plan import Plan
from vaexprs.spec import GeneratorSpec

__all__ = ["Cells", "Inputs"]


@dataclass(frozen=True)
class Cells:
    """What consecutive cells are made from: arrays of one row for each.

    Attributes
    ----------
    codes, unseen, z, library
        As in `Block`.
    streams
        Keys of the random streams of their combinations, ``(n_cells,)``, uint32.
    condition
        One-hot input of the decoder, ``(n_cells, n_conditions)``, float32, or None.
    """

    codes: NDArray[np.int32]
    unseen: NDArray[np.bool_]
    streams: NDArray[np.uint32]
    z: NDArray[np.float32]
    condition: NDArray[np.float32] | None
    library: NDArray[np.float32] | None

    @property
    def of_decoder(self) -> dict[str, NDArray[np.float32]]:
        """The inputs of the graph by name."""
        inputs = {"z": self.z}
        if self.condition is not None:
            inputs["condition"] = self.condition
        if self.library is not None:
            inputs["library"] = self.library[:, None]
        return inputs


class Inputs:
    """Draws the inputs of any range of cells of a plan, from any number of threads."""

    def __init__(self, spec: GeneratorSpec, plan: Plan) -> None:
        conditions, prior, library = spec.conditions, spec.prior, spec.library
        self._core = _core.Inputs(
            sizes=conditions.sizes,
            seen=conditions.combinations,
            n_cells=conditions.n_cells,
            combinations=plan.combinations,
            bounds=plan.bounds,
            groups=plan.run_groups,
            endless=plan.total is None,
            n_latent=spec.n_latent,
            with_log_library=prior.with_log_library,
            prior=None
            if prior.kind == "standard_normal"
            else [prior.offsets, prior.weights, prior.means, prior.tril, prior.factor],
            library=None
            if library is None
            else [library.minimum, library.maximum, library.location, library.scale],
        )

    def draw(self, *, seed: int, first_cell: int, n_cells: int) -> Cells:
        """Draw the inputs of ``n_cells`` cells from ``first_cell`` on."""
        return Cells(*self._core.draw(seed=seed, first_cell=first_cell, n_cells=n_cells))
