"""Runs that are large, cut off, or made in parts: each figure beside its bar.

    python -m benchmarks.scale.scale --json scale.json

Sizes are those of the bars unless options lower them; the JSON tells which were run. Ratios are of
neighbouring runs. Every run is a process of its own; artifacts are synthetic (about 90 % zeros).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.speed.synthetic import synthetic_artifact
from benchmarks.timing import machine
from vaexprs import Generator
from vaexprs.scale.merge import merge

#: Writes cells and prints seconds and memory as JSON; its first argument is the request as JSON.
WRITER = """
import json, os, resource, sys, time
from vaexprs import Generator, write_exprs
asked = json.loads(sys.argv[1])
if asked.pop("restarted", False):  # as after another start of the machine
    import vaexprs.sinks.journal as journal
    journal._start = lambda: "another"
generator = Generator(asked.pop("model"), n_threads=asked.pop("threads"))
next(iter(generator.blocks(n_cells=64)))  # opened and warm
before = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
n, half, made, log = asked["n_cells"], None, 0, os.open(asked.pop("log"), os.O_RDWR | os.O_CREAT)
started, cpu, writer = time.perf_counter(), time.process_time(), time.thread_time()
def progress(cells):
    global half, made
    made += cells
    os.pwrite(log, b"%20d" % made, 0)
    if half is None and made >= n / 2:
        half = time.perf_counter() - started
