"""``python -m vaexprs`` is the command line."""

from vaexprs.cli import run

run()
