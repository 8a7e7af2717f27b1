"""The same draws whatever the instruction set, the threads, the format, or the cut of the cells.

The scalar reference is one of the instruction sets, so these tests also compare every kernel with
its plain twin, draw by draw.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from draws import dense
from vaexprs import _core
from vaexprs.spec import OUTPUTS

Floats = NDArray[np.float32]

#: The parameters of each law, in the order that the core takes them.
PARAMETERS: dict[str, tuple[str, ...]] = dict(OUTPUTS)

# Decades of means and of inverse dispersions: everyday ones, around the switch to gamma-Poisson
# mixtures at 32, huge, and at the ends of float32.
RANGES = [
    ((-4, 1), (-1, 2)),
    ((1.3, 1.7), (-2, 4)),
    ((2, 6), (-2, 4)),
    ((-9, 2), (-3, 9)),
    ((-44, -30), (-44, -30)),
    ((-3, 18), (-20, 38)),
]


def draw_parameters(
    likelihood: str, n_cells: int, n_genes: int, choice: int, seed: int
) -> list[Floats]:
    """Return the parameters of a likelihood, at random from one of the ranges above."""
    rng = np.random.default_rng(seed)
    (mean_low, mean_high), (theta_low, theta_high) = RANGES[choice]
    shape = n_cells, n_genes
    mean = (10 ** rng.uniform(mean_low, mean_high, shape)).astype(np.float32)
    mean[rng.random(shape) < 0.02] = 0
    if likelihood == "bernoulli":
        mean = np.minimum(mean, 1)
    theta = (10 ** rng.uniform(theta_low, theta_high, shape)).astype(np.float32)
    values = {
        "mean": mean,
        "scale": theta,
        "inverse_dispersion": np.maximum(theta, np.float32(1e-44)),
        "zero_logits": rng.normal(0, 6, shape).astype(np.float32),
    }
    return [values[name] for name in PARAMETERS[likelihood]]


def densified(
    likelihood: str, parameters: list[Floats], **options: Any
) -> tuple[Floats, NDArray[np.int32], NDArray[np.int64]]:
    """Draw CSR, check its structure, and return it dense, with indices and indptr."""
    data, indices, indptr = _core.observe(likelihood, parameters, **options)
    shape = parameters[0].shape
    assert (data.dtype, indices.dtype, indptr.dtype) == (np.float32, np.int32, np.int64)
    assert data.shape == indices.shape == (indptr[-1],)
    assert indptr.shape == (shape[0] + 1,)
    assert indptr[0] == 0
    assert (data != 0).all()
    rows = np.repeat(np.arange(shape[0]), np.diff(indptr))
    order = rows * np.int64(shape[1]) + indices
    assert (np.diff(order) > 0).all()
    assert ((indices >= 0) & (indices < shape[1])).all()
    out = np.zeros(shape, np.float32)
    out[rows, indices] = data
    return out, indices, indptr


@pytest.mark.parametrize("likelihood", PARAMETERS)
@pytest.mark.parametrize("choice", range(len(RANGES)))
def test_kernels_equal_their_scalar_twins(likelihood: str, choice: int) -> None:
    parameters = draw_parameters(likelihood, 40, 1500, choice, seed=choice)
    wanted = dense(likelihood, *parameters, seed=choice, instruction_set="reference")
    assert np.isfinite(wanted).all()
    for name in _core.instruction_sets():
        found = dense(likelihood, *parameters, seed=choice, instruction_set=name)
        np.testing.assert_array_equal(found, wanted)
        found, _, _ = densified(likelihood, parameters, seed=choice, instruction_set=name)
        np.testing.assert_array_equal(found, wanted)


@given(
    likelihood=st.sampled_from(sorted(PARAMETERS)),
    choice=st.integers(0, len(RANGES) - 1),
    shape=st.tuples(st.integers(0, 5), st.integers(0, 600)),
    seed=st.integers(0, 2**64 - 1),
    first_cell=st.integers(0, 2**63 - 1),
    n_threads=st.integers(1, 4),
    instruction_set=st.sampled_from(_core.instruction_sets()),
    data=st.data(),
)
@settings(max_examples=150)
def test_draws_depend_on_their_place_alone(
    likelihood: str,
    choice: int,
    shape: tuple[int, int],
    seed: int,
    first_cell: int,
    n_threads: int,
    instruction_set: str,
    data: st.DataObject,
) -> None:
    parameters = draw_parameters(likelihood, *shape, choice, seed % 2**32)
    wanted = dense(likelihood, *parameters, seed=seed, first_cell=first_cell)
    sparse, _, _ = densified(
        likelihood,
        parameters,
        seed=seed,
        first_cell=first_cell,
        n_threads=n_threads,
        instruction_set=instruction_set,
    )
    np.testing.assert_array_equal(sparse, wanted)
    # The same range in two calls, unless its end would be no index of a cell.
    cut = data.draw(st.integers(0, shape[0]))
    if first_cell + cut < 2**63:
        head = [np.ascontiguousarray(p[:cut]) for p in parameters]
        tail = [np.ascontiguousarray(p[cut:]) for p in parameters]
        parts = [
            dense(likelihood, *head, seed=seed, first_cell=first_cell, n_threads=n_threads),
            dense(likelihood, *tail, seed=seed, first_cell=first_cell + cut),
        ]
        np.testing.assert_array_equal(np.concatenate(parts), wanted)


@pytest.mark.parametrize("likelihood", PARAMETERS)
def test_a_mean_changes_its_own_entry_alone(likelihood: str) -> None:
    """Bits are keyed by gene, so that one mean that is off cannot move the others' draws."""
    parameters = draw_parameters(likelihood, 3, 700, 0, seed=3)
    before = dense(likelihood, *parameters, seed=1)
    parameters[0][1, ::7] *= np.float32(0.5)
    after = dense(likelihood, *parameters, seed=1)
    changed = before != after
    changed[1, ::7] = False
    assert not changed.any()


