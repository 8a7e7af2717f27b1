"""A fit from a file that is read in chunks is the fit in memory, to the last bit."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from vaexprs.data import read_expression
from vaexprs.data.matrices import chunked
from vaexprs.data.matrices.chunked import Chunked
from vaexprs.errors import DataError

torch = pytest.importorskip("torch")
anndata = pytest.importorskip("anndata")
pytestmark = pytest.mark.torch


@pytest.fixture
def small_chunks(monkeypatch: Any) -> None:
    """Cut matrices into chunks of 64 rows, as if they were large."""
    monkeypatch.setattr(chunked, "_MOST_ROWS", 64)
    monkeypatch.setattr(chunked, "_STEP", 64)
    monkeypatch.setattr("vaexprs.data.expression._ROWS_PER_READ", 32)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


def forms(adata: Any, folder: Any) -> dict[str, Any]:
    adata.write_h5ad(folder / "cells.h5ad")
    adata.write_zarr(folder / "cells.zarr")
    return {
        "h5ad": folder / "cells.h5ad",
        "zarr": folder / "cells.zarr",
        "backed": anndata.read_h5ad(folder / "cells.h5ad", backed="r"),
    }


def fit(data: Any, tiny: dict[str, Any], **options: Any) -> Any:
    from vaexprs import fit_vae

    return fit_vae(data, condition_keys=["cell_type", "batch"], **{**tiny, **options})


def assert_same(read: Any, whole: Any) -> None:
    assert read.history == whole.history
    weights = whole.vae.state_dict()
    for name, value in read.vae.state_dict().items():
        assert torch.equal(value, weights[name]), name
    for name in ("weights", "means", "tril"):
        one, other = (getattr(fitted.spec.prior, name) for fitted in (read, whole))
        np.testing.assert_array_equal(one, other)
    assert read.spec.normalisation == whole.spec.normalisation
    assert read.spec.provenance["data"] == whole.spec.provenance["data"]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson", "zigamma", "gaussian",
                                        "bernoulli"])  # fmt: skip
def test_every_likelihood(tmp_path, tiny, values_for, likelihood):
    adata = values_for(likelihood)
    whole = fit(adata, tiny, likelihood=likelihood)
    files = forms(adata, tmp_path)
    for name in files if likelihood == "nb" else ["h5ad"]:
        read = fit(files[name], tiny, likelihood=likelihood, in_memory=False)
        assert_same(read, whole)
    np.testing.assert_array_equal(read.encode(tmp_path / "cells.h5ad"), whole.encode(adata))


@pytest.mark.usefixtures("small_chunks")
def test_plain_layers_and_counts_behind_logged_values(tmp_path, tiny, simulated):
    scanpy = pytest.importorskip("scanpy")
    adata = simulated.copy()
    scanpy.pp.normalize_total(adata, target_sum=1e4)
    scanpy.pp.log1p(adata)
    options = {"encoder": [(16, "relu")], "decoder": [(16, "relu")], "epochs": 2}
    whole = fit(adata, tiny, **options)
    assert whole.spec.likelihood == "nb"
    read = fit(forms(adata, tmp_path)["h5ad"], tiny, in_memory=False, **options)
    assert_same(read, whole)


@pytest.mark.usefixtures("small_chunks")
def test_chunks_change_a_fit_by_rounding_and_order_alone(tiny, simulated, monkeypatch):
    in_chunks = fit(simulated, tiny)
    monkeypatch.undo()
    at_once = fit(simulated, tiny)
    first = [fitted.history["loss"][0] for fitted in (in_chunks, at_once)]
    assert first[0] == pytest.approx(first[1], rel=0.02)
    a, b = (np.abs(fitted.features.components) for fitted in (in_chunks, at_once))
    np.testing.assert_allclose(a[:, :2], b[:, :2], atol=0.02)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dense", [False, True])
def test_chunked_answers_what_the_matrix_answers(tmp_path, simulated, dense):
    from vaexprs.training.inputs import moments

    adata = simulated.copy()
    if dense:
        adata.X = adata.X.toarray() + np.float32(0.5)
    whole = read_expression(adata)
    for data in forms(adata, tmp_path).values():
        found = read_expression(data, chunked=True, in_memory=False)
        X = found.X
        assert isinstance(X, Chunked)
        assert X.chunk == 64
        assert found.is_sparse is not dense
        assert found.fingerprint() == whole.fingerprint()
        for index in (slice(None), slice(60, 70), np.array([5, 159, 0, 77]), np.array([3])):
            np.testing.assert_array_equal(found.rows(index), whole.rows(index))
        some = np.array([150, 3, 64, 65, 10])
        np.testing.assert_array_equal(found.take(some).rows(slice(None)), whole.rows(some))
        group = np.arange(160) % 3
        np.testing.assert_allclose(moments.group_sums(X, group), moments.group_sums(whole.X, group))
        np.testing.assert_allclose(
            moments.square(X).sum(axis=0), np.asarray(moments.square(whole.X).sum(axis=0)).ravel()
        )
        for one, other in zip(
            moments.column_extremes(X), moments.column_extremes(whole.X), strict=True
        ):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(
            moments.largest_values(X, 3), moments.largest_values(whole.X, 3)
        )
        for name in ("minimum", "maximum", "n_nonzero", "is_integer"):
            assert getattr(found, name) == getattr(whole, name)
        np.testing.assert_array_equal(found.library, whole.library)


def test_an_order_of_training_holds_every_cell_once_and_mixes(monkeypatch):
    monkeypatch.setattr(chunked, "_MOST_ROWS", 1024)
    X = chunked.in_chunks(chunked.Held(sparse.random(10_000, 3, 0.5, "csr", np.float32)))
    rng = np.random.default_rng(0)
    order = X.shuffled(rng.permutation, 1000)
    np.testing.assert_array_equal(np.sort(order), np.arange(10_000))
    for start in range(0, 10_000, 1000):  # each is read in a few pieces, from all over
        read = np.sort(order[start : start + 1000])
        assert np.count_nonzero(np.diff(read) > 1) < 100
        assert read[0] < 1500
        assert read[-1] > 8500


@pytest.mark.usefixtures("small_chunks")
def test_a_sample_holds_every_combination(simulated, monkeypatch):
    monkeypatch.setattr("vaexprs.data.expression._FEWEST", 5)
    data = read_expression(simulated, condition_keys=["cell_type", "batch"], chunked=True)
    some = data.sample()
    assert sparse.issparse(some.X)
    assert 50 < some.n_cells < 80
    assert (np.bincount(some.group) >= np.minimum(5, np.bincount(data.group))).all()
    share = np.bincount(some.group) / some.n_cells
    np.testing.assert_allclose(share, np.bincount(data.group) / data.n_cells, atol=0.05)


def spoiled(adata: Any, path: Any, value: float) -> Any:
    adata = adata.copy()
    X = adata.X.toarray()
    X[100, 7] = value
    adata.X = sparse.csr_matrix(X)
    adata.write_h5ad(path)
    return path


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "holds nan"),
        (np.inf, "holds inf"),
        (-1.0, "needs values >= 0"),
        (np.pi, "needs counts"),
    ],
)
def test_values_that_cannot_be_are_found_in_any_chunk(tmp_path, simulated, tiny, value, words):
    path = spoiled(simulated, tmp_path / "a.h5ad", value)
    gene, cell = simulated.var_names[7], simulated.obs_names[100]
    with pytest.raises(DataError, match=f"{words}.*gene '{gene}', cell '{cell}'"):
        fit(path, tiny, likelihood="nb", in_memory=False)


def test_a_matrix_by_genes_is_refused_from_disk_and_read_in_memory(tmp_path, simulated, tiny):
    adata = simulated.copy()
    adata.X = adata.X.tocsc()
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(DataError, match=r"stored by genes.*in_memory=True"):
        fit(tmp_path / "a.h5ad", tiny, in_memory=False)
    fit(tmp_path / "a.h5ad", tiny)
    fit(anndata.read_h5ad(tmp_path / "a.h5ad", backed="r"), tiny)


@pytest.mark.usefixtures("small_chunks")
def test_a_damaged_file_is_refused(tmp_path, simulated, tiny):
    import h5py

    simulated.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file["X/indices"][-1] = 99
    with pytest.raises(DataError, match="damaged sparse matrix: an index is 99"):
        fit(tmp_path / "a.h5ad", tiny, in_memory=False)


@pytest.mark.usefixtures("small_chunks")
def test_a_file_that_is_damaged_in_its_middle_is_refused(tmp_path, simulated, tiny):
    import h5py

    path = tmp_path / "a.h5ad"
    simulated.write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        place = file["X/data"].id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(bytes(place.size))
    for in_memory in (False, True):
        with pytest.raises(DataError, match=r"X of 'a.h5ad' cannot be read"):
            fit(path, tiny, in_memory=in_memory)


#: Prepares a fit and reads one epoch, first of few cells, which loads all modules; prints by how
#: many MB the memory in use rose at most for the many.
CODE = """
import sys
import torch
from vaexprs.data import read_expression
from vaexprs.data.matrices import chunked
from vaexprs.training.inputs.prepare import prepare
from vaexprs.training.likelihoods.registry import training_law

