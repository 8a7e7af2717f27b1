"""The command line: ``vaexprs fit | generate | inspect | evaluate | plot | web | demo``.

Facts go to standard output, progress and messages to standard error. Exit codes:

- 0: done;
- 1: an error of vaexprs itself; its traceback is in the log file that the message names;
- 2: the input or the request is at fault, with one sentence that says how;
- 128 + number of the signal: ended by Ctrl-C (130), SIGTERM (143) or SIGHUP (129).
"""

from __future__ import annotations

import os
import sys

from vaexprs.interrupts import guard_process, ignore_signals, signal_that_came

TYPE_CHECKING = False  # `typing` is slow to import, and signals are not heard meanwhile
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

__all__ = ["main", "run"]

#: Exit codes: of a fault of ours, of input that is refused (as argparse and click have it), and of
#: Ctrl-C (128 + SIGINT, as shells have it).
INTERNAL_ERROR = 1
BAD_INPUT = 2
INTERRUPTED = 130


def run() -> NoReturn:
    """Run the command line as a process of its own, guarded from its first line."""
    guard_process()
    code = main()
    ignore_signals()
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line within a process and return its exit code.

    Parameters
    ----------
    arguments
        Those of the command line; by default ``sys.argv[1:]``. ``--debug`` may stand anywhere.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        from vaexprs.cli.app import app

        code = app(args=arguments, prog_name="vaexprs", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone: end quietly, as pipes expect.
        _drop_output()
        return 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = _failed(error, debug, arguments)
    if code == INTERRUPTED:
        code = 128 + (signal_that_came() or INTERRUPTED - 128)
        print("vaexprs: interrupted.", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _failed(error: Exception, debug: bool, arguments: Sequence[str]) -> int:
    """Say in one sentence what failed; return the exit code."""
    import traceback

    import typer

    from vaexprs.errors import VaexprsError
    from vaexprs.files import FULL

    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if debug:
        traceback.print_exception(error)
    if isinstance(error, VaexprsError):
        return _complain(str(error), BAD_INPUT)
    if isinstance(error, MemoryError):
        text = "there is not enough memory: ask for less at a time, such as fewer cells or latents."
        return _complain(text, BAD_INPUT)
    if isinstance(error, OSError) and error.errno in FULL:
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        return _complain(f"a disk, or what standard output leads to, is full ({error}).", BAD_INPUT)
    # Newer releases of typer carry a click of their own: its errors are known by this method.
    if hasattr(error, "format_message"):
        return _complain(error.format_message(), BAD_INPUT)
    log = _write_log("".join(traceback.format_exception(error)), arguments)
    return _complain(
        f"an error of vaexprs itself, {type(error).__name__}: {error} (the traceback is in {log}; "
        "please report it)",
        INTERNAL_ERROR,
    )


def _drop_output() -> None:
    """Discard what standard output still buffers, which cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, code: int) -> int:
    print(f"vaexprs: {' '.join(message.split())}", file=sys.stderr)
    return code


def _write_log(text: str, arguments: Sequence[str]) -> str:
    """Write a traceback to a new file in the folder for temporary files; return its path."""
    import platform
    import tempfile

    from vaexprs._version import __version__

    system = f"vaexprs {__version__}, Python {platform.python_version()}, {platform.platform()}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="vaexprs-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(f"{system}\nvaexprs {' '.join(arguments)}\n\n{text}")
    except OSError:
        return "no file: the folder for temporary files cannot be written to"
    return file.name
