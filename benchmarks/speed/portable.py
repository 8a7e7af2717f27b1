"""The portable decoder beside onnxruntime: how near, and how fast.

    python -m benchmarks.speed.portable [--instruction-set x86-64-v3]

Prints the largest relative difference of the means that both compute for the same cells, the share
of values that differ where both draw, and how much of onnxruntime's speed the portable runtime
has, from the latent draw to the CSR rows, on one core; the median of rounds in turn. onnxruntime
takes the widest vectors that the machine has, whatever the core is told to.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Any

import numpy as np

from benchmarks.speed.synthetic import synthetic_artifact
from benchmarks.timing import machine, ratio, side_by_side
from vaexprs.artifact import load_artifact

#: Genes, hidden units, cells of a round, weights.
SIZES = [
    (2000, 128, 8192, "float32"),
    (2000, 128, 8192, "int8"),
    (20_000, 128, 1024, "float32"),
    (20_000, 512, 512, "float32"),
]
#: Least share of onnxruntime's speed at 128 hidden units and weights of float32.
BAR = 0.35


def make(generator: Any, n_cells: int) -> None:
    """Generate cells and let them go."""
    for _ in generator.blocks(n_cells=n_cells):
        pass


def agreement(generators: list[Any], n_cells: int) -> tuple[float, float]:
    """Return the largest relative difference of means, and the share of values that differ."""
    means, values = (
        [
            [
                block.X if mean else block.X.to_dense()
                for block in g.blocks(n_cells=n, return_mean=mean)
            ]
            for g in generators
        ]
        for mean, n in ((True, 512), (False, n_cells))
    )
    largest = max(
        float((np.abs(a - b) / np.maximum(np.abs(a), 1e-30)).max())
        for a, b in zip(*means, strict=True)
    )
    n_different = sum(int((a != b).sum()) for a, b in zip(*values, strict=True))
    return largest, n_different / sum(a.size for a in values[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--instruction-set", help="of the core, such as x86-64-v3; the widest")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.instruction_set:
        os.environ["VAEXPRS_INSTRUCTION_SET"] = options.instruction_set
    from vaexprs import Generator, _core

    for name, value in (machine() | {"instruction set": _core.instruction_set()}).items():
        print(f"{name:16} {value}")
    shipped = load_artifact("pbmc_ifnb")
    cases = [(f"pbmc_ifnb ({shipped.spec.n_genes} genes)", shipped, 8192, False)]
    for n_genes, hidden, n_cells, precision in SIZES:
        artifact = synthetic_artifact(n_genes, hidden, precision=precision)
        name = f"{n_genes} genes, {hidden} hidden, {precision}"
        cases.append((name, artifact, n_cells, hidden == 128 and precision == "float32"))
    print(f"\n{'':34} {'means':>9} {'values':>9} {'speed':>6}")
    for name, artifact, n_cells, has_bar in cases:
        both = [Generator(artifact, runtime=r, n_threads=1) for r in ("onnxruntime", "portable")]
        largest, share = agreement(both, n_cells)
        tasks = {g.runtime: partial(make, g, n_cells) for g in both}
        seconds = side_by_side(tasks, repeats=options.rounds)
        speed = ratio(seconds["onnxruntime"], seconds["portable"])
        verdict = f"  bar {BAR}: {'holds' if speed >= BAR else 'MISSED'}" if has_bar else ""
        print(f"{name:34} {largest:9.1e} {share:9.1e} {speed:6.2f}{verdict}")


if __name__ == "__main__":
    main()
