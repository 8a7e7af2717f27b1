"""How much a second thread adds, beside what a second process adds: the most the machine gives.

    python -m benchmarks.speed.threads --runs 5

Each run makes the same cells with one thread, with two threads, and half of them in each of two
processes that share nothing, in turns; ratios are medians over the rounds of a run, as in
``speed.py``. Cores of shared machines share caches, memory and clock with others, so the second
process seldom adds a whole core either.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
from functools import partial
from multiprocessing.connection import Connection

from benchmarks.speed.pipeline import n_cores
from benchmarks.speed.synthetic import synthetic_artifact
from benchmarks.timing import machine, ratio, side_by_side
from vaexprs import Generator

#: Genes, hidden units and cells of the two sizes that ``speed.py`` measures.
SIZES = [(2000, 128, 40_960), (20_000, 512, 2048)]
ROUNDS = 7


def make(generator: Generator, n_cells: int) -> None:
    """Generate cells and let them go."""
    for _ in generator.blocks(n_cells=n_cells):
        pass


def other_process(calls: Connection, n_genes: int, hidden: int, n_cells: int) -> None:
    """Make so many cells with one thread whenever called, until the pipe is closed."""
    generator = Generator(synthetic_artifact(n_genes, hidden), n_threads=1)
    while calls.recv():
        make(generator, n_cells)
        calls.send(True)


def two_processes(pipes: list[Connection]) -> None:
    """Have every process make its cells, and wait for all."""
    for pipe in pipes:
        pipe.send(True)
    for pipe in pipes:
        pipe.recv()


def ratios(n_genes: int, hidden: int, n_cells: int, rounds: int) -> tuple[float, float]:
    """Return how many times faster than one thread two threads are, and two processes."""
    artifact = synthetic_artifact(n_genes, hidden)
    one, two = (Generator(artifact, n_threads=n) for n in (1, 2))
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(2):
        here, there = context.Pipe()
        size = (n_genes, hidden, n_cells // 2)
        context.Process(target=other_process, args=(there, *size), daemon=True).start()
        pipes.append(here)
    seconds = side_by_side(
        {
            "one": partial(make, one, n_cells),
            "threads": partial(make, two, n_cells),
            "processes": partial(two_processes, pipes),
        },
        repeats=rounds,
    )
    for pipe in pipes:
        pipe.send(False)
    return ratio(seconds["one"], seconds["threads"]), ratio(seconds["one"], seconds["processes"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if n_cores() < 2:
        parser.exit(message="one core: nothing to compare.\n")
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(
        "\n| genes, hidden units | run | two threads | two processes |\n| --- | --- | --- | --- |"
    )
    lowest = []
    for run in range(1, options.runs + 1):
        found = []
        for n_genes, hidden, n_cells in SIZES:
            threads, processes = ratios(n_genes, hidden, n_cells, ROUNDS)
            print(f"| {n_genes}, {hidden} | {run} | {threads:.2f} | {processes:.2f} |", flush=True)
            found.append(threads)
        lowest.append(min(found))
    print(
        f"\nTwo threads, the lower of both sizes, median of runs: {statistics.median(lowest):.2f}"
    )


if __name__ == "__main__":
    main()
