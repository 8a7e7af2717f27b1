"""The inputs of a decoder for consecutive cells, drawn by the core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.spec.generator import GeneratorSpec


@dataclass(frozen=True)
class Cells:
    """Inputs of consecutive cells."""

    codes: NDArray[np.int32]  # Category codes of the condition keys, ``(n_cells, n_keys)``, int32
    # Whether a cell's combination of categories had no training cell, ``(n_cells,)``.
    unseen: NDArray[np.bool_]
    # Keys of the random streams of the combinations, ``(n_cells,)``, uint32.
    streams: NDArray[np.uint32]
    z: NDArray[np.float32]  # Latent variables, ``(n_cells, n_latent)``, float32
    # One-hot input, ``(n_cells, n_conditions)``, float32, or None.
    condition: NDArray[np.float32] | None
    library: NDArray[np.float32] | None  # Total counts, ``(n_cells,)``, float32, or None

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
    """Draws the inputs of any range of cells of a plan, from any number of threads.

    Parameters
    ----------
    spec
        Conditions, prior and library law.
    combinations
        Codes of the combinations that occur, ``(n_groups, n_keys)``, int32. One that training
        never saw borrows from those like it.
    bounds, groups, endless
        Which cell has which combination, see `vaexprs._core.plan_groups`.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        combinations: NDArray[np.int32],
        bounds: NDArray[np.uint64],
        groups: NDArray[np.int32],
        *,
        endless: bool,
    ) -> None:
        conditions, prior, library = spec.conditions, spec.prior, spec.library
        self._core = _core.Inputs(
            sizes=conditions.sizes,
            seen=conditions.combinations,
            n_cells=conditions.n_cells,
            combinations=combinations,
            bounds=bounds,
            groups=groups,
            endless=endless,
            n_latent=spec.n_latent,
            with_log_library=prior.with_log_library,
            prior=None
            if prior.kind == "standard_normal"
            else [prior.offsets, prior.weights, prior.means, prior.tril, prior.factor],
            library=None
            if library is None
            else [library.minimum, library.maximum, library.location, library.scale],
            keys=[(key.name, key.categories) for key in conditions.keys],
        )

    def draw(self, *, seed: int, first_cell: int, n_cells: int) -> Cells:
        """Draw the inputs of ``n_cells`` cells from ``first_cell`` on."""
        return Cells(*self._core.draw(seed=seed, first_cell=first_cell, n_cells=n_cells))
