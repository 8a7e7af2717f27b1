"""Whatever a user has is read as it is meant, never changed, or refused with the reason."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from vaexprs.data import concatenate, read_expression
from vaexprs.errors import ConditionError, DataError

anndata = pytest.importorskip("anndata")
sparse = pytest.importorskip("scipy.sparse")
pd = pytest.importorskip("pandas")

VALUES = np.array(
    [[0, 2, 0, 5], [1, 0, 0, 0], [0, 0, 0, 3], [4, 1, 0, 0], [0, 0, 0, 7], [2, 2, 0, 1]],
    dtype=np.float32,
)
GENES = ("CD3D", "CD19", "XIST", "ACTB")
TYPES = ["T", "B", "T", "NK", "B", "T"]


def make(X=None, **obs):
    X = VALUES.copy() if X is None else X
    columns = obs or {"cell_type": TYPES}
    names = [f"cell{i}" for i in range(X.shape[0])]
    return anndata.AnnData(
        X, obs=pd.DataFrame(columns, index=names), var=pd.DataFrame(index=list(GENES[: X.shape[1]]))
    )


def dense(data):
    return data.rows(slice(None))


# ---- forms of the matrix

FORMS = {
    "dense": lambda: VALUES.copy(),
    "fortran": lambda: np.asfortranarray(VALUES),
    "float64": lambda: VALUES.astype(np.float64),
    "int64": lambda: VALUES.astype(np.int64),
    "uint16": lambda: VALUES.astype(np.uint16),
    "csr": lambda: sparse.csr_matrix(VALUES),
    "csc": lambda: sparse.csc_matrix(VALUES),
    "csr_array": lambda: sparse.csr_array(VALUES),
    "int_csr": lambda: sparse.csr_matrix(VALUES.astype(np.int32)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_the_same(form):
    data = read_expression(make(FORMS[form]()), condition_keys="cell_type")
    np.testing.assert_array_equal(dense(data), VALUES)
    assert dense(data).dtype == np.float32
    assert data.X.dtype == np.float32
    assert (data.n_cells, data.n_genes) == VALUES.shape
    assert data.is_sparse == ("cs" in form)
    assert data.var_names == GENES
    assert data.obs_names == tuple(f"cell{i}" for i in range(6))
    np.testing.assert_array_equal(data.library, VALUES.sum(1))
    assert data.n_nonzero == np.count_nonzero(VALUES)
    assert (data.minimum, data.maximum) == (0.0, 7.0)
    assert data.is_integer
    assert data.source == "X"


@pytest.mark.parametrize("form", FORMS)
def test_fingerprint_knows_values_and_not_forms(form):
    reference = read_expression(make(), condition_keys="cell_type").fingerprint()
    assert read_expression(make(FORMS[form]()), condition_keys="cell_type").fingerprint() == (
        reference
    )


def test_fingerprint_sees_every_difference():
    def fingerprint(adata, key="cell_type"):
        return read_expression(adata, condition_keys=key).fingerprint()

    base = fingerprint(make())
    other = VALUES.copy()
    other[0, 0] = 1
    moved = np.zeros_like(VALUES)
    moved[:, [1, 0, 2, 3]] = VALUES
    labels = make(cell_type=[*TYPES[:-1], "B"])
    renamed = make()
    renamed.var_names = [*GENES[:-1], "GAPDH"]
    others = {
        fingerprint(make(other)), fingerprint(make(moved)), fingerprint(labels),
        fingerprint(renamed), fingerprint(make(), None),
    }  # fmt: skip
    assert len(others | {base}) == 6


def test_sparse_matrices_become_canonical_csr():
    """Entries given twice add up, stored zeros go, column indices rise."""
    messy = sparse.csr_matrix(
        (
            np.array([5.0, 1.0, 1.0, 0.0, 3.0], np.float32),
            np.array([3, 1, 1, 0, 2]),
            np.array([0, 3, 5]),
        ),
        shape=(2, 4),
    )
    held = [array.copy() for array in (messy.data, messy.indices, messy.indptr)]
    data = read_expression(messy)
    assert data.X.indices.tolist() == [1, 3, 2]
    assert data.X.data.tolist() == [2.0, 5.0, 3.0]
    assert data.n_nonzero == 3
    for before, after in zip(held, (messy.data, messy.indices, messy.indptr), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_maximum_of_negative_values_knows_the_zeros_between_them():
    data = read_expression(sparse.csr_matrix(np.array([[-2.0, 0], [0, -1.0]])))
    assert (data.minimum, data.maximum) == (-2.0, 0.0)


def test_extremes_of_a_sparse_matrix_know_its_implicit_zeros():
    some = read_expression(sparse.csr_matrix(np.array([[2.0, 0], [0, 1.0]])))
    assert (some.minimum, some.maximum) == (0.0, 2.0)
    full = read_expression(sparse.csr_matrix(np.array([[2.0, 3.0], [4.0, 5.0]])))
    assert (full.minimum, full.maximum) == (2.0, 5.0)
    empty = read_expression(sparse.csr_matrix((3, 2)))
    assert (empty.minimum, empty.maximum, empty.n_nonzero) == (0.0, 0.0, 0)
    assert empty.is_integer


def test_views_are_read_as_what_they_show():
    adata = make(sparse.csr_matrix(VALUES))
    view = adata[[5, 0, 3], ["ACTB", "CD3D"]]
    data = read_expression(view, condition_keys="cell_type")
    np.testing.assert_array_equal(dense(data), VALUES[[5, 0, 3]][:, [3, 0]])
    assert data.obs_names == ("cell5", "cell0", "cell3")
    assert data.var_names == ("ACTB", "CD3D")
    assert data.keys[0].categories == ("NK", "T")
    assert view.is_view


@pytest.mark.parametrize("stored", ["csr", "csc", "dense"])
def test_file_backed_objects(tmp_path, stored):
    make(FORMS[stored]()).write_h5ad(tmp_path / "cells.h5ad")
    adata = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    data = read_expression(adata, condition_keys="cell_type")
    np.testing.assert_array_equal(dense(data), VALUES)
    assert data.keys[0].categories == ("B", "NK", "T")
    assert adata.isbacked
    adata.file.close()


@pytest.mark.parametrize("stored", ["csr", "dense"])
def test_views_of_file_backed_objects(tmp_path, stored):
    make(FORMS[stored]()).write_h5ad(tmp_path / "cells.h5ad")
    adata = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    data = read_expression(adata[[1, 3, 4]], condition_keys="cell_type")
    np.testing.assert_array_equal(dense(data), VALUES[[1, 3, 4]])
    assert data.keys[0].categories == ("B", "NK")
    adata.file.close()


def test_layers():
    adata = make(np.log1p(VALUES))
    adata.layers["counts"] = sparse.csr_matrix(VALUES)
    data = read_expression(adata, layer="counts")
    np.testing.assert_array_equal(dense(data), VALUES)
    assert data.source == "layer 'counts'"
    np.testing.assert_array_equal(dense(read_expression(adata)), np.log1p(VALUES))


def test_an_unknown_layer_is_refused_with_near_matches():
    adata = make()
    adata.layers["counts"] = VALUES
    with pytest.raises(DataError, match=r"no layer 'count': did you mean 'counts'\?"):
        read_expression(adata, layer="count")


def test_an_object_whose_x_is_empty_names_its_layers():
    adata = anndata.AnnData(
        obs=pd.DataFrame(index=["a", "b"]),
        var=pd.DataFrame(index=["g"]),
        layers={"counts": np.ones((2, 1))},
    )
    with pytest.raises(DataError, match=r"X is empty; name one of the layers: counts"):
        read_expression(adata)
    assert read_expression(adata, layer="counts").n_cells == 2


# ---- what is no AnnData


@pytest.mark.parametrize("form", FORMS)
def test_matrices_get_names_and_labels(form):
    data = read_expression(FORMS[form](), labels=TYPES)
    np.testing.assert_array_equal(dense(data), VALUES)
    assert data.var_names == ("gene0", "gene1", "gene2", "gene3")
    assert data.obs_names == tuple("012345")
    assert data.keys[0].name == "label"
    assert data.keys[0].categories == ("B", "NK", "T")
    assert data.codes[:, 0].tolist() == [2, 0, 2, 1, 0, 2]
    assert data.codes.dtype == np.int32


def test_data_frames_bring_their_names():
    frame = pd.DataFrame(VALUES, columns=list(GENES), index=list("uvwxyz"))
    data = read_expression(frame, labels=pd.Series(TYPES, index=list("uvwxyz")))
    assert data.var_names == GENES
    assert data.obs_names == tuple("uvwxyz")
    np.testing.assert_array_equal(dense(data), VALUES)
    assert data.codes[:, 0].tolist() == [2, 0, 2, 1, 0, 2]


def test_data_frames_are_known_wherever_pandas_says_they_live(monkeypatch):
    """Newer versions of pandas name their public module, ``pandas``, as the home of the class."""
    monkeypatch.setattr(pd.DataFrame, "__module__", "pandas")
    data = read_expression(pd.DataFrame(VALUES, columns=list(GENES)))
    assert data.var_names == GENES


def test_nested_lists_are_a_matrix():
    np.testing.assert_array_equal(dense(read_expression([[1, 0], [0, 2]])), [[1, 0], [0, 2]])


@pytest.mark.parametrize("keys", [None, "cell_type", ["cell_type"]])
def test_a_sequence_of_labels_is_called_as_asked(keys):
    data = read_expression(VALUES, labels=np.array(TYPES), condition_keys=keys)
    assert data.keys[0].name == ("label" if keys is None else "cell_type")


def test_a_mapping_names_several_labels():
    labels = {"cell_type": TYPES, "donor": [2, 10, 2, 10, 2, 2]}
    both = read_expression(VALUES, labels=labels)
    assert [key.name for key in both.keys] == ["cell_type", "donor"]
    assert both.keys[1].categories == ("2", "10")
    one = read_expression(VALUES, labels=labels, condition_keys=["donor"])
    assert [key.name for key in one.keys] == ["donor"]
    frame = read_expression(VALUES, labels=pd.DataFrame(labels), condition_keys=["donor"])
    assert frame.keys == one.keys


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (VALUES, {"labels": TYPES, "condition_keys": ["a", "b"]}, ConditionError, "mapping"),
        (VALUES, {"labels": TYPES[:-1]}, DataError, "5 labels under 'label' for 6 cells"),
        (VALUES, {"condition_keys": "cell_type"}, ConditionError, "no column 'cell_type'"),
        (VALUES, {"layer": "counts"}, DataError, "layer and raw are for AnnData"),
        (VALUES[0], {}, DataError, r"cells x genes matrix, got ndarray of shape \(4,\)"),
        (VALUES[None], {}, DataError, r"cells x genes matrix, got ndarray of shape \(1, 6, 4\)"),
        (3.0, {}, DataError, "cells x genes matrix, got float"),
        ("cells.h5ad", {}, DataError, "there is no file .cells.h5ad."),
        (None, {}, DataError, "cells x genes matrix, got NoneType"),
    ],
)
def test_what_is_no_matrix_or_has_no_labels_is_refused(data, options, error, message):
    with pytest.raises(error, match=message):
        read_expression(data, **options)


def test_labels_of_an_anndata_are_columns_of_obs():
    with pytest.raises(DataError, match="name columns of obs by condition_keys"):
        read_expression(make(), labels=TYPES)


# ---- labels


def codes_of(column, **options):
    data = read_expression(make(key=column), condition_keys="key", **options)
    return data.keys[0], data.codes[:, 0].tolist()


def test_categoricals_keep_their_order_and_lose_what_has_no_cells(caplog):
    column = pd.Categorical(TYPES, categories=["T", "pDC", "NK", "B"])
    with caplog.at_level(logging.INFO, logger="vaexprs"):
        key, codes = codes_of(column)
    assert key.categories == ("T", "NK", "B")
    assert not key.ordered
    assert codes == [0, 2, 0, 1, 2, 0]
    assert "left out 1 categories without cells" in caplog.text


def test_ordered_categoricals_stay_ordered():
    key, codes = codes_of(
        pd.Categorical(list("abcabc"), categories=list("cba"), ordered=True),
    )
    assert key.ordered
    assert key.categories == ("c", "b", "a")
    assert codes == [2, 1, 0, 2, 1, 0]


@pytest.mark.parametrize(
    ("column", "categories", "codes"),
    [
        (TYPES, ("B", "NK", "T"), [2, 0, 2, 1, 0, 2]),
        ([True, False, True, True, False, True], ("False", "True"), [1, 0, 1, 1, 0, 1]),
        ([10, 9, 10, 2, 9, 10], ("2", "9", "10"), [2, 1, 2, 0, 1, 2]),
        (np.array([3, 1, 3, 1, 1, 3], np.uint8), ("1", "3"), [1, 0, 1, 0, 0, 1]),
        ([-1, 1, -1, 0, 0, 1], ("-1", "0", "1"), [0, 2, 0, 1, 1, 2]),
        ([2.0, 1.0, 2.0, 1.0, 1.0, 2.0], ("1", "2"), [1, 0, 1, 0, 0, 1]),
        (pd.array(TYPES, dtype="string"), ("B", "NK", "T"), [2, 0, 2, 1, 0, 2]),
        (pd.array([2, 1, 2, 1, 1, 2], dtype="Int64"), ("1", "2"), [1, 0, 1, 0, 0, 1]),
        (pd.Categorical([5, 3, 5, 3, 3, 5]), ("3", "5"), [1, 0, 1, 0, 0, 1]),
        (["x"] * 6, ("x",), [0] * 6),
        (["ä", "é", "ä", "日本", "é", "ä"], ("ä", "é", "日本"), [0, 1, 0, 2, 1, 0]),
    ],
    ids=["str", "bool", "int", "uint8", "negative", "whole floats", "string dtype", "Int64",
         "int categories", "one", "unicode"],
)  # fmt: skip
def test_labels_of_every_kind(column, categories, codes):
    key, got = codes_of(column)
    assert key.categories == categories
    assert got == codes


def test_mixed_labels_are_sorted_as_text():
    key, codes = codes_of(["a", 1, "a", 1, "b", 1])
    assert key.categories == ("1", "a", "b")
    assert codes == [1, 0, 1, 0, 2, 0]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["T", None, "T", "B", np.nan, "T"], "2 of 6 cells have no label under 'key'"),
        (pd.Categorical(["T", None, "T", "B", "B", "T"]), "1 of 6 cells have no label"),
        (pd.array([1, None, 2, 1, 2, 1], dtype="Int64"), "1 of 6 cells have no label"),
        ([0.5, 1, 2, 1, 1, 2], "numbers that are not whole, such as 0.5"),
        (["T", "", "T", "B", "B", "T"], "some labels under 'key' are empty"),
        (["T", "  ", "T", "B", "B", "T"], "some labels under 'key' are empty"),
        (["1", 1, "1", 1, "1", 1], "read the same as text: '1'"),
    ],
)
def test_labels_that_cannot_be_used(column, message):
    with pytest.raises(DataError, match=message):
        read_expression(make(key=column), condition_keys="key")


def test_infinite_labels_are_refused():
    with pytest.raises(DataError, match="'key'"):
        read_expression(make(key=[np.inf, 1, 2, 1, 1, 2]), condition_keys="key")


def test_a_missing_column_is_refused_with_near_matches():
    with pytest.raises(ConditionError, match=r"no column 'celltype' in obs.*'cell_type'"):
        read_expression(make(), condition_keys="celltype")
    with pytest.raises(ConditionError, match=r"no column 'donor' in obs.*known: 'cell_type'"):
        read_expression(make(), condition_keys="donor")


def test_a_key_twice_is_refused():
    with pytest.raises(ConditionError, match="must be unique"):
        read_expression(make(), condition_keys=["cell_type", "cell_type"])


def test_conditions_count_the_combinations():
    adata = make(cell_type=TYPES, batch=["a", "a", "b", "b", "a", "a"])
    data = read_expression(adata, condition_keys=["cell_type", "batch"])
    conditions = data.conditions
    assert conditions.names == ("cell_type", "batch")
    assert data.sizes.tolist() == [3, 2]
    assert conditions.combinations.tolist() == [[0, 0], [1, 1], [2, 0], [2, 1]]
    assert conditions.n_cells.tolist() == [2, 1, 2, 1]
    assert data.group.tolist() == [2, 0, 3, 1, 0, 2]
    wanted = [[0, 0, 1, 1, 0], [1, 0, 0, 1, 0], [0, 0, 1, 0, 1],
              [0, 1, 0, 0, 1], [1, 0, 0, 1, 0], [0, 0, 1, 1, 0]]  # fmt: skip
    np.testing.assert_array_equal(data.one_hot(), np.array(wanted, np.float32))
    assert data.one_hot().dtype == np.float32
    assert conditions.flat(data.codes).tolist() == [4, 0, 5, 3, 0, 4]


def test_no_keys_make_one_combination():
    data = read_expression(make())
    assert data.keys == ()
    assert data.codes.shape == (6, 0)
    assert data.one_hot().shape == (6, 0)
    assert data.conditions.combinations.shape == (1, 0)
    assert data.conditions.n_cells.tolist() == [6]
    assert data.conditions.flat(data.codes).tolist() == [0] * 6


def test_known_keys_translate_the_labels_of_new_cells():
    known = read_expression(make(), condition_keys="cell_type").keys
    column = pd.Categorical(["T", "NK", "T"], categories=["T", "NK"])
    new = make(VALUES[:3].copy(), cell_type=column)
    data = read_expression(new, known_keys=known)
    assert data.keys == known
    assert data.codes[:, 0].tolist() == [2, 1, 2]
    stranger = make(VALUES[:3].copy(), cell_type=["T", "NKT", "B"])
    with pytest.raises(ConditionError, match=r"unknown category 'NKT'.*did you mean 'NK'"):
        read_expression(stranger, known_keys=known)


# ---- genes


def test_genes_are_picked_by_name_and_in_order():
    adata = make(sparse.csr_matrix(VALUES))
    data = read_expression(adata, genes=("ACTB", "CD3D"))
    assert data.var_names == ("ACTB", "CD3D")
    np.testing.assert_array_equal(dense(data), VALUES[:, [3, 0]])


def test_missing_genes_are_counted_and_named():
    with pytest.raises(DataError, match=r"2 of the model's 3 genes.*first: 'MS4A1'"):
        read_expression(make(), genes=("CD3D", "MS4A1", "LYZ"))


def test_repeated_gene_names_are_refused():
    adata = make()
    adata.var_names = ["CD3D", "CD19", "CD3D", "CD3D"]
    with pytest.raises(DataError, match=r"2 gene names repeat \(first: 'CD3D'\).*make_unique"):
        read_expression(adata)


# ---- values


@pytest.mark.parametrize("form", ["dense", "csr", "csc"])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_values_that_are_not_finite_are_refused_with_their_place(form, value, word):
    X = VALUES.copy()
    X[3, 1] = value
    X[4, 3] = value
    X = X if form == "dense" else sparse.csr_matrix(X).asformat(form)
    with pytest.raises(
        DataError, match=rf"X holds {word} \(first in gene 'CD19', cell 'cell3'; 2 in all\)"
    ):
        read_expression(make(X))


def test_a_bad_layer_is_named():
    adata = make()
    adata.layers["scaled"] = np.full(VALUES.shape, np.nan)
    with pytest.raises(DataError, match="layer 'scaled' holds nan"):
        read_expression(adata, layer="scaled")


@pytest.mark.parametrize("X", [np.array([["a", "b"]]), np.array([[1, "b"], [2, 3]], dtype=object)])
def test_what_is_no_number_is_refused(X):
    with pytest.raises(DataError, match="does not hold numbers"):
        read_expression(X)


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(np.asarray, id="dense"),
        pytest.param(sparse.csr_matrix, id="csr"),
    ],
)
def test_complex_numbers_are_refused(form):
    with pytest.raises(DataError, match="does not hold numbers"):
        read_expression(form(np.array([[1 + 2j, 0], [0, 3 + 1j]])))


@pytest.mark.parametrize("name", ["ACT\0B", "\ud800"], ids=["NUL", "half a surrogate pair"])
def test_names_that_no_file_can_hold_are_refused(name):
    frame = pd.DataFrame(VALUES, columns=["a", "b", "c", "d"])
    with pytest.raises(DataError, match="gene names must be text"):
        read_expression(frame.rename(columns={"c": name}))
    with pytest.raises(DataError, match="labels under 'key' must be text"):
        read_expression(VALUES, labels={"key": ["x", "x", name, "x", "y", "y"]})
    with pytest.raises(DataError, match="condition keys must be text"):
        read_expression(VALUES, labels={name: TYPES})


@pytest.mark.parametrize("shape", [(0, 4), (6, 0), (0, 0)])
@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_nothing_is_refused(shape, kind):
    X = np.zeros(shape, np.float32) if kind == "dense" else sparse.csr_matrix(shape)
    with pytest.raises(DataError, match=f"{shape[0]} cells x {shape[1]} genes"):
        read_expression(X)


def test_negative_counts_name_gene_and_cell():
    X = VALUES.copy()
    X[2, 3] = -3
    for form in (X, sparse.csr_matrix(X)):
        data = read_expression(make(form))
        for law in ("nb", "zinb", "poisson", "zigamma"):
            with pytest.raises(
                DataError, match=rf"'{law}' needs values >= 0.*-3.*gene 'ACTB', cell 'cell2'"
            ):
                data.check_for(law)
        data.check_for("gaussian")
        data.check_for("bernoulli")


@pytest.mark.parametrize("likelihood", ["nb", "zigamma", "gaussian"])
def test_values_whose_squares_overflow_are_refused(likelihood):
    for change in (lambda X: X * np.float32(1e35), lambda X: X + np.float32(3e17)):
        with pytest.raises(DataError, match=r"their sums over a cell must stay within 1e\+18"):
            read_expression(make(change(VALUES))).check_for(likelihood)
    read_expression(make(VALUES * np.float32(1e14))).check_for(likelihood)


def test_logged_counts_hint_at_the_layer_with_counts():
    adata = make(sparse.csr_matrix(np.log1p(VALUES)))
    adata.layers["counts"] = VALUES
    data = read_expression(adata)
    assert not data.is_integer
    with pytest.raises(
        DataError,
        match=r"needs counts, but X holds 1\.09861 \(first in gene 'CD19', cell 'cell0'\).*"
        r'looks logged.*layer="counts" \(layers here: \'counts\'\)',
    ):
        data.check_for("nb")
    data.check_for("zigamma")


def test_non_integer_counts_of_a_layer_name_the_layer():
    adata = make()
    adata.layers["rpkm"] = VALUES * 100.5
    with pytest.raises(DataError, match=r"layer 'rpkm' holds .* no whole number:"):
        read_expression(adata, layer="rpkm").check_for("poisson")


def test_one_value_in_a_million_that_is_no_count_is_found():
    X = np.ones((1000, 1000), np.float32)
    X[777, 333] = 1.5
    data = read_expression(X)
    assert not data.is_integer
    with pytest.raises(DataError, match=r"holds 1\.5 \(first in gene 'gene333', cell '777'\)"):
        data.check_for("nb")


def test_cells_without_counts_are_refused_for_counts_only():
    X = VALUES.copy()
    X[[1, 4]] = 0
    data = read_expression(make(X))
    for law in ("nb", "zinb", "poisson"):
        with pytest.raises(DataError, match=r"2 of 6 cells have no counts.*first: 'cell1'"):
            data.check_for(law)
    for law in ("zigamma", "gaussian", "bernoulli"):
        data.check_for(law)


# ---- nothing of the user's is touched


@pytest.mark.parametrize("form", ["dense", "csr", "csc", "int64"])
def test_the_object_is_left_as_it_was(form):
    adata = make(FORMS[form](), cell_type=TYPES, ok=[True, False] * 3, donor=[1, 2, 3] * 2)
    adata.layers["counts"] = sparse.csr_matrix(VALUES)
    before = adata.copy()
    data = read_expression(adata, condition_keys=["cell_type", "ok", "donor"])
    block = data.rows(np.array([1, 2]))
    block[:] = -1
    data.take(np.array([0, 1])).fingerprint()
    data.check_for("nb")
    assert adata.X.dtype == before.X.dtype
    assert type(adata.X) is type(before.X)
    difference = adata.X != before.X
    assert not (difference.any() if form in ("dense", "int64") else difference.nnz)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert list(adata.layers) == list(before.layers)
    assert dict(adata.uns) == {}


def test_rows_of_a_sparse_matrix_are_made_dense_alone():
    """A matrix that would take 400 GB dense is read, counted and batched."""
    n = 1_000_000
    big = sparse.csr_matrix((np.ones(3), ([0, 5, n - 1], [0, 7, n - 1])), shape=(n, n))
    big = big[:, : n // 10]
    data = read_expression(big[[0, 5, n - 1]])
    assert data.rows(np.array([0, 1])).shape == (2, n // 10)
    whole = read_expression(big)
    assert whole.is_sparse
    assert whole.n_nonzero == 2
    assert whole.maximum == 1.0


def test_take_and_concatenate_are_inverse():
    for X in (VALUES, sparse.csr_matrix(VALUES)):
        data = read_expression(make(X), condition_keys="cell_type")
        first, second = data.take(np.array([0, 1])), data.take(np.array([2, 3, 4, 5]))
        assert first.keys == data.keys
        again = concatenate([first, second])
        np.testing.assert_array_equal(dense(again), VALUES)
        assert again.obs_names == data.obs_names
        np.testing.assert_array_equal(again.codes, data.codes)
        assert again.fingerprint() == data.fingerprint()
        assert concatenate([data]) is data


def test_labels_of_a_data_frame_are_matched_by_their_index():
    pandas = pytest.importorskip("pandas")
    names = [f"cell{i}" for i in range(len(VALUES))]
    frame = pandas.DataFrame(VALUES, index=names, columns=[f"g{i}" for i in range(VALUES.shape[1])])
    labels = pandas.Series([f"type{i}" for i in range(len(VALUES))], index=names)

    def codes_of(given):
        return read_expression(frame, labels=given).codes[:, 0].tolist()

    expected = list(range(len(VALUES)))
    for given in (labels, labels[::-1], labels.to_numpy(), labels.reset_index(drop=True)):
        assert codes_of(given) == expected
    assert (
        read_expression(frame, labels=pandas.DataFrame({"a": labels[::-1]})).codes[:, 0].tolist()
        == expected
    )
    with pytest.raises(DataError, match=r"index of the labels under 'label' is not that of"):
        codes_of(labels.rename(lambda name: name + "-1"))
