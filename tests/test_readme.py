"""The Python of README.md runs, top to bottom, as its readers would run it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.slow]

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


def test_there_is_code() -> None:
    assert len(blocks()) >= 3


def test_the_code_runs(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "onnx", "matplotlib", "umap"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    for name in ("yan.h5ad", "pbmc_ifnb.h5ad"):
        (tmp_path / name).symlink_to(shared_data / name)
    names: dict[str, object] = {}
    for code in blocks():
        exec(compile(code, str(README), "exec"), names)
