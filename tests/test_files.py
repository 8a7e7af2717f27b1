"""Outputs appear whole or not at all, replace nothing else, and leave no litter."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from vaexprs import OutputError, files
from vaexprs.files import check_output, sync, whole_file, whole_files

HOLD = """
import sys, time
from pathlib import Path
from vaexprs.files import whole_file
with whole_file(sys.argv[1], overwrite=True) as partial:
    partial.write_text("half")
    print("open", flush=True)
    time.sleep(60)
"""


def holder(target: Path) -> subprocess.Popen[str]:
    """Return a process that has begun to write a target."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def write(*targets: Path) -> None:
    with whole_files(targets) as parts:
        for part in parts:
            part.write_text("whole")


def store(path: Path, marker: str = "zarr.json") -> Path:
    path.mkdir()
    (path / marker).write_text("{}")
    (path / "old").write_text("old")
    return path


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["file", "zarr"])
def test_what_is_not_of_the_kind_is_never_replaced(
    tmp_path: Path, kind: Any, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    os.mkfifo(tmp_path / "fifo")
    address = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    address.bind("socket")
    others = {"folder": "a folder", "fifo": "a FIFO", "socket": "a socket", "/dev/null": "a device"}
    if kind == "file":
        store(tmp_path / "store")
        others["store"] = "a zarr store"
    else:
        (tmp_path / "file").write_text("precious")
        others["file"] = "a file"
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    for name, word in others.items():
        with pytest.raises(OutputError, match=f"is {word}, which .* cannot replace"):
            check_output(tmp_path / name, kind=kind, overwrite=overwrite)
        with (
            pytest.raises(OutputError, match="cannot replace"),
            whole_file(tmp_path / name, kind=kind, overwrite=overwrite),
        ):
            raise AssertionError
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    address.close()


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "no/folder/x.h5ad", "x.csv"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError):
        check_output(tmp_path / name, suffixes=["", ".h5ad"])


@pytest.mark.parametrize("length", [10, 240, 255])
def test_long_names(tmp_path: Path, length: int) -> None:
    target = tmp_path / ("n" * length)
    with whole_file(target) as partial:
        partial.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("marker", ["zarr.json", ".zgroup"])
def test_a_store_replaces_a_store(tmp_path: Path, marker: str) -> None:
    target = store(tmp_path / "cells.zarr", marker)
    with pytest.raises(OutputError, match="exists"), whole_file(target, kind="zarr"):
        pass
    with whole_file(target, kind="zarr", overwrite=True) as partial:
        partial.mkdir()
        (partial / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_store_that_was_set_aside_comes_back(tmp_path: Path) -> None:
    """A kill between the two renames leaves the old store in the folder of the partial."""
    target = tmp_path / "cells.zarr"
    folder = tmp_path / ".cells.zarr.partial"
    folder.mkdir()
    (folder / "lock").touch()
    store(folder / "old")
    with pytest.raises(OutputError, match="exists"), whole_file(target, kind="zarr"):
        pass
    assert (target / "old").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_store_comes_back_where_the_new_one_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, replace = store(tmp_path / "cells.zarr"), os.replace

    def fail(source: Path, destination: Path) -> None:
        if "partial" in str(source) and Path(source).name == "cells.zarr":
            raise OSError(errno.EIO, "broken")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", fail)
    with (
        pytest.raises(OutputError, match=r"was not written: .*broken"),
        whole_file(target, kind="zarr", overwrite=True) as partial,
    ):
        partial.mkdir()
    assert (target / "old").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_outputs_appear_together(tmp_path: Path) -> None:
    a, b = tmp_path / "a.html", tmp_path / "b.json"
    with pytest.raises(ZeroDivisionError), whole_files([a, b]) as parts:
        parts[0].write_text("a" * (1 // 0))
    with pytest.raises(OutputError, match=r"b\.json was not"), whole_files([a, b]) as parts:
        parts[0].write_text("a")
    assert list(tmp_path.iterdir()) == []
    with whole_files([a, b]) as (first, second):
        first.write_text("a")
        with whole_file(second) as inner:  # as an export does
            inner.write_text("b")
        assert list(tmp_path.glob("*.*")) == list(tmp_path.glob(".*"))
    assert (a.read_text(), b.read_text()) == ("a", "b")
    assert sorted(tmp_path.iterdir()) == [a, b]


def test_one_of_two_outputs_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, replace = tmp_path / "a", tmp_path / "b", os.replace

    def fail(source: Path, destination: Path) -> None:
        if destination == b:
            raise OSError(errno.EIO, "broken")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match=r"b was not written: .*broken .*a: written\)"):
        write(a, b)
    assert list(tmp_path.iterdir()) == [a]


def test_errors_name_the_target_and_not_its_partial(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    with pytest.raises(OutputError) as caught, whole_files([target]) as (partial,):  # noqa: SIM117
        with whole_file(partial):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value).startswith(f"{target} was not written: the disk is full")


def test_two_outputs_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="one name"), whole_files([tmp_path / "a"] * 2):
        pass


def test_two_processes_never_write_one_target(tmp_path: Path) -> None:
    target = tmp_path / "cells.h5ad"
    other = holder(target)
    try:
        with pytest.raises(OutputError, match="another process"), whole_file(target):
            pass
    finally:
        other.kill()
        other.communicate()
    with whole_file(target) as partial:  # an abandoned one is taken over
        assert not partial.exists()
        with pytest.raises(OutputError, match="another process"), whole_file(target):
            pass  # another thread or call of the same process neither
        partial.write_text("whole")
    assert list(tmp_path.iterdir()) == [target]


def test_many_processes_in_turn(tmp_path: Path) -> None:
    """Each either writes the whole file or is refused; whoever comes last leaves nothing."""
    code = (
        "import sys\n"
        "from vaexprs import OutputError\n"
        "from vaexprs.files import whole_file\n"
        "for i in range(300):\n"
        "    try:\n"
        "        with whole_file(sys.argv[1], overwrite=True) as partial:\n"
        "            partial.write_text(sys.argv[2] * 5000)\n"
        "    except OutputError as error:\n"
        "        assert 'another process' in str(error), error\n"
    )
    target = tmp_path / "out"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(target), letter]) for letter in "abcd"
    ]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert target.read_text() in {letter * 5000 for letter in "abcd"}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_a_partial_that_is_not_ours(tmp_path: Path, what: str) -> None:
    place = tmp_path / ".out.partial"
    if what == "file":
        place.write_text("precious")
    elif what == "folder":
        place.mkdir()
        (place / "precious").touch()
    else:
        other = tmp_path / "other"
        other.mkdir()
        (other / "precious").touch()
        place.symlink_to(other)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError), whole_file(tmp_path / "out"):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_is_replaced_and_its_file_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    link = tmp_path / "link"
    for destination in ("file", "nowhere"):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / destination)
        with pytest.raises(OutputError, match="exists"):
            check_output(link)
        with whole_file(link, overwrite=True) as partial:
            partial.write_text("new")
        assert not link.is_symlink()
    assert (tmp_path / "file").read_text() == "precious"


