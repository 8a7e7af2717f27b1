"""The journal of an unfinished output: from where a run can go on after its process has ended.

Now and then a sink hands over its state: what it holds in memory besides what it has written. The
state is stored beside the partial output at once, which a kill cannot undo; and every now and
then also for a power cut, by a thread that first waits until what was written is on the disk. The
first counts until the machine is started again, then the second.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import OutputError, VaexprsError
from vaexprs.files import sync, sync_folder

State: TypeAlias = Mapping[str, NDArray[Any]]

#: Most bytes of the head of a journal; a damaged one is not read without end.
_LONGEST_HEAD = 1 << 24
#: The state that counts after a power cut.
_SAFE = "journal.safe"
#: Cells between two states, as a share of the run: what a kill costs at most.
_SHARE = 1 / 100
#: Seconds between two states: at least, for short runs; at most, for runs of hours.
_SHORTEST, _LONGEST = 0.1, 5.0
#: Seconds of work for each second that it takes to hand over a state: it costs 2 % at most.
_WORTH = 50


class Journal:
    """Stores the states of one run.

    Parameters
    ----------
    path
        The file of the journal.
    request
        What makes the run the same run, as JSON values.
    n_cells
        Cells of the run.

    Attributes
    ----------
    state
        The state to go on from, or None for a new run.
    n_done
        Cells that are in it.
    """

    def __init__(self, path: Path, request: Mapping[str, Any], n_cells: int) -> None:
        self._path, self._request, self._n_cells = path, request, n_cells
        self.state: State | None = None
        self.n_done = 0
        self._pool = ThreadPoolExecutor(1, "vaexprs-journal")
        self._syncing: Future[None] | None = None
        self._then: Callable[[], object] = lambda: None
        self._new_cells, self._n_left = 0, n_cells
        self._wait, self._last = _SHORTEST, time.perf_counter()

    def start_at(self, state: State) -> None:
        """Go on from a state."""
        self.state, self.n_done = state, int(state["n_done"])
        self._n_left = self._n_cells - self.n_done

    def due(self, n_cells: int) -> bool:
        """Return whether a state is wanted now, after so many more cells."""
        self._new_cells += n_cells
        self._n_left -= n_cells
        if self._syncing is not None and self._syncing.done():
            self.wait()
        elapsed = time.perf_counter() - self._last
        enough = self._new_cells >= self._n_cells * _SHARE or elapsed >= _LONGEST
        if not enough or elapsed < self._wait or self._n_left <= 0:
            return False
        self._last, self._new_cells = time.perf_counter(), 0
        return True

    def save(
        self,
        state: Callable[[], State],
        written: Callable[[], Iterable[Path]],
        then: Callable[[State], object] = lambda state: None,
    ) -> None:
        """Store a state.

        Parameters
        ----------
        state
            Returns it, with ``n_done``, the number of cells that are in it.
        written
            Returns the files and folders that were written since the last call, and must be on
            the disk before a state counts after a power cut.
        then
            Called with the state, in the thread of the caller, when it does.
        """
        # Of this thread alone: what it waits for, others have to do anyway.
        started = time.thread_time()
        now = state()
        self._store(now)
        if self._syncing is None:
            self._then = partial(then, now)
            self._syncing = self._pool.submit(self._sync, now, list(written()))
        self._wait = max(_SHORTEST, _WORTH * (time.thread_time() - started))

    def wait(self) -> None:
        """Wait until what was handed over is on the disk; raise what went wrong."""
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.result()
            self._then()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()

    def _store(self, state: State) -> None:
        self._replace(self._path, state, at_once=True)

    def _sync(self, state: State, written: list[Path]) -> None:
        sync(*written)
        self._replace(self._path.with_name(_SAFE), state, at_once=False)
        sync_folder(self._path.parent)

    def _replace(self, path: Path, state: State, *, at_once: bool) -> None:
        new = path.with_name(path.name + ".new")
        with open(new, "wb") as file:
            _write(file, self._request, state)
            file.flush()
            if not at_once:
                os.fsync(file.fileno())
        os.replace(new, path)


def _write(file: BinaryIO, request: Mapping[str, Any], state: State) -> None:
    """Write the length of a head, the head as JSON, and the bytes of the arrays one by one.

    Without compression or checksums, which would take longer than all the rest of a state: a
    journal gets its name when it is whole.
    """
    arrays = [(name, value.dtype.str, value.shape) for name, value in state.items()]
    head = json.dumps({"request": request, "start": _start(), "arrays": arrays}).encode()
    file.write(len(head).to_bytes(8, "little"))
    file.write(head)
    for value in state.values():
        file.write(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)


def _read(path: Path) -> tuple[dict[str, Any], State]:
    """Return the head of a journal and its arrays."""
    state = {}
    with open(path, "rb") as file:
        head = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), _LONGEST_HEAD)))
        for name, dtype, shape in head["arrays"]:
            n_bytes = np.dtype(dtype).itemsize * math.prod(shape)
            content = file.read(n_bytes)
            state[name] = np.frombuffer(content, dtype).reshape(shape)
    return head, state


def _start() -> str:
    """Return what tells the last start of the machine from others; empty where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""


def read_journal(path: Path) -> tuple[dict[str, Any], State | None]:
    """Return the request of an unfinished run, and its last state.

    The state is None where none had come to the disk before the machine was started again.

    Raises
    ------
    OutputError
        If the journal cannot be read.
    """
    reason: object = None
    request: dict[str, Any] | None = None
    for place in (path, path.with_name(_SAFE)):
        try:
            head, state = _read(place)
            request = dict(head["request"])
            int(state["n_done"])
        except Exception as error:
            reason = reason or error
            continue
        if place != path or (head["start"] == _start() != ""):
            return request, state
    if request is not None:
        return request, None
    raise damaged(path, f"it does not tell how to go on with an unfinished run ({reason})")


def damaged(path: Path, what: str) -> OutputError:
    """Return the refusal to go on with an output that is not what its journal says."""
    return OutputError(f"{path}: {what}: start the run again with overwrite=True (--overwrite).")


def other_bytes(path: Path, n_bytes: int, expected: int) -> OutputError:
    """Return the refusal of an output that is longer or shorter than its journal says."""
    return damaged(
        path, f"an unfinished run had {expected:,} bytes here, and {n_bytes:,} are there"
    )


@contextmanager
def refused_if_damaged(path: Path, state: State | None) -> Iterator[None]:
    """Refuse to go on with an output that the library of its format cannot open."""
    try:
        yield
    except (VaexprsError, MemoryError):
        raise
    except Exception as error:  # h5py and zarr each have errors of their own
        if state is None or (isinstance(error, OSError) and error.errno):  # of the system
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise damaged(path, f"an unfinished run that cannot be read ({reason})") from error
