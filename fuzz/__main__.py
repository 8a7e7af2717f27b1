"""Run fuzz targets: ``python -m fuzz [TARGET ...] [--minutes N] [--seed S]``."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
TARGETS = ("artifacts", "metadata", "matrices", "tables", "scores")
#: Mutants of the fixed short run, for each target; together about a minute on one core.
SHORT_RUN = 1500


def main() -> None:
    """Replay findings and make mutants; end with 1 where something was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=0.0, help="for new mutants, in all")
    parser.add_argument(
        "--seed", type=int, default=None, help="of new mutants; by default the time"
    )
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        target, seed, start, stop = options.worker
        sys.exit(work(target, int(seed), int(start), float(stop)))
    targets = options.targets or TARGETS
    unknown = set(targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target {sorted(unknown)[0]!r}: known are {', '.join(TARGETS)}")
    n_findings = sum(replay(target) for target in targets)
    for target in targets:
        n_findings += run(target, seed=0, n_mutants=SHORT_RUN)
        if options.minutes:
            seed = int(time.time()) if options.seed is None else options.seed
            seconds = 60 * options.minutes / len(targets)
            n_findings += run(target, seed=seed, seconds=seconds)
    print(f"{n_findings} findings")
    sys.exit(min(n_findings, 1))


def replay(target: str) -> int:
    """Run every stored finding of a target again; return how many are findings still."""
    module = importlib.import_module(f"fuzz.{target}")
    found = 0
    for path in sorted((HERE / "seeds" / target).glob("*")):
        try:
            module.check(path.read_bytes())
        except Exception:
            found += 1
            print(f"{target}: {path.name} is a finding again")
            traceback.print_exc()
    return found


def run(target: str, *, seed: int, n_mutants: int | None = None, seconds: float = 1e9) -> int:
    """Run mutants in a process of their own, which is started again after a crash."""
    started, start, found = time.monotonic(), 0, 0
    while time.monotonic() - started < seconds:
        stop = f"-{n_mutants}" if n_mutants is not None else str(time.time() + seconds)
        words = [sys.executable, "-m", "fuzz", "--worker", target, str(seed), str(start), stop]
        with tempfile.NamedTemporaryFile() as progress:
            environment = {**os.environ, "FUZZ_PROGRESS": progress.name}
            code = subprocess.run(words, env=environment, cwd=HERE.parent).returncode
            at = int(progress.read() or start)
        if code == 0:
            start = at
            break
        found += 1
        how = f"signal {-code}" if code < 0 else "an exception"
        print(f"{target}: finding, mutant {at} of seed {seed} ended in {how}")
        save(target, seed, at)
        start = at + 1
    print(f"{target}: {start:,} mutants of seed {seed} in {time.monotonic() - started:.0f} s, "
          f"{found} findings", flush=True)  # fmt: skip
    return found


def save(target: str, seed: int, index: int) -> None:
    """Write a mutant where it can be looked at."""
    folder = HERE / "findings" / target
    folder.mkdir(parents=True, exist_ok=True)
    module = importlib.import_module(f"fuzz.{target}")
    (folder / f"{seed}-{index}").write_bytes(module.mutant(seed, index))


def work(target: str, seed: int, start: int, stop: float) -> int:
    """Run mutants until a number (negative) or a time; return 1 at the first finding."""
    module = importlib.import_module(f"fuzz.{target}")
    progress = os.open(os.environ["FUZZ_PROGRESS"], os.O_WRONLY)
    index = start
    while index < -stop if stop < 0 else time.time() < stop:
        os.pwrite(progress, b"%020d" % index, 0)
        try:
            module.check(module.mutant(seed, index))
        except Exception:
            traceback.print_exc()
            return 1
        index += 1
    os.pwrite(progress, b"%020d" % index, 0)
    return 0


if __name__ == "__main__":
    main()
