"""The C interface: its size, its memory, and how soon the first cells are there.

    python -m benchmarks.speed.c_interface

Builds the example with the library of the installed package, or of the folder that the variable
VAEXPRS_CMAKE_DIR names, runs it for the first 1,000 cells of the shipped artifact of 2,000 genes,
and prints each figure beside its bar. Time is that of the whole process, from its start; beside it
the time of the processor, which other work on the machine disturbs less.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import machine
from vaexprs import get_cmake_dir
from vaexprs.artifact.shipped import shipped_artifacts

ROOT = Path(__file__).parents[2]
RUNS = 15


def build(folder: Path) -> Path:
    """Build the example beside the shared library and return its path."""
    package = Path(os.environ.get("VAEXPRS_CMAKE_DIR") or get_cmake_dir())
    places = [package / "libvaexprs.so", package.parents[1] / "libvaexprs.so"]
    library = next(path for path in places if path.exists())
    example = folder / "example"
    source, include = ROOT / "cpp" / "c" / "example.c", ROOT / "cpp" / "include"
    command = ["cc", "-O2", f"-I{include}", source, library, f"-Wl,-rpath,{library.parent}"]
    subprocess.run([*map(str, command), "-o", str(example)], check=True)
    print(f"{'library':34} {library.stat().st_size / 1e6:8.2f} MB   bar 3")
    return example


#: Runs a command from a process that is small itself, whose memory would count as the command's.
LAUNCH = """
import os, sys, time
started = time.perf_counter()
child = os.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - started
print(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, status)
"""


def run(command: list[str]) -> list[float]:
    """Return seconds, seconds of the processor, and peak resident MB of a command."""
    launch = [sys.executable, "-S", "-E", "-c", LAUNCH, *command]
    *figures, status = subprocess.check_output(launch, text=True).split()
    if status != "0":
        raise SystemExit(f"{command[0]} failed")
    return [float(figure) for figure in figures]


def main() -> None:
    """Measure and print."""
    for name, value in machine().items():
        print(f"{name:34} {value}")
    with tempfile.TemporaryDirectory() as folder:
        example = build(Path(folder))
        command = [str(example), str(shipped_artifacts()["pbmc_ifnb"]), folder, "1000"]
        runs = [run(command) for _ in range(RUNS)]
        seconds, of_processor, megabytes = map(statistics.median, zip(*runs, strict=True))
        print(f"{'start to 1,000 cells x 2,000 genes':34} {seconds:8.3f} s    bar 0.15")
        print(f"{'... of the processor':34} {of_processor:8.3f} s")
        print(f"{'peak resident':34} {megabytes:8.1f} MB   bar 40")


if __name__ == "__main__":
    main()