@pytest.mark.parametrize("likelihood", [name for name in PARAMETERS if len(PARAMETERS[name]) > 1])
def test_gene_wise_parameters(likelihood: str) -> None:
    """(1, n_genes) and (n_genes,) stand for rows that are all the same."""
    mean, *others = draw_parameters(likelihood, 4, 300, 0, seed=4)
    rows = [p[:1].copy() for p in others]
    full = [np.repeat(p, 4, axis=0) for p in rows]
    wanted = dense(likelihood, mean, *full, seed=2)
    np.testing.assert_array_equal(dense(likelihood, mean, *rows, seed=2), wanted)
    flat = [p[0].copy() for p in rows]
    np.testing.assert_array_equal(dense(likelihood, mean, *flat, seed=2), wanted)
    sparse, _, _ = densified(likelihood, [mean, *flat], seed=2)
    np.testing.assert_array_equal(sparse, wanted)


@given(
    n_cells=st.integers(0, 6),
    width=st.integers(0, 300),
    seed=st.integers(0, 2**64 - 1),
    first_cell=st.integers(0, 2**62),
    n_threads=st.integers(1, 3),
    instruction_set=st.sampled_from(_core.instruction_sets()),
)
@settings(max_examples=60)
def test_fills_depend_on_their_place_alone(
    n_cells: int, width: int, seed: int, first_cell: int, n_threads: int, instruction_set: str
) -> None:
    where: dict[str, Any] = {"seed": seed, "first_cell": first_cell}
    wanted = np.empty((n_cells, width), np.float32)
    _core.fill_latent(wanted, **where, instruction_set="reference")
    found = np.empty_like(wanted)
    _core.fill_latent(found, **where, n_threads=n_threads, instruction_set=instruction_set)
    np.testing.assert_array_equal(found, wanted)
    # A narrower row is the beginning of a wider one.
    narrow = np.empty((n_cells, width // 2), np.float32)
    _core.fill_latent(narrow, **where)
    np.testing.assert_array_equal(narrow, wanted[:, : width // 2])
    for i in range(n_cells):
        row = np.empty((1, width), np.float32)
        _core.fill_latent(row, seed=seed, first_cell=first_cell + i)
        np.testing.assert_array_equal(row[0], wanted[i])


def test_the_environment_chooses_the_instruction_set() -> None:
    script = "from vaexprs import _core; print(_core.instruction_set())"
    for name in _core.instruction_sets():
        environment = {**os.environ, "VAEXPRS_INSTRUCTION_SET": name}
        found = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True
        )
        assert found.stdout.strip() == name
    environment = {**os.environ, "VAEXPRS_INSTRUCTION_SET": "vax"}
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert found.returncode != 0
    assert "expected one of 'reference'" in found.stderr


def test_the_default_is_the_fastest() -> None:
    if "VAEXPRS_INSTRUCTION_SET" in os.environ:
        pytest.skip("the environment chose another one")
    assert _core.instruction_set() == _core.instruction_sets()[-1]
    assert _core.instruction_sets()[0] == "reference"
