"""The driver of hostile files reports what fails, by the number of the mutant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.torch,  # mutants are made by onnx, which comes with it
    pytest.mark.skipif(not (ROOT / "fuzz").exists(), reason="the checkout is not beside them"),
]

#: Stands in for read_mutants: ends in SIGABRT at a file of just these bytes.
PROGRAM = """
import os, sys
from fuzz.artifacts import mutant
stream, files = sys.stdin.buffer, 0
while size := stream.read(8):
    if stream.read(int.from_bytes(size, "little")) == mutant(0, {bad}):
        os.abort()
    files += 1
print(files, "refused at once, 0 while generating, 0 gave cells")
"""


@pytest.mark.parametrize("bad", [None, 3])
def test_the_mutant_that_crashes_a_program_is_named(tmp_path: Path, bad: int | None) -> None:
    program = tmp_path / "program"
    lines = PROGRAM.format(bad=10**6 if bad is None else bad)
    program.write_text(f"#!{sys.executable}\n{lines}")
    program.chmod(0o755)
    code = (
        "import sys, fuzz.reader as r; r.save = lambda *of: print('saved', *of); "
        "sys.argv[1:] = [sys.argv[1], '--mutants', '5']; r.main()"
    )
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", code, str(program)],
        env=os.environ | {"PYTHONPATH": places}, capture_output=True, text=True,
    )  # fmt: skip
    if bad is None:
        assert done.returncode == 0, done.stderr
        assert "5 mutants of seed 0 from 0: 5 refused at once" in done.stdout
        assert "0 findings" in done.stdout
    else:
        assert done.returncode == 1, done.stderr
        assert "finding: mutant 3 of seed 0" in done.stdout
        assert "saved artifacts 0 3" in done.stdout
        assert "1 findings" in done.stdout
