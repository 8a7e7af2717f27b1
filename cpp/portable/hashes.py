"""Compare one hash of cells over instruction sets and WebAssembly: ``hashes.py PROGRAM``.

PROGRAM is ``hash_cells`` of a CMake build; it runs with every set of kernels that this machine has,
the scalar reference among them. The same source is then built for WebAssembly by ``ziglang`` and
run by ``wasmtime``, and by Node.js where it is installed. All must print what
``tests/artifact/golden/cells.txt`` says, which ``--write`` makes anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = ROOT / "tests" / "artifact" / "golden" / "cells.txt"
INSTRUCTION_SETS = ("reference", "x86-64-v2", "x86-64-v3", "x86-64-v4", "baseline")
#: The options of CMakeLists.txt that decide bits, and what WebAssembly lacks.
WASM = [
    "-target", "wasm32-wasi", "-std=c++20", "-O2", "-ffp-contract=off", "-fno-math-errno",
    "-fno-trapping-math", "-DVAEXPRS_NO_THREADS", "-DVAEXPRS_STATIC", '-DVAEXPRS_VERSION="0.1.0"',
    "-msimd128", "-DVAEXPRS_BASELINE_KERNELS", "-DVAEXPRS_ISA=baseline",
    '-DVAEXPRS_ISA_NAME="baseline"',
]  # fmt: skip
NODE = """
import { WASI } from "node:wasi";
import { readFile } from "node:fs/promises";
const [program, root, ...files] = process.argv.slice(2);
const args = ["hash_cells", ...files];
const wasi = new WASI({ version: "preview1", args, preopens: { "/": root } });
const module = await WebAssembly.compile(await readFile(program));
wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
"""


def main() -> None:
    """Run all, compare, and end with 1 where a hash differs."""
    program = Path(sys.argv[1]).resolve()
    files = [*sorted((ROOT / "tests" / "artifact" / "golden").glob("*.onnx"))]
    files.append(ROOT / "models" / "pbmc_ifnb.onnx")
    names = [str(path.relative_to(ROOT)) for path in files]
    made = {name: output for name in INSTRUCTION_SETS if (output := native(program, name, names))}
    missing = [name for name in ("ziglang", "wasmtime") if find_spec(name) is None]
    if missing:
        print(f"WebAssembly is left out: {' and '.join(missing)} not installed.")
    else:
        with tempfile.TemporaryDirectory() as folder:
            wasm = build_wasm(Path(folder))
            made["wasm by wasmtime"] = by_wasmtime(wasm, names)
            if shutil.which("node"):
                made["wasm by Node.js"] = by_node(wasm, names)
            else:
                print("Node.js is not installed: WebAssembly runs by wasmtime alone.")
    if "--write" in sys.argv:
        EXPECTED.write_text(made["reference"], encoding="utf-8")
    expected = EXPECTED.read_text(encoding="utf-8")
    for name, output in made.items():
        print(f"{name:18} {'the same' if output == expected else 'DIFFERS:'}")
        if output != expected:
            print(output)
    sys.exit(any(output != expected for output in made.values()))


def native(program: Path, instruction_set: str, names: list[str]) -> str:
    """Return the output of the program with one instruction set; empty if this machine lacks it."""
    done = subprocess.run(
        [program, *names],
        cwd=ROOT,
        env=os.environ | {"VAEXPRS_INSTRUCTION_SET": instruction_set},
        capture_output=True,
        text=True,
    )
    if done.returncode and "instruction_set: expected one of" in done.stderr:
        print(f"{instruction_set}: this machine does not run it.")
        return ""
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def build_wasm(folder: Path) -> Path:
    """Build the program for WebAssembly; the first time, the C++ library with it."""
    cpp = ROOT / "cpp"
    sources = [*cpp.glob("portable/*.cpp"), cpp / "c" / "vaexprs.cpp", *cpp.glob("src/*.cpp")]
    sources += cpp.glob("src/*/*.cpp")
    program = folder / "hash_cells.wasm"
    compiler = [sys.executable, "-m", "ziglang", "c++"]
    command = [*compiler, *WASM, "-I", cpp / "include", *sorted(sources), "-o", program]
    subprocess.run(list(map(str, command)), check=True)
    return program


def by_wasmtime(program: Path, names: list[str]) -> str:
    """Return the output of the program run by wasmtime, with the checkout as its root folder."""
    from wasmtime import Engine, Linker, Module, Store, WasiConfig

    output = program.with_suffix(".txt")
    engine = Engine()
    store, linker, wasi = Store(engine), Linker(engine), WasiConfig()
    wasi.argv = ["hash_cells", *(f"/{name}" for name in names)]
    wasi.preopen_dir(str(ROOT), "/")
    wasi.stdout_file = str(output)
    wasi.inherit_stderr()
    store.set_wasi(wasi)
    linker.define_wasi()
    instance = linker.instantiate(store, Module.from_file(engine, str(program)))
    instance.exports(store)["_start"](store)
    return output.read_text(encoding="utf-8")


def by_node(program: Path, names: list[str]) -> str:
    """Return the output of the program run by Node.js."""
    script = program.with_suffix(".mjs")
    script.write_text(NODE, encoding="utf-8")
    command = ["node", "--no-warnings", script, program, ROOT, *(f"/{name}" for name in names)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else done.stderr


if __name__ == "__main__":
    main()
