"""Benchmarks that the machines of the tests cannot run in earnest, tried with what they have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def gpu(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--epochs", "1", "--rounds", "1", *options]
    there = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        command, env=os.environ | {"PYTHONPATH": there}, capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="benchmarks are not in the sdist")
def test_a_device_beside_itself_differs_in_nothing() -> None:
    done = gpu("--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "difference of losses 0.0e+00, bar 1e-02: holds" in done.stdout
    assert done.stdout.count("difference of means 0.0e+00, bar 1e-04: holds") == 5


@pytest.mark.torch
@pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="benchmarks are not in the sdist")
def test_a_missing_gpu_is_said() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = gpu()
    assert done.returncode == 0, done.stderr
    assert "not fitted: device='cuda' was asked for" in done.stdout
    assert "not decoded: device='cuda' was asked for" in done.stdout
