"""Affine scaling of each gene, learned from the training cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.training.inputs.moments import column_extremes, column_means, square

Array = NDArray[np.float32]

#: Standard deviation, in data units, of genes that never varied: a normal law needs one.
_SMALLEST_SCALE = 1e-6
#: Relative variance below which a gene is constant: the rounding of float32 values.
_CONSTANT = 1e-10


@dataclass(frozen=True)
class Scaling:
    """The model sees ``(x - shift) / stretch``; ``(n_genes,)`` each.

    Genes that are constant in the training cells have stretch 0 and are seen as 0.
    """

    shift: Array
    stretch: Array

    @classmethod
    def by_range(cls, X: Any) -> Scaling:
        """Scale by minimum and range."""
        low, high = column_extremes(X)
        return cls(low.astype(np.float32), (high - low).astype(np.float32))

    @classmethod
    def by_deviation(cls, X: Any) -> Scaling:
        """Scale by mean and standard deviation."""
        mean = column_means(X)
        variance = column_means(square(X)) - mean**2
        varies = variance > _CONSTANT * np.maximum(mean**2, _CONSTANT)
        deviation = np.sqrt(np.where(varies, variance, 0))
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Genes that are not constant."""
        return self.stretch > 0

    @property
    def divisor(self) -> Array:
        """`stretch`, with 1 for constant genes."""
        return np.where(self.varies, self.stretch, np.float32(1))

    @property
    def log_scale_factor(self) -> Array:
        """Log of the factor from a standard deviation the model sees to data units."""
        return np.log(np.maximum(self.stretch, _SMALLEST_SCALE))

    def apply(self, x: Any) -> Any:
        """Scale dense values."""
        return np.where(self.varies, (x - self.shift) / self.divisor, np.float32(0))

    def restore(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return outputs of a decoder, by name, in data units."""
        out = {**outputs, "mean": outputs["mean"] * self.stretch + self.shift}
        if "scale" in outputs:
            out["scale"] = outputs["scale"] * np.maximum(self.stretch, _SMALLEST_SCALE)
        return out