def high_water():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

def work(path, in_memory):
    law = training_law("nb")
    data = read_expression(path, condition_keys="kind", chunked=True, in_memory=in_memory)
    data.check_for("nb")
    found = prepare(
        data, law, n_latent=4, plain=False, validation=None, validation_split=0.1, seed=0
    )
    law.start(found.training, found.features, found.scaling)
    law.ceiling(data)
    cells, _ = found.batches(law, torch.device("cpu"))
    for _ in cells.batches(128, cells.shuffled(128, torch.Generator().manual_seed(0))):
        pass

chunked._MOST_ROWS = 1024
few, many, way = sys.argv[1:]
work(few, False)
before = high_water()
work(many, way == "memory")
print(high_water() - before)
"""


def write_cells(path: Any, n_cells: int) -> float:
    """Write cells of 300 genes, 200 counts each; return the MB that they take as CSR."""
    pandas = pytest.importorskip("pandas")
    n_genes, n_each, rng = 300, 200, np.random.default_rng(0)
    genes = rng.permuted(np.tile(np.arange(n_genes, dtype=np.int32), (500, 1)), axis=1)
    X = sparse.csr_matrix(
        (
            rng.integers(1, 9, n_cells * n_each).astype(np.float32),
            np.tile(np.sort(genes[:, :n_each], axis=1), (n_cells // 500, 1)).ravel(),
            np.arange(n_cells + 1, dtype=np.int64) * n_each,
        ),
        shape=(n_cells, n_genes),
    )
    kind = pandas.Categorical.from_codes(np.arange(n_cells) % 3, ["a", "b", "c"])
    obs = pandas.DataFrame({"kind": kind}, index=np.arange(n_cells).astype(str))
    anndata.AnnData(X, obs=obs).write_h5ad(path)
    return X.data.nbytes * 2 / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_bounded_by_a_chunk(tmp_path):
    write_cells(tmp_path / "few.h5ad", 2000)
    whole = write_cells(tmp_path / "many.h5ad", 80_000)

    def rise(way: str) -> float:
        command = [sys.executable, "-c", CODE, tmp_path / "few.h5ad", tmp_path / "many.h5ad", way]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert rise("disk") < 0.6 * whole
    assert rise("memory") > whole
