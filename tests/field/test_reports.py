"""Inputs of public reports, rebuilt: read as they are meant, or refused with the cure.

README.md here lists the reports and what became of each.
"""

from __future__ import annotations

import gzip
import logging

import numpy as np
import pytest

from vaexprs.data import read_expression
from vaexprs.data.open import open_cells
from vaexprs.errors import ConditionError, DataError

anndata = pytest.importorskip("anndata")
h5py = pytest.importorskip("h5py")
pd = pytest.importorskip("pandas")
sparse = pytest.importorskip("scipy.sparse")

COUNTS = np.random.default_rng(0).poisson(2.0, (30, 6)).astype(np.float32) + 1


def cells(**obs):
    columns = obs or {"cell_type": ["T", "B"] * 15}
    return anndata.AnnData(
        sparse.csr_matrix(COUNTS),
        obs=pd.DataFrame(columns, index=[f"c{i}" for i in range(30)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(6)]),
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cells.h5ad"
    cells().write_h5ad(path)
    return path


def check(path, **options):
    data = read_expression(path, condition_keys="cell_type", **options)
    np.testing.assert_array_equal(data.rows(slice(None)), COUNTS)
    return data


def test_a_file_that_java_opened(file):
    """Anndata 1051: JHDF5 leaves committed types in a group of its own."""
    with h5py.File(file, "a") as opened:
        opened["__DATA_TYPES__/Enum_Boolean"] = np.dtype("i1")
    check(file)


def test_an_uns_that_no_reader_knows(file):
    """Omicverse 515: a newer writer's encoding in uns stopped older readers."""
    with h5py.File(file, "a") as opened:
        group = opened["uns"].create_group("log1p")
        group.attrs.update({"encoding-type": "null-of-tomorrow", "encoding-version": "9"})
    with pytest.raises(Exception, match="No read method"):
        anndata.read_h5ad(file)
    check(file)


def test_a_column_that_is_listed_and_not_there(file, caplog):
    """Anndata 621: a column of obs is named in the order and missing in the file."""
    with h5py.File(file, "a") as opened:
        opened["obs"].attrs["column-order"] = ["cell_type", "stage"]
    with caplog.at_level(logging.WARNING, logger="vaexprs"):
        check(file)
    assert "'stage'" in caplog.text
    with pytest.raises(ConditionError, match="no column 'stage' in obs"):
        read_expression(file, condition_keys="stage")


def test_counts_that_a_soup_was_taken_from():
    """scvi-tutorials 66: the layer 'counts' holds fractions."""
    adata = cells()
    adata.layers["counts"] = sparse.csr_matrix(COUNTS * 0.9)
    data = read_expression(adata, layer="counts")
    with pytest.raises(DataError, match=r"layer 'counts' holds .*no whole number"):
        data.check_for("nb")
    assert data.advice is None


def test_smoothed_values_with_the_counts_in_raw():
    """SnapATAC2 149: X is smoothed and may be negative, raw holds the counts of more genes."""
    adata = cells()
    adata.raw = adata.copy()
    adata = adata[:, :4].copy()
    adata.X = adata.X.toarray() - 1.5
    data = read_expression(adata)
    assert "raw=True (--raw)" in data.advice
    with pytest.raises(DataError, match="needs values >= 0"):
        data.check_for("nb")
    np.testing.assert_array_equal(read_expression(adata, raw=True).rows(slice(None)), COUNTS)
    assert read_expression(adata, raw=True).n_genes == 6


def test_logged_counts_beside_the_counts():
    """The usual file of scanpy: the counts behind X are fitted, and the layer is pointed to."""
    from vaexprs.data.recovery import with_counts

    made = np.random.default_rng(1).poisson(0.7, (40, 60)).astype(np.float32)
    adata = anndata.AnnData(made, layers={"counts": made.copy()})
    adata.X = np.log1p(made / made.sum(axis=1, keepdims=True) * 1e4)
    data = read_expression(adata)
    assert "holds no counts, but layer 'counts' does" in data.advice
    counts, _ = with_counts(data)
    np.testing.assert_array_equal(counts.rows(slice(None)), made)
    assert "is fitted; layer 'counts' holds counts as they are" in counts.advice
    assert "no counts" not in counts.advice


def test_one_value_of_two_types():
    """Anndata 33 and 761: a column holds 1 and '1', and files of it could not be read again."""
    with pytest.raises(DataError, match="read the same as text: '1'"):
        read_expression(cells(sample=[1, "1"] * 15), condition_keys="sample")


def test_names_of_cells_that_are_numbers():
    """Anndata 84: obs_names are integers and a column is called source."""
    with pytest.warns(Warning, match="Transforming to str index"):
        adata = anndata.AnnData(COUNTS, obs=pd.DataFrame({"source": ["a", "b"] * 15}))
    data = read_expression(adata, condition_keys="source")
    assert data.obs_names[:2] == ("0", "1")
    assert data.keys[0].categories == ("a", "b")


def write_10x(folder, prefix="", names="features.tsv.gz", columns=3):
    lines = [[f"ENSG{i}", f"g{i // 2}", "Gene Expression"][:columns] for i in range(6)]
    rows, columns_, values = sparse.find(sparse.csr_matrix(COUNTS.T.astype(int)))
    matrix = [f"{r + 1} {c + 1} {v}" for r, c, v in zip(rows, columns_, values, strict=True)]
    head = ["%%MatrixMarket matrix coordinate integer general", f"6 30 {len(matrix)}"]
    for name, text in (
        ("matrix.mtx", head + matrix),
        ("barcodes.tsv", [f"c{i}" for i in range(30)]),
        (names.removesuffix(".gz"), ["\t".join(line) for line in lines]),
    ):
        text = "\n".join(text) + "\n"
        if names.endswith(".gz"):
            with gzip.open(folder / f"{prefix}{name}.gz", "wt") as out:
                out.write(text)
        else:
            (folder / f"{prefix}{name}").write_text(text)


@pytest.mark.parametrize("names", ["features.tsv.gz", "genes.tsv"])
@pytest.mark.parametrize("prefix", ["", "GSM6567159_PDAC2_"])
def test_folders_of_cellranger_and_geo(tmp_path, prefix, names):
    """Scanpy 3214 and 1408: old folders have genes.tsv, GEO's files have a prefix."""
    pytest.importorskip("scanpy")
    write_10x(tmp_path, prefix, names, columns=2 if names == "genes.tsv" else 3)
    data = read_expression(tmp_path)
    np.testing.assert_array_equal(data.rows(slice(None)), COUNTS)
    assert data.var_names == ("g0", "g0-1", "g1", "g1-1", "g2", "g2-1")


def test_a_folder_whose_genes_have_one_column(tmp_path):
    """Scanpy 2053: KeyError: 1."""
    pytest.importorskip("scanpy")
    write_10x(tmp_path, names="genes.tsv", columns=1)
    with pytest.raises(DataError, match=f"{tmp_path}.*cannot be read: "):
        read_expression(tmp_path)


def test_a_file_of_10x_with_names_that_repeat(tmp_path, caplog):
    """CellBender 204: names of genes repeat in the .h5, which read_10x_mtx makes unique."""
    pytest.importorskip("scanpy")
    X = sparse.csr_matrix(COUNTS.astype(np.int32))
    with h5py.File(tmp_path / "filtered.h5", "w") as opened:
        group = opened.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(X, name)
        group["shape"] = np.array([6, 30], np.int32)
        group["barcodes"] = np.array([f"c{i}" for i in range(30)], "S")
        for name, values in (
            ("id", [f"ENSG{i}" for i in range(6)]), ("name", [f"g{i // 2}" for i in range(6)]),
            ("feature_type", ["Gene Expression"] * 6), ("genome", ["GRCh38"] * 6),
        ):  # fmt: skip
            group[f"features/{name}"] = np.array(values, "S")
    with caplog.at_level(logging.INFO, logger="vaexprs"):
        data = read_expression(tmp_path / "filtered.h5")
    np.testing.assert_array_equal(data.rows(slice(None)), COUNTS)
    assert len(set(data.var_names)) == 6
    assert "filtered.h5: names of genes that repeat" in caplog.text


def test_pointers_that_wrapped_in_32_bits(file):
    """Anndata 1353 and 1261: a file with wrapped indptr made scipy end with SIGSEGV."""
    with h5py.File(file, "a") as opened:
        pointers = opened["X/indptr"][:].astype(np.int64)
        pointers[20:] -= 2**32
        del opened["X/indptr"]
        opened["X"]["indptr"] = pointers
    with pytest.raises(DataError, match=r"X of 'cells\.h5ad' is a damaged sparse matrix"):
        read_expression(file)


def test_a_matrix_without_pointers():
    """TileDB-SOMA 1585: a CSR of 6 cells came with an indptr of one entry."""
    adata = cells()
    adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
    adata.X.indptr = np.zeros(1, np.int32)
    with pytest.raises(DataError, match="indptr has 1 entries, expected 31"):
        read_expression(adata)


@pytest.mark.parametrize("pointer", ["int32", "int64"])
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_indices_of_either_width(file, pointer, index):
    """Anndata 1349 and 1356: pointers of 64 bits beside indices of 32."""
    with h5py.File(file, "a") as opened:
        for name, dtype in (("indptr", pointer), ("indices", index)):
            values = opened[f"X/{name}"][:].astype(dtype)
            del opened[f"X/{name}"]
            opened["X"][name] = values
    check(file)
    rows = np.array([1, 4, 29])
    np.testing.assert_array_equal(open_cells(file).matrix(rows=rows).toarray(), COUNTS[rows])
    backed = anndata.read_h5ad(file, backed="r")
    check(backed)
    backed.file.close()


def test_cells_without_any_counts():
    """scvi-tools 2792: division by a library of zero, and NaN after it."""
    X = COUNTS.copy()
    X[[3, 7]] = 0
    adata = anndata.AnnData(X, obs=cells().obs)
    with pytest.raises(DataError, match=r"2 of 30 cells have no counts.*drop_empty=True"):
        read_expression(adata).check_for("nb")
    data = read_expression(adata, condition_keys="cell_type", drop_empty=True)
    data.check_for("nb")
    assert (data.n_cells, data.codes.shape, len(data.obs_names)) == (28, (28, 1), 28)
    assert "c3" not in data.obs_names


def test_an_index_with_the_name_of_a_column():
    """Anndata 452 and 590: such an object cannot be written, but it can be learned from."""
    adata = cells()
    adata.obs.index = pd.Index(adata.obs_names, name="cell_type")
    check(adata)


@pytest.mark.parametrize("stored", ["memory", "h5ad"])
def test_categories_of_the_string_type(tmp_path, stored):
    """Anndata 963: a categorical whose categories are of pandas' string type."""
    labels = pd.Series(["T", "B"] * 15, dtype="string").astype("category")
    adata = cells(cell_type=labels.to_numpy())
    adata.obs["cell_type"] = pd.Categorical(labels)
    source = adata
    if stored == "h5ad":
        adata.write_h5ad(tmp_path / "a.h5ad")
        source = tmp_path / "a.h5ad"
    key = check(source).keys[0]
    assert (key.categories, key.dtype) == (("B", "T"), "str")


def test_two_columns_of_one_name():
    """scanpy: joining tables twice leaves two columns of a name in obs."""
    adata = cells()
    adata.obs = pd.concat([adata.obs, adata.obs], axis=1)
    with pytest.raises(ConditionError, match="2 columns of obs are named 'cell_type'"):
        read_expression(adata, condition_keys="cell_type")
    assert read_expression(adata).n_cells == 30
