"""Mutants of artifacts through the C interface: ``python -m fuzz.reader PROGRAM [--mutants N]``.

PROGRAM is ``read_mutants`` of a CMake build, best one with sanitizers (``tasks.py sanitize`` runs a
few thousand mutants so). Each file is opened from bytes and asked for nine cells. A crash, cells
that are not sound, more than five seconds for a file or an allocation beyond the cap is a finding:
its mutant is saved to ``fuzz/findings/artifacts``, as those of the target ``artifacts`` are.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence

from fuzz.__main__ import save
from fuzz.artifacts import mutant

#: Files that one process reads. Starting it costs as much as some ten files.
BATCH = 2000
#: MiB of one allocation: what SECURITY.md grants beside a multiple of a file of some kB.
CAP = 256


def main() -> None:
    """Read mutants; print what became of them, and end with 1 where something was found."""
    parser = argparse.ArgumentParser(prog="fuzz.reader", description=__doc__.split("\n\n")[0])
    parser.add_argument("program")
    parser.add_argument("--mutants", type=int, default=4000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started, found, sums = time.monotonic(), 0, [0, 0, 0]
    stop = options.first + options.mutants
    for start in range(options.first, stop, BATCH):
        indices = range(start, min(start + BATCH, stop))
        done = read(options.program, [mutant(options.seed, i) for i in indices])
        if done.returncode:
            for i in indices:
                alone = read(options.program, [mutant(options.seed, i)])
                if alone.returncode:
                    found += 1
                    print(f"finding: mutant {i} of seed {options.seed}\n{alone.stderr.decode()}")
                    save("artifacts", options.seed, i)
        numbers = re.findall(rb"\d+", done.stdout)
        sums = [a + int(b) for a, b in zip(sums, numbers, strict=False)] if numbers else sums
    print(
        f"{options.mutants:,} mutants of seed {options.seed} from {options.first:,}: "
        f"{sums[0]:,} refused at once, {sums[1]:,} while generating, {sums[2]:,} gave cells, "
        f"{found} findings in {time.monotonic() - started:.0f} s"
    )
    sys.exit(found > 0)


def read(program: str, files: Sequence[bytes]) -> subprocess.CompletedProcess[bytes]:
    """Run the program on files."""
    settings = os.environ | {"ASAN_OPTIONS": f"max_allocation_size_mb={CAP}"}
    stream = b"".join(len(file).to_bytes(8, "little") + file for file in files)
    return subprocess.run([program], input=stream, capture_output=True, env=settings)


if __name__ == "__main__":
    main()
