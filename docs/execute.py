"""Run every example of the book and compare its output with the page.

``python docs/execute.py SOURCE TARGET``
    Copy the pages, and the file format's, to TARGET, run their blocks, and fail where an output
    differs.
``python docs/execute.py SOURCE TARGET --write``
    The same, and write the outputs into the pages of SOURCE instead of comparing them; with
    ``--only`` into some pages.
``python docs/execute.py SOURCE TARGET --cells CELLS.h5ad [--only tutorials]``
    Take other cells where a page takes `pbmc_small`, with the same columns of ``obs`` and names of
    types, and fail where a block raises an error; outputs are not compared.

Each page runs in a process and an empty folder of its own, its ``python`` blocks in one namespace,
in order. Its pictures are then put beside it.

- The ``text`` block right after a ``python`` block is the expected output.
- A ``console`` block runs its ``$ vaexprs`` lines. ``$ cat FILE`` makes the file that it shows.
- Blocks of other languages, ``bash`` among them, are not run.

Outputs are equal word for word; ``...`` on a line of its own stands for any lines. Seconds and
hashes may differ. After ``<!-- shape -->`` so may all numbers, such as the length of a training;
after ``<!-- run -->`` all of the output, such as verdicts on a trained model, but for errors.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

BLOCK = re.compile(
    r"(?P<mark><!-- (?:shape|run) -->\n+)?^```(?P<language>\w+)\n(?P<body>.*?)^```$\n?", re.M | re.S
)
FOLLOWS = re.compile(
    r"\n*(?P<mark><!-- (?:shape|run) -->\n+)?```text\n(?P<body>.*?)^```$\n?", re.M | re.S
)
#: Pages whose examples the tests run, on files of their own.
ELSEWHERE = ("package.md", "reference/format.md")
SHORTENED = re.compile(r"^\.\.\.$", re.M)
FAILED = re.compile(r"^(Traceback|vaexprs: )", re.M)
HASH = re.compile(r"\b[0-9a-f]{16,64}\b")
NUMBER = re.compile(r"[-+\N{MINUS SIGN}]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?")


class Outcome(NamedTuple):
    """What a page's run gave: blocks, seconds, its new text, and the differences."""

    n_blocks: int
    seconds: float
    text: str
    differences: list[str]


def main() -> None:
    """Run all pages; end with 1 where an output differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--write", action="store_true", help="write outputs into SOURCE")
    parser.add_argument("--cells", type=Path, help="an .h5ad in place of pbmc_small")
    parser.add_argument("--only", default="", help="run pages whose path holds this")
    options = parser.parse_args()
    os.environ["MPLBACKEND"] = "Agg"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # pages take the cores
    if options.target.exists():
        shutil.rmtree(options.target)
    shutil.copytree(options.source, options.target, ignore=shutil.ignore_patterns("__pycache__"))
    form = options.source.parent / "models" / "FORMAT.md"
    shutil.copy(form, options.target / "reference" / "format.md")
    pages = [
        page
        for page in sorted(options.target.rglob("*.md"))
        if options.only in (name := str(page.relative_to(options.target))) and name not in ELSEWHERE
    ]
    if options.cells:
        for page in pages:
            take_cells(page, options.cells.resolve(strict=True))
    n_blocks, failed = 0, 0
    for page, outcome in outcomes(pages, write=options.write):
        name = page.relative_to(options.target)
        n_blocks += outcome.n_blocks
        if outcome.n_blocks:
            print(f"{name}: {outcome.n_blocks} blocks, {outcome.seconds:.0f} s", flush=True)
        if options.write:
            (options.source / name).write_text(outcome.text, encoding="utf-8")
        for difference in outcome.differences:
            if (options.write or options.cells) and not FAILED.search(difference):
                continue
            failed += 1
            print(f"{name}: {difference}")
    print(f"{n_blocks} blocks were run, {failed} differ")
    sys.exit(bool(failed))


def outcomes(pages: Sequence[Path], *, write: bool) -> Iterator[tuple[Path, Outcome]]:
    """Run pages in two processes, a new one for each page; yield their outcomes in order."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, max_tasks_per_child=1) as pool:
        run = partial(run_page, write=write)
        yield from zip(pages, pool.map(run, [page.resolve() for page in pages]), strict=True)


