#!/usr/bin/env python3
"""The two commands of a clean clone, and those that continuous integration adds.

``python tasks.py demo [DIR]``
    Fresh virtual environment, install, then the main job: train on built-in data, export,
    generate, score, write the pictures.
``python tasks.py test [PYTEST ARGUMENTS]``
    Fresh virtual environment, install, the whole suite: C++ tests, then Python tests.
``python tasks.py slow``
    The tests longer than twenty seconds, in the environment that ``test`` made.
``python tasks.py lint``
    Format, lint, spelling and types, in that environment.
``python tasks.py sanitize``
    The C++ core under AddressSanitizer and UBSan, its threads under ThreadSanitizer, with the tests
    of the core, generation and sinks, and mutants of artifacts through its C interface, in that
    environment; Linux with GCC.
``python tasks.py fuzz [--minutes N]``
    Damaged and hostile files against the checks, in that environment; by default a short run.
``python tasks.py docs``
    Run every example of the book in ``docs/`` and compare its output, then build the book in
    ``build/html``; in that environment, or in a fresh one where there is none.
``python tasks.py portable [--write]``
    Hashes of generated cells, the same by every set of kernels, on 64-bit ARM (by qemu), with musl
    and in WebAssembly; in an environment of its own, with a compiler for all of them. The first run
    builds its C++ libraries.
    Then the WebAssembly module of the browser page, which must be the one in git; ``--write`` puts
    it there.
``python tasks.py wheel [PYTHON]``
    Build a wheel and run the torch-free part of the suite against it, where torch never was.

Needs Python 3.11 or newer and a C++ compiler. Versions come from ``constraints.txt``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CONSTRAINTS = ROOT / "constraints.txt"
ENVIRONMENTS = ROOT / ".venvs"
# Pinned so that the same tools build and judge everywhere; pip itself reads no constraints file.
TORCH = "torch==2.13.0"
#: Processes that run tests, as pytest-xdist takes them.
PARALLEL = ("-n", "2")


def main() -> None:
    """Run the task that the command line names."""
    tasks = {
        task.__name__: task
        for task in (demo, test, slow, lint, docs, sanitize, fuzz, portable, wheel)
    }
    if len(sys.argv) < 2 or sys.argv[1] not in tasks:
        sys.exit(__doc__)
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before pip could refuse
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    tasks[sys.argv[1]](*sys.argv[2:])


def demo(folder: str = "vaexprs-demo") -> None:
    """Install into a fresh environment and run the main job."""
    python = fresh_environment("demo")
    install(python, f"{ROOT}[train,plot,evaluate]")
    run(python, "-m", "vaexprs", "demo", folder, "--train", "--overwrite")


def test(*arguments: str) -> None:
    """Install into a fresh environment and run every test."""
    python = fresh_environment("test")
    install(python, f"{ROOT}[all,dev]")
    cpp_tests(python)
    run(python, "-m", "pytest", *PARALLEL, *arguments, cwd=ROOT)


def slow(*arguments: str) -> None:
    """Run the tests that ``test`` leaves out."""
    python = environment_python(ENVIRONMENTS / "test")
    run(python, "-m", "pytest", *PARALLEL, "-m", "slow", *arguments, cwd=ROOT)


def fuzz(*arguments: str) -> None:
    """Run the fuzz targets; see ``fuzz/README.md``."""
    python = environment_python(ENVIRONMENTS / "test")
    run(python, "-m", "fuzz", *arguments, cwd=ROOT)


def lint() -> None:
    """Check format, lint, spelling, types, and that the stub agrees with the C++ module."""
    python = environment_python(ENVIRONMENTS / "test")
    sources = sorted(str(p) for suffix in ("hpp", "cpp") for p in ROOT.glob(f"cpp/**/*.{suffix}"))
    tool = python.parent
    run(python, "-m", "ruff", "check", ".", cwd=ROOT)
    run(python, "-m", "ruff", "format", "--check", ".", cwd=ROOT)
    run(tool / "clang-format", "--dry-run", "--Werror", *sources, cwd=ROOT)
    run(tool / "codespell", cwd=ROOT)
    run(python, "-m", "mypy", cwd=ROOT)
    # Away from the checkout, so that the stub is compared with the installed package.
    allowed = ROOT / "tests" / "stubtest-allowlist.txt"
    stubtest = ("-m", "mypy.stubtest", "vaexprs._core", "--allowlist", allowed)
    run(python, *stubtest, cwd=ENVIRONMENTS)


def docs(*arguments: str) -> None:
    """Run the book's examples and build its pages; a warning is an error."""
    folder = ENVIRONMENTS / "test"
    if not folder.exists():
        install(fresh_environment("test"), f"{ROOT}[all,dev]")
    python, pages = environment_python(folder), ROOT / "build" / "book"
    run(python, ROOT / "docs" / "execute.py", ROOT / "docs", pages, *arguments)
    run(python, "-m", "sphinx", "-q", "-W", "--keep-going", pages, ROOT / "build" / "html")
    print(f"the book is {ROOT / 'build' / 'html' / 'index.html'}")


