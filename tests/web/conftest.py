"""What tests of the browser page and the ES module share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaexprs
from vaexprs import Generator

PAGE = Path(vaexprs.__file__).parent / "web" / "page"


def digest(model: Path | str, conditions: Any = None, **options: Any) -> str:
    """Return the hash of portable cells that ``digest.mjs`` computes, too."""
    generator = Generator(model, runtime="portable", n_threads=1)
    made = hashlib.sha256()
    blocks = list(generator.blocks(generator.plan(conditions), **options))
    for arrays in (
        [b.codes.astype("<i4") for b in blocks],
        [b.unseen.astype("u1") for b in blocks],
        [b.z.astype("<f4") for b in blocks],
        [b.library.astype("<f4") for b in blocks if b.library is not None],
        [np.diff(b.X.indptr).astype("<i4") for b in blocks],
        [b.X.indices.astype("<i4") for b in blocks],
        [b.X.data.astype("<f4") for b in blocks],
    ):
        for array in arrays:
            made.update(np.ascontiguousarray(array).tobytes())
    return made.hexdigest()


@pytest.fixture(scope="session")
def node() -> str:
    """Return the path of Node.js; skip where it is not installed."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("Node.js is not installed")
    return path


@pytest.fixture(scope="session")
def portable_digest() -> Callable[..., str]:
    """Return the function that hashes portable cells."""
    return digest


REFUSAL = """
const refusal = async (call) => {
  try {
    await call();
    return "nothing";
  } catch (error) {
    return error instanceof vaexprs.VaexprsError ? error.message : error.stack;
  }
};
"""


class Script:
    """Runs JavaScript with the ES module at hand."""

    def __init__(self, node: str, folder: Path) -> None:
        self._node, self._folder = node, folder

    def __call__(self, code: str, *arguments: Any) -> Any:
        """Return what `code`, the body of an async function of `args`, returns."""
        path = self._folder / "script.mjs"
        head = f"import * as vaexprs from {json.dumps(str(PAGE / 'vaexprs.mjs'))};\n"
        head += f"import digest from {json.dumps(str(Path(__file__).with_name('digest.mjs')))};\n"
        call = f"const answer = await (async (args) => {{ {code} }})({json.dumps(arguments)});\n"
        path.write_text(
            f"{head}{REFUSAL}const module = {json.dumps(str(PAGE / 'vaexprs.mjs'))};\n{call}"
            "console.log(JSON.stringify(answer));\n",
            encoding="utf-8",
        )
        done = subprocess.run(
            [self._node, "--no-warnings", str(path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def script(node: str, tmp_path: Path) -> Script:
    """Return a runner of JavaScript."""
    return Script(node, tmp_path)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Return a function that writes a page, serves it on this machine and returns its address."""
    with contextlib.ExitStack() as stack:

        def write_and_serve(model: Path | str) -> str:
            folder = vaexprs.write_site(model, tmp_path_factory.mktemp("web") / "site")
            server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}/"

        yield write_and_serve


@pytest.fixture(scope="session")
def address(serve: Callable[..., str]) -> str:
    """Return the address of the page of the shipped artifact."""
    return serve("pbmc_ifnb")