write_exprs(generator, progress=progress, **asked)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({
    "seconds": time.perf_counter() - started, "half": half, "resident": peak - before,
    "cpu": time.process_time() - cpu, "writer": time.thread_time() - writer,
}))
"""


def start(model: Path, out: Path, n_cells: int, threads: int, **more: Any) -> subprocess.Popen[str]:
    """Start a process that writes cells."""
    asked = {"model": str(model), "path": str(out), "n_cells": n_cells, "threads": threads,
             "log": f"{out}.log", **more}  # fmt: skip
    words = [sys.executable, "-c", WRITER, json.dumps(asked)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def write(model: Path, out: Path, n_cells: int, threads: int, **more: Any) -> dict[str, float]:
    """Write cells in a new process; return its seconds and memory."""
    text, _ = (process := start(model, out, n_cells, threads, **more)).communicate()
    if process.returncode:
        sys.exit(f"writing {out} ended with {process.returncode}")
    figures: dict[str, float] = json.loads(text)
    return figures


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def contents(path: Path) -> dict[str, Any]:
    """Return the contents of a file or store by path."""
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        return {str(file.relative_to(path)): file.read_bytes() for file in files}
    found: dict[str, Any] = {}

    def see(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            value = np.asarray(item[()])
            found[name] = item.dtype, value.tolist() if value.dtype == object else value.tobytes()

    with h5py.File(path) as file:
        file.visititems(see)
    return found


def kills(model: Path, folder: Path, n_cells: int, n_kills: int) -> dict[str, Any]:
    """Kill writers at random moments, resume them, and compare; return shares done twice."""
    chance, equal, twice = random.Random(0), 0, []
    for suffix in (".h5ad", ".zarr"):
        whole = folder / f"whole{suffix}"
        seconds = write(model, whole, n_cells, 2)["seconds"]
        expected = contents(whole)
        for i in range(n_kills // 2):
            out = folder / f"{i}{suffix}"
            process = start(model, out, n_cells, 2)
            log = Path(f"{out}.log")
            while not (log.exists() and log.stat().st_size):
                time.sleep(0.001)
            time.sleep(chance.uniform(0.02, 0.9) * seconds)
            process.kill()
            process.communicate()
            made = int(log.read_text())
            log.unlink()
            resumed = start(model, out, n_cells, 2, resume=True)
            while not (log.exists() and log.stat().st_size):
                time.sleep(0.0005)
            first = int(log.read_text())
            resumed.communicate()
            equal += resumed.returncode == 0 and contents(out) == expected
            twice.append(max(made - first, 0) / n_cells)
            remove(out)
        remove(whole)
    return {"kills": n_kills, "equal": equal, "twice_median": float(np.median(twice)),
            "twice_most": max(twice), "cells": n_cells, "seconds_of_a_run": seconds}  # fmt: skip


def by_dask(model: Path, folder: Path, n_cells: int) -> dict[str, Any]:
    """Return the seconds of one and of two workers for the same parts."""
    from vaexprs.scale.dask_parts import connected, write_by_dask
    from vaexprs.scale.parts import prepare_parts
    from vaexprs.scale.request import make_request

    seconds = {}
    for n in (1, 2):
        with connected(f"local:{n}") as client:
            for n_made in (n_cells // 50, n_cells):  # the first opens the artifact
                path = folder / "run.parts"
                request = make_request(
                    Generator(model, n_threads=1), n_made, conditions=None, seed=0, first_cell=0,
                    library=None, return_mean=False,
                )  # fmt: skip
                store = prepare_parts(request, path, n_parts=8, part_format="zarr",
                                      overwrite=True, alone=True)  # fmt: skip
                started = time.perf_counter()
                write_by_dask(client, request, store)
                seconds[n] = time.perf_counter() - started
                remove(path)
    return {"cells": n_cells, "seconds": seconds, "ratio": seconds[1] / seconds[2]}


def merged(model: Path, folder: Path, n_cells: int) -> dict[str, Any]:
    """Return bytes and seconds of merging sixteen shards over those of the single run."""
    single = folder / "single.h5ad"
    alone = write(model, single, n_cells, 2)["seconds"]
    parts = write(model, folder / "run.parts", n_cells, 2, part_format="h5ad")["seconds"]
    started = time.perf_counter()
    joined = merge(folder / "run.parts", folder / "joined.h5ad", n_threads=2)
    seconds = time.perf_counter() - started
    found = {"bytes": joined.stat().st_size / single.stat().st_size, "seconds": seconds / alone,
             "shards_and_merge_seconds": (parts + seconds) / alone, "cells": n_cells,
             "equal": contents(joined) == contents(single)}  # fmt: skip
    for path in (single, joined, folder / "run.parts"):
        remove(path)
    return found


def one_cell(model: Path) -> dict[str, Any]:
    """Return the time of any one cell of a run of a million million cells."""
    generator, seconds = Generator(model, n_threads=1), []
    plan = generator.plan()
    for i in range(50):
        started = time.perf_counter()
        next(iter(generator.blocks(plan, n_cells=1, first_cell=10**12 - 1 - i * 7919)))
        seconds.append(time.perf_counter() - started)
    return {"milliseconds": 1000 * float(np.median(seconds))}


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cells", type=int, default=1_000_000, help="at 2,000 genes")
    parser.add_argument("--wide-cells", type=int, default=200_000, help="at 20,000 genes")
    parser.add_argument("--part-cells", type=int, default=200_000, help="of the other lines")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kill-cells", type=int, default=1_000_000, help="of a run that is killed")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary one by default")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine() | {"cores": os.cpu_count()}}

    def measure(name: str, function: Callable[..., dict[str, Any]], *args: Any) -> None:
        load = os.getloadavg()[0]
        results[name] = function(*args) | {"load_before": round(load, 1)}
        print(name, json.dumps(results[name]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=2) + "\n")

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        models = {}
        for n_genes, hidden in ((2000, 128), (20_000, 512)):
            models[n_genes] = folder / f"{n_genes}.onnx"
            models[n_genes].write_bytes(synthetic_artifact(n_genes, hidden).model_bytes)
        narrow, wide = models[2000], models[20_000]

        def written(model: Path, suffix: str, n_cells: int, threads: int) -> dict[str, Any]:
            out = folder / f"cells{suffix}"
            took = write(model, out, n_cells, threads)
            remove(out)
            first, second = took["half"], took["seconds"] - took["half"]
            return {"cells": n_cells, "threads": threads, "seconds": took["seconds"],
                    "resident_MB": took["resident"] / 1e6, "second_half_over_first": second / first,
                    "cpu_seconds": took["cpu"], "cpu_seconds_of_the_writer": took["writer"],
                    "workers_at_the_ceiling": took["cpu"] / took["writer"] - 1}  # fmt: skip

        measure("one_cell", one_cell, narrow)
        measure("h5ad", written, narrow, ".h5ad", options.cells, 2)
        measure("wide_h5ad", written, wide, ".h5ad", options.wide_cells, 2)
        measure("wide_zarr", written, wide, ".zarr", options.wide_cells, 2)
        measure("dask", by_dask, narrow, folder, options.part_cells)
        measure("merge", merged, narrow, folder, options.part_cells)
        measure("kills", kills, narrow, folder, options.kill_cells, options.kills)
    print(", ".join(f"{key} {value}" for key, value in results["machine"].items()))


if __name__ == "__main__":
    main()
