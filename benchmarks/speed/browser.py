"""The WebAssembly module beside the native portable runtime: cells a second of one worker.

    python -m benchmarks.speed.browser

Rounds in turn: Python's portable runtime with one thread, the ES module in Node.js, and in a worker
of a page in Chromium, which sends its blocks to the page. Prints the share of the native speed that
each has, by the clock and by the seconds of the processor that the thread took, which other work on
the machine disturbs less, and the bytes of the page without its model.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.synthetic import synthetic_artifact
from benchmarks.timing import machine
from vaexprs import Generator, write_site

N_GENES, HIDDEN = 2000, 128
#: Cells of a round: about as long for each, so that other work on the machine slows all alike.
N_CELLS = {"native": 16_384, "Node.js": 4096, "Chromium": 4096}
#: Least share of the native speed.
BAR = 0.25
#: Files of the page that do not count.
OTHERS = ("model.onnx", "bench.mjs")
CLOCKS = ("the clock", "the processor")
#: Both print or return seconds, in Node.js also those of the processor; a first run compiles.
NODE = """
import { load } from SITE;
import { createInterface } from "node:readline";
const model = await load(MODEL);
for await (const line of createInterface({ input: process.stdin })) {
  const started = performance.now(), before = process.cpuUsage();
  for (const block of model.blocks(model.plan(), { nCells: Number(line) })) block.nCells;
  const { user, system } = process.cpuUsage(before);
  console.log((performance.now() - started) / 1000, (user + system) / 1e6);
}
"""
WORKER = """
import { load } from "./vaexprs.mjs";
const model = await load("model.onnx");
onmessage = ({ data: nCells }) => {
  const started = performance.now();
  for (const block of model.blocks(model.plan(), { nCells })) {
    const arrays = Object.values(block).filter(ArrayBuffer.isView);
    postMessage({ block }, arrays.map((array) => array.buffer));
  }
  postMessage({ seconds: (performance.now() - started) / 1000 });
};
postMessage({ seconds: 0 });
"""
CHROMIUM = """(nCells) => new Promise((resolve, reject) => {
  const made = window.worker === undefined;
  window.worker ??= new Worker("bench.mjs", { type: "module" });
  let n = 0;
  window.worker.onerror = reject;
  window.worker.onmessage = ({ data: { block, seconds } }) => {
    n += block?.nCells ?? 0;
    if (seconds === 0) window.worker.postMessage(nCells);
    else if (seconds !== undefined) resolve(n === nCells ? seconds : NaN);
  };
  if (!made) window.worker.postMessage(nCells);
})"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def native(generator: Generator, n_cells: int) -> tuple[float, float]:
    """Return the seconds of the portable runtime, and those of the processor."""
    started, before = time.perf_counter(), time.thread_time()
    for _ in generator.blocks(n_cells=n_cells):
        pass
    return time.perf_counter() - started, time.thread_time() - before


def by_node(process: subprocess.Popen[str], n_cells: int) -> tuple[float, float]:
    """Return the same of the ES module in Node.js."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(n_cells, file=process.stdin, flush=True)
    seconds, of_processor = process.stdout.readline().split()
    return float(seconds), float(of_processor)


def by_chromium(page: Any, system: Any, n_cells: int) -> tuple[float, float]:
    """Return the same of a worker in Chromium."""

    def of_processor() -> float:
        ticks, found = 0, system.send("SystemInfo.getProcessInfo")["processInfo"]
        for one in found:
            for thread in Path(f"/proc/{one['id']}/task").glob("*"):
                if (thread / "comm").read_text().startswith("DedicatedWorker"):
                    fields = (thread / "stat").read_text().rpartition(")")[2].split()
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    before = of_processor()
    return float(page.evaluate(CHROMIUM, n_cells)), of_processor() - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with contextlib.ExitStack() as stack:
        site = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "site"
        artifact = synthetic_artifact(N_GENES, HIDDEN)
        write_site(artifact, site)
        (site / "bench.mjs").write_text(WORKER, encoding="utf-8")
        script = site.parent / "run.mjs"
        names = {"SITE": site / "vaexprs.mjs", "MODEL": site / "model.onnx"}
        text = NODE
        for name, path in names.items():
            text = text.replace(name, json.dumps(str(path)))
        script.write_text(text, encoding="utf-8")
        process = stack.enter_context(
            subprocess.Popen(
                ["node", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        stack.callback(process.terminate)
        playwright = stack.enter_context(sync_playwright())
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        stack.callback(chromium.close)
        page = chromium.new_page()
        page.goto(stack.enter_context(served(site)))
        generator = Generator(artifact, runtime="portable", n_threads=1)
        tasks: dict[str, Callable[[int], tuple[float, float]]] = {
            "native": partial(native, generator),
            "Node.js": partial(by_node, process),
            "Chromium": partial(by_chromium, page, chromium.new_browser_cdp_session()),
        }
        seconds: dict[str, list[NDArray[np.float64]]] = {name: [] for name in tasks}
        for _ in range(options.rounds + 1):
            for name, task in tasks.items():
                seconds[name].append(np.array(task(N_CELLS[name])) / N_CELLS[name])
        node = subprocess.check_output(["node", "--version"], text=True).strip()
        versions = {"Node.js": node, "Chromium": chromium.version}
        for name, value in (machine() | versions).items():
            print(f"{name:16} {value}")
        size = sum(p.stat().st_size for p in site.iterdir() if p.name not in OTHERS)
        print(f"\n{'page without its model':24} {size / 1000:8.0f} kB   bar 400")
        print(f"{N_GENES} genes, {HIDDEN} hidden units")
        ours = np.array(seconds.pop("native")[1:])
        print(f"{'native':10} {1 / np.median(ours[:, 0]):8,.0f} cells/s")
        for name, all_times in seconds.items():
            times = np.array(all_times[1:])
            print(f"{name:10} {1 / np.median(times[:, 0]):8,.0f} cells/s")
            for clock, share in zip(CLOCKS, np.median(ours / times, axis=0), strict=True):
                verdict = "holds" if share >= BAR else "MISSED"
                print(f"{'':10} {share:8.2f} of native by {clock:14} bar {BAR}: {verdict}")


if __name__ == "__main__":
    main()
