"""A run that ended in the middle goes on, and gives the same file; nothing else touches it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scale.compare import contents, in_folder
from vaexprs import Generator, OutputError, write_exprs
from vaexprs.cli import main
from vaexprs.files import partial_of
from vaexprs.sinks import h5ad, journal, zarr_store
from vaexprs.sinks.journal import Journal

pytest.importorskip("zarr")

SUFFIXES = [".h5ad", ".zarr"]


@pytest.fixture(scope="module")
def model(tiny_artifact: Any) -> Path:
    return Path(tiny_artifact(keys={"cell_type": ["B", "NK", "T"]}, n_genes=40))


@pytest.fixture(scope="module")
def generator(model: Path) -> Generator:
    return Generator(model, n_threads=1, block_size=32)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h5ad.Hdf5Store, "chunk", 500)
    monkeypatch.setattr(zarr_store.ZarrStore, "chunk", 300)


def same(a: Path, b: Path) -> bool:
    return in_folder(a) == in_folder(b) if a.is_dir() else contents(a) == contents(b)


@pytest.mark.usefixtures("kept_always", "small_chunks")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"conditions": {"cell_type": {"NK": 350, "B": 50}}, "first_cell": 13},
        {"library": [float(i) for i in range(1, 388)]},
        {"return_mean": True},
    ],
)
def test_killed_twice(
    generator: Generator, tmp_path: Path, suffix: str, asked: dict[str, Any], killed: Any
) -> None:
    """Blocks that were written are not made again, and the file is that of a single run."""
    whole = write_exprs(generator, tmp_path / f"whole{suffix}", 387, **asked)
    target = tmp_path / f"cells{suffix}"
    assert killed(generator, target, 387, 5, **asked)
    for _ in range(2):
        with pytest.raises(OutputError, match=r"of the same request is there: 1\d\d of 387 ce"):
            write_exprs(generator, target, 387, **asked)
    assert killed(generator, target, 387, 4, resume=True, **asked)  # the first is what is there
    made: list[int] = []
    write_exprs(generator, target, 387, resume=True, progress=made.append, **asked)
    assert made[0] >= 7 * 32
    assert sum(made) == 387
    assert same(target, whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([target.name, whole.name])
    write_exprs(generator, target, 387, resume=True, **asked)  # it is there already


@pytest.mark.usefixtures("kept_always", "small_chunks")
def test_parts_go_on(generator: Generator, tmp_path: Path, killed: Any) -> None:
    asked: dict[str, Any] = {"n_parts": 3, "part_format": "h5ad"}
    whole = write_exprs(generator, tmp_path / "whole.parts", 300, **asked)
    target = tmp_path / "run.parts"
    assert killed(generator, target, 300, 6, **asked)
    with pytest.raises(OutputError, match=r"same request is there: 1\d\d of 300 cells"):
        write_exprs(generator, target, 300, **asked)
    write_exprs(generator, target, 300, resume=True, **asked)
    assert sorted(in_folder(whole)) == sorted(in_folder(target))
    for part in sorted(whole.glob("*.h5ad")):
        assert same(part, target / part.name)


@pytest.mark.usefixtures("kept_always")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_partial_of_another_request(
    generator: Generator, tiny_artifact: Any, tmp_path: Path, suffix: str, killed: Any,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    target = tmp_path / f"cells{suffix}"
    assert killed(generator, target, 200, 3, seed=1)
    before = in_folder(tmp_path)
    other = tiny_artifact(n_genes=41)
    for source, n_cells, asked, told in [
        (generator, 200, {"seed": 2}, "seed 1 and not 2"),
        (generator, 201, {"seed": 1}, "n_cells 200 and not 201"),
        (generator, 200, {"seed": 1, "conditions": {"cell_type": "B"}}, "conditions {} and not"),
        (generator, 200, {"seed": 1, "library": 9.0}, "library drawn and not given"),
        (other, 200, {"seed": 1}, "artifact_sha256"),
    ]:
        for resume in (False, True):
            with pytest.raises(OutputError, match=f"of another request is at .*{told}"):
                write_exprs(source, target, n_cells, resume=resume, **asked)
    line = [str(generator.path), "-n", "200", "--seed", "3", "-o", str(target), "--resume"]
    assert main(["generate", *line]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with monkeypatch.context() as patch:
        patch.setattr("vaexprs.sinks.provenance.__version__", "9.9.9")
        with pytest.raises(OutputError, match="vaexprs_version"):
            write_exprs(generator, target, 200, seed=1, resume=True)
    assert in_folder(tmp_path) == before
    write_exprs(generator, target, 200, seed=2, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.usefixtures("kept_always")
def test_an_overwriting_run_goes_on(generator: Generator, tmp_path: Path, killed: Any) -> None:
    target = write_exprs(generator, tmp_path / "cells.h5ad", 100)
    old = target.read_bytes()
    assert killed(generator, target, 200, 3, overwrite=True)
    assert target.read_bytes() == old
    with pytest.raises(OutputError, match=r"cells.h5ad exists"):
        write_exprs(generator, target, 200, resume=True)
    write_exprs(generator, target, 200, resume=True, overwrite=True)
    assert same(target, write_exprs(generator, tmp_path / "whole.h5ad", 200))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.h5ad", "whole.h5ad"]


@pytest.mark.usefixtures("kept_always")
def test_a_journal_that_cannot_be_read(
    generator: Generator, tmp_path: Path, killed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "cells.h5ad"
    assert killed(generator, target, 200, 3)
    journal = partial_of(target) / "journal"
    journal.write_bytes(journal.read_bytes()[:50])
    (partial_of(target) / "journal.safe").unlink()
    before = in_folder(tmp_path)
    line = ["generate", str(generator.path), "-n", "200", "-o", str(target)]
    for more in ([], ["--resume"]):
        assert main([*line, *more]) == 2
        assert "does not tell how to go on" in capsys.readouterr().err
    assert in_folder(tmp_path) == before
    assert main([*line, "--overwrite"]) == 0


@pytest.mark.usefixtures("kept_always")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_unfinished_run_whose_file_is_gone_starts_anew(
    generator: Generator, tmp_path: Path, suffix: str, killed: Any
) -> None:
    target = tmp_path / f"cells{suffix}"
    assert killed(generator, target, 200, 3)
    partial = partial_of(target) / target.name
    shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
    write_exprs(generator, target, 200, resume=True)
    assert same(target, write_exprs(generator, tmp_path / f"whole{suffix}", 200))


@pytest.mark.usefixtures("kept_always", "small_chunks")
@pytest.mark.parametrize(
    ("suffix", "spoil"),
    [
        (".zarr", lambda partial: (partial / "X/data/c/0").unlink()),
        (".zarr", lambda partial: os.truncate(partial / "X/indices/c/1", 20)),
        (".zarr", lambda partial: (partial / "obs/_index/c/0").unlink()),
        (".zarr", lambda partial: (partial / "obsm/z/zarr.json").unlink()),
        (".zarr", lambda partial: (partial / "zarr.json").unlink()),
        (".h5ad", lambda partial: os.truncate(partial, partial.stat().st_size // 2)),
        (".h5ad", lambda partial: os.truncate(partial, 0)),
    ],
)
def test_an_unfinished_run_that_was_damaged_is_not_gone_on_with(
    generator: Generator, tmp_path: Path, suffix: str, spoil: Any, killed: Any
) -> None:
    target = tmp_path / f"cells{suffix}"
    assert killed(generator, target, 387, 11)
    spoil(partial_of(target) / target.name)
    with pytest.raises(OutputError, match=r"unfinished run.*overwrite=True \(--overwrite\)"):
        write_exprs(generator, target, 387, resume=True)
    assert not target.exists()
    write_exprs(generator, target, 387, overwrite=True)
    assert same(target, write_exprs(generator, tmp_path / f"whole{suffix}", 387))


@pytest.mark.usefixtures("kept_always")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("safe", [True, False])
def test_after_another_start_of_the_machine_only_what_was_on_the_disk_counts(
    generator: Generator, tmp_path: Path, suffix: str, safe: bool, killed: Any, monkeypatch: Any
) -> None:
    target, first = tmp_path / f"cells{suffix}", []
    assert killed(generator, target, 200, 5)
    monkeypatch.setattr(journal, "_start", lambda: "another")
    if not safe:
        (partial_of(target) / "journal.safe").unlink()
        with pytest.raises(OutputError, match=r"0 of 200 cells .* add --resume or --overwrite"):
            write_exprs(generator, target, 200)
    write_exprs(generator, target, 200, resume=True, progress=first.append)
    assert first[0] == (160 if safe else 32)
    assert same(target, write_exprs(generator, tmp_path / f"whole{suffix}", 200))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_power_cut_brings_back_beside_a_whole_file_is_removed(
    generator: Generator, tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"cells{suffix}"
    write_exprs(generator, target, 200)
    folder = partial_of(target)

    def bring_back(*names: str) -> None:
        folder.mkdir()
        for name in ("lock", "journal", *names):
            (folder / name).write_bytes(b"")

    bring_back()
    write_exprs(generator, target, 200, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    # Not so where something is written there, or by another process.
    bring_back(target.name)
    before = in_folder(tmp_path)
    write_exprs(generator, target, 200, resume=True)
    assert in_folder(tmp_path) == before
    shutil.rmtree(folder)
    bring_back()
    with open(folder / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_exprs(generator, target, 200, resume=True)
        assert folder.exists()


CODE = """
import os, signal, sys, time
from vaexprs import write_exprs
from vaexprs.interrupts import guard_process
from vaexprs.sinks.journal import Journal
due = Journal.due
Journal.due = lambda self, n: (due(self, n), True)[1]
number, suffix = int(sys.argv[2]), sys.argv[3]
if number != signal.SIGKILL:
    guard_process()
