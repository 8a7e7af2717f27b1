"""Counts are recovered from normalised values exactly, and from nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from vaexprs.data.recovery import recover_counts
from vaexprs.spec.normalisation import Normalisation


def counts(seed: int = 0, n_cells: int = 80, n_genes: int = 200) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    X = rng.poisson(rng.gamma(0.4, 1.5, n_genes) * rng.lognormal(0, 0.5, (n_cells, 1)))
    X[:, 0] += 1
    return sparse.csr_matrix(X.astype(np.float32))


def normalised(
    X: sparse.csr_matrix, target: float, base: float | None, pseudocount: float = 1.0
) -> sparse.csr_matrix:
    """Scale and log in float32, as scanpy does."""
    library = np.asarray(X.sum(axis=1)).astype(np.float32)
    out = X.multiply(np.float32(target) / library).tocsr().astype(np.float32)
    if base is not None:
        out.data = np.log(out.data + np.float32(pseudocount)) / np.float32(np.log(base))
    return out


@pytest.mark.parametrize("base", [None, math.e, 2.0, 10.0, 1.7])
@pytest.mark.parametrize("target", [1e4, 1e6, 137.5])
def test_counts_come_back(base: float | None, target: float) -> None:
    X = counts()
    values = normalised(X, target, base)
    found = recover_counts(values)
    assert found is not None
    recovered, law = found
    assert (recovered != X).nnz == 0
    assert not law.varies
    assert law.log_sum == pytest.approx(math.log(target), abs=1e-4)
    if base is None:
        assert law.log_base is None
    else:
        assert law.log_base == pytest.approx(base, rel=1e-4)
    again = recovered.copy()
    law.apply(again.data, again.indptr.astype(np.int64), seed=0)
    np.testing.assert_allclose(again.toarray(), values.toarray(), rtol=2e-4, atol=1e-5)


def test_a_logarithm_without_a_pseudocount() -> None:
    X = counts(1)
    found = recover_counts(normalised(X, 1e5, math.e, pseudocount=0.0))
    assert found is not None
    assert (found[0] != X).nnz == 0
    assert found[1].pseudocount == 0


def test_dense_values_and_cells_whose_smallest_count_is_two() -> None:
    X = counts(2).toarray()
    X[3] *= 2
    found = recover_counts(normalised(sparse.csr_matrix(X), 1e4, math.e).toarray())
    assert found is not None
    ratio = found[0].toarray()[3].sum() / X[3].sum()
    assert ratio in (0.5, 1.0)  # the step of that cell alone cannot say which


def test_sums_that_vary_over_cells_are_described() -> None:
    X = counts(3)
    values = normalised(X, 1e4, math.e)[:, 50:]
    found = recover_counts(values)
    assert found is not None
    recovered, law = found
    assert (recovered != X[:, 50:]).nnz == 0
    assert law.varies
    assert law.deviation > 0.01


@given(st.integers(0, 2**32 - 1), st.sampled_from(["gamma", "lognormal", "uniform", "rounded"]))
def test_continuous_values_are_left_alone(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    X: Any = {
        "gamma": lambda: rng.gamma(1.0, 1.0, (40, 60)),
        "lognormal": lambda: rng.lognormal(0, 1, (40, 60)) * (rng.random((40, 60)) < 0.3),
        "uniform": lambda: rng.random((40, 60)),
        "rounded": lambda: np.round(rng.gamma(1.0, 3.0, (40, 60)), 2) * rng.lognormal(size=(1, 60)),
    }[kind]()
    assert recover_counts(X.astype(np.float32)) is None


def test_shifted_logarithms_are_left_alone() -> None:
    X = np.log1p(counts(4).toarray())
    assert recover_counts(X) is not None
    assert recover_counts(X - 1) is None
    assert recover_counts(X + 0.1) is None


def test_too_few_values_are_no_evidence() -> None:
    X = np.zeros((20, 5), np.float32)
    X[:, 0], X[:, 1] = 0.7, 1.4
    assert recover_counts(X) is None
    assert recover_counts(np.zeros((3, 4), np.float32)) is None


def test_a_description_is_plain() -> None:
    assert Normalisation(math.e, 1.0, math.log(1e4)).describe() == (
        "log1p of counts scaled to 10,000 per cell"
    )
    assert (
        Normalisation(None, 0.0, math.log(1e6)).describe() == "counts scaled to 1,000,000 per cell"
    )
