"""Timing things side by side: shared machines drift, ratios of neighbours do not."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import vaexprs


def side_by_side(
    tasks: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Run tasks in turn, A B A B ..., after one warm-up each; return seconds of each run.

    Work of one thread may be timed by ``clock=time.thread_time``, which other work on the machine
    disturbs less.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(repeats):
        for name, task in tasks.items():
            started = clock()
            task()
            seconds[name].append(clock() - started)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """Return the median over the rounds of how many times slower one task was."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))


def machine() -> dict[str, str]:
    """Return what a figure depends on: processor, system, versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    names = ("numpy", "scipy", "onnxruntime", "torch", "anndata", "h5py")
    versions = {"vaexprs": vaexprs.__version__, "python": platform.python_version()}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"processor": model, "system": platform.system(), **versions}
