"""Parts of a run are the run; a request is made again from the cells that it made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaexprs import ArgumentError, ConditionError, Generator, gen_exprs, write_exprs
from vaexprs.cli import main

anndata = pytest.importorskip("anndata")


@pytest.fixture(scope="module")
def path(tiny_artifact: Any) -> Path:
    return Path(tiny_artifact(keys={"cell_type": ["B", "NK", "T"]}, n_genes=40))


def assert_same(a: Any, b: Any) -> None:
    assert (a.X != b.X).nnz == 0
    assert a.obs.equals(b.obs)
    assert np.array_equal(a.obsm["z"], b.obsm["z"])


@pytest.mark.parametrize("n", [1, 3, 7])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"conditions": {"cell_type": {"NK": 150, "B": 50}}},
        {"conditions": {"cell_type": ["B", "T"] * 100}, "library": np.arange(1.0, 201)},
    ],
)
def test_the_shards_are_the_run(path: Path, n: int, asked: dict[str, Any]) -> None:
    generator = Generator(path)
    parts = [gen_exprs(generator, 200, shard=(k, n), seed=3, **asked) for k in range(1, n + 1)]
    sizes = [part.n_obs for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert_same(anndata.concat(parts, merge="same"), gen_exprs(path, 200, seed=3, **asked))


def test_more_shards_than_cells(path: Path) -> None:
    generator = Generator(path)
    parts = [gen_exprs(generator, 3, shard=(k, 5)) for k in range(1, 6)]
    assert sorted(part.n_obs for part in parts) == [0, 0, 1, 1, 1]
    assert_same(anndata.concat(parts, merge="same"), gen_exprs(generator, 3))


def test_a_shard_of_a_virtual_run(path: Path, tmp_path: Path) -> None:
    made = write_exprs(path, tmp_path / "a.h5ad", 10**12, shard=(10**11, 10**11))
    assert anndata.read_h5ad(made).obs_names[-1].endswith(f"_{10**12 - 1}")
    assert_same(anndata.read_h5ad(made), gen_exprs(path, 10, first_cell=10**12 - 10))


@pytest.mark.parametrize("shard", [(0, 3), (4, 3), (1,), "1/3", (1.0, 3), 3, (1, 0)])
def test_shards_that_are_none(path: Path, shard: Any) -> None:
    with pytest.raises(ArgumentError, match="shard must be"):
        gen_exprs(path, 10, shard=shard)


def test_numbers_of_cells_beyond_all_bounds(path: Path, tmp_path: Path) -> None:
    for n_cells in (2**62, 2**63 - 1):
        with pytest.raises(ArgumentError, match="more than one output can hold"):
            write_exprs(path, tmp_path / "a.h5ad", n_cells)
        with pytest.raises(ArgumentError, match="more than one output can hold"):
            gen_exprs(path, n_cells)
    with pytest.raises(ArgumentError, match="1,000,000,000,000 cells do not fit into memory"):
        gen_exprs(path, 10**12)
    with pytest.raises((ArgumentError, ConditionError)):
        gen_exprs(path, 2**63)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_like_repeats_a_request(path: Path, tmp_path: Path, suffix: str) -> None:
    read = anndata.read_h5ad if suffix == ".h5ad" else anndata.read_zarr
    shutil.copy(path, tmp_path / path.name)
    first, again = tmp_path / f"first{suffix}", tmp_path / f"again{suffix}"
    asked = ["-n", "90", "--seed", "8", "--condition", "cell_type=NK", "--library", "70"]
    assert main(["generate", str(path), *asked, "--shard", "2/3", "-o", str(first)]) == 0
    assert main(["generate", "--like", str(first), "-o", str(again), "-q"]) == 0
    assert read(first).n_obs == 30
    assert_same(read(first), read(again))
    assert list(read(first).obs_names) == list(read(again).obs_names)


def test_like_without_its_artifact(
    path: Path, tmp_path: Path, tiny_artifact: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = write_exprs(path, tmp_path / "cells.h5ad", 5)
    out = ["--like", str(cells), "-o", str(tmp_path / "out.h5ad")]
    other = str(tiny_artifact(n_genes=41))
    assert main(["generate", *out]) == 2
    assert "which is not beside it: name it as MODEL" in capsys.readouterr().err
    assert main(["generate", other, *out]) == 2
    assert "is not." in capsys.readouterr().err
    assert main(["generate", str(path), *out, "-n", "5"]) == 2
    assert "leave the others out" in capsys.readouterr().err
    assert main(["generate", str(path), *out]) == 0


def test_like_of_cells_that_nobody_generated(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = tmp_path / "real.h5ad"
    anndata.AnnData(np.ones((3, 4), np.float32)).write_h5ad(real)
    arguments = ["generate", str(path), "--like", str(real), "-o", str(tmp_path / "out.h5ad")]
    assert main(arguments) == 2
    assert "no record of a request" in capsys.readouterr().err
