"""Arrays that grow by whole chunks: compressed on a few threads, stored in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class StoredArray(Protocol):
    """An array on disk that grows along its first axis by whole chunks."""

    chunk: tuple[int, ...]  # Shape of a chunk
    dtype: np.dtype[Any]  # Of its values; object for text.
    n_rows: int  # Rows that are stored

    def encode(self, chunk: NDArray[Any]) -> Any:
        """Return the stored form of a chunk; called on any thread."""

    def put(self, start: int, n_rows: int, encoded: Any) -> None:
        """Store a chunk of which the first `n_rows` rows count, as the rows from `start` on."""


class Queue:
    """Encodes chunks on threads of its own and stores them in the order in which they came.

    With one thread everything happens in the caller's.
    """

    def __init__(self, n_threads: int) -> None:
        self._pool = ThreadPoolExecutor(n_threads, "vaexprs-pack") if n_threads > 1 else None
        # As many chunks wait as keep the threads busy, so that memory is bounded.
        self._longest = 2 * n_threads
        self._waiting: deque[Callable[[], object]] = deque()

    def send(self, array: StoredArray, start: int, pieces: Sequence[Any]) -> None:
        """Store a chunk, given as pieces, soon: after all that were sent before it."""
        n_rows = sum(map(len, pieces))
        if self._pool is None:
            array.put(start, n_rows, _encoded(array, pieces))
            return
        encoded = self._pool.submit(_encoded, array, pieces)
        self._waiting.append(lambda: array.put(start, n_rows, encoded.result()))
        while len(self._waiting) > self._longest:
            self._waiting.popleft()()

    def call(self, function: Callable[[], object]) -> None:
        """Call a function once all that was sent before is stored, and nothing after it."""
        if self._waiting:
            self._waiting.append(function)
        else:
            function()

    def drain(self) -> None:
        """Store what waits."""
        while self._waiting:
            self._waiting.popleft()()

    def stop(self) -> None:
        """Drop what waits and end the threads."""
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _encoded(array: StoredArray, pieces: Sequence[Any]) -> Any:
    return array.encode(_joined(array, pieces))


def _joined(array: StoredArray, pieces: Sequence[Any]) -> NDArray[Any]:
    """Return a chunk: the rows of the pieces, then zeros."""
    chunk, at = np.zeros(array.chunk, array.dtype), 0
    for piece in pieces:
        chunk[at : at + len(piece)] = piece
        at += len(piece)
    return chunk


class Column:
    """Collects rows of an array until a chunk is full.

    Rows are kept as they come, and must not change: the thread that encodes a chunk joins them.
    """

    def __init__(self, array: StoredArray, queue: Queue) -> None:
        self._array, self._queue = array, queue
        self._pieces: list[Any] = []
        self._held = self._sent = 0

    @property
    def sent(self) -> int:
        """Number of rows in the chunks that were sent."""
        return self._sent

    @property
    def held(self) -> NDArray[Any]:
        """Rows that wait until their chunk is full."""
        none = np.empty((0, *self._array.chunk[1:]), self._array.dtype)
        return np.concatenate([none, *self._pieces], dtype=none.dtype, casting="unsafe")

    def start_at(self, sent: int, held: Any) -> None:
        """Go on where rows were sent and others held."""
        self._sent = self._array.n_rows = sent
        self.append(held)

    def append(self, rows: Any) -> None:
        """Take more rows."""
        while len(rows) > 0:
            taken = min(self._array.chunk[0] - self._held, len(rows))
            self._pieces.append(rows[:taken])
            self._held += taken
            rows = rows[taken:]
            if self._held == self._array.chunk[0]:
                self.close()

    def close(self) -> None:
        """Send the rows that are held."""
        if self._held:
            self._queue.send(self._array, self._sent, self._pieces)
            self._sent, self._held, self._pieces = self._sent + self._held, 0, []
