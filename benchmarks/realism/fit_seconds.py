"""CPU seconds of a fit with the defaults, of this code beside that of another working tree.

    git worktree add ../before COMMIT    # and build its C++ module
    python -m benchmarks.realism.fit_seconds ../shared/data/pbmc_ifnb.h5ad:cell_type,condition \
        --beside ../before

Both fit 70 % of the cells at the same time, so that they meet the same load; one thread each.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.timing import machine

#: What each process runs.
FIT = """
import sys, time
from pathlib import Path
from benchmarks.cells import read, split
from vaexprs import fit_vae
path, keys = sys.argv[1], sys.argv[2].split(",")
train, _ = split(read(Path(path), keys), keys, seed=0)
started = time.process_time()
fit = fit_vae(train, condition_keys=keys, seed=0, progress=False)
print(time.process_time() - started, len(fit.history["loss"]))
"""


def seconds(tree: Path, path: Path, keys: str) -> tuple[float, int]:
    """Return CPU seconds and epochs of a fit by the code of a working tree."""
    own = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    told = subprocess.run(
        [sys.executable, "-c", FIT, str(path.resolve()), keys],
        cwd=tree, env={**os.environ, **own, "PYTHONPATH": str(tree.resolve() / "python")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    taken, epochs = told.stdout.split()[-2:]
    return float(taken), int(epochs)


def main() -> None:
    """Fit the files with both trees, and print seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE.h5ad:KEY[,KEY]")
    parser.add_argument("--beside", type=Path, required=True, help="the other working tree")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    for file in options.files:
        path, _, keys = file.rpartition(":")
        with ThreadPoolExecutor(2) as pool:
            fits = partial(seconds, path=Path(path), keys=keys)
            pairs = [
                list(pool.map(fits, [options.beside, Path.cwd()])) for _ in range(options.repeats)
            ]
        for (old, old_epochs), (new, new_epochs) in pairs:
            print(
                f"{Path(path).stem}: {old:.0f} CPU seconds and {old_epochs} epochs before, "
                f"{new:.0f} and {new_epochs} now: {new / old:.2f} times", flush=True,
            )  # fmt: skip
        ratios = [new / old for (old, _), (new, _) in pairs]
        print(f"{Path(path).stem}: {statistics.median(ratios):.2f} times, median", flush=True)


if __name__ == "__main__":
    main()
