"""UMAP and diffusion maps, computed in a process of their own.

Both run code compiled by numba, in which Ctrl-C can be lost or end in a crash. So a worker
process computes them: an interrupt reaches the waiting parent at once, which kills the worker.
The worker stays for later calls, since compiling takes most of the time of the first one. The
parent may do other work meanwhile.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, require
from vaexprs.interrupts import at_signal

Points = NDArray[np.float32]

#: Workers that wait for a request, and all that run.
_idle: list[subprocess.Popen[str]] = []
_running: set[subprocess.Popen[str]] = set()


def umap_plane(fitted: Points, placed: Points | None = None, **settings: Any) -> tuple[Points, ...]:
    """Return UMAP coordinates of the fitted cells, and of cells placed among them."""
    _check("umap", "A UMAP plot")
    return _ask("umap", [fitted] if placed is None else [fitted, placed], settings)


def diffusion_map(scores: Points, **settings: Any) -> Points:
    """Return the two leading non-constant diffusion components, ``(n_cells, 2)``, by scanpy."""
    _check("scanpy", "A diffusion map")
    return _ask("diffusion map", [scores], settings)[0]


def umap_begun(fitted: Points, **settings: Any) -> AbstractContextManager[Callable[[], Any]]:
    """Start the computation of `umap_plane` and go on meanwhile; the context gives its result."""
    _check("umap", "A UMAP plot")
    return _asked("umap", [fitted], settings)


def _check(module: str, purpose: str) -> None:
    if find_spec(module) is None:  # importing it would take seconds in this process too
        require(module, extra="plot", purpose=purpose)


def _ask(method: str, arrays: list[Points], settings: dict[str, Any]) -> tuple[Points, ...]:
    with _asked(method, arrays, settings) as answer:
        return answer()


@contextmanager
def _asked(
    method: str, arrays: list[Points], settings: dict[str, Any]
) -> Iterator[Callable[[], tuple[Points, ...]]]:
    """Have a worker compute; settings that are no JSON are served in this process.

    A worker whose answer was not taken is killed at the end of the context.
    """
    try:
        request = json.dumps({"method": method, "settings": settings})
    except TypeError:
        yield lambda: _compute(method, arrays, settings)
        return
    with (
        tempfile.TemporaryDirectory(prefix="vaexprs-") as folder,
        at_signal(lambda: _abandon(folder)),
    ):
        np.savez(Path(folder, "given.npz"), *arrays)
        Path(folder, "request.json").write_text(request, encoding="utf-8")
        worker, has_answered = _a_worker(), False

        def answer() -> tuple[Points, ...]:
            nonlocal has_answered
            assert worker.stdout is not None
            if not (line := worker.stdout.readline()):
                raise DataError(f"the process that computes the {method} ended without an answer.")
            has_answered = True
            _idle.append(worker)  # for any other request from here on
            if (problem := json.loads(line)) is not None:
                raise DataError(f"the {method} failed: {problem}")
            with np.load(Path(folder, "made.npz"), allow_pickle=False) as made:
                return tuple(made[name] for name in made.files)

        try:
            assert worker.stdin is not None
            with suppress(BrokenPipeError):  # it has ended, as the answer will tell
                worker.stdin.write(f"{folder}\n")
                worker.stdin.flush()
            yield answer
        finally:
            if not has_answered:
                _kill(worker)


def _a_worker() -> subprocess.Popen[str]:
    while _idle:
        worker = _idle.pop()
        if worker.poll() is None:
            return worker
        _kill(worker)
    worker = subprocess.Popen(
        [sys.executable, "-m", "vaexprs.embeddings"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # a terminal's Ctrl-C goes to the parent alone
    )
    _running.add(worker)
    return worker


def _kill(worker: subprocess.Popen[str]) -> None:
    _running.discard(worker)
    worker.kill()
    worker.communicate()


@atexit.register
def _kill_all() -> None:
    for worker in list(_running):
        _kill(worker)


def _abandon(folder: str) -> None:
    for worker in list(_running):
        worker.kill()
    shutil.rmtree(folder, ignore_errors=True)


def _compute(method: str, arrays: list[Points], settings: dict[str, Any]) -> tuple[Points, ...]:
    """Compute in this process."""
    warnings.simplefilter("ignore")  # of both libraries, about settings chosen here
    if method == "umap":
        import umap

        reducer = umap.UMAP(n_components=2, **settings)
        points = [reducer.fit_transform(arrays[0])]
        points += [reducer.transform(array) for array in arrays[1:]]
    else:
        import anndata
        import scanpy

        cells = anndata.AnnData(arrays[0])
        seed = settings.get("random_state", 0)
        scanpy.pp.neighbors(cells, use_rep="X", **settings)
        scanpy.tl.diffmap(cells, n_comps=min(4, cells.n_obs - 2), random_state=seed)
        points = [cells.obsm["X_diffmap"][:, 1:3]]  # component 0 is constant
    return tuple(np.asarray(array, dtype=np.float32) for array in points)


def _serve() -> None:
    """Compute each request, whose folder a line of standard input names, until its end."""
    answers, sys.stdout = sys.stdout, sys.stderr  # a library's prints are no answers
    for line in sys.stdin:
        folder, problem = Path(line.rstrip("\n")), None
        try:
            request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
            with np.load(folder / "given.npz", allow_pickle=False) as given:
                arrays = [given[name] for name in given.files]
            np.savez(folder / "made.npz", *_compute(request["method"], arrays, request["settings"]))
        except Exception as error:
            problem = "".join(traceback.format_exception_only(error)).strip()
        try:
            print(json.dumps(problem), file=answers, flush=True)
        except BrokenPipeError:  # the process that asked was killed, and left its folder
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)


if __name__ == "__main__":
    _serve()
