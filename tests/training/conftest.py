"""Small data and fits that the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

#: Options of a fit that takes a tenth of a second.
TINY: dict[str, Any] = {
    "hidden": (16,), "epochs": 5, "n_latent": 4, "progress": False, "device": "cpu",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: these models are too small for more."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """Return options of a fit that takes a tenth of a second."""
    return dict(TINY)


@pytest.fixture(scope="session")
def simulated():
    """Return 160 cells x 50 genes of counts: three types, two batches. Do not change it."""
    pytest.importorskip("anndata")
    from vaexprs.datasets import simulate_counts

    return simulate_counts(
        160, 50, cell_types=3, batches=2, median_library=400.0, n_markers=8, seed=3
    )


@pytest.fixture(scope="session")
def values_for(simulated):
    """Return a function: cells of the kind that a likelihood is meant for, same labels."""

    def make(likelihood: str):
        adata = simulated.copy()
        X = adata.X.toarray()
        rng = np.random.default_rng(0)
        if likelihood == "bernoulli":
            X = np.float32(X > 2)
        elif likelihood == "gaussian":
            X = np.log1p(X) + rng.normal(0, 0.1, X.shape)
        elif likelihood == "zigamma":
            X = np.log1p(1e4 * X / X.sum(1, keepdims=True))
        adata.X = np.float32(X) if likelihood in ("bernoulli", "gaussian") else adata.X
        if likelihood == "zigamma":
            from scipy.sparse import csr_matrix

            adata.X = csr_matrix(np.float32(X))
        return adata

    return make
