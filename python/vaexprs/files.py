"""Outputs that appear whole or not at all, and replace nothing but what they may.

A result is written in a folder ``.NAME.partial`` beside its target, locked by the process that
writes, and moved to its name when it is complete and on the disk. The name is predictable: what a
killed process left there is removed by the next run of the same target, or gone on from where it
keeps a journal.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from vaexprs.errors import OutputError
from vaexprs.interrupts import at_signal, remembered_interrupts

#: A regular file, or a folder that is a zarr store, a part store or a page for browsers.
Kind: TypeAlias = Literal["file", "zarr", "parts", "site"]

#: Beside a partial output: from where it can be gone on with.
JOURNAL = "journal"
_LOCK, _OLD = "lock", "old"
_WORDS = {"file": "a file", "zarr": "a zarr store", "parts": "a part store", "site": "a page"}
#: Files by which a folder is known.
_MARKS = (
    ("parts", "manifest.json"), ("zarr", "zarr.json"), ("zarr", ".zgroup"),
    ("site", "vaexprs.wasm.gz"),
)  # fmt: skip
#: Last words about a partial output with a journal.
_KEPT = (
    "what was made so far is kept: go on with resume=True (--resume), or start anew and drop it "
    "with overwrite=True (--overwrite)."
)
#: Bytes of the longest name of a file on common file systems.
_LONGEST_NAME = 255
#: Files whose bytes are awaited at once: a disk takes many in about the time of one.
_SYNCS = 8
#: Looks at a folder in which files are being replaced: each finds them a moment later.
_LOOKS = 50
#: Errors of a disk that is full: no space, a quota, a limit on the size of files.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def as_path(path: object) -> Path:
    """Return the path of an output as a `Path`; raise `OutputError` for any other type."""
    if not isinstance(path, str | os.PathLike):
        raise OutputError(f"an output is given as a path, not as {type(path).__name__}: {path!r}.")
    return Path(path)


def check_output(
    path: str | os.PathLike[str],
    *,
    suffixes: Iterable[str] = (),
    kind: Kind = "file",
    overwrite: bool = False,
) -> Path:
    """Refuse an output path before any work starts; return it as a `Path`.

    Parameters
    ----------
    path
        The output.
    suffixes
        Suffixes of which it must have one, such as ``[".png", ".pdf"]``; any if empty.
    kind
        What it may replace: a regular file, a zarr store, or a page.
    overwrite
        Whether it may replace that.

    Raises
    ------
    OutputError
        If it is no path; if the suffix is another; if something is there that is not of the kind,
        or may not be replaced; if the folder does not exist or cannot be written to.
    """
    target, suffixes = as_path(path), list(suffixes)
    if suffixes and not target.suffix and os.path.isdir(target):
        raise OutputError(
            f"{target} is a folder: name a file in it that ends in {' or '.join(suffixes)}."
        )
    if suffixes and not {target.suffix, "".join(target.suffixes[-2:])} & set(suffixes):
        raise OutputError(
            f"{target}: the suffix must be {' or '.join(suffixes)}, not {target.suffix!r}."
        )
    try:
        there = _what_is(target)
    except (OSError, ValueError) as error:
        raise _explained(error, target) from error
    if there not in (None, kind, "broken link"):
        expected = _WORDS[kind]
        there = _WORDS.get(there, there)
        raise OutputError(f"{target} is {there}, which {expected} cannot replace: choose another.")
    if there is not None and not overwrite:
        raise OutputError(
            f"{target} exists: choose another name, or ask to overwrite it "
            "(overwrite=True, at the command line --overwrite)."
        )
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"{target} cannot be written: there is no folder {str(folder)!r}.")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{target} cannot be written: no permission to write in {folder}.")
    return target


@contextlib.contextmanager
def whole_file(
    path: str | os.PathLike[str],
    *,
    kind: Kind = "file",
    overwrite: bool = False,
    unfinished: Callable[[Path], bool] | None = None,
) -> Iterator[Path]:
    """Give a temporary path to write to; move it to its own name when the block succeeds.

    Nothing is at the temporary path, which keeps the suffix. It is removed when the block raises,
    and when a signal ends the process.

    Parameters
    ----------
    path, kind, overwrite
        As in `check_output`.
    unfinished
        Keeps what was written when the block raises or the process ends, where a file `JOURNAL`
        is beside it. Where an earlier run left one, this is called with its path: it returns
        whether to go on from what is there, or raises an error, and then all stays.

    Raises
    ------
    OutputError
        As `check_output`; and where another process writes the same target, the disk is full, or
        the file cannot be written.
    """
    with whole_files([path], kind=kind, overwrite=overwrite, unfinished=unfinished) as partials:
        yield partials[0]


@contextlib.contextmanager
def whole_files(
    paths: Sequence[str | os.PathLike[str]],
    *,
    kind: Kind = "file",
    overwrite: bool = False,
    unfinished: Callable[[Path], bool] | None = None,
) -> Iterator[list[Path]]:
    """Give temporary paths to write to; all appear together when the block succeeds.

    Raises
    ------
    OutputError
        As `whole_file`. Where one of several cannot be moved to its name, although all were
        written, the message says which are there.
    """
    targets = [check_output(path, kind=kind, overwrite=overwrite) for path in paths]
    if len({os.path.abspath(target) for target in targets}) < len(targets):
        raise OutputError(
            f"two outputs have one name among {', '.join(map(str, targets))}: rename one."
        )
    with contextlib.ExitStack() as stack:
        claims = [stack.enter_context(_claimed(target, unfinished)) for target in targets]
        partials = [claim / target.name for claim, target in zip(claims, targets, strict=True)]
        for target in targets:
            check_output(target, kind=kind, overwrite=overwrite)
        done: list[Path] = []
        at = targets[0] if targets else Path()
        try:
            yield partials
            for at, partial in zip(targets, partials, strict=True):
                sync(partial)
                check_output(at, kind=kind, overwrite=overwrite)
            with remembered_interrupts(wait=True, critical=True):
                for at, partial in zip(targets, partials, strict=True):
                    _appear(partial, at)
                    partial.with_name(JOURNAL).unlink(missing_ok=True)
                    done.append(at)
        except OSError as error:
            if isinstance(error, OutputError):
                message = str(error)
                for target, partial in zip(targets, partials, strict=True):
                    message = message.replace(str(partial), str(target))
                raise OutputError(message) from error
            kept = unfinished is not None and claims[0].joinpath(JOURNAL).exists()
            raise _explained(error, at, done, kept=kept) from error


def partial_of(target: Path) -> Path:
    """Return the folder in which a target is written."""
    name = f".{target.name}.partial"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.partial"
    return target.with_name(name)


def remove_leftover(target: Path) -> None:
    """Remove the folder of a target's partial if nothing is written there any more.

    A power cut can bring it back after the partial was moved to its name. A folder with a partial
    in it, or of another process, stays.
    """
    folder = partial_of(target)
    if not folder.is_dir() or os.path.lexists(folder / target.name):
        return
    with contextlib.suppress(OSError):
        _drop(folder, _take(folder, target))


@contextlib.contextmanager
def _claimed(target: Path, unfinished: Callable[[Path], bool] | None) -> Iterator[Path]:
    """Make the folder of a target's partial, or take over an abandoned one."""
    folder = partial_of(target)
    journal = folder / JOURNAL
    with contextlib.ExitStack() as stack:
        with remembered_interrupts(wait=True, critical=True):
            try:
                lock = _take(folder, target)

                def let_go() -> str:
                    if unfinished is not None and journal.exists():
                        os.close(lock)
                        return f"{target}: {_KEPT}"
                    _drop(folder, lock)
                    return ""

                stack.callback(let_go)
                stack.enter_context(at_signal(let_go))
                _restore(folder, target)
                there = unfinished is not None and journal.exists()
                if not (there and unfinished is not None and unfinished(journal)):
                    journal.unlink(missing_ok=True)
                    _empty(folder)
            except OSError as error:
                if isinstance(error, OutputError):
                    raise
                raise _explained(error, target) from error
        yield folder


