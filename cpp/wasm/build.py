"""Build the WebAssembly module that the page and the ES module load.

``python cpp/wasm/build.py``
    Compile the C interface with ``ziglang`` into ``python/vaexprs/web/page/vaexprs.wasm.gz``, and
    record the hash of what it was made from in ``cpp/wasm/built.json``.
``python cpp/wasm/build.py --check``
    Compile, write nothing, and end with 1 where the module that stands there is another.

The module stands in git, so that a wheel needs no compiler for WebAssembly. After a change of the
C++ core, build it anew; ``tests/web/test_module.py`` compares the hashes of the sources.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "cpp"
sys.path.insert(0, str(CPP / "portable"))

import hashes  # noqa: E402 - the flags that decide bits stand there

FLAGS = [*hashes.WASM, "-fvisibility=hidden"]
MODULE = ROOT / "python" / "vaexprs" / "web" / "page" / "vaexprs.wasm.gz"
RECORD = CPP / "wasm" / "built.json"
EXPORTS = [
    "malloc", "free",
    *(f"vaexprs_{name}" for name in (
        "version", "open_bytes", "close", "likelihood", "n_genes", "n_latent", "n_keys", "gene",
        "key", "n_categories", "category", "default_options", "start", "next", "stop",
    )),
]  # fmt: skip
#: What takes the time is compiled for speed (FLAGS say so), all else for size.
FAST = {"kernels", "run.cpp", "variates.cpp"}
LINK = ["-mexec-model=reactor", *hashes.LINK, *(f"-Wl,--export={name}" for name in EXPORTS)]


def sources() -> list[Path]:
    """Return the C++ files that are compiled."""
    found = [*CPP.glob("src/*.cpp"), *CPP.glob("src/*/*.cpp"), CPP / "c" / "vaexprs.cpp"]
    return sorted([*found, CPP / "wasm" / "module.cpp"])


def hash_of_sources() -> str:
    """Return the hash of the compiled files, their headers, and the flags."""
    headers = [path for part in ("include", "src") for path in (CPP / part).rglob("*.h*")]
    made = hashlib.sha256(" ".join(sorted([*FLAGS, *FAST, *LINK])).encode())
    for path in sorted([*sources(), *headers]):
        made.update(f"\n{path.relative_to(ROOT).as_posix()}\n".encode() + path.read_bytes())
    return made.hexdigest()


def build() -> bytes:
    """Return the module; the first time, the C++ library is built with it."""
    compiler = [sys.executable, "-m", "ziglang", "c++", *FLAGS]
    with tempfile.TemporaryDirectory() as folder:
        objects = {path: Path(folder) / f"{i}.o" for i, path in enumerate(sources())}

        def compile_one(path: Path) -> None:
            size = [] if {path.name, path.parent.name} & FAST else ["-Oz"]
            run(*compiler, *size, "-I", CPP / "include", "-c", path, "-o", objects[path])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_one, objects))
        module = Path(folder) / "vaexprs.wasm"
        run(*compiler, *LINK, *objects.values(), "-o", module)
        return module.read_bytes()


def run(*command: object) -> None:
    """Run a command that must succeed."""
    subprocess.run(list(map(str, command)), check=True)


def main() -> None:
    """Build, and write or compare."""
    module = build()
    record = {
        "sources": hash_of_sources(),
        "module": hashlib.sha256(module).hexdigest(),
        "ziglang": version("ziglang"),
    }
    if "--check" in sys.argv:
        if record != json.loads(RECORD.read_text(encoding="utf-8")):
            sys.exit("the WebAssembly module is another: run python cpp/wasm/build.py")
        print("the WebAssembly module is that of its sources")
        return
    MODULE.write_bytes(gzip.compress(module, 9, mtime=0))
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{MODULE.relative_to(ROOT)}: {MODULE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
