"""An interrupt that Python drops is raised again, and no handler of the caller's is touched."""

from __future__ import annotations

import signal
import sys
import threading
import weakref
from typing import Any

import pytest

from vaexprs.interrupts import remembered_interrupts


class _Thing:
    pass


def _interrupt_in_a_weak_callback(thing: list[_Thing]) -> None:
    """Send Ctrl-C where nobody can catch it; the exception is dropped."""
    watched = weakref.ref(thing[0], lambda _: signal.raise_signal(signal.SIGINT))
    thing.clear()
    assert watched() is None


def test_a_dropped_interrupt_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    _interrupt_in_a_weak_callback([_Thing()])
    assert len(dropped) == 1  # this is how Python drops one
    with remembered_interrupts() as raise_lost:
        raise_lost()
        _interrupt_in_a_weak_callback([_Thing()])
        with pytest.raises(KeyboardInterrupt):
            raise_lost()
    assert len(dropped) == 1  # it was raised, so it is not reported as dropped


def test_what_else_python_drops_is_still_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    thing = [_Thing()]
    with remembered_interrupts():
        watched = weakref.ref(thing[0], lambda _: 1 / 0)
        thing.clear()
        assert watched() is None
    assert [args.exc_type for args in dropped] == [ZeroDivisionError]


def test_an_interrupt_comes_at_once_where_it_can() -> None:
    with pytest.raises(KeyboardInterrupt), remembered_interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_waits_comes_where_it_is_asked_for() -> None:
    done = []

    def work() -> None:
        with remembered_interrupts(wait=True) as raise_lost:
            signal.raise_signal(signal.SIGINT)
            done.append("went on")
            raise_lost()
            done.append("too far")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["went on"]


@pytest.mark.parametrize(("times", "done"), [(1, ["finished"]), (2, [])])
def test_one_that_waits_comes_at_the_end_and_a_second_at_once(times: int, done: list[str]) -> None:
    got = []

    def work() -> None:
        with remembered_interrupts(wait=True):
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
            got.append("finished")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert got == done


def test_a_handler_of_the_host_stays_in_charge(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        with remembered_interrupts() as raise_lost:
            signal.raise_signal(signal.SIGINT)
            raise_lost()
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == [signal.SIGINT]


def test_other_threads_are_left_alone() -> None:
    handlers: list[Any] = []

    def work() -> None:
        with remembered_interrupts() as raise_lost:
            raise_lost()
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
