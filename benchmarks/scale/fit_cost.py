"""Seconds and peak memory of a fit, and of writing cells, by the size of the data.

    python -m benchmarks.scale.fit_cost --cells 1000 10000 --genes 2000 20000

Cells are simulated (`vaexprs.datasets.simulate_counts`), written to an .h5ad, and fitted in a new
process by ``vaexprs fit`` with the defaults; then ``vaexprs generate`` writes as many. Peak memory
is that of the process, libraries included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import machine
from vaexprs.datasets import simulate_counts


def run(*words: object) -> tuple[float, float]:
    """Run a command of vaexprs; return its seconds and its peak memory in MB."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "vaexprs", *map(str, words)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"vaexprs {words[0]} ended with status {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cells", nargs="+", type=int, default=[1000, 10_000])
    parser.add_argument("--genes", nargs="+", type=int, default=[2000, 20_000])
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()), "\n")
    print(
        "| cells x genes | fit, s | fit, MB | generate, s | generate, MB |\n" + "| --- " * 5 + "|"
    )
    for n_genes in options.genes:
        for n_cells in options.cells:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                cells = simulate_counts(n_cells, n_genes, cell_types=8, seed=0)
                cells.write_h5ad(folder / "cells.h5ad")
                del cells
                key = ("--condition-key", "cell_type")
                fit = run("fit", folder / "cells.h5ad", "-o", folder / "m.onnx", *key)
                made = run("generate", folder / "m.onnx", "-n", n_cells, "-o", folder / "g.h5ad")
            figures = (f"{seconds:.0f} | {memory:,.0f}" for seconds, memory in (fit, made))
            print(f"| {n_cells:,} x {n_genes:,} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