def _take(folder: Path, target: Path) -> int:
    """Return an open, locked file in the folder: whoever holds it owns the folder."""
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                # A file in place of a folder raises NotADirectoryError. An owner makes the lock
                # first and removes it last; a thread of one that was interrupted may write some
                # part of the output after that.
                there = set(os.listdir(folder))
                ours = _LOCK in there or there <= {target.name}
                if folder.is_symlink() or not ours:
                    raise OutputError(
                        f"{target} cannot be written: {folder} is in the way, and was not made by "
                        "vaexprs: move it."
                    ) from None
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # its owner has removed it just now
            continue
        if not _lock(lock):
            os.close(lock)
            raise OutputError(
                f"{target} is being written by another process: wait for it, or choose another "
                "name."
            )
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(folder / _LOCK)):
                return lock
        os.close(lock)


def _lock(file: int) -> bool:
    """Lock an open file if nobody else has, until it is closed or the process ends."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _restore(folder: Path, target: Path) -> None:
    """Put a store back that an earlier run had set aside."""
    old = folder / _OLD
    if os.path.lexists(old) and not os.path.lexists(target):
        os.replace(old, target)


def _empty(folder: Path) -> None:
    """Remove all that is in a folder, but for the lock."""
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left.name != _LOCK:
            left.unlink()


def _drop(folder: Path, lock: int) -> None:
    """Remove a folder and let its lock go.

    The lock is removed after all else: from then on the folder may be another process's, and only
    an empty one is removed.
    """
    for _ in range(50):  # a thread may still be writing a file, for a moment
        try:
            _empty(folder)
            break
        except OSError:
            time.sleep(0.01)
    if sys.platform == "win32":  # where an open file cannot be removed
        os.close(lock)
    with contextlib.suppress(OSError):
        os.unlink(folder / _LOCK)
        os.rmdir(folder)
    if sys.platform != "win32":
        os.close(lock)


def _appear(partial: Path, target: Path) -> None:
    """Move a complete output to its name; a folder there is set aside first."""
    old = partial.with_name(_OLD)
    if target.is_dir():
        os.replace(target, old)
    try:
        os.replace(partial, target)
    except OSError:
        if os.path.lexists(old):
            os.replace(old, target)
        raise
    sync_folder(target.parent)


def sync(*paths: Path) -> None:
    """Wait until files, and folders with all that is in them, are on the disk.

    Another thread may write in the folders meanwhile. Where it gives a temporary file its name
    between our look and our turn, the folder is looked at again.
    """
    from concurrent.futures import ThreadPoolExecutor

    files, folders = [path for path in paths if not path.is_dir()], list(paths)
    with ThreadPoolExecutor(_SYNCS) as pool:
        list(pool.map(_sync_file, files))
        for _ in range(_LOOKS):
            found = [each for folder in folders for each in os.walk(folder)]
            files = [Path(folder, name) for folder, _, names in found for name in names]
            gone = [file for file in pool.map(_gone_before_synced, files) if file is not None]
            list(pool.map(sync_folder, [Path(folder) for folder, _, _ in found]))
            folders = list({file.parent for file in gone})
            if not folders:
                return
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(gone[0]))


def _gone_before_synced(path: Path) -> Path | None:
    """Wait until a file is on the disk; return its path where it is no longer there."""
    try:
        _sync_file(path)
    except FileNotFoundError:
        return path
    return None


def _sync_file(path: Path) -> None:
    # Windows syncs only what may be written.
    file = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    # Not every system and file system can sync a folder.
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def bytes_at(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 where nothing is."""
    try:
        if not path.is_dir():
            return path.stat().st_size
        return sum(bytes_at(entry) for entry in path.iterdir())
    except OSError:  # gone in the meantime
        return 0


def _what_is(path: Path) -> str | None:
    """Return what lies at a path: a `Kind`, another word for it, or None for nothing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "broken link" if path.is_symlink() else None
    except NotADirectoryError:
        return None
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        for word, name in _MARKS:
            if (path / name).is_file():
                return word
        return "a folder"
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _explained(
    error: Exception, target: Path, done: Sequence[Path] = (), *, kept: bool = False
) -> OutputError:
    # HDF5 reports the system's errno in its text only.
    full = getattr(error, "errno", None) in FULL or any(
        os.strerror(number) in str(error) for number in FULL
    )
    reason = (
        "the disk is full, or a quota is reached: free some space or write elsewhere"
        if full
        else " ".join(str(error).split())
    )
    there = f" ({', '.join(map(str, done))}: written)" if done else ""
    then = f" {_KEPT[0].upper()}{_KEPT[1:]}" if kept else ""
    return OutputError(f"{target} was not written: {reason}{there}.{then}")
