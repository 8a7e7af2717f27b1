"""Small simulated cells with known laws, and one report of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest

#: Without the extra "evaluate" there is nothing to test here.
collect_ignore_glob = (
    ["test_*.py"]
    if any(find_spec(name) is None for name in ("anndata", "jinja2", "matplotlib", "sklearn"))
    else []
)

N_GENES = 120
TYPES = ("B", "NK", "T")


class Simulator:
    """Negative-binomial cells of three types and two treatments, in a correlated program."""

    def __init__(self, n_genes: int = N_GENES) -> None:
        rng = np.random.default_rng(99)
        self.base = np.exp(rng.normal(0.3, 0.9, n_genes))
        self.effects = np.exp(rng.normal(0, 0.8, (3, n_genes)) * (rng.random((3, n_genes)) < 0.3))
        self.treated = np.exp(rng.normal(0, 0.8, n_genes) * (rng.random(n_genes) < 0.15))
        self.program = rng.normal(0, 0.4, n_genes) * (rng.random(n_genes) < 0.4)

    def __call__(
        self, n: int, seed: int, *, dispersion: float = 4.0, program: float = 1.0,
        obey: bool = True, shares: tuple[float, ...] = (0.5, 0.2, 0.3),
    ):  # fmt: skip
        import anndata
        import pandas as pd
        from scipy.sparse import csr_matrix

        rng = np.random.default_rng(seed)
        kind = rng.choice(3, n, p=shares)
        treated = rng.random(n) < 0.5
        mean = self.base * self.effects[kind] * np.where(treated[:, None], self.treated, 1.0)
        mean = mean * np.exp(program * rng.normal(size=(n, 1)) * self.program)
        mean = mean * np.exp(rng.normal(0, 0.3, (n, 1)))
        counts = rng.poisson(rng.gamma(dispersion, mean / dispersion)).astype(np.float32)
        if not obey:
            kind = rng.permutation(kind)
        obs = pd.DataFrame(
            {
                "cell_type": pd.Categorical(np.array(TYPES)[kind]),
                "treatment": pd.Categorical(np.where(treated, "stim", "ctrl")),
                "donor": pd.Categorical(rng.choice(["d1", "d2"], n)),
            },
            index=[f"cell{i}" for i in range(n)],
        )
        var = pd.DataFrame(index=[f"gene{i}" for i in range(len(self.base))])
        return anndata.AnnData(csr_matrix(counts), obs=obs, var=var)


@pytest.fixture(scope="session")
def simulate() -> Simulator:
    return Simulator()


@pytest.fixture(scope="session")
def quick() -> dict[str, object]:
    """Options that make an evaluation quick."""
    return {
        "condition_keys": ["cell_type", "treatment"],
        "n_rounds": 4,
        "n_trees": 25,
        "n_resamples": 6,
        "n_draws": 2,
        "embedding": "pca",
    }


@pytest.fixture(scope="session")
def reports(simulate: Callable, quick: dict):
    """Report on generated cells with the right law, and on ones without spread or program."""
    from vaexprs.evaluation import evaluate

    train, test = simulate(260, 1), simulate(120, 2)
    common = {**quick, "real_test": test, "donor_key": "donor"}
    return {
        "good": evaluate(train, simulate(260, 3), **common),
        "bad": evaluate(train, simulate(260, 4, dispersion=60.0, program=0.0), **common),
    }
