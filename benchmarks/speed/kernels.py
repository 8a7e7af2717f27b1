"""Ratios of the sampling kernels to NumPy and torch, measured side by side on one core.

Each function measures one ratio: both sides draw from the same law at the same means, in turns,
and the ratio is that of the median times. Times are those of the thread's CPU, so that other work
on the machine disturbs less. The answers are checked too: sums and fractions of zeros of both
sides must lie where the law puts them, so that a fast wrong kernel fails.

Run ``python -m benchmarks.speed.kernels`` to print all of them, or import the functions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from vaexprs import _core

Floats = NDArray[np.float32]
Block = tuple[Floats, NDArray[np.int32], NDArray[np.int64]]


@dataclass(frozen=True)
class Case:
    """Means and parameters like those of real cells, float32.

    Log-normal means over the genes, scaled to the library size of each cell; about 90 % of the
    counts are zero. Inverse dispersions lie between 0.5 and 10.
    """

    mean: Floats  # (n_cells, n_genes)
    inverse_dispersion: Floats  # (n_genes,)
    zero_logits: Floats  # (n_genes,)


@cache
def realistic_case(n_cells: int = 64, n_genes: int = 20_000, library: float = 5000.0) -> Case:
    """Return a case whose counts are zero for about 90 % of the entries."""
    rng = np.random.default_rng(1)
    gene = rng.normal(0.0, 2.05, n_genes)
    cell = rng.normal(0.0, 0.5, (n_cells, n_genes))
    share = np.exp(gene + cell)
    mean = library * share / share.sum(axis=1, keepdims=True)
    dispersion = np.exp(rng.uniform(np.log(0.5), np.log(10.0), n_genes))
    logits = rng.normal(-2.0, 1.0, n_genes)
    return Case(mean.astype(np.float32), dispersion.astype(np.float32), logits.astype(np.float32))


def times(*work: Callable[[], Any], repeats: int = 9, turn: float = 0.05) -> list[float]:
    """Return the median CPU seconds of one run of each piece of work.

    The pieces take turns of at least `turn` seconds, within which one is run again and again, so
    that each finds the caches as it left them itself.
    """

    def run(piece: Callable[[], Any], runs: int) -> float:
        start = time.thread_time_ns()
        for _ in range(runs):
            piece()
        return (time.thread_time_ns() - start) / 1e9 / runs

    runs = [max(1, round(turn / max(run(piece, 1), 1e-6))) for piece in work]
    spent: list[list[float]] = [[] for _ in work]
    for _ in range(repeats):
        for piece, n, taken in zip(work, runs, spent, strict=True):
            taken.append(run(piece, n))
    return [statistics.median(taken) for taken in spent]


def check_counts(
    name: str, counts: sp.csr_matrix, expected: Floats, variance: Floats, zero: Floats
) -> None:
    """Fail unless sum and number of zeros are within 6 standard deviations of what they must be."""
    total, spread = float(expected.sum(dtype=float)), float(variance.sum(dtype=float)) ** 0.5
    found = float(counts.sum(dtype=float))
    if abs(found - total) > 6 * spread:
        raise AssertionError(f"{name}: counts sum to {found:.6g}, expected {total:.6g}")
    chance = zero.astype(float)
    zeros = float(np.prod(counts.shape)) - counts.nnz
    if abs(zeros - chance.sum()) > 6 * float((chance * (1 - chance)).sum()) ** 0.5:
        raise AssertionError(f"{name}: {zeros:.0f} zeros, expected {chance.sum():.0f}")


def check_nb(name: str, counts: sp.csr_matrix, case: Case) -> None:
    """Check counts against the negative binomial law of a case."""
    mean, theta = case.mean.astype(float), case.inverse_dispersion.astype(float)
    zero = (theta / (theta + mean)) ** theta
    check_counts(name, counts, mean, mean + mean**2 / theta, zero)


def csr(block: Block, case: Case) -> sp.csr_matrix:
    """Wrap the arrays of a kernel."""
    return sp.csr_matrix(block, shape=case.mean.shape)


def nb_csr_vs_numpy(instruction_set: str | None = None) -> float:
    """Draw negative binomial counts straight to CSR, against NumPy's and scipy's ``csr_matrix``."""
    case = realistic_case()
    rng = np.random.Generator(np.random.PCG64(3))
    theta = case.inverse_dispersion.astype(float)
    p = theta / (theta + case.mean.astype(float))

    def ours() -> Block:
        return _core.observe(
            "nb", [case.mean, case.inverse_dispersion], seed=1, instruction_set=instruction_set
        )

    def theirs() -> sp.csr_matrix:
        return sp.csr_matrix(rng.negative_binomial(theta, p))

    check_nb("vaexprs", csr(ours(), case), case)
    check_nb("numpy", theirs(), case)
    fast, slow = times(ours, theirs)
    return slow / fast


def nb_csr_avx2_vs_numpy() -> float | None:
    """Like `nb_csr_vs_numpy`, limited to AVX2; None where the machine has none."""
    name = "x86-64-v3"
    return nb_csr_vs_numpy(name) if name in _core.instruction_sets() else None


def nb_csr_vs_torch() -> float | None:
    """Draw negative binomial counts to CSR, against torch's gamma-Poisson; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    case = realistic_case()
    mean = torch.from_numpy(case.mean)
    theta = torch.from_numpy(case.inverse_dispersion)
    gamma = torch.distributions.Gamma(theta.expand_as(mean), theta / mean, validate_args=False)

    def ours() -> Block:
        return _core.observe("nb", [case.mean, case.inverse_dispersion], seed=1)

    def theirs() -> sp.csr_matrix:
        return sp.csr_matrix(torch.poisson(gamma.sample()).numpy())

    check_nb("torch", theirs(), case)
    fast, slow = times(ours, theirs)
    torch.set_num_threads(threads)
    return slow / fast


