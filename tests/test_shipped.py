"""What ships with the package works as it came: by name, at once, and biology included."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vaexprs import Generator, load_artifact
from vaexprs.artifact.shipped import shipped_artifacts
from vaexprs.cli import main

NAMES = sorted(shipped_artifacts())
MODELS = Path(__file__).resolve().parents[1] / "models"


def test_there_is_one() -> None:
    assert "pbmc_ifnb" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_documented_and_scored(name: str) -> None:
    path = shipped_artifacts()[name]
    assert path.stat().st_size < 3e6
    spec = load_artifact(path).spec
    assert "forest_auc_components" in str(spec.quality)
    assert (MODELS / f"{name}.md").exists()
    assert (MODELS / f"make_{name}.py").exists()
    assert (MODELS / f"{name}.onnx").read_bytes() == path.read_bytes()


def expression(generator: Generator, n_cells: int, **conditions: str) -> dict[str, float]:
    """Return the mean count of each gene over cells of one kind."""
    plan = generator.plan(conditions=conditions)
    total = np.zeros(generator.spec.n_genes)
    for block in generator.blocks(plan, n_cells=n_cells, seed=1):
        total += np.bincount(block.X.indices, block.X.data, generator.spec.n_genes)
    return dict(zip(generator.spec.var_names, total / n_cells, strict=True))


def test_pbmc_kinds_carry_their_markers() -> None:
    """Markers of blood cells and of interferon, each at least thrice as high where it belongs."""
    generator = Generator("pbmc_ifnb")
    kinds = {
        kind: expression(generator, 400, cell_type=kind, condition="CTRL")
        for kind in ("B", "CD14 Mono", "NK", "CD4 Naive T")
    }
    for gene, home in {"CD79A": "B", "LYZ": "CD14 Mono", "GNLY": "NK"}.items():
        elsewhere = max(means[gene] for kind, means in kinds.items() if kind != home)
        assert kinds[home][gene] > 3 * elsewhere, gene
    for kind in ("B", "CD14 Mono", "NK"):
        stimulated = expression(generator, 400, cell_type=kind, condition="STIM")
        for gene in ("ISG15", "IFIT1", "IFIT3"):
            assert stimulated[gene] > 3 * kinds[kind][gene], (kind, gene)


def test_a_demo_without_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["demo", str(tmp_path / "file"), "--no-train"]) == 2
    assert main(["demo", str(tmp_path / "demo"), "--no-train", "-n", "100"]) == 0
    assert (tmp_path / "demo" / "generated.h5ad").exists()


def seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - started


def test_a_thousand_cells_from_a_cold_start(tmp_path: Path) -> None:
    """Under two seconds from start to a written file, where onnxruntime comes in half of one."""
    if min(seconds("import onnxruntime") for _ in range(3)) > 0.5:
        pytest.skip("this machine imports onnxruntime in more than half a second")
    target = str(tmp_path / "cells.h5ad")
    command = f"'generate', 'pbmc_ifnb', '-n', '1000', '-o', {target!r}, '--overwrite'"
    code = f"import sys; from vaexprs.cli import main; sys.exit(main([{command}]))"
    assert min(seconds(code) for _ in range(3)) < 2
