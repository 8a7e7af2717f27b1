"""Every sink holds the same cells, is read by stock readers, and appears whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import vaexprs
from vaexprs import OutputError, gen_exprs, write_exprs
from vaexprs.sinks import h5ad
from vaexprs.sinks.deflate import PlaneDeflater

TWO_KEYS = {"cell_type": ["B", "NK", "T"], "state": ["CTRL", "STIM"]}


@pytest.fixture(scope="module")
def path(tiny_artifact: Any) -> Path:
    return Path(tiny_artifact(keys=TWO_KEYS, n_genes=150))


def assert_same(a: Any, b: Any) -> None:
    assert a.shape == b.shape
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(a.X, name), getattr(b.X, name)), name
    assert a.obs.equals(b.obs)
    assert list(a.obs.dtypes) == list(b.obs.dtypes)
    assert list(a.obs_names) == list(b.obs_names)
    assert list(a.var_names) == list(b.var_names)
    assert np.array_equal(a.obsm["z"], b.obsm["z"])
    assert set(a.uns["vaexprs"]) == set(b.uns["vaexprs"])
    for key, value in a.uns["vaexprs"].items():
        assert np.array_equal(value, b.uns["vaexprs"][key]), key


def test_the_annotated_data_of_gen_exprs(path: Path) -> None:
    pytest.importorskip("anndata")
    adata = gen_exprs(path, 100, conditions={"cell_type": "T"}, seed=3)
    assert adata.shape == (100, 150)
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert list(adata.obs.columns) == [
        "cell_type", "state", "source", "library", "unseen_combination",
    ]  # fmt: skip
    assert adata.obs["cell_type"].cat.categories.tolist() == ["B", "NK", "T"]
    assert (adata.obs["cell_type"] == "T").all()
    assert (adata.obs["source"] == "generated").all()
    assert adata.obs["unseen_combination"].dtype == bool
    assert adata.obsm["z"].shape == (100, 4)
    assert adata.var_names.tolist() == list(vaexprs.load_artifact(path).spec.var_names)
    facts = adata.uns["vaexprs"]
    assert facts["artifact_sha256"] == vaexprs.load_artifact(path).sha256
    assert facts["seed"] == 3
    assert facts["vaexprs_version"] == vaexprs.__version__


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("n_cells", [0, 1, 700])
def test_a_file_holds_what_memory_holds(
    path: Path, tmp_path: Path, suffix: str, n_cells: int
) -> None:
    anndata = pytest.importorskip("anndata")
    target = tmp_path / f"cells{suffix}"
    made = write_exprs(path, target, n_cells, seed=2**64 - 1, first_cell=31)
    read = anndata.read_h5ad(made) if suffix == ".h5ad" else anndata.read_zarr(made)
    assert_same(read, gen_exprs(path, n_cells, seed=2**64 - 1, first_cell=31))


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_expected_values(path: Path, tmp_path: Path, suffix: str) -> None:
    anndata = pytest.importorskip("anndata")
    target = tmp_path / f"cells{suffix}"
    write_exprs(path, target, 90, return_mean=True)
    read = anndata.read_h5ad(target) if suffix == ".h5ad" else anndata.read_zarr(target)
    assert isinstance(read.X, np.ndarray)
    assert np.array_equal(read.X, gen_exprs(path, 90, return_mean=True).X)
    assert read.uns["vaexprs"]["values"] == "expected"


def test_many_chunks(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anndata = pytest.importorskip("anndata")
    monkeypatch.setattr(h5ad, "_CHUNK", 1000)
    target = tmp_path / "cells.h5ad"
    write_exprs(path, target, 300)
    with h5py.File(target) as file:
        assert file["X/data"].chunks == (1000,)
        assert file["X/indptr"].dtype == np.int64
    assert_same(anndata.read_h5ad(target), gen_exprs(path, 300))


def test_backed_mode_reads_rows(path: Path, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    target = write_exprs(path, tmp_path / "cells.h5ad", 300)
    backed = anndata.read_h5ad(target, backed="r")
    assert np.array_equal(backed[10:20].X[:].toarray(), gen_exprs(path, 300).X[10:20].toarray())
    backed.file.close()


def test_condition_keys_named_like_our_columns(tiny_artifact: Any, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    model = tiny_artifact(keys={"source": ["a", "b"], "library": ["x"]})
    adata = gen_exprs(model, 20)
    assert set(adata.obs["source"]) <= {"a", "b"}
    assert (adata.obs["vaexprs_source"] == "generated").all()
    assert adata.obs["vaexprs_library"].dtype == np.float32
    assert_same(anndata.read_h5ad(write_exprs(model, tmp_path / "c.h5ad", 20)), adata)


@pytest.mark.parametrize("has_isal", [True, False])
def test_planes_make_one_zlib_stream(monkeypatch: pytest.MonkeyPatch, has_isal: bool) -> None:
    import builtins
    import zlib

    real = builtins.__import__

    def no_isal(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("isal"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    if has_isal:
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(builtins, "__import__", no_isal)
    deflater = PlaneDeflater(4)
    rng = np.random.default_rng(0)
    again = np.arange(100_000) % 1000 * 7  # a string that comes again
    # Random bytes, few of them, none; then the first plane turns into one that shrinks.
    for chunk in range(40):
        planes = rng.integers(0, [[256], [4], [1], [1]], (4, 100_000)).astype(np.uint8)
        planes[3] = again
        if chunk > 20:
            planes[0] = 7
        packed = deflater.deflate(planes)
        assert zlib.decompress(packed) == planes.tobytes()
        small = chunk > 32  # found out when it was tried again
        assert len(packed) < (31_000 if small else 131_000)


def test_a_plane_that_turns_to_noise_is_not_blown_up() -> None:
    deflater = PlaneDeflater(4)
    planes = np.zeros((4, 100_000), np.uint8)
    deflater.deflate(planes)
    planes = np.random.default_rng(0).integers(0, 256, (4, 100_000)).astype(np.uint8)
    assert len(deflater.deflate(planes)) < 1.002 * planes.size


def test_an_existing_file_is_kept(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "cells.h5ad"
    target.write_text("precious")
    with pytest.raises(OutputError, match="exists: choose another name"):
        write_exprs(path, target, 10)
    assert target.read_text() == "precious"
    write_exprs(path, target, 10, overwrite=True)
    assert h5py.is_hdf5(target)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_a_failure_leaves_nothing_and_keeps_the_old(
    path: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("anndata")
    target = write_exprs(path, tmp_path / f"cells{suffix}", 10)
    before = sorted(p.name for p in tmp_path.rglob("*"))

    def interrupt(n_cells: int) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            write_exprs(path, target, 500, overwrite=True, progress=interrupt)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before

    def full(n_cells: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    other = tmp_path / f"other{suffix}"
    with pytest.raises(OutputError, match=r"other.* was not written: the disk is full"):
        write_exprs(path, other, 500, progress=full)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("room", [1000, 60_000, 200_000])
def test_a_disk_that_fills_up(tiny_artifact: Any, tmp_path: Path, room: int) -> None:
    """A limit on the size of files stands for a full disk: HDF5 meets it in the same place.

    In the middle of its bookkeeping too, where it would crash once the file is let go.
    """
    import subprocess
    import sys

    model = tiny_artifact(n_genes=2000)
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "from vaexprs.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    target = tmp_path / "cells.h5ad"
    done = subprocess.run(
        [sys.executable, "-c", code, "generate", str(model), "-n", "3000", "-o", str(target)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("vaexprs: ")
    assert "was not written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cells.csv", "suffix must be .h5ad or .zarr"),
        ("no/such/folder/cells.h5ad", "there is no folder"),
    ],
)
def test_targets_that_are_refused(path: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        write_exprs(path, tmp_path / name, 10)
