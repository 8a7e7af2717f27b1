"""The memory of results is used again once they are gone, and never before."""

from __future__ import annotations

from typing import Any

import numpy as np

from draws import dense
from vaexprs import _core


def test_memory_of_results_is_used_again_once_they_are_gone() -> None:
    """Blocks of many sizes, kept and let go in turn: no result overwrites another."""
    rng = np.random.default_rng(0)
    kept: list[tuple[Any, Any]] = []
    for step in range(300):
        mean = np.full(
            (rng.integers(1, 40), rng.integers(1, 6000)), rng.choice([0.01, 1, 20]), np.float32
        )
        where = {"seed": step, "first_cell": step}
        kept.append((_core.observe("poisson", [mean], **where), dense("poisson", mean, **where)))
        if len(kept) > rng.integers(1, 12):
            csr, wanted = kept.pop(rng.integers(len(kept)))
            data, indices, indptr = csr
            rows, columns = np.nonzero(wanted)
            assert np.array_equal(indptr, np.searchsorted(rows, np.arange(len(wanted) + 1)))
            assert np.array_equal(indices, columns)
            assert np.array_equal(data, wanted[rows, columns])