def test_an_interrupt_while_outputs_appear_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets, replace = [tmp_path / name for name in "ab"], os.replace

    def interrupted(source: Path, destination: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        replace(source, destination)
        monkeypatch.setattr(os, "replace", replace)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(*targets)
    assert sorted(tmp_path.iterdir()) == targets


def test_what_a_thread_wrote_after_its_run_let_go_is_taken_over(tmp_path: Path) -> None:
    target = tmp_path / "out.zarr"
    left = tmp_path / ".out.zarr.partial" / "out.zarr" / "X"
    left.mkdir(parents=True)
    (left / "chunk").write_text("half")
    with whole_file(target, kind="zarr") as partial:
        assert not partial.exists()
        partial.mkdir()
        (partial / "zarr.json").write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
    assert [path.name for path in target.iterdir()] == ["zarr.json"]


def test_a_folder_is_synced_while_another_thread_replaces_its_files(tmp_path: Path) -> None:
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            for name in "abcd":
                (tmp_path / f"{name}.partial").write_bytes(b"new")
                os.replace(tmp_path / f"{name}.partial", tmp_path / name)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(100):
            sync(tmp_path)
    finally:
        ended.set()
        thread.join()


def test_what_stands_in_the_place_of_a_file_that_went_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    partial, whole = tmp_path / "store" / "zarr.json.partial", tmp_path / "store" / "zarr.json"
    partial.write_bytes(b"{}")
    synced = []

    def sync_file(path: Path) -> None:
        if path == partial:
            os.replace(partial, whole)
        synced.append(path)
        sync_one(path)

    sync_one = files._sync_file
    monkeypatch.setattr(files, "_sync_file", sync_file)
    sync(tmp_path)
    assert synced == [partial, whole]
    with pytest.raises(FileNotFoundError, match="nothing"):
        sync(tmp_path / "nothing.bin")
    (tmp_path / "store" / "link").symlink_to(tmp_path / "nowhere")  # no look finds its file
    with pytest.raises(FileNotFoundError, match="link"):
        sync(tmp_path)


def test_a_killed_run_leaves_a_partial_that_the_next_one_removes(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for number in (signal.SIGKILL, signal.SIGTERM):
        other = holder(target)
        other.send_signal(number)
        other.communicate()
        time.sleep(0.01)
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    with whole_file(target) as partial:
        partial.write_text("whole")
    assert list(tmp_path.iterdir()) == [target]
