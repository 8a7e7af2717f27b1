"""Simulate power cuts: copy the disk during a run, resume from the copy, compare the cells.

    sudo python -m benchmarks.scale.power_cut [--cuts 20] [--cells 300000]

A run writes to a file system (ext4) of its own, in an image file. At a random moment the process is
stopped and the image is copied: it holds what the system had brought to the disk by then, and
lacks what was only in its memory, as after a power cut. The copy is mounted, which replays the file
system's journal; nothing may lie under the final name but the whole file, and ``resume=True`` must
end in the cells of the run that was never cut. Linux, as root, with loop devices.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.scale.scale import contents, start, write
from benchmarks.speed.synthetic import synthetic_artifact
from benchmarks.timing import machine

#: Bytes of the file system for each cell of 2,000 genes; a million took 463 MB.
PER_CELL = 3000


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """Mount an image for the time of a block."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def copy_at_rest(image: Path, copy: Path) -> None:
    """Copy an image; again until nothing was written to it meanwhile."""
    before = copy.with_name("before")
    while True:
        for target in (before, copy):
            subprocess.run(["cp", "--sparse=always", image, target], check=True)
        if filecmp.cmp(before, copy, shallow=False):
            return before.unlink()


def cut(model: Path, folder: Path, suffix: str, n_cells: int, moment: float) -> tuple[int, Path]:
    """Start a run and copy its disk after some seconds; return the cells made by then."""
    image, copy = folder / "disk", folder / "disk-after-the-cut"
    with image.open("wb") as file:
        file.truncate(64_000_000 + PER_CELL * n_cells)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    with mounted(image, folder / "mount") as place:
        process = start(model, place / f"cells{suffix}", n_cells, 2)
        log = place / f"cells{suffix}.log"
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.001)
        time.sleep(moment)
        process.send_signal(signal.SIGSTOP)
        copy_at_rest(image, copy)
        made = int(log.read_text())
        process.kill()
        process.communicate()
    return made, copy


def main() -> None:
    """Cut runs, resume them, compare and print; end with 1 where a result differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cells", type=int, default=300_000, help="of 2,000 genes")
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument(
        "--moments", nargs=2, type=float, default=(0.02, 1.0), help="of cuts, in lengths of a run"
    )
    options = parser.parse_args()
    if os.geteuid() or not shutil.which("mkfs.ext4"):
        sys.exit("mounting an image needs root and mkfs.ext4.")
    chance, equal, kept = random.Random(0), 0, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.onnx"
        model.write_bytes(synthetic_artifact(2000, 128).model_bytes)
        for suffix in (".h5ad", ".zarr"):
            whole = folder / f"whole{suffix}"
            seconds = write(model, whole, options.cells, 2)["seconds"]
            expected = contents(whole)
            for _ in range(options.cuts // 2):
                moment = chance.uniform(*options.moments) * seconds
                made, copy = cut(model, folder, suffix, options.cells, moment)
                with mounted(copy, folder / "mount") as place:
                    out, log = place / f"cells{suffix}", place / f"cells{suffix}.log"
                    if out.exists() and contents(out) != expected:
                        sys.exit(f"a part of a file lay under the name {out.name}")
                    log.unlink(missing_ok=True)
                    was_there = out.exists()
                    resumed = start(model, out, options.cells, 2, resume=True, restarted=True)
                    resumed.communicate()
                    same = resumed.returncode == 0 and contents(out) == expected
                    others = {p.name for p in place.iterdir()} - {out.name, log.name, "lost+found"}
                equal += same and not others
                kept.append(made)
                print(f"{suffix} {made:9,} cells made{', whole' if was_there else ''}: "
                      f"{'the same' if same else 'DIFFERS'} {' '.join(sorted(others))}",
                      flush=True)  # fmt: skip
                copy.unlink()
    report = {"cuts": len(kept), "equal": equal, "cells": options.cells,
              "made_median": statistics.median(kept)}  # fmt: skip
    print(json.dumps(report), ", ".join(f"{key} {value}" for key, value in machine().items()))
    sys.exit(equal < len(kept))


if __name__ == "__main__":
    main()
