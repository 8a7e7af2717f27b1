"""Labels keep their type from training to generated cells, and every form of one is understood."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from vaexprs import gen_exprs, write_exprs
from vaexprs.artifact.load import load_artifact
from vaexprs.data import read_expression
from vaexprs.errors import ArtifactError, ConditionError, DataError
from vaexprs.spec import ConditionKey, read_metadata, write_metadata
from vaexprs.spec.conditions import name_problem

anndata = pytest.importorskip("anndata")
pd = pytest.importorskip("pandas")

COLUMNS = {
    "int": np.array([3, 1, 10, 1], np.int16),
    "bool": np.array([True, False, True, True]),
    "float": np.array([10.0, 0.0, 1.0, 0.0]),
    "str": np.array(["10", "0", "1", "0"]),
}


def key_of(column) -> ConditionKey:
    return read_expression(np.ones((4, 2)), labels={"key": column}).keys[0]


@pytest.mark.parametrize(
    ("column", "dtype", "categories"),
    [
        (COLUMNS["int"], "int", ("1", "3", "10")),
        (COLUMNS["bool"], "bool", ("False", "True")),
        (COLUMNS["float"], "float", ("0", "1", "10")),
        (COLUMNS["str"], "str", ("0", "1", "10")),
        (pd.array([1, 2, 1, 2], "Int64"), "int", ("1", "2")),
        (pd.array([True, False] * 2, "boolean"), "bool", ("False", "True")),
        (pd.Categorical([0.5, 10.0, 0.5, 1.0]), "float", ("0.5", "1", "10")),
        (pd.Categorical([2, 1, 2, 1], categories=[2, 1]), "int", ("2", "1")),
        (pd.Series([np.int64(4), 5, 4, 5], dtype=object), "int", ("4", "5")),
        (["a", 1, "a", 1], "str", ("1", "a")),
        ([True, 0, True, 0], "str", ("0", "True")),
        (np.array([2**63, 1, 1, 1], np.uint64), "str", ("1", str(2**63))),
    ],
)
def test_a_key_knows_the_type_of_its_labels(column, dtype, categories):
    key = key_of(column)
    assert (key.dtype, key.categories) == (dtype, categories)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([b"a", b"b", b"a", b"b"], r"is bytes, such as b'a'.*decode"),
        (np.array([b"a", b"b", b"a", b"b"]), "is bytes, such as b'a'"),
        (pd.Categorical([b"a", b"b", b"a", b"b"]), "is bytes, such as b'a'"),
        (pd.Series([["a"], ["b"], ["a"], ["b"]]), r"is list, such as \['a'\]"),
        ([["a"], ["b", "c"], ["a"], ["b"]], "is list"),
        ([["a", "b"]] * 4, r"the shape \(4, 2\)"),
        (np.array([["a"]] * 4), r"the shape \(4, 1\)"),
    ],
)
def test_labels_that_are_none_are_refused(column, message):
    with pytest.raises(DataError, match=message):
        key_of(column)


@pytest.mark.parametrize("dtype", COLUMNS)
def test_the_values_of_a_column_are_its_codes(dtype):
    key = key_of(COLUMNS[dtype])
    values = key.values()
    assert values.dtype == {"int": "i8", "bool": "?", "float": "f8", "str": "O"}[dtype]
    assert [values[key.code(label)] for label in COLUMNS[dtype]] == COLUMNS[dtype].tolist()


@pytest.mark.parametrize(
    "form", [1, 1.0, "1", "1.0", " 1 ", np.int64(1), np.uint8(1), np.float32(1), np.array(1)]
)
@pytest.mark.parametrize("dtype", ["int", "float"])
def test_every_form_of_a_number_is_one_category(form, dtype):
    assert ConditionKey("batch", ("0", "1", "10"), dtype=dtype).code(form) == 1


@pytest.mark.parametrize("form", [True, np.True_, np.array(True), "True", "true", "TRUE", 1, "1"])
def test_every_form_of_a_truth_value_is_one_category(form):
    assert ConditionKey("treated", ("False", "True"), dtype="bool").code(form) == 1


def test_text_is_read_literally_first_and_without_its_blanks_then():
    key = ConditionKey("donor", ("1.0", "1", "NK "))
    assert [key.code(c) for c in ("1.0", "1", 1, 1.0, "NK ", "NK", " NK")] == [0, 1, 1, 0, 2, 2, 2]
    for wrong in (2, "2.0", "nk", True, [1], None):
        with pytest.raises(ConditionError, match="unknown category"):
            key.code(wrong)


@pytest.mark.parametrize("dtype", COLUMNS)
def test_types_outlive_the_metadata(dtype, tiny_artifact):
    """Labels of text are written as by versions that knew no other."""
    entries = dict(write_metadata(load_artifact(tiny_artifact()).spec))
    key = key_of(COLUMNS[dtype])
    told = json.loads(entries["vaexprs.conditions"])
    assert "dtype" not in told["keys"][0]
    key = dataclasses.replace(key, categories=key.categories[:2])
    told["keys"] = [
        {"name": "a", "categories": key.categories, "ordered": False, "dtype": dtype},
        {"name": "b", "categories": ["0", "1"], "ordered": False},
    ]
    told["combinations"] = [[0, 0], [0, 1], [1, 0]]
    entries["vaexprs.conditions"] = json.dumps(told)
    spec = read_metadata(entries)
    assert spec.conditions.keys[0].dtype == dtype
    again = write_metadata(spec)["vaexprs.conditions"]
    assert ("dtype" in again) == (dtype != "str")
    assert read_metadata(write_metadata(spec)).conditions.keys == spec.conditions.keys


@pytest.mark.parametrize(
    ("dtype", "categories"),
    [("int", ("a",)), ("int", ("01",)), ("int", ("1.0",)), ("int", ("9" * 30,)),
     ("int", ("9" * 5000,)), ("bool", ("1",)), ("float", ("nan",)), ("float", ("1e999",)),
     ("float", ("1.50",)), ("date", ("a",))],
)  # fmt: skip
def test_categories_that_are_not_of_their_type_are_refused(dtype, categories):
    problem = name_problem([ConditionKey("key", categories, dtype=dtype)])
    assert problem is not None
    assert "'key'" in problem


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "batch": rng.integers(0, 3, 60),
            "treated": rng.random(60) < 0.5,
            "dose": rng.choice([0.0, 1.0, 10.0], 60),
        },
        index=[f"c{i}" for i in range(60)],
    )
    X = rng.poisson(2, (60, 12)).astype(np.float32)
    return anndata.AnnData(X, obs=obs)


@pytest.mark.parametrize("suffix", [None, "h5ad", "zarr"])
def test_generated_labels_are_of_the_type_of_the_real_ones(cells, tmp_path, suffix):
    """They compare, concatenate and can be written, which text beside numbers cannot."""
    pytest.importorskip("torch")
    from vaexprs import fit_vae

    keys = ["batch", "treated", "dose"]
    fit = fit_vae(cells, condition_keys=keys, epochs=1, hidden=(8,), n_latent=2, progress=False)
    fit.export(tmp_path / "m.onnx")
    if suffix is None:
        made = gen_exprs(tmp_path / "m.onnx", 50)
    else:
        path = write_exprs(tmp_path / "m.onnx", tmp_path / f"made.{suffix}", 50)
        made = anndata.read_zarr(path) if suffix == "zarr" else anndata.read_h5ad(path)
    for key in keys:
        assert made.obs[key].cat.categories.dtype == cells.obs[key].dtype
        value = cells.obs[key].iloc[0]
        assert (made.obs[key] == value).any()
        assert (gen_exprs(tmp_path / "m.onnx", 5, conditions={key: value}).obs[key] == value).all()
    both = anndata.concat([cells, made])
    assert [both.obs[key].dtype for key in keys] == [cells.obs[key].dtype for key in keys]
    both.write_h5ad(tmp_path / "both.h5ad")


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "/", "a/b", "/X/x", "a\\b", "_index", "n_cells", "zarr.json", "x" * 239],
)
def test_names_that_no_file_can_hold_are_refused_at_fit_and_at_load(name, tiny_artifact):
    with pytest.raises(ConditionError, match="condition key") as refused:
        read_expression(np.ones((2, 2)), labels={name: ["a", "b"]})
    assert repr(name[:80])[:-1] in str(refused.value)
    entries = dict(write_metadata(load_artifact(tiny_artifact()).spec))
    entries["vaexprs.conditions"] = entries["vaexprs.conditions"].replace(
        '"cell_type"', json.dumps(name)
    )
    with pytest.raises(ArtifactError, match="condition key"):
        read_metadata(entries)


@pytest.mark.parametrize("own", ["source", "library", "unseen_combination"])
def test_a_key_named_as_our_columns_leaves_room_for_them(own):
    one = ConditionKey(own, ("a",))
    assert name_problem([one]) is None
    assert f"vaexprs_{own}" in str(name_problem([one, ConditionKey(f"vaexprs_{own}", ("a",))]))


def test_categories_that_differ_by_blanks_alone_are_refused():
    with pytest.raises(ConditionError, match="'NK' and 'NK '"):
        read_expression(np.ones((2, 2)), labels=["NK", "NK "])


@pytest.mark.parametrize(
    "column",
    [
        pd.cut(np.arange(6) % 3, [-1, 0, 1, 2]),
        pd.Categorical(pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(6) % 3, "D")),
    ],
    ids=["intervals", "dates"],
)
def test_labels_without_a_type_in_json_are_asked_for_in_every_form(tiny_artifact, column):
    labels = pd.Series(column)
    key = read_expression(np.ones((6, 2)), labels={"key": labels}).keys[0]
    model = load_artifact(tiny_artifact(keys={"key": key.categories}))
    one = labels.iloc[0]
    for asked, n in (
        (one, 2), ({one}, 2), ([one, one], None), (labels, None), ({one: 2}, None), (str(one), 2),
    ):  # fmt: skip
        made = gen_exprs(model, n, conditions={"key": asked})
        assert made.obs["key"].iloc[0] == str(one)
        assert made.n_obs == (6 if asked is labels else 2)
    table = pd.DataFrame({"key": [one, one], "n_cells": [1, 2]})
    assert gen_exprs(model, conditions=table).n_obs == 3
