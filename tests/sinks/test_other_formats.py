"""Matrices for SciPy, the layout of 10x and Arrow record batches hold the cells of `gen_exprs`."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaexprs import ArgumentError, OutputError, gen_exprs, write_exprs
from vaexprs.sinks import base

pytest.importorskip("anndata")
pytest.importorskip("scipy")

KEYS = {"cell_type": ["B", "NK", "T"], "state": ["CTRL", "STIM"]}


@pytest.fixture(scope="module")
def model(tiny_artifact: Any) -> Path:
    return Path(tiny_artifact(keys=KEYS, n_genes=150))


@pytest.fixture(scope="module")
def whole(model: Path) -> Any:
    return gen_exprs(model, 500, seed=3, first_cell=7)


def write(model: Path, path: Any, **options: Any) -> Any:
    return write_exprs(model, path, 500, seed=3, first_cell=7, block_size=64, **options)


def test_npz(model: Path, whole: Any, tmp_path: Path) -> None:
    from scipy import sparse

    path = write(model, tmp_path / "cells.npz")
    assert (sparse.load_npz(path) != whole.X).nnz == 0
    assert [p.name for p in tmp_path.iterdir()] == ["cells.npz"]
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["var_names"].tolist() == whole.var_names.tolist()
        assert arrays["obs_names"].tolist() == whole.obs_names.tolist()
        assert np.array_equal(arrays["z"], whole.obsm["z"])
        for name in KEYS:
            labels = arrays[f"categories/{name}"][arrays[f"obs/{name}"]]
            assert labels.tolist() == whole.obs[name].tolist()
        assert np.array_equal(arrays["obs/library"], whole.obs["library"])
        assert json.loads(str(arrays["vaexprs"]))["seed"] == 3


def test_condition_keys_named_like_columns_of_ours(tiny_artifact: Any, tmp_path: Path) -> None:
    ipc = pytest.importorskip("pyarrow.ipc")
    named = ["cell", "z", "indices", "values", "vaexprs_cell"]
    model = tiny_artifact(keys={name: ["a", "b"] for name in named})
    made = gen_exprs(model, 20)
    with ipc.open_file(str(write_exprs(model, tmp_path / "cells.arrow", 20))) as file:
        table = file.read_all()
    assert len(set(table.column_names)) == len(table.column_names)
    for name in named:
        assert table[name].to_pylist() == made.obs[name].tolist()
    assert table["vaexprs_vaexprs_cell"].to_pylist() == made.obs_names.tolist()
    assert np.array_equal(np.array(table["vaexprs_z"].to_pylist(), np.float32), made.obsm["z"])
    assert table["vaexprs_values"].combine_chunks().flatten().to_pylist() == made.X.data.tolist()
    write_exprs(model, tmp_path / "matrix.mtx.gz", 20)
    with gzip.open(tmp_path / "obs.tsv.gz", "rt") as table:
        head = table.readline().rstrip("\n").split("\t")
    assert head[:2] == ["vaexprs_vaexprs_cell", "cell"]
    assert len(set(head)) == len(head)


def test_quotes_in_the_tables_of_mtx(tiny_artifact: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    model = tiny_artifact(keys={"cell_type": ['"B cell', '"CD14" Mono', '5" T', "NK"]})
    made = gen_exprs(model, 40)
    write_exprs(model, tmp_path / "matrix.mtx.gz", 40)
    table = pandas.read_csv(tmp_path / "obs.tsv.gz", sep="\t")
    assert table["cell_type"].tolist() == made.obs["cell_type"].tolist()


@pytest.mark.parametrize("name", ["cells.npz", "matrix.mtx.gz", "cells.arrow", None])
def test_what_always_starts_anew_is_not_gone_on_with(
    model: Path, tmp_path: Path, name: str | None
) -> None:
    target: Any = io.BytesIO() if name is None else tmp_path / name
    with pytest.raises(ArgumentError, match="always starts at its first cell"):
        write(model, target, resume=True)
    assert not list(tmp_path.iterdir())


def test_npz_of_expected_values(model: Path, tmp_path: Path) -> None:
    path = write(model, tmp_path / "cells.npz", return_mean=True)
    with np.load(path) as arrays:
        mean = gen_exprs(model, 500, seed=3, first_cell=7, return_mean=True)
        assert np.array_equal(arrays["X"], mean.X)


@pytest.mark.parametrize("prefix", ["", "run1_"])
def test_the_layout_of_10x(model: Path, whole: Any, tmp_path: Path, prefix: str) -> None:
    scanpy = pytest.importorskip("scanpy")
    write(model, tmp_path / f"{prefix}matrix.mtx.gz")
    names = ["barcodes.tsv.gz", "features.tsv.gz", "matrix.mtx.gz", "obs.tsv.gz"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [prefix + name for name in names]
    read = scanpy.read_10x_mtx(tmp_path, prefix=prefix)
    assert (read.X != whole.X).nnz == 0
    assert read.obs_names.tolist() == whole.obs_names.tolist()
    assert read.var_names.tolist() == whole.var_names.tolist()
    text = gzip.decompress((tmp_path / f"{prefix}obs.tsv.gz").read_bytes()).decode()
    head, *rows = (line.split("\t") for line in text.splitlines())
    assert head == ["cell", *whole.obs.columns]
    assert [row[1] for row in rows] == whole.obs["cell_type"].tolist()
    # and as cells to learn from
    from vaexprs.data.open import open_cells

    assert (open_cells(tmp_path).matrix() != whole.X).nnz == 0


def test_values_that_are_not_whole_come_back_from_mtx(model: Path, tmp_path: Path) -> None:
    from scipy.io import mmread

    write(model, tmp_path / "cells.mtx.gz", return_mean=True)
    assert (tmp_path / "cells.barcodes.tsv.gz").exists()
    read = mmread(tmp_path / "cells.mtx.gz").toarray().T.astype(np.float32)
    mean = gen_exprs(model, 500, seed=3, first_cell=7, return_mean=True).X
    assert np.array_equal(read, mean)


def check_batches(batches: Any, schema: Any, whole: Any) -> None:
    table = [row for batch in batches for row in batch.to_pylist()]
    assert [row["cell"] for row in table] == whole.obs_names.tolist()
    for name in (*KEYS, "library", "unseen_combination", "source"):
        assert [row[name] for row in table] == whole.obs[name].tolist()
    assert np.array_equal(np.array([row["z"] for row in table], np.float32), whole.obsm["z"])
    for row, cell in zip(table, whole.X, strict=True):
        assert row["indices"] == cell.indices.tolist()
        assert row["values"] == cell.data.tolist()
    assert json.loads(schema.metadata[b"var_names"]) == whole.var_names.tolist()
    assert json.loads(schema.metadata[b"vaexprs"])["seed"] == 3


def test_arrow_in_a_file(model: Path, whole: Any, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    with pa.OSFile(str(write(model, tmp_path / "cells.arrow"))) as file:
        reader = pa.ipc.open_file(file)
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        assert len(batches) > 5
        check_batches(batches, reader.schema, whole)


def test_arrow_on_standard_output_is_not_mixed_with_messages(model: Path, whole: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    command = ["generate", model, "-n", 500, "--seed", 3, "--first-cell", 7, "-o", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "vaexprs", *map(str, command), "--format", "arrow", "--json"],
        capture_output=True, check=True,
    )  # fmt: skip
    reader = pa.ipc.open_stream(done.stdout)
    check_batches(list(reader), reader.schema, whole)
    assert json.loads(done.stderr)["n_cells"] == 500


def test_a_reader_of_the_stream_that_goes_ends_it_quietly(model: Path) -> None:
    pytest.importorskip("pyarrow")
    command = ["generate", model, "-n", 1_000_000, "-o", "-", "--format", "arrow", "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-m", "vaexprs", *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100_000)
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_arrow_of_expected_values(model: Path, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    with pa.OSFile(str(write(model, tmp_path / "cells.arrow", return_mean=True))) as file:
        rows = pa.ipc.open_file(file).read_all()["values"].to_pylist()
    mean = gen_exprs(model, 500, seed=3, first_cell=7, return_mean=True)
    assert np.array_equal(np.array(rows, np.float32), mean.X)


@pytest.mark.parametrize("name", ["cells.npz", "matrix.mtx.gz", "cells.arrow"])
def test_what_fails_leaves_nothing(
    model: Path, tmp_path: Path, name: str, monkeypatch: Any
) -> None:
    if name.endswith("arrow"):
        pytest.importorskip("pyarrow")
    (tmp_path / "other").touch()

    def fails(n_cells: int) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write(model, tmp_path / name, progress=fails)
    assert [p.name for p in tmp_path.iterdir()] == ["other"]


def test_files_beside_a_matrix_are_not_replaced_unasked(model: Path, tmp_path: Path) -> None:
    (tmp_path / "features.tsv.gz").write_text("mine")
    with pytest.raises(OutputError, match=r"features.tsv.gz exists"):
        write(model, tmp_path / "matrix.mtx.gz")
    assert (tmp_path / "features.tsv.gz").read_text() == "mine"
    write(model, tmp_path / "matrix.mtx.gz", overwrite=True)


def test_standard_output_and_its_format_go_together(model: Path, capsys: Any) -> None:
    from vaexprs.cli import main

    assert main(["generate", str(model), "-n", "5", "-o", "-"]) == 2
    assert main(["generate", str(model), "-n", "5", "-o", "a.arrow", "--format", "arrow"]) == 2
    assert capsys.readouterr().err.count("go together") == 2


def test_every_suffix_is_known_by_its_end() -> None:
    assert base.check_target("a.b.mtx.gz").name == "a.b.mtx.gz"
    with pytest.raises(OutputError, match=r"the suffix must be .*\.mtx\.gz"):
        base.check_target("a.gz")
