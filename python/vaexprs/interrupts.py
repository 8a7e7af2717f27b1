"""Signals that end a run: none is lost, and nothing half-written stays behind.

Python raises KeyboardInterrupt wherever the main thread happens to be. In the callback of a weak
reference, in a destructor or in a function that compiled code calls, nobody can catch it: it is
printed or swallowed, and the work goes on. h5py, numba and llvmlite all have such places; and an
import that it cuts becomes an ImportError.

So a process of the command line (`guard_process`) raises nothing. A signal removes the files that
are being written and ends the process at once. Where the work can do better, as training, which
keeps its best weights, it asks for the exception (`remembered_interrupts`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

TYPE_CHECKING = False  # `typing` is slow to import, and signals are not heard meanwhile
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

#: Ctrl-C; what schedulers, containers and ``timeout`` send; a terminal that closes.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
#: Run, the last first, when a signal ends the process.
_cleanups: list[Callable[[], object]] = []
#: The last signal that was remembered.
_came: int | None = None
#: The process that `guard_process` was called in.
_guarded: int | None = None


def guard_process() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end this process at once, with exit code 128 + number.

    Files named by `at_signal` are removed first. Signals that the parent had ignored, as
    ``nohup`` does, stay so.
    """
    global _guarded
    _guarded = os.getpid()
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end_process)


def ignore_signals() -> None:
    """Ignore the three signals: the work is done, and only the interpreter has to end."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def signal_that_came() -> int | None:
    """Return the number of the signal that last was remembered, or None."""
    return _came


@contextlib.contextmanager
def at_signal(cleanup: Callable[[], object]) -> Iterator[None]:
    """Call `cleanup` when a signal ends the process within the block.

    A text that it returns is added to the last words of the process.
    """
    _cleanups.append(cleanup)
    try:
        yield
    finally:
        _cleanups.remove(cleanup)


@contextlib.contextmanager
def remembered_interrupts(
    *, wait: bool = False, critical: bool = False
) -> Iterator[Callable[[], None]]:
    """Give a function that raises the KeyboardInterrupt which came, and was lost, since.

    With `wait`, the first interrupt is raised by that function alone, so call it often, or else at
    the end; a second one comes at once. In a guarded process, which a signal can end anywhere,
    only `critical` work has it wait.

    A handler of the caller's own stays in charge: only Python's is replaced, and those of
    `guard_process`, within this context and in the main thread. Elsewhere the function does
    nothing.
    """
    if wait and not critical and _guarded == os.getpid():
        yield lambda: None
        return
    came = threading.Event()

    def remember(number: int, frame: FrameType | None) -> None:
        global _came
        first, _came = not came.is_set(), number
        came.set()
        if wait and first:
            return
        if wait and number in ends:
            _end_process(number, frame)
        signal.default_int_handler(number, frame)

    def raise_lost() -> None:
        if came.is_set():
            raise KeyboardInterrupt

    ours = (signal.default_int_handler, _end_process)
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        before = {number: handler for number, handler in before.items() if handler in ours}
    if not before:
        yield raise_lost
        return
    ends = {number for number, handler in before.items() if handler is _end_process}
    report = sys.unraisablehook

    def report_others(lost: sys.UnraisableHookArgs) -> None:
        # One that is raised again is no news.
        if not (came.is_set() and issubclass(lost.exc_type, KeyboardInterrupt)):
            report(lost)

    sys.unraisablehook = report_others
    for number in before:
        signal.signal(number, remember)
    try:
        yield raise_lost
        if wait:
            raise_lost()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = report


def _end_process(number: int, frame: FrameType | None) -> NoReturn:
    if os.getpid() != _guarded:  # a child that was forked: the files are its parent's
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    ignore_signals()
    more = ""
    for cleanup in reversed(_cleanups):
        with contextlib.suppress(Exception):
            said = cleanup()
            more += f" {said}" if isinstance(said, str) and said else ""
    # A progress bar hides the cursor of a terminal.
    clear = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""
    how = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    with contextlib.suppress(OSError):
        os.write(2, f"{clear}vaexprs: {how}.{more}\n".encode())
    os._exit(128 + number)
