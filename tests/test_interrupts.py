"""An interrupt that Python drops is raised again, and no handler of the caller's is touched."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
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


def guarded(code: str, numbers: list[int], *, ignored: int | None = None) -> tuple[int, str, str]:
    """Run code in a guarded process, send it signals when it prints a line; return how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys, time\nfrom vaexprs import interrupts\n{code}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A parent such as nohup may ignore SIGHUP, and a child would go on to.
        preexec_fn=lambda: signal.signal(
            ignored or signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL
        ),
    )
    assert process.stdout is not None
    for number in numbers:
        process.stdout.readline()
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


LOST = """
import ctypes
interrupts.guard_process()
@ctypes.CFUNCTYPE(None)
def work():  # an exception raised here is printed and dropped
    print("ready", flush=True)
    time.sleep(30)
with interrupts.at_signal(lambda: print("cleaned", flush=True)):
    work()
print("went on", flush=True)
"""


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "ended by SIGTERM"),
        (signal.SIGHUP, "ended by SIGHUP"),
    ],
)
def test_a_guarded_process_ends_where_an_exception_would_be_lost(number: int, message: str) -> None:
    assert guarded(LOST, [number]) == (128 + number, "cleaned\n", f"vaexprs: {message}.\n")


def test_what_the_parent_ignored_stays_ignored() -> None:
    code = LOST.replace("30", "1")
    assert guarded(code, [signal.SIGHUP], ignored=signal.SIGHUP)[:2] == (0, "went on\n")


REMEMBERED = """
interrupts.guard_process()
try:
    with interrupts.remembered_interrupts(wait={wait}, critical=True) as raise_lost:
        print("ready", flush=True)
        time.sleep(1)
        print("slept", flush=True)
        time.sleep({more})
        raise_lost()
except KeyboardInterrupt:
    interrupts.ignore_signals()
    print("raised", interrupts.signal_that_came(), flush=True)
print("done", flush=True)
time.sleep(0.2)
"""


def test_only_critical_work_has_a_guarded_process_wait() -> None:
    code = REMEMBERED.format(wait=True, more=0).replace(", critical=True", "")
    assert guarded(code, [signal.SIGINT]) == (130, "", "vaexprs: interrupted.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_that_asks_for_the_exception_gets_it(number: int) -> None:
    code, out, err = guarded(REMEMBERED.format(wait=False, more=0), [number])
    assert (code, out, err) == (0, f"raised {int(number)}\ndone\n", "")
    code, out, err = guarded(REMEMBERED.format(wait=True, more=0), [number])
    assert (code, out, err) == (0, f"slept\nraised {int(number)}\ndone\n", "")
    # The second one ends the process; the one after the work is ignored.
    assert guarded(REMEMBERED.format(wait=True, more=9), [number, number])[0] == 128 + number
    assert guarded(REMEMBERED.format(wait=False, more=0), [number, number])[0] == 0


def test_a_forked_child_leaves_the_files_of_its_parent_alone() -> None:
    code = """
import os, signal
interrupts.guard_process()
with interrupts.at_signal(lambda: print("cleaned", flush=True)):
    child = os.fork()
    if child == 0:
        time.sleep(30)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    print(os.waitpid(child, 0)[1], flush=True)
"""
    assert guarded(code, []) == (0, f"{int(signal.SIGTERM)}\n", "")


def test_a_worker_whose_parent_was_killed_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"method": "none", "settings": {}}')
    worker = subprocess.Popen(
        [sys.executable, "-m", "vaexprs.embeddings"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert worker.stderr is not None
    with worker.stdin, worker.stderr:
        worker.stdout.close()
        worker.stdin.write(f"{tmp_path}\n")
        worker.stdin.flush()
        assert worker.wait(60) == 0
        assert worker.stderr.read() == ""
    assert not tmp_path.exists()
