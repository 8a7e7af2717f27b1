"""Benchmarks that the machines of the tests cannot run in earnest, tried with what they have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="no benchmarks in the sdist"),
]


def benchmark(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    there = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options],
        env=os.environ | {"PYTHONPATH": there}, capture_output=True, text=True,
    )  # fmt: skip


def gpu(*options: str) -> subprocess.CompletedProcess[str]:
    return benchmark("gpu", "--epochs", "1", "--rounds", "1", *options)


@pytest.mark.slow
def test_a_device_beside_itself_differs_in_nothing() -> None:
    done = gpu("--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "difference of losses 0.0e+00, bar 1e-02: holds" in done.stdout
    assert done.stdout.count("difference of means 0.0e+00, bar 1e-04: holds") == 5


def test_a_missing_gpu_is_said() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = gpu()
    assert done.returncode == 0, done.stderr
    assert "not fitted: device='cuda' was asked for" in done.stdout
    assert "not decoded: device='cuda' was asked for" in done.stdout


@pytest.mark.slow
def test_fits_of_few_cells_are_scored(tmp_path: Path) -> None:
    from vaexprs import datasets

    cells = tmp_path / "cells.h5ad"
    datasets.load("pbmc_small").write_h5ad(cells)
    done = benchmark("realism.few_cells", f"{cells}:cell_type", "--cells", "20", "--genes", "300")
    assert done.returncode == 0, done.stderr
    row = done.stdout.strip().splitlines()[-1].strip("| ").split(" | ")
    assert row[0] == "cells"
    latents, spread, *attacks = (float(value) for value in row[3:8])
    assert 1 <= latents <= 30
    assert 0.5 < spread < 2
    assert all(0.3 < auc <= 1 for auc in attacks)
