"""The WebAssembly module is that of the C++ sources beside it, and asks its host for nothing."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest

#: Runs the body of an async function; see conftest.py.
Script: TypeAlias = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    path = ROOT / "cpp" / "wasm" / "build.py"
    if not path.exists():
        pytest.skip("the sources are not beside these tests")
    spec = importlib.util.spec_from_file_location("vaexprs_build_wasm", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_was_made_from_these_sources(build: ModuleType) -> None:
    record = json.loads(build.RECORD.read_text(encoding="utf-8"))
    assert record["sources"] == build.hash_of_sources(), "run: python cpp/wasm/build.py"
    module = gzip.decompress(build.MODULE.read_bytes())
    assert record["module"] == hashlib.sha256(module).hexdigest()


def test_a_changed_source_or_flag_is_noticed(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = build.hash_of_sources()
    shutil.copytree(ROOT / "cpp", tmp_path / "cpp")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "CPP", tmp_path / "cpp")
    assert build.hash_of_sources() == before
    header = tmp_path / "cpp" / "src" / "kernels" / "product.hpp"
    header.write_text(header.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    changed = build.hash_of_sources()
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-DCHANGED"])
    assert len({before, changed, build.hash_of_sources()}) == 3


def test_it_asks_for_no_file_and_no_network(script: Script) -> None:
    code = """
    const model = await vaexprs.load(args[0]);
    return WebAssembly.Module.imports(model.wasm).map((one) => `${one.module}.${one.name}`);
    """
    golden = ROOT / "tests" / "artifact" / "golden" / "format-1-nb.onnx"
    # Of WASI there is what closes standard output, which the host refuses.
    assert sorted(script(code, str(golden))) == ["host.fail", "wasi_snapshot_preview1.fd_close"]


def test_it_is_compressed_without_a_date() -> None:
    import vaexprs

    packed = Path(vaexprs.__file__).parent / "web" / "page" / "vaexprs.wasm.gz"
    data = packed.read_bytes()
    assert data[4:8] == bytes(4)
    assert gzip.decompress(data)[:4] == b"\0asm"