def sanitize() -> None:
    """Run tests with a core that stops at bad addresses, undefined behaviour and data races.

    Left out are the tests that measure time or memory, which sanitizers change.
    """
    python = environment_python(ENVIRONMENTS / "test")
    folder = ENVIRONMENTS / "sanitize"
    shutil.rmtree(folder, ignore_errors=True)
    for name, flags in {"thread": "thread", "address": "address,undefined"}.items():
        options = [
            f"-DVAEXPRS_SANITIZE={flags}",
            "-DCMAKE_BUILD_TYPE=None",
            "-DCMAKE_CXX_FLAGS=-O1",
            "-DVAEXPRS_WERROR=OFF",  # code for sanitizers brings warnings of its own
        ]
        cpp_tests(python, folder / name, *options, tests="generator|inputs|kernels|random")
    program = folder / "address" / "cpp" / "tests" / "read_mutants"
    run(python, "-m", "fuzz.reader", program, cwd=ROOT)
    package = folder / "python" / "vaexprs"
    shutil.copytree(ROOT / "python" / "vaexprs", package, ignore=shutil.ignore_patterns("*.so"))
    shutil.copytree(ROOT / "models", folder / "models")
    found = subprocess.check_output([python, "-m", "pybind11", "--cmakedir"], text=True).strip()
    cmake, build = python.parent / "cmake", folder / "address"
    options = [
        "-DVAEXPRS_BUILD_PYTHON=ON",
        f"-Dpybind11_DIR={found}",
        f"-DPython_EXECUTABLE={python}",
    ]
    run(cmake, "-S", ROOT, "-B", build, *options)
    run(cmake, "--build", build, "--parallel", "2", "--target", "_core")
    shutil.copy(next(build.glob("_core*.so")), package)
    libraries = [
        subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    settings = {
        "LD_PRELOAD": " ".join(libraries),
        # Leaks are those of Python and its packages. NumPy's MemoryError needs a malloc that
        # returns null for an array no machine can hold, in place of an end of the process.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": package.parent,
    }
    left_out = [
        "--deselect=tests/core/test_speed.py",
        "--deselect=tests/generation/test_memory.py",
        "--deselect=tests/artifact/test_limits.py",
    ]
    places = ["tests/artifact", "tests/core", "tests/generation", "tests/sinks"]
    # Python's capture, so that a report reaches the terminal though the process ends.
    run(
        "env", *(f"{name}={value}" for name, value in settings.items()),
        python, "-m", "pytest", *PARALLEL, "-q", "--capture=sys", *left_out, *places, cwd=ROOT,
    )  # fmt: skip


def portable(how: str = "--check") -> None:
    """Compare cells over instruction sets, 64-bit ARM, musl and WebAssembly; check the module."""
    python, build = fresh_environment("portable"), ENVIRONMENTS / "portable" / "build"
    pip(python, "install", "-c", CONSTRAINTS, "cmake", "ziglang", "wasmtime")
    cpp_tests(python, build, target="hash_cells", tests="cells")
    run(python, ROOT / "cpp" / "portable" / "hashes.py", build / "cpp" / "tests" / "hash_cells")
    run(python, ROOT / "cpp" / "wasm" / "build.py", how)


def wheel(base: str = sys.executable) -> None:
    """Build a wheel with a given Python and test it where torch was never installed."""
    name = f"wheel-{version_of(base)}"
    python = fresh_environment(name, base)
    with tempfile.TemporaryDirectory() as folder:
        # A build outside the tree, with warnings as errors.
        pip(python, "wheel", "--no-deps", "-w", folder, "-Ccmake.define.VAEXPRS_WERROR=ON", ROOT)
        built = next(Path(folder).glob("vaexprs-*.whl"))
        extras = f"vaexprs[anndata,dask,plot,evaluate,test] @ {built.as_uri()}"
        # Exact versions are pinned for the oldest Python; newer ones meet the newest releases.
        pinned = version_of(base) == "3.11"
        pip(python, "install", *(("-c", CONSTRAINTS) if pinned else ()), extras)
    run(python, "-c", "import importlib.util as u; assert u.find_spec('torch') is None")
    # The tests alone are copied, so that nothing imports the checkout.
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkout"
        place.mkdir()
        for item in ("tests", "models", "pyproject.toml", "README.md", "benchmarks", "docs"):
            source = ROOT / item
            (shutil.copytree if source.is_dir() else shutil.copy)(source, place / item)
        data = ROOT.parent / "shared"
        if data.is_dir():
            (Path(folder) / "shared").symlink_to(data)
        # Releases newer than the pinned ones may warn of what is to come in others.
        warnings = () if pinned else ("-W", "default")
        run(python, "-m", "pytest", *PARALLEL, *warnings, "-m", "not torch and not slow", cwd=place)


def cpp_tests(
    python: Path,
    build: Path = ENVIRONMENTS / "cpp-tests",
    *more: str,
    target: str = "all",
    tests: str = "",
) -> None:
    """Build and run the C++ tests, which know no Python, with warnings as errors."""
    shutil.rmtree(build, ignore_errors=True)
    cmake, ctest = python.parent / "cmake", python.parent / "ctest"
    options = ["-DVAEXPRS_BUILD_TESTS=ON", "-DVAEXPRS_BUILD_PYTHON=OFF", "-DVAEXPRS_WERROR=ON"]
    run(cmake, "-S", ROOT, "-B", build, "-DCMAKE_BUILD_TYPE=Release", *options, *more)
    run(cmake, "--build", build, "--parallel", "2", "--target", target)
    how = ("--parallel", "2", "--output-on-failure", "--tests-regex", tests)
    run(ctest, "--test-dir", build, *how)


def fresh_environment(name: str, base: str = sys.executable) -> Path:
    """Make a new virtual environment and return its Python."""
    folder = ENVIRONMENTS / name
    shutil.rmtree(folder, ignore_errors=True)
    ENVIRONMENTS.mkdir(exist_ok=True)
    run(base, "-m", "venv", folder)
    return environment_python(folder)


def environment_python(folder: Path) -> Path:
    """Return the Python of a virtual environment."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        sys.exit(f"there is no environment in {folder}: run `python tasks.py test` first.")
    return python


def install(python: Path, requirement: str) -> None:
    """Install with pinned versions, torch first so that nothing else chooses its build."""
    pip(python, "install", TORCH)
    pip(python, "install", "-c", CONSTRAINTS, requirement)


def pip(python: Path, *arguments: object) -> None:
    """Call pip quietly."""
    run(python, "-m", "pip", *arguments[:1], "-q", *arguments[1:])


def version_of(python: str) -> str:
    """Return the version of a Python as ``3.12``."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def run(*command: object, cwd: Path | None = None) -> None:
    """Run a command; end with its exit code if it fails."""
    words = [str(word) for word in command]
    print("+", " ".join(words), flush=True)
    code = subprocess.run(words, cwd=cwd).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
