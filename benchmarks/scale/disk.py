"""Training from a file beside training in memory: seconds per epoch, memory, bytes read.

    python -m benchmarks.scale.disk --cells 100000 --genes 2000 --epochs 3
    python -m benchmarks.scale.disk --cells 1000000 --genes 2000 --epochs 2 --only h5ad

Cells are made by an artifact without training (`benchmarks.speed.synthetic`). Each fit has a
process of its own, and ends after the last epoch unless ``--whole`` asks for its latent law and
calibration too. CPU seconds of an epoch are those of training, without validation; other work on
the machine disturbs them less than seconds of the clock. Bytes read are those that the process
asked the system for. The losses of all fits must agree: they see the same cells in the same order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.timing import machine


def make(folder: Path, n_cells: int, n_genes: int, form: str) -> Path:
    """Write cells, unless they are there."""
    from benchmarks.speed.synthetic import synthetic_artifact
    from vaexprs import write_exprs

    path = folder / f"cells-{n_cells}-{n_genes}.{form}"
    if not path.exists():
        write_exprs(synthetic_artifact(n_genes, 128), path, n_cells, seed=1)
    return path


def read_so_far() -> int:
    """Return the bytes that this process has asked the system for."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("rchar"):
            return int(line.partition(":")[2])
    return 0


class TrainedError(Exception):
    """Ends a fit after its last epoch."""


def fit(path: Path, in_memory: bool, epochs: int, whole: bool) -> dict[str, Any]:
    """Fit in this process; return seconds, memory and bytes read."""
    import vaexprs.training.fit as steps
    from vaexprs.training.network import loop

    seconds: list[tuple[float, float]] = []
    n_bytes: list[int] = []
    loss: list[float] = []
    run_epoch = loop._run_epoch

    def timed(*given: Any) -> Any:
        before, clock, cpu = read_so_far(), time.perf_counter(), time.process_time()
        losses = run_epoch(*given)
        seconds.append((time.process_time() - cpu, time.perf_counter() - clock))
        n_bytes.append(read_so_far() - before)
        loss.append(losses["loss"])
        return losses

    def end(*given: Any) -> Any:
        raise TrainedError

    loop._run_epoch = timed
    if not whole:
        steps.fit_latent_law = end
    started = time.perf_counter()
    with contextlib.suppress(TrainedError):
        steps.fit_vae(
            path, condition_keys="cell_type", epochs=epochs, in_memory=in_memory, device="cpu"
        )
    cpu, clock = min(seconds)
    return {
        "epoch_cpu_s": cpu, "epoch_s": clock, "epoch_mb_read": n_bytes[-1] / 1e6,
        "all_s": time.perf_counter() - started, "all_gb_read": read_so_far() / 1e9,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "loss": loss,
    }  # fmt: skip


def main() -> None:
    """Print a row for each way of reading."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--only", choices=["memory", "h5ad", "zarr"], nargs="+")
    parser.add_argument("--folder", type=Path, help="keep the cells here")
    parser.add_argument("--whole", action="store_true", help="fit the latent law and calibrate")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fit", nargs=2, metavar=("PATH", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        path, way = options.fit
        print(json.dumps(fit(Path(path), way == "memory", options.epochs, options.whole)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        found: dict[str, Any] = {}
        for way in options.only or ["memory", "h5ad", "zarr"]:
            path = make(folder, options.cells, options.genes, "zarr" if way == "zarr" else "h5ad")
            command = [sys.executable, "-m", "benchmarks.scale.disk", "--epochs", options.epochs]
            command += ["--whole"] if options.whole else []
            done = subprocess.run(
                [*map(str, command), "--fit", str(path), way], stdout=subprocess.PIPE, check=True
            )
            found[way] = json.loads(done.stdout) | {"file_mb": size(path) / 1e6}
    losses = {json.dumps(row.pop("loss")) for row in found.values()}
    if len(losses) > 1:
        sys.exit(f"the losses differ: {losses}")
    report = {
        "machine": machine(),
        "cells": options.cells,
        "genes": options.genes,
        "fits": found,
        "epoch_over_memory": {
            way: row["epoch_cpu_s"] / found["memory"]["epoch_cpu_s"]
            for way, row in found.items()
            if "memory" in found and way != "memory"
        },
    }
    if options.json:
        print(json.dumps(report, indent=1))
        return
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()), "\n")
    print(f"{options.cells:,} cells x {options.genes:,} genes, {options.epochs} epochs\n")
    print("| read from | " + " | ".join(next(iter(found.values()))) + " |")
    print("| --- " * (1 + len(next(iter(found.values())))) + "|")
    for way, row in found.items():
        print(f"| {way} | " + " | ".join(f"{value:,.1f}" for value in row.values()) + " |")
    for way, value in report["epoch_over_memory"].items():
        print(f"\nCPU of an epoch from {way} over in memory: {value:.2f}")


def size(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder."""
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")))


if __name__ == "__main__":
    main()
