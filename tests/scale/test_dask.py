"""Lazy cells are the cells; parts made by workers, living or killed, are the parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scale.compare import in_folder
from vaexprs import ArgumentError, Generator, OutputError, gen_exprs, write_exprs
from vaexprs.cli import main
from vaexprs.scale.dask_parts import connected, write_by_dask
from vaexprs.scale.parts import prepare_parts
from vaexprs.scale.request import make_request

anndata = pytest.importorskip("anndata")
dask = pytest.importorskip("dask")
pytest.importorskip("distributed")

ASKED: dict[str, Any] = {"conditions": {"cell_type": {"NK", "B"}}, "seed": 3}


@pytest.fixture(scope="module")
def model(tiny_artifact: Any) -> Path:
    return Path(tiny_artifact(keys={"cell_type": ["B", "NK", "T"]}, n_genes=60))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with connected("local:2") as client:
        yield client


@pytest.fixture
def lazy(model: Path) -> Any:
    return Generator(model).to_dask(ASKED["conditions"], n_cells=1000, seed=3, chunk=170)


def test_nothing_is_made_before_it_is_asked_for(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Generator(model)
    monkeypatch.setattr("vaexprs.generation.decoder.Decoder.decode", None)
    cells = generator.to_dask(n_cells=1000)
    assert cells.shape == (1000, 60)
    assert cells.X.dtype == np.float32
    with pytest.raises(TypeError):
        cells.X[:3].compute(scheduler="synchronous")


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "cluster"])
def test_lazy_cells_are_the_cells(
    model: Path, lazy: Any, scheduler: str, request: pytest.FixtureRequest
) -> None:
    cells = gen_exprs(model, 1000, **ASKED)
    how = {} if scheduler == "cluster" else {"scheduler": scheduler}
    if scheduler == "cluster":
        request.getfixturevalue("cluster")
    assert lazy.obs.equals(cells.obs)
    assert list(lazy.var_names) == list(cells.var_names)
    assert np.array_equal(lazy.obsm["z"].compute(**how), cells.obsm["z"])
    values = cells.X.toarray()
    for X in (lazy.X, lazy.X.rechunk((300, 35)), lazy.X[::-1], lazy[100:800].copy().X):
        made = X.compute(**how)
        assert made.format == "csr"
        expected = {700: values[100:800]}.get(len(made.indptr) - 1, values)
        expected = expected[::-1] if X.name == lazy.X[::-1].name else expected
        assert np.array_equal(made.toarray(), expected)
    for X in (lazy.X, lazy.X.rechunk((300, 35))):
        for axis in (0, 1, None):
            for keepdims in (False, True):
                total = X.sum(axis=axis, keepdims=keepdims).compute(**how)
                assert total.dtype == np.float32
                assert np.array_equal(total, values.sum(axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("asked", [None, {"cell_type": {"NK": 30, "B": 10}}])
def test_plans_and_requests_are_one(model: Path, asked: Any) -> None:
    generator = Generator(model)
    n_cells = 40 if asked is None else None
    by_request = generator.to_dask(asked, n_cells=n_cells, first_cell=4 if asked is None else 0)
    by_plan = generator.to_dask(
        generator.plan(asked), n_cells=n_cells, first_cell=4 if asked is None else 0
    )
    assert by_plan.X.name == by_request.X.name
    assert by_plan.obs.equals(by_request.obs)
    cells = gen_exprs(model, n_cells, conditions=asked, first_cell=4 if asked is None else 0)
    assert (by_plan.X.compute(scheduler="synchronous") != cells.X).nnz == 0
    assert by_plan.uns["vaexprs"] == by_plan.uns["vaexprs"]
    assert generator.to_dask(asked, n_cells=0 if asked is None else None, seed=1).X is not None


def test_no_cells_and_small_chunks(model: Path) -> None:
    generator = Generator(model)
    assert generator.to_dask(n_cells=0).X.compute(scheduler="synchronous").shape == (0, 60)
    assert generator.to_dask(n_cells=5, chunk=1).X.numblocks == (5, 1)
    with pytest.raises(ArgumentError, match="chunk must be"):
        generator.to_dask(n_cells=5, chunk=0)


def test_names_of_keys_are_those_of_the_request(model: Path, lazy: Any) -> None:
    """In every process, whatever the order of its sets; and of no other request."""
    code = (
        "import sys; from vaexprs import Generator\n"
        "plan = {'cell_type': {'B', 'NK'}}\n"
        "print(Generator(sys.argv[1]).to_dask(plan, n_cells=1000, seed=3, chunk=170).X.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == lazy.X.name
    generator = Generator(model)
    names = {
        generator.to_dask(plan, n_cells=n, seed=seed, chunk=chunk).X.name
        for plan in (None, {"cell_type": "B"})
        for n in (10, 20)
        for seed in (0, 1)
        for chunk in (3, 4)
    }
    assert len(names) == 16


def test_workers_open_the_artifact_once_and_no_torch(lazy: Any, cluster: Any) -> None:
    lazy.X.sum().compute()

    def look() -> tuple[int, int, bool]:
        from vaexprs.scale.dask_arrays import unpack

        return unpack.cache_info().misses, os.getpid(), "torch" in sys.modules

    for misses, _, torch in cluster.run(look).values():
        assert misses <= 2  # of all requests of these tests
        assert not torch


def test_lazy_cells_are_written(model: Path, lazy: Any, cluster: Any, tmp_path: Path) -> None:
    lazy.write_zarr(tmp_path / "cells.zarr")
    made = anndata.read_zarr(tmp_path / "cells.zarr")
    assert (made.X != gen_exprs(model, 1000, **ASKED).X).nnz == 0
    lazy.to_memory().write_h5ad(tmp_path / "cells.h5ad")


@pytest.mark.slow  # scanpy compiles
@pytest.mark.filterwarnings("default")
def test_scanpy_to_the_end(model: Path, lazy: Any, cluster: Any) -> None:
    scanpy = pytest.importorskip("scanpy")
    cells = gen_exprs(model, 1000, **ASKED)
    for adata in (lazy, cells):
        scanpy.pp.normalize_total(adata, target_sum=1e4)
        scanpy.pp.log1p(adata)
        scanpy.pp.highly_variable_genes(adata, n_top_genes=20)
        scanpy.pp.pca(adata, n_comps=5, mask_var=None, svd_solver="covariance_eigh")
    assert np.allclose(lazy.X.compute().toarray(), cells.X.toarray(), rtol=1e-5)
    assert np.allclose(lazy.var["means"], cells.var["means"], rtol=1e-4)
    assert (lazy.var["highly_variable"] & cells.var["highly_variable"]).sum() >= 18
    ours, theirs = np.asarray(lazy.obsm["X_pca"]), cells.obsm["X_pca"]
    assert np.allclose(np.abs(ours), np.abs(theirs), atol=1e-2)


def test_parts_of_workers_are_the_parts(model: Path, tmp_path: Path) -> None:
    line = ["generate", str(model), "-n", "2000", "--parts", "3", "--seed", "5", "-q", "-o"]
    assert main([*line, str(tmp_path / "one.parts")]) == 0
    assert main([*line, str(tmp_path / "many.parts"), "--dask", "local:2"]) == 0
    assert in_folder(tmp_path / "one.parts") == in_folder(tmp_path / "many.parts")
    assert main([*line, str(tmp_path / "many.parts"), "--dask", "local:2"]) == 2


def test_a_worker_is_killed(model: Path, tmp_path: Path) -> None:
    n_cells, n_parts = 240_000, 4
    store = prepare_parts(
        request := make_request(
            Generator(model, n_threads=1), n_cells, conditions=None, seed=1, first_cell=0,
            library=None, return_mean=False,
        ),
        tmp_path / "run.parts", n_parts=n_parts, part_format="h5ad", overwrite=False, alone=True,
    )  # fmt: skip
    killed: list[int] = []
    with connected("local:2") as client:
        workers = list(client.run(os.getpid).values())

        def progress(n_cells: int) -> None:
            """Kill a worker once the first part is complete, when it is in the middle of one."""
            if n_cells and not killed:
                killed.append(workers[0])
                os.kill(workers[0], signal.SIGKILL)

        write_by_dask(client, request, store, progress)
        assert killed[0] not in client.run(os.getpid).values()
    single = write_exprs(
        model, tmp_path / "single.parts", n_cells, seed=1, n_parts=n_parts, part_format="h5ad"
    )
    from scale.compare import contents

    assert sorted(in_folder(single)) == sorted(in_folder(store.path))
    for part in single.glob("*.h5ad"):
        assert contents(part) == contents(store.path / part.name)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("local:0", "no number of workers"),
        ("local:x", "no number of workers"),
        ("nowhere", "no Dask scheduler answers"),
        ("tcp://127.0.0.1:1", "no Dask scheduler answers"),
    ],
)
def test_clusters_that_are_not_there(
    model: Path, tmp_path: Path, address: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaexprs.scale.dask_parts._PATIENCE", 1)
    with pytest.raises(ArgumentError, match=message):
        write_exprs(model, tmp_path / "run.parts", 10, dask=address)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArgumentError, match="all parts of a folder"):
        write_exprs(model, tmp_path / "cells.h5ad", 10, dask=address)


def test_an_error_of_a_worker_is_told(model: Path, tmp_path: Path) -> None:
    parts = write_exprs(model, tmp_path / "run.parts", 100, n_parts=2, shard=(1, 2))
    (parts / ".part-00002-of-00002.zarr.partial").write_text("in the way")
    with pytest.raises(OutputError, match=r"part-00002-of-00002\.zarr was not written"):
        write_exprs(model, parts, 100, n_parts=2, dask="local:1", resume=True)
