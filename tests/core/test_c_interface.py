"""The C interface: the cells of ``runtime="portable"``, refusals as codes, and how it is found."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaexprs
from vaexprs import Generator, VaexprsError, load_artifact
from vaexprs.artifact.lowering import lower

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "artifact" / "golden"
SHIPPED = ROOT / "models" / "pbmc_ifnb.onnx"
OK, END, BAD_FILE, BAD_REQUEST, TOO_SMALL, DECODER_FAILED = range(6)
DECODE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_float)),
    ctypes.c_size_t, ctypes.POINTER(ctypes.POINTER(ctypes.c_float)),
)  # fmt: skip


class Error(ctypes.Structure):
    """vaexprs_error."""

    _fields_ = [("message", ctypes.c_char * 1024)]


class Condition(ctypes.Structure):
    """vaexprs_condition."""

    _fields_ = [("key", ctypes.c_char_p), ("category", ctypes.c_char_p)]


class Row(ctypes.Structure):
    """vaexprs_design_row."""

    _fields_ = [
        ("conditions", ctypes.POINTER(Condition)),
        ("n_conditions", ctypes.c_size_t),
        ("n_cells", ctypes.c_uint64),
    ]


class Options(ctypes.Structure):
    """vaexprs_options."""

    _fields_ = [
        ("size", ctypes.c_size_t), ("seed", ctypes.c_uint64), ("first_cell", ctypes.c_uint64),
        ("n_cells", ctypes.c_uint64), ("conditions", ctypes.POINTER(Condition)),
        ("n_conditions", ctypes.c_size_t), ("design", ctypes.POINTER(Row)),
        ("n_design", ctypes.c_size_t), ("library", ctypes.c_float), ("decode", DECODE),
        ("decode_context", ctypes.c_void_p),
    ]  # fmt: skip


class Block(ctypes.Structure):
    """vaexprs_block."""

    _fields_ = [
        ("first_cell", ctypes.c_uint64), ("n_cells", ctypes.c_size_t),
        ("n_values", ctypes.c_size_t), ("data", ctypes.POINTER(ctypes.c_float)),
        ("indices", ctypes.POINTER(ctypes.c_int32)), ("indptr", ctypes.POINTER(ctypes.c_int64)),
        ("codes", ctypes.POINTER(ctypes.c_int32)), ("unseen", ctypes.POINTER(ctypes.c_uint8)),
        ("z", ctypes.POINTER(ctypes.c_float)), ("library", ctypes.POINTER(ctypes.c_float)),
    ]  # fmt: skip


class Buffers(ctypes.Structure):
    """vaexprs_buffers."""

    _fields_ = [("capacity", ctypes.c_size_t)] + [
        (name, ctypes.c_void_p)
        for name in ("data", "indices", "indptr", "codes", "unseen", "z", "library")
    ]


def package() -> Path:
    """Return the folder with vaexprsConfig.cmake: of the installed package, or of a build."""
    try:
        return Path(os.environ.get("VAEXPRS_CMAKE_DIR") or vaexprs.get_cmake_dir())
    except VaexprsError as error:
        pytest.skip(f"{error} Or name it in VAEXPRS_CMAKE_DIR.")


@pytest.fixture(scope="module")
def lib() -> Any:
    folder = package()
    places = [folder / "libvaexprs.so", folder.parents[1] / "libvaexprs.so"]
    library = ctypes.CDLL(str(next(path for path in places if path.exists())))
    for name in ("vaexprs_likelihood", "vaexprs_gene", "vaexprs_key", "vaexprs_category",
                 "vaexprs_version"):  # fmt: skip
        getattr(library, name).restype = ctypes.c_char_p
    for name in ("vaexprs_n_genes", "vaexprs_n_latent", "vaexprs_n_keys", "vaexprs_n_categories"):
        getattr(library, name).restype = ctypes.c_size_t
    return library


class Opened:
    """An artifact and its runs."""

    def __init__(self, lib: Any, source: Path | bytes) -> None:
        self.lib, self.handle, self.error = lib, ctypes.c_void_p(), Error()
        if isinstance(source, Path):
            args: tuple[Any, ...] = (os.fsencode(source),)
            self.status = lib.vaexprs_open(*args, ctypes.byref(self.handle), self._error)
        else:
            size = ctypes.c_size_t(len(source))
            self.status = lib.vaexprs_open_bytes(
                source, size, ctypes.byref(self.handle), self._error
            )

    @property
    def _error(self) -> Any:
        return ctypes.byref(self.error)

    @property
    def message(self) -> str:
        return self.error.message.decode()

    def options(self, **given: Any) -> Options:
        options = Options()
        self.lib.vaexprs_default_options(ctypes.byref(options))
        conditions = given.pop("conditions", ())
        design = given.pop("design", ())
        options.conditions, options.n_conditions = _conditions(conditions), len(conditions)
        rows = [Row(_conditions(pairs), len(pairs), n) for pairs, n in design]
        options.design, options.n_design = (Row * len(rows))(*rows), len(rows)
        for name, value in given.items():
            setattr(options, name, value)
        return options

    def start(self, **given: Any) -> tuple[int, ctypes.c_void_p]:
        run = ctypes.c_void_p()
        options = self.options(**given)
        status = self.lib.vaexprs_start(
            self.handle, ctypes.byref(options), ctypes.byref(run), self._error
        )
        return status, run

    def blocks(self, **given: Any) -> Iterator[Block]:
        status, run = self.start(**given)
        assert status == OK, self.message
        block = Block()
        while (status := self.lib.vaexprs_next(run, ctypes.byref(block), self._error)) == OK:
            yield block
        assert status == END, self.message
        self.lib.vaexprs_stop(run)

    def cells(self, **given: Any) -> dict[str, np.ndarray]:
        """Return all cells of a run, their values dense."""
        n_genes, n_latent, n_keys = (
            getattr(self.lib, f"vaexprs_n_{what}")(self.handle)
            for what in ("genes", "latent", "keys")
        )
        parts: dict[str, list[np.ndarray]] = {}
        for block in self.blocks(**given):
            n = block.n_cells
            values = np.zeros((n, n_genes), np.float32)
            if block.n_values:
                indptr = np.ctypeslib.as_array(block.indptr, (n + 1,))
                rows = np.repeat(np.arange(n), np.diff(indptr))
                indices = np.ctypeslib.as_array(block.indices, (block.n_values,))
                values[rows, indices] = np.ctypeslib.as_array(block.data, (block.n_values,))
            made = {"X": values, "z": _array(block.z, (n, n_latent))}
            made["codes"] = _array(block.codes, (n, n_keys)) if n_keys else np.zeros((n, 0))
            made["unseen"] = _array(block.unseen, (n,)).astype(bool)
            made["library"] = _array(block.library, (n,)) if block.library else np.zeros(0)
            for name, array in made.items():
                parts.setdefault(name, []).append(array)
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _conditions(pairs: Any) -> Any:
    made = [Condition(key.encode(), category.encode()) for key, category in pairs]
    return (Condition * len(made))(*made)


def _array(pointer: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.array(np.ctypeslib.as_array(pointer, shape))


def by_python(source: Path, conditions: Any = None, **options: Any) -> dict[str, np.ndarray]:
    generator = Generator(source, runtime="portable", n_threads=1)
    blocks = list(generator.blocks(generator.plan(conditions), **options))
    made = {
        name: np.concatenate([getattr(b, name) for b in blocks])
        for name in ("codes", "z", "unseen")
    }
    made["X"] = np.concatenate([b.X.to_dense() for b in blocks])
    sizes = [b.library for b in blocks if b.library is not None]
    made["library"] = np.concatenate(sizes) if sizes else np.zeros(0)
    return made


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    for name, values in a.items():
        np.testing.assert_array_equal(values, b[name], err_msg=name)


SOURCES = [*sorted(GOLDEN.glob("*.onnx")), SHIPPED]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_cells_are_those_of_python(lib: Any, source: Path) -> None:
    artifact = Opened(lib, source)
    assert artifact.status == OK, artifact.message
    made = artifact.cells(seed=3, n_cells=700, first_cell=40)
    assert_same(made, by_python(source, n_cells=700, first_cell=40, seed=3))
    lib.vaexprs_close(artifact.handle)


TWO_KEYS = GOLDEN / "format-1-two-keys.onnx"


@pytest.mark.parametrize(
    ("pairs", "asked"),
    [
        ([("Zelltyp", "α")], {"Zelltyp": "α"}),
        ([("Zelltyp", "δ"), ("Zelltyp", "β")], {"Zelltyp": {"δ", "β"}}),
        ([("batch", "2"), ("Zelltyp", "δ")], {"Zelltyp": "δ", "batch": "2"}),  # never seen
    ],
)
def test_choices_are_those_of_python(lib: Any, pairs: Any, asked: Any) -> None:
    artifact = Opened(lib, TWO_KEYS)
    made = artifact.cells(seed=9, n_cells=300, conditions=pairs)
    assert_same(made, by_python(TWO_KEYS, asked, n_cells=300, seed=9))


def test_a_design_is_that_of_python(lib: Any) -> None:
    artifact = Opened(lib, TWO_KEYS)
    rows = [([("Zelltyp", "δ")], 11), ([("batch", "1")], 23), ([], 7)]
    asked = [
        {"Zelltyp": "δ", "n_cells": 11}, {"batch": "1", "n_cells": 23}, {"n_cells": 7},
    ]  # fmt: skip
    made = artifact.cells(seed=9, design=rows)
    assert len(made["z"]) == 41
    assert_same(made, by_python(TWO_KEYS, asked, seed=9))


def test_rows_of_few_cells_split_together_as_in_python(lib: Any) -> None:
    rng = np.random.default_rng(4)
    choices = [{"Zelltyp": "δ"}, {"batch": "1"}, {}]
    asked = [choices[rng.integers(3)] | {"n_cells": int(rng.integers(4))} for _ in range(400)]
    rows = [([(k, c) for k, c in row.items() if k != "n_cells"], row["n_cells"]) for row in asked]
    made = Opened(lib, TWO_KEYS).cells(seed=9, design=rows)
    assert_same(made, by_python(TWO_KEYS, asked, seed=9))


def test_names_of_an_artifact(lib: Any) -> None:
    artifact, spec = Opened(lib, TWO_KEYS.read_bytes()), load_artifact(TWO_KEYS).spec
    assert lib.vaexprs_version().decode() == vaexprs.__version__
    assert lib.vaexprs_likelihood(artifact.handle).decode() == spec.likelihood
    assert lib.vaexprs_gene(artifact.handle, 19).decode() == "GENE20"
    assert lib.vaexprs_gene(artifact.handle, 20) is None
    assert lib.vaexprs_key(artifact.handle, 0).decode() == "Zelltyp"
    assert lib.vaexprs_n_categories(artifact.handle, 0) == 3
    assert lib.vaexprs_category(artifact.handle, 0, 1).decode() == "α"
    assert lib.vaexprs_category(artifact.handle, 0, 3) is None
    assert lib.vaexprs_n_categories(artifact.handle, 2) == 0


def fill(
    lib: Any, run: Any, first: int, n: int, capacity: int
) -> tuple[int, int, np.ndarray, np.ndarray]:
    data = np.full(capacity, -1, np.float32)
    indptr = np.zeros(n + 1, np.int64)
    buffers = Buffers(capacity=capacity, data=data.ctypes.data, indptr=indptr.ctypes.data)
    n_values, error = ctypes.c_size_t(), Error()
    status = lib.vaexprs_fill(
        run, ctypes.c_uint64(first), ctypes.c_size_t(n), ctypes.byref(buffers),
        ctypes.byref(n_values), ctypes.byref(error),
    )  # fmt: skip
    return status, n_values.value, data, indptr


def test_buffers_of_the_caller_by_many_threads(lib: Any) -> None:
    artifact = Opened(lib, SHIPPED)
    _, run = artifact.start(seed=1, n_cells=0)
    status, needed, data, _ = fill(lib, run, 0, 600, capacity=10)
    assert (status, set(data)) == (TOO_SMALL, {-1})
    status, n, data, indptr = fill(lib, run, 0, 600, capacity=needed)
    assert (status, n, indptr[-1]) == (OK, needed, needed)
    expected = by_python(SHIPPED, n_cells=600, seed=1)["X"]
    np.testing.assert_array_equal(data, expected[expected != 0])
    results: dict[int, np.ndarray] = {}

    def work(first: int) -> None:
        results[first] = fill(lib, run, first, 100, capacity=needed)[2]

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 600, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for first, values in results.items():
        part = data[indptr[first] : indptr[first + 100]]
        np.testing.assert_array_equal(values[: len(part)], part)
    lib.vaexprs_stop(run)


def test_a_host_decodes_instead(lib: Any) -> None:
    pytest.importorskip("onnxruntime")
    import onnxruntime

    artifact, loaded = Opened(lib, SHIPPED), load_artifact(SHIPPED)
    spec, session = loaded.spec, onnxruntime.InferenceSession(loaded.model_bytes)
    assert lower(loaded).gives_logits  # the host gives means all the same

    @DECODE
    def decode(_: Any, inputs: Any, n_cells: int, outputs: Any) -> int:
        feed = {
            name: _array(inputs[k], (n_cells, width))
            for k, (name, width) in enumerate(spec.inputs.items())
        }
        for k, made in enumerate(session.run(list(spec.outputs), feed)):
            np.ctypeslib.as_array(outputs[k], made.shape)[...] = made
        return 0

    made = artifact.cells(seed=2, n_cells=300, decode=decode)
    expected = by_python(SHIPPED, n_cells=300, seed=2)
    np.testing.assert_array_equal(made["z"], expected["z"])
    assert (made["X"] != expected["X"]).mean() < 1e-4

    @DECODE
    def failing(*_: Any) -> int:
        return 1

    _, run = artifact.start(n_cells=5, decode=failing)
    status = lib.vaexprs_next(run, ctypes.byref(Block()), ctypes.byref(artifact.error))
    assert (status, artifact.message) == (DECODER_FAILED, "the host's decoder failed.")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"conditions": [("Zelltyp", "γ")]}, "unknown category of condition 'Zelltyp' 'γ'"),
        ({"conditions": [("tissue", "α")]}, "unknown condition key 'tissue'"),
        ({"first_cell": 2**63}, "n_cells: the request has fewer cells"),
        ({"n_cells": 2**64 - 1}, "n_cells: the request has fewer cells"),
        ({"design": [([], 4)], "n_cells": 5}, "n_cells: the request has fewer cells"),
        ({"design": [([], 2**63)]}, "the design has more than 2^63 - 1 cells"),
        ({"library": float("nan")}, "library: expected a number of counts > 0 and < 2^63"),
        ({"library": 2.0**63}, "library: expected a number of counts > 0 and < 2^63"),
        ({"size": 8}, "begin with vaexprs_default_options"),
    ],
)
def test_requests_are_refused_by_a_code(lib: Any, given: Any, message: str) -> None:
    artifact = Opened(lib, TWO_KEYS)
    status, run = artifact.start(**({"n_cells": 5} | given))
    assert (status, run.value) == (BAD_REQUEST, None)
    assert message in artifact.message


def test_files_are_refused_by_a_code(lib: Any, tmp_path: Path) -> None:
    for source, message in (
        (tmp_path / "none.onnx", "cannot be read"),
        (tmp_path, "cannot be read"),
        (b"", "the file is empty"),
        (b"\x89HDF", "no ONNX model, or a damaged one"),
        (TWO_KEYS.read_bytes()[:-9], "cut off"),
    ):
        artifact = Opened(lib, source)
        assert (artifact.status, artifact.handle.value) == (BAD_FILE, None)
        assert message in artifact.message
    assert lib.vaexprs_open(None, None, None) == BAD_REQUEST
    assert lib.vaexprs_start(None, None, None, None) == BAD_REQUEST
    assert lib.vaexprs_next(None, None, None) == BAD_REQUEST


def test_the_library_is_small(lib: Any) -> None:
    assert Path(lib._name).stat().st_size < 3_000_000


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the example by find_package, with the shared library and with the archive."""
    source = ROOT / "cpp" / "c" / "example.c"
    if not source.exists():
        pytest.skip("the example is not beside these tests")
    cmake = shutil.which(
        "cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if cmake is None:
        pytest.skip("there is no cmake here")
    folder = tmp_path_factory.mktemp("example")
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(example C CXX)\n"
        "find_package(vaexprs REQUIRED)\n"
        f"add_executable(shared {source})\ntarget_link_libraries(shared vaexprs::vaexprs)\n"
        f"add_executable(archive {source})\ntarget_link_libraries(archive vaexprs::static)\n"
    )
    build = folder / "build"
    for command in (
        [cmake, "-S", folder, "-B", build, f"-Dvaexprs_DIR={package()}"],
        [cmake, "--build", build],
    ):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return {name: build / name for name in ("shared", "archive")}


