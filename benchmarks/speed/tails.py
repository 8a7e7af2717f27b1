"""Tails of the count kernels at small means, with a thousand million draws at each.

At a mean of 1e-6 one draw in a million is not zero and one in 1e12 is above one: where a kernel
that rounds too early would show. For each mean the numbers of draws above 0, 1, 2 and 3 are
compared with their exact binomial laws. The script fails when a p-value is below 1e-6 divided by
the number of comparisons.

Run ``python -m benchmarks.speed.tails [--draws 1e9] [--seed 0]``; it takes minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from vaexprs import _core

N_CELLS, N_GENES = 500, 20_000
ABOVE = (0, 1, 2, 3)


def laws(mean: float) -> dict[str, tuple[Callable[..., Any], Any]]:
    """Return for each kernel how to draw a block at a mean, and the law that it must follow."""
    block = np.full((N_CELLS, N_GENES), mean, np.float32)
    exact = float(np.float32(mean))

    def nb(theta: float) -> tuple[Callable[..., Any], Any]:
        row = np.full(N_GENES, theta, np.float32)
        value = float(np.float32(theta))
        return (
            lambda **where: _core.observe("nb", [block, row], **where),
            stats.nbinom(value, value / (value + exact)),
        )

    return {
        "poisson": (
            lambda **where: _core.observe("poisson", [block], **where),
            stats.poisson(exact),
        ),
        "nb, theta 0.01": nb(0.01),
        "nb, theta 1": nb(1.0),
        "nb, theta 1e4": nb(1e4),
    }


def main() -> None:
    """Draw, compare and print; exit with 1 if a tail is not where it must be."""
    parser = argparse.ArgumentParser(description="Tails of the count kernels at small means.")
    parser.add_argument("--draws", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    n_blocks = max(1, round(arguments.draws / (N_CELLS * N_GENES)))
    n = n_blocks * N_CELLS * N_GENES
    print(f"{n:.3g} draws each, kernels {_core.instruction_set()}")
    print(f"{'law':16s} {'mean':>8s} {'k':>2s} {'found above k':>14s} {'expected':>14s} {'p':>9s}")
    pvalues = []
    start = time.monotonic()
    for mean in (1e-8, 1e-6, 1e-5, 1e-4, 1 / 256, 0.02):
        for name, (draw, law) in laws(mean).items():
            above = np.zeros(len(ABOVE), np.int64)
            for i in range(n_blocks):
                counts, _, _ = draw(seed=arguments.seed, first_cell=i * N_CELLS)
                above += [np.count_nonzero(counts > k) for k in ABOVE]
            for k, found in zip(ABOVE, above, strict=True):
                chance = law.sf(k)
                pvalue = float(stats.binomtest(int(found), n, chance).pvalue)
                pvalues.append(pvalue)
                print(f"{name:16s} {mean:8.1e} {k:2d} {found:14d} {n * chance:14.6g} {pvalue:9.3g}")
    limit = 1e-6 / len(pvalues)
    seconds = time.monotonic() - start
    print(f"smallest p-value {min(pvalues):.3g} of {len(pvalues)}; {seconds:.0f} s")
    if min(pvalues) < limit:
        sys.exit(f"a tail is wrong: p below {limit:.2g}")


if __name__ == "__main__":
    main()
