"""Small data and fits that the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from laws import LAWS
from vaexprs.spec import LIKELIHOODS

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
    from scipy.sparse import csr_matrix

    def make(likelihood: str):
        adata = simulated.copy()
        X = adata.X.toarray()
        X = LAWS[likelihood].data(X, np.random.default_rng(0)).astype(np.float32)
        adata.X = csr_matrix(X) if LIKELIHOODS[likelihood].sparse else X
        return adata

    return make
