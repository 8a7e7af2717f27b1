"""A part store: made in any order, joined into the file of the single run, or refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from scale.compare import contents, in_folder
from vaexprs import ArgumentError, Generator, OutputError, gen_exprs, write_exprs
from vaexprs.cli import main
from vaexprs.scale.merge import merge
from vaexprs.scale.parts import open_parts
from vaexprs.sinks import h5ad, zarr_store

anndata = pytest.importorskip("anndata")
zarr = pytest.importorskip("zarr")


@pytest.fixture(scope="module")
def generator(tiny_artifact: Any) -> Generator:
    keys = {"cell_type": ["B", "NK", "T"], "day": ["1", "2"]}
    return Generator(tiny_artifact(keys=keys, n_genes=40), n_threads=1)


ASKED: list[dict[str, Any]] = [
    {},
    {"conditions": {"cell_type": {"NK": 150, "B": 50}}},
    {"conditions": {"cell_type": ["B", "T"] * 100}, "library": np.arange(1.0, 201)},
    {"library": 70.0, "first_cell": 11},
    {"return_mean": True},
]


@pytest.mark.parametrize("part_format", ["zarr", "h5ad"])
@pytest.mark.parametrize("asked", ASKED)
def test_parts_joined_are_the_single_run(
    generator: Generator, tmp_path: Path, part_format: Any, asked: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(h5ad.Hdf5Store, "chunk", 500)
    monkeypatch.setattr(zarr_store.ZarrStore, "chunk", 300)
    parts = tmp_path / "run.parts"
    for k in (3, 1, 2):
        write_exprs(generator, parts, 200, shard=(k, 3), part_format=part_format, seed=3, **asked)
    for suffix in (".h5ad", ".zarr"):
        single = write_exprs(generator, tmp_path / f"single{suffix}", 200, seed=3, **asked)
        joined = merge(parts, tmp_path / f"joined{suffix}", n_threads=2)
        assert contents(single) == contents(joined)
    cells = gen_exprs(generator, 200, seed=3, **asked)
    read = anndata.read_zarr if part_format == "zarr" else anndata.read_h5ad
    by_anndata = anndata.concat(
        [read(path) for path in open_parts(parts).there().values()], merge="same"
    )[cells.obs_names]
    assert by_anndata.obs.astype(str).equals(cells.obs.astype(str))
    assert np.array_equal(np.asarray(by_anndata.X.sum(axis=0)), np.asarray(cells.X.sum(axis=0)))


def test_all_parts_by_one_process(generator: Generator, tmp_path: Path) -> None:
    parts = write_exprs(generator, tmp_path / "run.parts", 50, part_format="h5ad")
    store = open_parts(parts)
    assert store.n_parts == len(store.there()) == 16
    assert sum(store.cells(k)[1] for k in store.numbers) == 50
    with pytest.raises(OutputError, match="exists"):
        write_exprs(generator, parts, 50, part_format="h5ad")
    write_exprs(generator, parts, 50, part_format="h5ad", resume=True)  # all is there
    store.part(4).unlink()
    with pytest.raises(OutputError, match="same request is there: 47 of 50 cells"):
        write_exprs(generator, parts, 50, part_format="h5ad")
    write_exprs(generator, parts, 50, part_format="h5ad", resume=True)
    assert len(store.there()) == 16
    write_exprs(generator, parts, 60, n_parts=2, part_format="h5ad", overwrite=True)
    assert sorted(path.name for path in parts.iterdir()) == [
        "manifest.json", "part-00001-of-00002.h5ad", "part-00002-of-00002.h5ad",
    ]  # fmt: skip


def test_scverse_reads_a_part_store(generator: Generator, tmp_path: Path) -> None:
    pytest.importorskip("xarray")
    cells = gen_exprs(generator, 90, seed=1)
    for part_format in ("zarr", "h5ad"):
        folder = tmp_path / f"{part_format}.parts"
        write_exprs(generator, folder, 90, seed=1, n_parts=3, part_format=part_format)
        paths = [path for _, path in sorted(open_parts(folder).there().items())]
        opened = [anndata.experimental.read_lazy(path) for path in paths]
        lazy = anndata.concat(opened)
        assert lazy.shape == (90, 40)
        assert (lazy.X.compute() != cells.X).nnz == 0
        assert list(lazy.obs_names) == list(cells.obs_names)
    backed = [anndata.read_h5ad(path, backed="r") for path in paths]
    collection = anndata.experimental.AnnCollection(backed, join_vars="inner", index_unique=None)
    assert (cells.X[20:70] != collection[20:70].X).nnz == 0
    for part in backed:
        part.file.close()


# The manifest is no part of a zarr hierarchy, which zarr says of a folder that is listed.
@pytest.mark.filterwarnings("ignore:Object at manifest.json")
def test_zarr_parts_are_a_collection_of_annbatch(generator: Generator, tmp_path: Path) -> None:
    parts = tmp_path / "run.parts"
    for k in (2, 1, 3):
        write_exprs(generator, parts, 60, shard=(k, 3), seed=1)
    group = zarr.open_group(str(parts), mode="r")
    assert dict(group.attrs)["encoding-type"] == "annbatch-preshuffled"
    names = sorted(name for name in group.keys() if name.startswith("dataset_"))  # noqa: SIM118
    assert names == ["dataset_0", "dataset_1", "dataset_2"]
    made = anndata.concat([anndata.read_zarr(parts / name) for name in names])
    cells = gen_exprs(generator, 60, seed=1)
    assert (made.X != cells.X).nnz == 0
    assert list(made.obs_names) == list(cells.obs_names)
    # Made anew: nothing of the old store stays.
    write_exprs(generator, parts, 60, n_parts=2, part_format="h5ad", seed=1, overwrite=True)
    names = sorted(path.name for path in parts.iterdir())
    assert names == ["manifest.json", "part-00001-of-00002.h5ad", "part-00002-of-00002.h5ad"]


@pytest.mark.filterwarnings("ignore")
def test_annbatch_reads_zarr_parts(generator: Generator, tmp_path: Path) -> None:
    annbatch = pytest.importorskip("annbatch")
    parts = write_exprs(generator, tmp_path / "run.parts", 60, n_parts=3, seed=1)
    collection = annbatch.DatasetCollection(str(parts), mode="r")
    assert not collection.is_empty
    cells = gen_exprs(generator, 60, seed=1)
    assert list(collection.obs()["cell_type"]) == list(cells.obs["cell_type"])


def test_a_virtual_run(generator: Generator, tmp_path: Path) -> None:
    """One part of more than a million million cells costs what its cells cost."""
    parts = tmp_path / "run.parts"
    write_exprs(generator, parts, 2**40, shard=(2**36, 2**38), library=500.0)
    store = open_parts(parts)
    assert store.cells(2**36) == (2**38 - 4, 4)
    made = anndata.read_zarr(store.part(2**36))
    assert (made.X != gen_exprs(generator, 4, first_cell=2**38 - 4, library=500.0).X).nnz == 0


@pytest.fixture(scope="module")
def whole_store(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "run.parts"
    return Path(write_exprs(generator, folder, 90, n_parts=3))


@pytest.fixture
def store(whole_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_store, tmp_path / "run.parts"))


def edit(store: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    change(manifest)
    (store / "manifest.json").write_text(json.dumps(manifest))


def move(part: Path, path: str, at: int, by: int) -> None:
    array = zarr.open_group(part, mode="r+")[path]
    values = array[:]
    values[at] += by
    array[:] = values


PART = "part-00002-of-00003.zarr"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: shutil.rmtree(s / PART), "lacks 1 of 3 parts, such as part-00002"),
        (lambda s: shutil.copytree(s / PART, s / "part-00004-of-00003.zarr"), "none of the 3"),
        (lambda s: shutil.copytree(s / PART, s / "part-00002-of-00004.zarr"), "none of the 3"),
        (lambda s: (s / "part-00002-of-00003.h5ad").touch(), "none of the 3"),
        (
            lambda s: (
                shutil.rmtree(s / PART),
                shutil.copytree(s / "part-00001-of-00003.zarr", s / PART),
            ),
            "is no part of the run of the manifest: it has .*first_cell 0 and not 30",
        ),
        (
            lambda s: edit(s, lambda m: m["run"].update(artifact_sha256="0" * 64)),
            "no part of the run of the manifest: it has artifact_sha256",
        ),
        (lambda s: edit(s, lambda m: m["run"].update(seed=1)), "it has seed 0 and not 1"),
        (lambda s: edit(s, lambda m: m["run"].update(n_cells=91)), "n_cells 30 and not 31"),
        (lambda s: edit(s, lambda m: m.update(n_parts=4)), "none of the 4"),
        (lambda s: edit(s, lambda m: m.update(n_parts=10**18)), "no manifest"),
        (lambda s: edit(s, lambda m: m.update(n_parts=-1)), "no manifest"),
        (lambda s: edit(s, lambda m: m.update(suffix=".csv")), "no manifest"),
        (lambda s: edit(s, lambda m: m.update(format_version=9)), "version 9"),
        (lambda s: (s / "manifest.json").write_text("{"), "cannot be read"),
        (lambda s: (s / "manifest.json").write_text("[]"), "no manifest"),
        (lambda s: (s / "manifest.json").unlink(), "there is no manifest.json in it"),
        (lambda s: (shutil.rmtree(s), s.write_text("hi")), "is a file: expected a folder .parts"),
        (lambda s: (s / PART / "zarr.json").unlink(), "damaged"),
        (lambda s: shutil.rmtree(s / PART / "X" / "data" / "c"), "damaged"),
        (lambda s: shutil.rmtree(s / PART / "obsm" / "z"), "damaged"),
        (lambda s: (s / PART / "X" / "data" / "c" / "0").write_bytes(b"half"), "damaged"),
        (lambda s: move(s / PART, "X/indptr", -1, 10**6), "lacks some of their arrays or values"),
        (lambda s: move(s / PART, "X/indptr", 0, 1), "lacks some of their arrays or values"),
    ],
)
def test_stores_that_are_refused(
    store: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    spoil(store)
    before = in_folder(store)
    out = tmp_path / "all.h5ad"
    with pytest.raises(OutputError, match=message):
        merge(store, out)
    assert main(["merge", str(store), "-o", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()
    assert in_folder(store) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.parts"]


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none.parts is not there: expected a folder .parts"):
        merge(tmp_path / "none.parts", tmp_path / "all.h5ad")
    assert not list(tmp_path.iterdir())


def test_a_part_that_is_truncated(generator: Generator, tmp_path: Path) -> None:
    parts = Path(write_exprs(generator, tmp_path / "a.parts", 90, n_parts=2, part_format="h5ad"))
    path = parts / "part-00002-of-00002.h5ad"
    whole = path.read_bytes()
    for length in (len(whole) // 2, 100, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(OutputError, match=r"part-00002-of-00002\.h5ad is damaged"):
            merge(parts, tmp_path / "all.h5ad")
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        del file["obs/library"]
    with pytest.raises(OutputError, match="lacks some of their arrays"):
        merge(parts, tmp_path / "all.h5ad")
    path.unlink()
    path.mkdir()
    with pytest.raises(OutputError, match=r"part-00002-of-00002\.h5ad is a folder"):
        merge(parts, tmp_path / "all.h5ad")


def test_parts_of_another_run_are_not_mixed(store: Path, generator: Generator) -> None:
    before = in_folder(store)
    for asked in ({"seed": 1}, {"conditions": {"cell_type": "B"}}, {"n_parts": 4}):
        with pytest.raises(OutputError, match="holds the parts of another run"):
            write_exprs(generator, store, 90, **{"n_parts": 3, **asked})
    with pytest.raises(OutputError, match=r"another run .*seed 0 and not 2"):
        write_exprs(generator, store, 90, shard=(1, 3), seed=2, overwrite=True)
    assert in_folder(store) == before


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"shard": (4, 3)}, "shard must be"),
        ({"shard": (1, 3), "n_parts": 4}, "none of 4 parts"),
        ({"n_parts": 0}, "n_parts must be a whole number >= 1"),
        ({"n_parts": 2.0}, "n_parts must be a whole number >= 1"),
        ({"part_format": "csv"}, "must be zarr or h5ad"),
    ],
)
def test_requests_of_parts_that_are_refused(
    generator: Generator, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        write_exprs(generator, tmp_path / "run.parts", 90, **asked)
    assert list(tmp_path.iterdir()) == []


def test_targets_of_another_kind(generator: Generator, tmp_path: Path) -> None:
    (tmp_path / "file.parts").write_text("precious")
    (tmp_path / "folder.parts").mkdir()
    (tmp_path / "folder.parts" / "precious").touch()
    write_exprs(generator, tmp_path / "cells.zarr", 5)
    (tmp_path / "cells.zarr").rename(tmp_path / "cells.parts")
    before = in_folder(tmp_path)
    for name in ("file", "folder", "cells"):
        with pytest.raises(OutputError, match="which a part store cannot replace"):
            write_exprs(generator, tmp_path / f"{name}.parts", 5, overwrite=True)
    assert in_folder(tmp_path) == before
    (tmp_path / "empty.parts").mkdir()
    write_exprs(generator, tmp_path / "empty.parts", 5, n_parts=1)
