"""Run the commands of README.md and put what they print under them.

Usage: ``python -m benchmarks.readme.transcripts [--check]``

Commands run in a new folder, in the order of the page; what they write to stdout is shown, notes
and progress on stderr are not. With ``--check`` nothing is written, and a command that fails ends
the run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
#: Longer outputs are cut here, and say so.
MOST_LINES = 100


def main() -> None:
    """Run every console block."""
    page = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        new = re.sub(
            r"(?<=^```console\n).*?(?=^```)",
            lambda block: run_block(block[0], folder),
            page,
            flags=re.M | re.S,
        )
    if "--check" not in sys.argv:
        README.write_text(new, encoding="utf-8")


def run_block(block: str, folder: Path) -> str:
    """Run the commands of a block; return it with their outputs."""
    parts = re.split(r"^\$ ", block, flags=re.M)[1:]
    return "".join(run_command(part.partition("\n"), folder) for part in parts)


def run_command(part: tuple[str, str, str], folder: Path) -> str:
    """Run one command, or make the file that the page shows."""
    command, _, shown = part
    if command.startswith("cat "):
        (folder / command.removeprefix("cat ")).write_text(shown, encoding="utf-8")
        return f"$ {command}\n{shown}"
    environment = {**os.environ, "COLUMNS": "80"}
    words = command.replace("vaexprs", f'"{sys.executable}" -m vaexprs', 1)
    print("+", command, flush=True)
    done = subprocess.run(
        words, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"exit code {done.returncode}")
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES} lines more"]
    return "\n".join([f"$ {command}", *lines]) + "\n"


if __name__ == "__main__":
    main()
