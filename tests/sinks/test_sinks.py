"""Every sink holds the same cells, is read by stock readers, and appears whole or not at all."""

from __future__ import annotations

import errno
import json
import shutil
import zlib
from collections import namedtuple
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import vaexprs
from vaexprs import ArgumentError, OutputError, gen_exprs, write_exprs
from vaexprs.cli import main
from vaexprs.sinks import base, h5ad, memory, provenance, zarr_store

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
    monkeypatch.setattr(h5ad.Hdf5Store, "chunk", 1000)
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


def test_files_are_the_same_without_isal(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anndata = pytest.importorskip("anndata")
    monkeypatch.setattr(h5ad, "isal_zlib", zlib)
    target = write_exprs(path, tmp_path / "cells.h5ad", 300)
    assert_same(anndata.read_h5ad(target), gen_exprs(path, 300))


def contents(target: Path) -> list[Any]:
    """Return the files of a zarr store; of an HDF5 file all that is stored, wherever in it."""
    if target.is_dir():
        files = sorted(p for p in target.rglob("*") if p.is_file())
        return [(str(p.relative_to(target)), p.read_bytes()) for p in files]
    found: list[Any] = []
    with h5py.File(target) as file:

        def take(name: str, item: Any) -> None:
            attributes = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
            found.append((name, attributes))
            if isinstance(item, h5py.Dataset):
                found.append((item.dtype, item.shape, item.chunks, item.compression))
                if item.chunks is None or item.dtype.hasobject:
                    found.append(np.asarray(item[()]).tolist())
                else:
                    found.append(item[()].tobytes())  # the values first, then how they are packed
                    numbers = range(item.id.get_num_chunks())
                    infos = sorted(item.id.get_chunk_info(n).chunk_offset for n in numbers)
                    found.extend(item.id.read_direct_chunk(offset) for offset in infos)

        file.visititems(take)
    assert len(found) > 20
    return found


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_files_do_not_depend_on_threads(
    path: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr")
    monkeypatch.setattr(h5ad.Hdf5Store, "chunk", 1000)
    monkeypatch.setattr(zarr_store.ZarrStore, "chunk", 1000)
    made = []
    for n_threads in (1, 3, 3):
        generator = vaexprs.Generator(path, n_threads=n_threads, block_size=64)
        target = write_exprs(generator, tmp_path / f"{len(made)}{suffix}", 1500)
        made.append(contents(target))
    assert made[0] == made[1] == made[2]


def test_a_sink_of_ones_own(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new format is a class and a line, for Python and for the command line."""

    class Lines:
        """One JSON object a cell."""

        aborted = False

        def __init__(self, target: Path) -> None:
            self.target = target

        def open(self, run: base.Run) -> None:
            self.file = self.target.open("w")
            self.run = run
            self.at = run.first_cell

        def write(self, block: vaexprs.Block) -> None:
            for name, row in zip(
                self.run.cell_names(self.at, block.n_cells), block.X.to_dense(), strict=True
            ):
                self.file.write(json.dumps({"cell": name, "x": row.tolist()}) + "\n")
            self.at += block.n_cells

        def commit(self) -> None:
            self.file.close()

        def abort(self) -> None:
            self.file.close()
            Lines.aborted = True

    monkeypatch.setattr(base, "SINKS", dict(base.SINKS))
    with pytest.raises(OutputError, match=r"suffix must be .h5ad or .*, not '.jsonl'"):
        write_exprs(path, tmp_path / "cells.jsonl", 300, seed=5)
    base.register(".jsonl", Lines)
    target = write_exprs(path, tmp_path / "cells.jsonl", 300, seed=5)
    cells = [json.loads(line) for line in target.read_text().splitlines()]
    adata = gen_exprs(path, 300, seed=5)
    assert [cell["cell"] for cell in cells] == adata.obs_names.tolist()
    assert np.array_equal(np.array([cell["x"] for cell in cells], np.float32), adata.X.toarray())

    by_command = tmp_path / "by_command.jsonl"
    arguments = ["generate", str(path), "-n", "300", "--seed", "5", "-o", str(by_command)]
    assert main(arguments) == 0
    assert by_command.read_bytes() == target.read_bytes()

    def fail(n_cells: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_exprs(path, tmp_path / "none.jsonl", 300, progress=fail)
    assert Lines.aborted
    assert sorted(p.name for p in tmp_path.iterdir()) == ["by_command.jsonl", "cells.jsonl"]


def test_a_sink_is_filled_or_fails(path: Path) -> None:
    generator = vaexprs.Generator(path)
    facts = provenance.provenance(generator, conditions=None, seed=0, first_cell=0, n_cells=10)
    run = base.Run(generator.spec, 10, 0, dense=False, uns=facts, name="cell")
    assert base.fill(memory.MemorySink(), run, generator.blocks(n_cells=10)).n_obs == 10
    with pytest.raises(OutputError, match="10 cells were expected and 9 came"):
        base.fill(memory.MemorySink(), run, generator.blocks(n_cells=9))


REQUESTS: list[dict[str, Any]] = [
    {},
    {"conditions": {"cell_type": "NK"}},
    {"conditions": {"cell_type": {"NK", "B"}, "state": "STIM"}},
    {"conditions": {"cell_type": {"NK": 20, "B": 40}}},
    {"conditions": {"cell_type": ["NK", "B", "B"] * 20}},
    {"conditions": [{"cell_type": "T", "n_cells": 60}, {"state": "CTRL", "n_cells": 7}]},
    {"library": 500.0},
    {"library": np.linspace(100, 900, 60)},
    {"return_mean": True},
]


@pytest.mark.parametrize("asked", REQUESTS)
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_the_request_is_read_back(
    path: Path, tmp_path: Path, asked: dict[str, Any], suffix: str
) -> None:
    anndata = pytest.importorskip("anndata")
    target = write_exprs(path, tmp_path / f"a{suffix}", 60, seed=2**64 - 1, **asked)
    read = anndata.read_h5ad if suffix == ".h5ad" else anndata.read_zarr
    first = read(target)
    request = provenance.request_of(first.uns)
    assert request["conditions"] == asked.get("conditions")
    again = read(write_exprs(path, tmp_path / f"b{suffix}", **request))
    if not asked.get("return_mean"):
        assert_same(first, again)
    assert list(first.obs_names) == list(again.obs_names)
    made = gen_exprs(path, request.pop("n_cells"), **request)
    if suffix == ".h5ad":
        made.write_h5ad(tmp_path / "c.h5ad")  # what anndata writes is read back too
        made = anndata.read_h5ad(tmp_path / "c.h5ad")
    assert provenance.request_of(made.uns)["conditions"] == asked.get("conditions")


def test_names_of_cells_are_unique_over_requests(path: Path) -> None:
    names = [gen_exprs(path, 60, **asked).obs_names for asked in REQUESTS]
    names.append(gen_exprs(path, 60, seed=1).obs_names)
    assert len(set().union(*names)) == 60 * len(names)
    sha256 = vaexprs.load_artifact(path).sha256
    assert names[0][7] == f"{sha256[:8]}_0_7"
    assert all(len(part) == len(set(part)) for part in names)


def test_names_of_cells_are_those_of_their_request(path: Path) -> None:
    def names(n_cells: int = 60, **asked: Any) -> list[str]:
        return gen_exprs(path, n_cells, **asked).obs_names.tolist()

    nk = {"cell_type": "NK"}
    assert names(conditions=nk) == names(conditions={"cell_type": {"NK"}})
    assert names(conditions={"cell_type": {"B", "NK"}}) == names(
        conditions={"cell_type": frozenset(["NK", "B"])}
    )
    parts = names(25, conditions=nk) + names(35, conditions=nk, first_cell=25)
    assert parts == names(conditions=nk)
    assert names(conditions={}) != names(conditions=nk)


@pytest.mark.parametrize(
    ("uns", "message"),
    [
        ({}, "no record of a request"),
        ({"vaexprs": {"artifact_sha256": "00", "vaexprs_version": "0.0.1"}}, "by version 0.0.1"),
        ({"vaexprs": 3}, "no record of a request"),
    ],
)
def test_cells_without_a_request(uns: dict[str, Any], message: str) -> None:
    with pytest.raises(vaexprs.DataError, match=message):
        provenance.request_of(uns)


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
        ("cells.csv", r"suffix must be .h5ad or .* or .parts, not .\.csv"),
        ("no/such/folder/cells.h5ad", "there is no folder"),
    ],
)
def test_targets_that_are_refused(path: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        write_exprs(path, tmp_path / name, 10)


@pytest.mark.parametrize("name", ["cells.h5ad", "cells.zarr", "cells.npz", "cells.mtx.gz"])
@pytest.mark.parametrize("return_mean", [False, True])
def test_a_run_that_no_disk_could_hold_is_refused_at_once(
    path: Path, tmp_path: Path, name: str, return_mean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = namedtuple("Usage", "total used free")(10**12, 0, 2 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    if return_mean and name.startswith("cells.mtx"):
        pytest.skip("holds no expected values")
    target = tmp_path / "there" / name
    target.parent.mkdir()
    with pytest.raises(OutputError, match=r"10,000,000,000 cells take [\d,.]+ GB or more, and 2"):
        write_exprs(path, target, 10**10, return_mean=return_mean)
    assert not list(target.parent.iterdir())


@pytest.mark.parametrize("target", [None, 3, ["cells.h5ad"]])
def test_targets_that_are_no_path_are_refused(path: Path, target: Any) -> None:
    with pytest.raises(OutputError, match="an output is given as a path, not as"):
        write_exprs(path, target, 10)


@pytest.mark.parametrize("options", [{"n_parts": 3}, {"part_format": "h5ad"}], ids=str)
def test_options_of_part_stores_are_refused_elsewhere(
    path: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ArgumentError, match=r"n_parts and part_format are of part stores"):
        write_exprs(path, tmp_path / "cells.h5ad", 10, **options)