def take_cells(page: Path, cells: Path) -> None:
    """Let a page read cells from a file in place of those that come with the package."""
    text = page.read_text(encoding="utf-8")
    text = text.replace(
        'datasets.load("pbmc_small")', f'__import__("anndata").read_h5ad("{cells}")'
    )
    text = re.sub(r"^(\$ vaexprs \w+) pbmc_small\b", rf"\1 {cells}", text, flags=re.M)
    page.write_text(text, encoding="utf-8")


def run_page(page: Path, *, write: bool = False) -> Outcome:
    """Run the blocks of a page, and put the pictures they draw beside it."""
    started, text = time.monotonic(), page.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "__main__"}
    parts: list[str] = []
    differences: list[str] = []
    at = n_blocks = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for block in BLOCK.finditer(text):
            if block.start() < at or block["language"] not in ("python", "console"):
                continue
            n_blocks += 1
            mark = block["mark"] or ""
            if block["language"] == "console":
                body = console(block["body"])
                old, new = block["body"], body
                replaced = (block.start("body"), block.end("body"), body)
            else:
                shown = FOLLOWS.match(text, block.end())
                new = python(block["body"], names, page.name)
                old = shown["body"] if shown else ""
                mark += (shown["mark"] or "") if shown else ""
                place = shown.span("body") if shown else (block.end(), block.end())
                added = new if shown or not new else f"\n```text\n{new}```\n"
                replaced = (*place, added)
            if equal(old, new, shape="shape" in mark):
                # Outputs are written from one run, so that hashes and sizes agree over a page.
                if not write or SHORTENED.search(old):
                    replaced = (*replaced[:2], text[replaced[0] : replaced[1]])
            elif "run" not in mark or FAILED.search(new):
                differences.append(f"expected\n{old}\ngot\n{new}")
            parts += [text[at : replaced[0]], replaced[2]]
            at = replaced[1]
        for picture in Path().glob("*.png"):
            shutil.copy(picture, page.parent)
    seconds = time.monotonic() - started
    return Outcome(n_blocks, seconds, "".join([*parts, text[at:]]), differences)


def python(code: str, names: dict[str, Any], page: str) -> str:
    """Run a block; return what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(code, page, "exec"), names)
        except Exception:
            traceback.print_exc(file=out)
    return out.getvalue()


def console(body: str) -> str:
    """Run the commands of a transcript; return the transcript with their outputs."""
    done: list[str] = []
    for entry in re.split(r"^(?=\$ )", body, flags=re.M):
        line, _, shown = entry.partition("\n")
        words = shlex.split(line[2:], comments=True)
        output = shown
        if words[:1] == ["cat"] and not Path(words[1]).exists():
            Path(words[1]).write_text(shown)
        elif words[:1] == ["vaexprs"]:
            ran = subprocess.run(
                [sys.executable, "-m", "vaexprs", *words[1:]], capture_output=True, text=True,
                env=os.environ | {"COLUMNS": "80"},
            )  # fmt: skip
            output = ran.stdout + (ran.stderr if ran.returncode else "")
        done.append(f"{line}\n{output}" if line else "")
    return "".join(done)


def equal(old: str, new: str, *, shape: bool) -> bool:
    """Return whether two outputs agree, ``...`` in the old standing for any lines."""
    pattern = r".*".join(re.escape(plain(part, shape=shape)) for part in SHORTENED.split(old))
    return re.fullmatch(pattern.replace(r"\ ", " "), plain(new, shape=shape), re.S) is not None


def plain(text: str, *, shape: bool) -> str:
    """Return a text without what may differ."""
    lines = []
    for line in text.splitlines():
        line = HASH.sub("HASH", line)
        if shape or re.match(r"\W*seconds\b", line):
            line = NUMBER.sub("N", line)
        lines.append(re.sub(r"[ ─-]+", " ", line).strip())
    return "\n".join(line for line in lines if line)


if __name__ == "__main__":
    main()
