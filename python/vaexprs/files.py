"""Files that appear whole or not at all.

A result is written under a temporary name in the folder it belongs to and moved to its final name
when it is complete, so that no reader and no crash ever meets half of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from vaexprs.errors import OutputError

__all__ = ["check_output", "whole_file"]


def check_output(
    path: str | os.PathLike[str], *, suffixes: Iterable[str] = (), overwrite: bool = False
) -> Path:
    """Refuse an output path before any work starts.

    Parameters
    ----------
    path
        The output.
    suffixes
        Suffixes of which it must have one, such as ``[".png", ".pdf"]``; any if empty.
    overwrite
        Whether it may replace an existing file.

    Raises
    ------
    OutputError
        If the path exists and `overwrite` is false, or its folder does not exist or cannot be
        written to.
    """
    target, suffixes = Path(path), list(suffixes)
    if suffixes and target.suffix not in suffixes:
        raise OutputError(
            f"{target}: the suffix must be {' or '.join(suffixes)}, not {target.suffix!r}."
        )
    if target.exists() and not overwrite:
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
def whole_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; move it to its final name when the block succeeds.

    The temporary path does not exist yet; a file or a folder may be made there. It is removed
    when the block raises, whatever it raises.

    Raises
    ------
    OutputError
        As `check_output`, and where the disk is full or the file cannot be written.
    """
    target = check_output(path, overwrite=overwrite)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    # The name inside keeps its suffix, by which some libraries choose a format.
    partial = folder / target.name
    try:
        yield partial
        if target.exists() and not overwrite:
            raise OutputError(f"{target} came into being meanwhile and is left as it is.")
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        os.replace(partial, target)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise _explained(error, target) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _explained(error: OSError, target: Path) -> OutputError:
    # HDF5 reports the system's errno in its text only.
    # A limit on the size of files, as quotas and shells set, is met in the same places.
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(
        os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    )
    reason = (
        "the disk is full, or a quota is reached: free some space or write elsewhere"
        if full
        else " ".join(str(error).split())
    )
    return OutputError(f"{target} was not written: {reason}.")
