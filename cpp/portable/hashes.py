"""Compare hashes of cells over machines: ``hashes.py PROGRAM``.

PROGRAM is ``hash_cells`` of a CMake build; it runs with every set of kernels that this machine has,
the scalar reference among them. The same source is then built by ``ziglang`` for 64-bit ARM, for
static x86-64 with musl and for WebAssembly, and run by ``qemu-aarch64``, ``wasmtime`` and Node.js,
as far as they are installed. All must print the hashes in ``tests/artifact/golden/cells.txt``,
which ``--write`` makes anew: 10,000 cells of each golden artifact and of the shipped one, and a
million of one.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = ROOT / "tests" / "artifact" / "golden" / "cells.txt"
INSTRUCTION_SETS = ("reference", "x86-64-v2", "x86-64-v3", "x86-64-v4", "baseline")
VERSION = re.findall(
    r'^__version__ = "(.*)"', (ROOT / "python/vaexprs/_version.py").read_text(), re.M
)[0]
#: The options of CMakeLists.txt that decide bits, with vectors of four numbers on every machine.
COMMON = [
    "-std=c++20", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-DVAEXPRS_STATIC", f'-DVAEXPRS_VERSION="{VERSION}"', "-DVAEXPRS_BASELINE_KERNELS",
    "-DVAEXPRS_ISA=baseline", '-DVAEXPRS_ISA_NAME="baseline"',
]  # fmt: skip
#: WebAssembly has neither threads nor exceptions here.
WASM = ["-target", "wasm32-wasi", *COMMON, "-msimd128", "-DVAEXPRS_NO_THREADS"]
#: Options of the linker. For each machine zig first builds a C++ library, another one with symbols:
#: without them, the page's module has the same one.
LINK = ["-s"]
#: Static programs, and what runs them on another machine; the emulator takes longest, so first.
STATIC = {"aarch64": "qemu-aarch64", "x86_64": ""}
#: Functions: one builds a program, the other runs it on artifacts and returns its output.
Make: TypeAlias = Callable[[], Path]
Run: TypeAlias = Callable[[Path, list[str]], str]
#: The artifact whose first million cells are compared too; two minutes for an emulator.
MANY = "format-1-two-keys"
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
    """Run all, two at once; compare, and end with 1 where a hash differs."""
    program = Path(sys.argv[1]).resolve()
    files = sorted((ROOT / "tests" / "artifact" / "golden").glob("*.onnx"))
    names = [str(path.relative_to(ROOT)) for path in [*files, ROOT / "models" / "pbmc_ifnb.onnx"]]
    names.append(f"tests/artifact/golden/{MANY}.onnx@1000000")
    runs: dict[str, list[Future[str]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(2) as pool,
        ThreadPoolExecutor(2) as builders,  # one build leaves a core idle for most of its time
    ):
        builds = [(builders.submit(make), parts) for make, parts in cross_builds(Path(folder))]
        for built, parts in builds:
            for name, run in parts:
                # an emulator is slow: its run comes in two parts
                cut = len(names) - 1 if name.startswith("aarch64") else len(names)
                each = [part for part in (names[:cut], names[cut:]) if part]
                runs[name] = [pool.submit(run, built.result(), part) for part in each]
        for name in INSTRUCTION_SETS:
            runs[name] = [pool.submit(native, program, name, names)]
    outputs = {name: "".join(run.result() for run in parts) for name, parts in runs.items()}
    made = {name: output for name, output in outputs.items() if output}
    if "--write" in sys.argv:
        EXPECTED.write_text(made["reference"], encoding="utf-8")
    expected = EXPECTED.read_text(encoding="utf-8")
    for name, output in made.items():
        print(f"{name:18} {'the same' if output == expected else 'DIFFERS:'}")
        if output != expected:
            print(output)
    sys.exit(any(output != expected for output in made.values()))


def cross_builds(folder: Path) -> Iterator[tuple[Make, list[tuple[str, Run]]]]:
    """Yield the build for each machine and its runs; print which machines are left out."""
    if find_spec("ziglang") is None:
        print("WebAssembly, 64-bit ARM and musl are left out: ziglang is not installed.")
        return
    for machine, emulator in STATIC.items():
        command = [emulator] if emulator and platform.machine() != machine else []
        if command and not shutil.which(emulator):
            print(f"{machine} is left out: {emulator} is not installed.")
        elif not command and platform.machine() != machine:
            print(f"{machine} is left out: this machine does not run it.")
        else:
            options = ["-target", f"{machine}-linux-musl", "-static", *COMMON]
            run = partial(by_command, command)
            yield partial(build, folder / machine, options), [(f"{machine}, musl", run)]
    runs: list[tuple[str, Run]] = []
    if find_spec("wasmtime") is None:
        print("wasmtime is not installed.")
    else:
        runs.append(("wasm by wasmtime", by_wasmtime))
    if shutil.which("node") is None:
        print("Node.js is not installed.")
    else:
        runs.append(("wasm by Node.js", by_node))
    if runs:
        yield partial(build, folder / "hash_cells.wasm", WASM), runs


def by_command(command: list[str], program: Path, names: list[str]) -> str:
    """Return the output of the program run by a command, or by itself."""
    return output_of([*command, program, *names])


def by_node(program: Path, names: list[str]) -> str:
    """Return the output of the program run by Node.js, with the checkout as its root folder."""
    script = program.with_suffix(".mjs")
    script.write_text(NODE, encoding="utf-8")
    files = (f"/{name}" for name in names)
    return output_of(["node", "--no-warnings", script, program, ROOT, *files])


def native(program: Path, instruction_set: str, names: list[str]) -> str:
    """Return the output of the program with one instruction set; empty if this machine lacks it."""
    try:
        return output_of([program, *names], VAEXPRS_INSTRUCTION_SET=instruction_set)
    except ChildProcessError as error:
        if "instruction_set: expected one of" not in str(error):
            raise
        print(f"{instruction_set}: this machine does not run it.")
        return ""


def output_of(command: Sequence[object], **environment: str) -> str:
    """Run a command at the top of the checkout and return its output.

    Raises
    ------
    ChildProcessError
        With what it says, if it fails.
    """
    words, settings = list(map(str, command)), os.environ | environment
    done = subprocess.run(words, cwd=ROOT, env=settings, capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(f"{words[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def build(program: Path, options: Sequence[str]) -> Path:
    """Build the program by ziglang; the first time for a machine, the C++ library with it."""
    cpp = ROOT / "cpp"
    sources = [*cpp.glob("portable/*.cpp"), cpp / "c" / "vaexprs.cpp", *cpp.glob("src/*.cpp")]
    sources += cpp.glob("src/*/*.cpp")
    if "-DVAEXPRS_NO_THREADS" not in options:
        sources.remove(cpp / "portable" / "no_exceptions.cpp")
    compiler = [sys.executable, "-m", "ziglang", "c++", *options]

    def compile_one(source: Path) -> Path:
        made = program.with_name(f"{program.name}-{source.parent.name}-{source.stem}.o")
        output_of([*compiler, "-I", cpp / "include", "-c", source, "-o", made])
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        output_of([*compiler, *LINK, *pool.map(compile_one, sorted(sources)), "-o", program])
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


if __name__ == "__main__":
    main()
