"""Draws of the core as dense arrays, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core


def dense(likelihood: str, *outputs: NDArray[np.float32], **options: Any) -> NDArray[np.float32]:
    """Return the draws of `vaexprs._core.observe` with their zeros, ``(n_cells, n_genes)``."""
    data, indices, indptr = _core.observe(likelihood, outputs, **options)
    made = np.zeros(outputs[0].shape, np.float32)
    made[np.repeat(np.arange(len(made)), np.diff(indptr)), indices] = data
    return made