@pytest.mark.parametrize("name", ["shared", "archive"])
def test_the_example_writes_what_python_makes(
    name: str, examples: dict[str, Path], tmp_path: Path
) -> None:
    assert len((ROOT / "cpp" / "c" / "example.c").read_text().splitlines()) <= 80
    command = [examples[name], SHIPPED, tmp_path, "10000"]
    subprocess.run(list(map(str, command)), check=True)
    indptr = np.fromfile(tmp_path / "indptr", np.int64)
    data, indices = (
        np.fromfile(tmp_path / n, t) for n, t in (("data", np.float32), ("indices", np.int32))
    )
    generator = Generator(SHIPPED, runtime="portable", n_threads=1)
    blocks = [block.X for block in generator.blocks(n_cells=10_000, seed=1)]
    assert indptr[-1] == len(data) == len(indices)
    np.testing.assert_array_equal(data, np.concatenate([X.data for X in blocks]))
    np.testing.assert_array_equal(indices, np.concatenate([X.indices for X in blocks]))
    np.testing.assert_array_equal(
        np.diff(indptr), np.concatenate([np.diff(X.indptr) for X in blocks])
    )


def test_the_example_refuses_in_words(examples: dict[str, Path], tmp_path: Path) -> None:
    command = [examples["shared"], SHIPPED, tmp_path, "5", "cell_type", "no such type"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 1
    assert "unknown category of condition 'cell_type' 'no such type'" in done.stderr
