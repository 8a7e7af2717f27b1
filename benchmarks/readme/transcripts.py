"""Run the commands of README.md and put what they print under them.

Usage: ``python -m benchmarks.readme.transcripts DATA_FOLDER [--check]``

``DATA_FOLDER`` holds ``pbmc_ifnb.h5ad``, which is parted here as README.md says: 70 % of the cells
of each combination in ``train.h5ad``, the rest in ``test.h5ad``. Commands run in a new folder, in
the order of the page; what they write to stdout is shown, progress on stderr is not. With
``--check`` nothing is written, and a command that fails ends the run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cells import read, split

README = Path(__file__).resolve().parents[2] / "README.md"
KEYS = ["cell_type", "condition"]
#: Longer outputs are cut here, and say so.
MOST_LINES = 60


def main() -> None:
    """Run every console block."""
    arguments = [word for word in sys.argv[1:] if word != "--check"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    page = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        part_cells(Path(arguments[0]) / "pbmc_ifnb.h5ad", folder)
        new = re.sub(
            r"(?<=^```console\n).*?(?=^```)",
            lambda block: run_block(block[0], folder),
            page,
            flags=re.M | re.S,
        )
    if "--check" not in sys.argv:
        README.write_text(new, encoding="utf-8")


def part_cells(path: Path, folder: Path) -> None:
    """Write ``train.h5ad`` and ``test.h5ad``."""
    for name, cells in zip(("train", "test"), split(read(path, KEYS), KEYS), strict=True):
        cells.write_h5ad(folder / f"{name}.h5ad", compression="gzip")


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
    environment = {**os.environ, "COLUMNS": "92"}
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
