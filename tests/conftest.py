"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

# Before NumPy is imported: pytest's workers take the cores, and threads of BLAS would only wait for
# each other.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

with contextlib.suppress(ImportError):
    from anndata import settings as anndata_settings

    # anndata warns until one has chosen
    anndata_settings.zarr_write_format = 3
    with contextlib.suppress(AttributeError):  # before 0.12
        anndata_settings.auto_shard_zarr_v3 = False

with contextlib.suppress(ImportError):
    from hypothesis import settings

    # A loaded machine makes any example slow, and the seed is fixed so that a run can be repeated.
    settings.register_profile("vaexprs", deadline=None, derandomize=True)
    settings.load_profile("vaexprs")

TESTS = Path(__file__).resolve().parent
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of the real data sets beside the checkout; skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """Undo what a shell does to its background jobs, which ignore SIGINT, and so their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class TinyArtifact(Protocol):
    """Writes a tiny artifact and returns its path; see tests/artifact/tiny.py for options."""

    def __call__(self, path: str | Path | None = None, **options: Any) -> Path: ...


@pytest.fixture(scope="session")
def tiny_builder() -> ModuleType | None:
    """Return the module tests/artifact/tiny.py, or None where onnx is not installed."""
    if importlib.util.find_spec("onnx") is None:
        return None
    source = importlib.util.spec_from_file_location(
        "vaexprs_tests_tiny", TESTS / "artifact" / "tiny.py"
    )
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_artifact(
    tmp_path_factory: pytest.TempPathFactory, tiny_builder: ModuleType | None
) -> TinyArtifact:
    """Return a factory of tiny artifacts: ``tiny_artifact(likelihood="zinb", keys=None)``.

    Without a path each goes to a folder of its own. Where the onnx package is not installed,
    the golden files stand in for those that need no other option than the likelihood, and a
    test that asks for more is skipped.
    """

    def write(path: str | Path | None = None, **options: Any) -> Path:
        if path is None:
            path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
        path = Path(path)
        if tiny_builder is not None:
            written: Path = tiny_builder.tiny_artifact(path, **options)
            return written
        likelihood = options.pop("likelihood", "nb")
        if options:
            pytest.skip("the onnx package is not installed, and builds this tiny artifact")
        golden = TESTS / "artifact" / "golden" / f"format-1-{likelihood}.onnx"
        path.write_bytes(golden.read_bytes())
        return path

    return write