def poisson_csr_vs_numpy() -> float:
    """Draw Poisson counts straight to CSR, against NumPy's and scipy's ``csr_matrix``."""
    case = realistic_case()
    rng = np.random.Generator(np.random.PCG64(3))
    mean = case.mean.astype(float)

    def ours() -> Block:
        return _core.observe("poisson", [case.mean], seed=1)

    def theirs() -> sp.csr_matrix:
        return sp.csr_matrix(rng.poisson(mean))

    for name, counts in (("vaexprs", csr(ours(), case)), ("numpy", theirs())):
        check_counts(name, counts, mean, mean, np.exp(-mean))
    fast, slow = times(ours, theirs)
    return slow / fast


def zinb_csr_vs_numpy() -> float:
    """Draw zero-inflated counts straight to CSR, against NumPy's draws and a mask of zeros."""
    case = realistic_case()
    rng = np.random.Generator(np.random.PCG64(3))
    mean, theta = case.mean.astype(float), case.inverse_dispersion.astype(float)
    p = theta / (theta + mean)
    weight = 1 / (1 + np.exp(case.zero_logits.astype(float)))

    def ours() -> Block:
        return _core.observe("zinb", [case.mean, case.inverse_dispersion, case.zero_logits], seed=1)

    def theirs() -> sp.csr_matrix:
        counts = rng.negative_binomial(theta, p)
        counts[rng.random(counts.shape, dtype=np.float32) >= weight] = 0
        return sp.csr_matrix(counts)

    second_moment = weight * (mean + mean**2 / theta + mean**2)
    for name, counts in (("vaexprs", csr(ours(), case)), ("numpy", theirs())):
        check_counts(
            name,
            counts,
            weight * mean,
            second_moment - (weight * mean) ** 2,
            1 - weight * (1 - (theta / (theta + mean)) ** theta),
        )
    fast, slow = times(ours, theirs)
    return slow / fast


def normal_vs_numpy() -> float:
    """Fill with standard normals in float32, against NumPy's."""
    out = np.empty((64, 20_000), np.float32)
    rng = np.random.Generator(np.random.PCG64(3))

    def ours() -> None:
        _core.fill_latent(out, seed=1)

    ours()
    spread = out.size**-0.5
    moments = out.mean(dtype=float), out.var(dtype=float) - 1, (out.astype(float) ** 4).mean() - 3
    for moment, sd in zip(moments, (1.0, 2**0.5, 96**0.5), strict=True):
        if abs(moment) > 6 * sd * spread:
            raise AssertionError(f"normals have moments {moments}")
    fast, slow = times(ours, lambda: rng.standard_normal(out=out, dtype=np.float32))
    return slow / fast


RATIOS: dict[str, Callable[[], float | None]] = {
    function.__name__: function
    for function in (
        nb_csr_vs_numpy,
        nb_csr_vs_torch,
        nb_csr_avx2_vs_numpy,
        poisson_csr_vs_numpy,
        zinb_csr_vs_numpy,
        normal_vs_numpy,
    )
}


def main() -> None:
    """Print every ratio."""
    parser = argparse.ArgumentParser(description="Ratios of the kernels to NumPy and torch.")
    parser.add_argument("--json", help="write the ratios to this file")
    arguments = parser.parse_args()
    case = realistic_case()
    counts = csr(_core.observe("nb", [case.mean, case.inverse_dispersion], seed=1), case)
    print(f"kernels: {_core.instruction_set()}")
    print(f"{case.mean.shape[0]} cells x {case.mean.shape[1]} genes, ", end="")
    print(f"{1 - counts.nnz / case.mean.size:.1%} zeros, mean library {counts.sum(1).mean():.0f}")
    ratios = {name: measure() for name, measure in RATIOS.items()}
    for name, ratio in ratios.items():
        print(f"{name:24s}" + ("not measured" if ratio is None else f"{ratio:6.1f}x"))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(ratios, file, indent=2)


if __name__ == "__main__":
    main()
