"""A Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. Where that is the callback
of a weak reference or a destructor, nobody can catch it: it goes to `sys.unraisablehook`, which
prints it, and the work goes on. h5py keeps its open objects in a weak dictionary, so that on
Python 3.12, which handles signals between bytecodes only, a third of the interrupts of a long write
ended in that dictionary's callback. And where it is a function that a library calls while it
writes, the library sees a write that failed, from which HDF5 does not recover.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["remembered_interrupts"]


@contextlib.contextmanager
def remembered_interrupts(*, wait: bool = False) -> Iterator[Callable[[], None]]:
    """Give a function that raises the KeyboardInterrupt which came, and was lost, since.

    With `wait`, the first interrupt is raised by that function alone, so call it often, or else at
    the end; a second one comes at once.

    A handler of the caller's own stays in charge: only Python's is replaced, within this context
    and in the main thread. Elsewhere the function does nothing.
    """
    came = threading.Event()

    def remember(number: int, frame: FrameType | None) -> None:
        first = not came.is_set()
        came.set()
        if not (wait and first):
            signal.default_int_handler(number, frame)

    def raise_lost() -> None:
        if came.is_set():
            raise KeyboardInterrupt

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield raise_lost
        return

    report = sys.unraisablehook

    def report_others(lost: sys.UnraisableHookArgs) -> None:
        # One that is raised again is no news.
        if not (came.is_set() and issubclass(lost.exc_type, KeyboardInterrupt)):
            report(lost)

    sys.unraisablehook = report_others
    signal.signal(signal.SIGINT, remember)
    try:
        yield raise_lost
        if wait:
            raise_lost()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = report
