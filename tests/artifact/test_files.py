"""Files that are no artifacts, whatever else they are; every message names the file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from vaexprs.artifact import load_artifact
from vaexprs.errors import ArtifactError


def message(path: object) -> str:
    with pytest.raises(ArtifactError) as caught:
        load_artifact(path)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.startswith(f"artifact {os.fspath(path)!r}")  # type: ignore[call-overload]
    return text


def test_no_file(tmp_path: Path) -> None:
    assert "there is no such file" in message(tmp_path / "nowhere.onnx")
    assert "there is no such file" in message("")
    assert "cannot be opened: Not a directory" in message(Path(__file__) / "model.onnx")
    assert "cannot be opened" in message("a\0b")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a directory, expected an .onnx file" in message(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in message(tmp_path / "pipe")
    assert "is no regular file" in message("/dev/zero")


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.onnx"
    path.write_bytes(b"\x08\x08")
    path.chmod(0)
    assert "cannot be opened: Permission denied" in message(path)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.touch()
    assert "the file is empty" in message(path)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    path.touch()
    os.truncate(path, 2**31)  # a file of holes takes no space
    assert "has 2147483648 bytes; an .onnx file has at most 2147483647" in message(path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file .*holds data, not a model"),
        (b"PK\x03\x04" + bytes(100), "a zip archive .*torch checkpoint"),
        (b"\x1f\x8b\x08" + bytes(100), "a gzip file"),
        (b"\x80\x04\x95" + bytes(100), "a pickle"),
        (b'{"a": 1}', "a JSON file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    ],
)
def test_other_files_are_recognised(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=kind):
        load_artifact(path)
    with pytest.raises(ArtifactError, match=r"^artifact is .*expected an \.onnx file"):
        load_artifact(content)


@pytest.mark.parametrize("content", [b"hello", b"\0" * 1000, bytes(range(256)), b"\n\n\n\n"])
def test_no_onnx_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert "no ONNX model, or a damaged one" in message(path)


def test_every_truncation_is_refused(tiny_artifact, tmp_path: Path) -> None:
    data = tiny_artifact().read_bytes()
    for length in range(1, len(data)):
        with pytest.raises(ArtifactError):
            load_artifact(data[:length])
    path = tmp_path / "half.onnx"
    path.write_bytes(data[: len(data) // 2])
    assert "is cut off" in message(path)


def test_text_after_the_model_is_refused(tiny_artifact) -> None:
    with pytest.raises(ArtifactError, match="damaged"):
        load_artifact(tiny_artifact().read_bytes() + b"and more")