blocks = 0
def progress(n):
    global blocks
    blocks += 1
    while blocks == 20 and not os.path.exists(f".cells{suffix}.partial/journal"):
        time.sleep(0.001)
    if blocks == 40:
        os.kill(os.getpid(), number)
write_exprs(sys.argv[1], "cells" + suffix, 3000, n_threads=2, block_size=32, progress=progress)
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_signals_leave_a_run_to_go_on_with(
    model: Path, tmp_path: Path, suffix: str, number: int
) -> None:
    """Nothing is waited for: the journal is being written at the moment of the signal."""
    words = [sys.executable, "-c", CODE, str(model), str(int(number)), suffix]
    ended = subprocess.run(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in ended.stderr
    if number != signal.SIGKILL:
        assert f"cells{suffix}: what was made so far is kept: go on with" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == [f".cells{suffix}.partial"]
    target = tmp_path / f"cells{suffix}"
    with pytest.raises(OutputError, match="add --resume or --overwrite"):
        write_exprs(model, target, 3000)
    write_exprs(model, target, 3000, resume=True)
    assert same(target, write_exprs(model, tmp_path / f"whole{suffix}", 3000))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fills_up(model: Path, tmp_path: Path, suffix: str) -> None:
    """The run ends with one sentence, and goes on when there is room."""
    room = tmp_path / "room"
    room.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(room)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root mounts a small file system")
    target = room / f"cells{suffix}"
    line = [sys.executable, "-m", "vaexprs", "generate", str(model), "-n", "30000", "-o"]
    try:
        ended = subprocess.run([*line, str(target)], stderr=subprocess.PIPE, text=True)
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert f"{target.name} was not written: the disk is full" in ended.stderr
        assert not target.exists()
        more = ["mount", "-o", "remount,size=20m", str(room)]
        subprocess.run(more, check=True, capture_output=True)
        again = subprocess.run([*line, str(target), "--resume"], capture_output=True, text=True)
        assert again.returncode == 0, again.stderr
        assert same(target, write_exprs(model, tmp_path / f"whole{suffix}", 30_000))
        assert [path.name for path in room.iterdir()] == [target.name]
    finally:
        subprocess.run(["umount", "-l", str(room)], check=True)


@pytest.mark.usefixtures("kept_always")
def test_a_state_that_cannot_be_stored(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the journal is written: the state before it counts."""
    store, stored = Journal._store, 0

    def fail(self: Journal, *args: Any) -> None:
        nonlocal stored
        stored += 1
        if stored == 3:
            raise OSError(28, "No space left on device")
        store(self, *args)

    monkeypatch.setattr(Journal, "_store", fail)
    target = tmp_path / "cells.h5ad"
    with pytest.raises(OutputError, match=r"disk is full.*is kept: go on with resume=True"):
        write_exprs(generator, target, 300)
    with pytest.raises(OutputError, match="there: 64 of 300 cells"):
        write_exprs(generator, target, 300)
    write_exprs(generator, target, 300, resume=True)
    assert same(target, write_exprs(generator, tmp_path / "whole.h5ad", 300))
