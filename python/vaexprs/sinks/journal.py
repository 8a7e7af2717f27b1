"""The journal of an unfinished output: from where a run can go on after its process has ended.

Now and then a sink hands over its state: what it holds in memory besides what it has written. The
state is stored beside the partial output, after what was written is on the disk, by a thread of
its own: a kill or a power cut leaves the last state or the one before it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import OutputError
from vaexprs.files import sync, sync_folder

State: TypeAlias = Mapping[str, NDArray[Any]]

#: Cells between two states, as a share of the run: what a kill costs at most.
_SHARE = 1 / 100
#: Seconds between two states: at least, for short runs; at most, for runs of hours.
_SHORTEST, _LONGEST = 0.1, 5.0
#: Seconds of work for each second that it takes to hand over a state.
_WORTH = 100


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
        self._saving: Future[None] | None = None
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
        if self._saving is not None:
            if not self._saving.done():
                return False
            self.wait()
        elapsed = time.perf_counter() - self._last
        enough = self._new_cells >= self._n_cells * _SHARE or elapsed >= _LONGEST
        return enough and elapsed >= self._wait and self._n_left > 0

    def save(
        self,
        state: Callable[[], State],
        written: Callable[[], Iterable[Path]],
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Store a state soon.

        Parameters
        ----------
        state
            Returns it, with ``n_done``, the number of cells that are in it.
        written
            Returns the files and folders that must be on the disk before it counts; called after
            `state`.
        then
            Called, in the thread of the caller, when it counts.
        """
        started = time.perf_counter()
        self._then = then
        self._saving = self._pool.submit(self._store, state(), list(written()))
        self._last, self._new_cells = time.perf_counter(), 0
        self._wait = max(_SHORTEST, _WORTH * (self._last - started))

    def wait(self) -> None:
        """Wait until what was handed over counts; raise what went wrong."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()
            self._then()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()

    def _store(self, state: State, written: list[Path]) -> None:
        sync(*written)
        new = self._path.with_name(self._path.name + ".new")
        request = np.array(json.dumps(self._request))
        with open(new, "wb") as file:
            np.savez(file, allow_pickle=False, request=request, **state)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)
        sync_folder(self._path.parent)


def read_journal(path: Path) -> tuple[dict[str, Any], State]:
    """Return the request of an unfinished run, and its last state.

    Raises
    ------
    OutputError
        If the journal cannot be read.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            state = dict(stored)
        request = json.loads(str(state.pop("request")))
        int(state["n_done"])
    except Exception as error:
        raise OutputError(
            f"{path} does not tell how to go on with an unfinished run ({error}): start it again "
            "with overwrite=True (--overwrite)."
        ) from error
    return request, state
