"""The command line: ``vaexprs fit | generate | inspect | evaluate | plot | demo``.

Facts go to standard output, progress and messages to standard error. Exit codes: 0 done; 2 the
input or the request is at fault, with one sentence that says how; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    import typer

    from vaexprs.cli.app import app
    from vaexprs.errors import VaexprsError

    try:
        code = app(
            args=None if arguments is None else list(arguments),
            prog_name="vaexprs",
            standalone_mode=False,
        )
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone: end quietly, as pipes expect.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (VaexprsError, ValueError, OSError) as error:
        return _complain(str(error))
    except MemoryError:
        return _complain("there is not enough memory for this: ask for fewer cells at a time.")
    except Exception as error:
        # Newer releases of typer carry a click of their own: its errors are known by this method.
        if hasattr(error, "format_message"):
            return _complain(error.format_message())
        raise
    if code == INTERRUPTED:
        print("vaexprs: interrupted.", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    print(f"vaexprs: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT
