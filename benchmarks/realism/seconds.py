r"""Seconds of `vaexprs.evaluate` at its defaults, step by step, and of its page.

    python -m benchmarks.realism.seconds train.h5ad generated.h5ad --test test.h5ad \\
        --condition-key cell_type --condition-key condition

UMAP is computed in a process of its own beside the steps from the first round on; the first UMAP
of a process compiles it, which is in the figures here.
"""

from __future__ import annotations

import argparse
import json
import os
import time

from benchmarks.timing import machine
from vaexprs.evaluation import evaluate


def main() -> None:
    """Evaluate once; print the seconds of each step and the machine."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("train")
    parser.add_argument("generated")
    parser.add_argument("--test")
    parser.add_argument("--condition-key", action="append", default=[])
    options = parser.parse_args()
    began: dict[str, float] = {}
    load, started = os.getloadavg()[0], time.perf_counter()
    report = evaluate(
        options.train,
        options.generated,
        real_test=options.test,
        condition_keys=options.condition_key,
        progress=lambda step, share: began.setdefault(step, time.perf_counter()),
    )
    began["page"] = time.perf_counter()
    report.to_html()
    began["end"] = time.perf_counter()
    times = list(began.values())
    for step, start, end in zip(began, times, times[1:], strict=False):
        print(f"{step:32} {end - start:6.1f} s")
    print(f"{'all':32} {times[-1] - started:6.1f} s")
    print(json.dumps(report.sizes | {"load_before": round(load, 1), "cores": os.cpu_count()}))
    print(", ".join(f"{key} {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
