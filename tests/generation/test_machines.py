"""Cells do not depend on the instruction sets that NumPy finds."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

#: Prints a hash of all that is drawn for cells of an artifact.
SCRIPT = """
import hashlib, sys
import numpy as np
from vaexprs import Generator
digest = hashlib.sha256()
for block in Generator(sys.argv[1]).blocks(n_cells=20_000, seed=5):
    for array in (block.codes, block.z, block.library, block.X.indices, block.X.data):
        digest.update(np.ascontiguousarray(array).tobytes())
print(digest.hexdigest())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names features of x86")
def test_cells_are_those_of_a_numpy_without_vector_instructions() -> None:
    golden = Path(__file__).parents[1] / "artifact" / "golden" / "format-1-nb.onnx"

    def hash_of_cells(**environment: str) -> str:
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(golden)]
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    features = "X86_V4 X86_V3 AVX2 FMA3"
    assert hash_of_cells(NPY_DISABLE_CPU_FEATURES=features) == hash_of_cells()
