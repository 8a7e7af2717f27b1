"""How values were made from counts: scaled to a common sum, then perhaps logged."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core


@dataclass(frozen=True)
class Normalisation:
    """The map from counts to the values of the data.

    A count ``k`` of a cell with ``n`` counts in all (or another value >= 0 and the sum of them)
    becomes ``s = k * sum / n``, and then
    ``log(s + pseudocount) / log(log_base)`` where there is a base. Zeros stay zeros.

    Attributes
    ----------
    log_base
        Base of the logarithm, or None where values were not logged.
    pseudocount
        1 for ``log1p``; 0 for the logarithm of positive values alone. 0 where not logged.
    log_sum
        Natural logarithm of the sum of a cell's values before the logarithm. Where genes were
        left out after scaling, sums vary: then the mean over cells.
    slope, deviation
        For sums that vary: the log sum is ``log_sum + slope * (log n - centre)`` plus normal noise
        of this standard deviation. Both 0 where the sum is the same in all cells.
    centre
        Mean of ``log n`` over the training cells.
    """

    log_base: float | None
    pseudocount: float
    log_sum: float
    slope: float = 0.0
    deviation: float = 0.0
    centre: float = 0.0

    @property
    def varies(self) -> bool:
        """Whether the sum differs between cells."""
        return self.slope != 0 or self.deviation != 0

    def apply(
        self,
        data: NDArray[np.float32],
        indptr: NDArray[np.int64],
        *,
        seed: int,
        first_cell: int = 0,
        streams: NDArray[np.uint32] | None = None,
    ) -> None:
        """Map the draws of consecutive cells, rows of a CSR matrix, to values in place."""
        _core.normalise(
            data, indptr, seed=seed, first_cell=first_cell, streams=streams,
            log_base=self.log_base or 0.0, pseudocount=self.pseudocount, log_sum=self.log_sum,
            slope=self.slope, deviation=self.deviation, centre=self.centre,
        )  # fmt: skip

    def of_means(self, mean: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values of expected counts, ``(n_cells, n_genes)``, without noise of sums."""
        values = np.array(mean, np.float32, order="C")
        bounds = np.arange(len(values) + 1, dtype=np.int64) * values.shape[1]
        replace(self, deviation=0.0).apply(values.reshape(-1), bounds, seed=0)
        return values

    def describe(self) -> str:
        """Return the map in a few words, as ``log1p of counts scaled to 10,000``."""
        about = "about " if self.varies else ""
        total = math.exp(self.log_sum)
        size = f"{total:,.0f}" if total >= 100 else f"{total:.3g}"
        scaled = f"counts scaled to {about}{size} per cell"
        if self.log_base is None:
            return scaled
        base = "" if math.isclose(self.log_base, math.e) else f" to base {self.log_base:.6g}"
        return f"{'log1p' if self.pseudocount else 'log'}{base} of {scaled}"
