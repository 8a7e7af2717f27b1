"""``python -m vaexprs`` is the command line."""

from vaexprs.cli import run

if __name__ == "__main__":  # and not a worker process, which imports it too
    run()
