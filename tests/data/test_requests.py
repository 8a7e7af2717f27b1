"""Requests in the forms that pandas and NumPy give are understood, or refused with the cure."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vaexprs.errors import ConditionError
from vaexprs.generation.request import make_plan
from vaexprs.spec import ConditionKey, Conditions

pd = pytest.importorskip("pandas")

CONDITIONS = Conditions(
    (
        ConditionKey("cell_type", ("B", "NK", "T")),
        ConditionKey("batch", ("0", "1", "2"), dtype="int"),
    ),
    np.array([[0, 0], [0, 1], [1, 0], [2, 2]], np.int32),
    np.array([10, 10, 20, 40]),
)


def counts(request, place=0):
    plan = make_plan(CONDITIONS, request)
    codes = plan.combinations[plan.groups(0, plan.total or 50, seed=0)]
    names = CONDITIONS.keys[place].categories
    return Counter(names[code] for code in codes[:, place])


@pytest.mark.parametrize("label", [1, 1.0, "1", np.int64(1), np.float64(1), np.array(1)])
def test_one_label_of_any_type(label):
    assert counts({"batch": label}, 1) == {"1": 50}


@pytest.mark.parametrize("labels", [{0, 1}, {np.int64(0), "1", 1.0}])
def test_sets_of_labels_of_any_type(labels):
    assert set(counts({"batch": labels}, 1)) == {"0", "1"}


@pytest.mark.parametrize("categorical", [True, False])
@pytest.mark.parametrize(("key", "place"), [("cell_type", 0), ("batch", 1)])
def test_value_counts_are_numbers_of_cells(key, place, categorical):
    obs = pd.DataFrame({"cell_type": ["B", "T", "T", "NK", "T"], "batch": [1, 2, 2, 0, 2]})
    column = obs[key].astype("category") if categorical else obs[key]
    wanted = {str(k): int(v) for k, v in column.value_counts().items()}
    assert counts({key: column.value_counts()}, place) == wanted
    assert counts({key: column.value_counts().to_dict()}, place) == wanted
    assert counts({key: column.value_counts().rename(None)}, place) == wanted or key == "batch"


def test_a_series_of_labels_is_one_for_each_cell():
    obs = pd.DataFrame({"batch": [1, 2, 2, 0, 2]}, index=list("abcde"))
    assert counts({"batch": obs["batch"]}, 1) == {"0": 1, "1": 1, "2": 3}
    assert counts({"batch": obs["batch"].reset_index(drop=True)}, 1) == {"0": 1, "1": 1, "2": 3}
    assert counts({"batch": obs["batch"].to_numpy()}, 1) == {"0": 1, "1": 1, "2": 3}


def test_a_series_that_may_be_either_is_refused_with_the_cure():
    with pytest.raises(ConditionError, match=r"to_dict\(\).*to_list\(\)"):
        make_plan(CONDITIONS, {"batch": pd.Series([2, 1], index=[1, 0])})


def test_joint_value_counts_are_a_design():
    obs = pd.DataFrame({"cell_type": list("BBT"), "batch": [0, 0, 2]})
    joint = obs.value_counts()
    assert counts(joint) == {"B": 2, "T": 1}
    assert counts(obs.groupby(["cell_type", "batch"]).size()) == {"B": 2, "T": 1}
    with pytest.raises(ConditionError, match="levels are named after condition keys"):
        make_plan(CONDITIONS, pd.Series([1, 2]))


@pytest.mark.parametrize(
    ("n", "total"),
    [(20, 20), (20.0, 20), ("20", 20), ("20.0", 20), ("20,0", 20), ("20.", 20), (" 20 ", 20),
     ("+20", 20), (np.float32(20), 20), (np.uint8(20), 20), ("020", 20), (2**53, 2**53)],
)  # fmt: skip
def test_numbers_of_cells_of_any_form(n, total):
    assert make_plan(CONDITIONS, [{"cell_type": "B", "n_cells": n}]).total == total


@pytest.mark.parametrize(
    "n",
    ["²", "20.5", 20.5, np.nan, np.inf, "1e2", "20 0", "", None, "٢", -1, "-1", True, np.True_,
     2**53 + 1, 2**63, 2**64, str(2**64), "9" * 5000, 1e300],
    ids=repr,
)  # fmt: skip
def test_other_numbers_are_refused(n):
    with pytest.raises(ConditionError):
        make_plan(CONDITIONS, [{"cell_type": "B", "n_cells": n}])
    with pytest.raises(ConditionError):
        make_plan(CONDITIONS, {"cell_type": {"B": n}})


def test_rows_that_are_too_many_together_are_refused():
    with pytest.raises(ConditionError, match=f"asks for {2**53 + 2} cells in all"):
        make_plan(CONDITIONS, {"cell_type": {"B": 2**52 + 1, "NK": 2**52 + 1}})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"cell_type": pd.Series({"B": 0.5, "T": 0.5}, name="proportion")}, "not '0.5'"),
        ({"batch": "0", 1: 2}, "unknown condition key '1'"),
        ({"cell_type": b"NK"}, "unknown category \"b'NK'\""),
        (b"NK", "must be a mapping"),
        (pd.DataFrame([["B", "T", 3]], columns=["cell_type", "cell_type", "n_cells"]), "two col"),
        ({"cell_type": np.array([["B"]])}, "unknown category"),
        ([{"cell_type": "B", "n_cells": "1" * 200}], "must be an integer"),
        (
            pd.DataFrame({"cell_type": ["B", None], "n_cells": [1, 2]}),
            "row 2 of the design has no category of 'cell_type'",
        ),
        ([{"cell_type": " ", "n_cells": 1}], "row 1 of the design has no category"),
        ([{"cell_type": pd.NA, "n_cells": 1}], "row 1 of the design has no category"),
    ],
)
def test_what_is_refused(request_, message):
    with pytest.raises(ConditionError, match=message):
        make_plan(CONDITIONS, request_)


def test_a_key_given_twice_is_refused():
    conditions = Conditions((ConditionKey("1", ("a", "b")),), np.array([[0]], np.int32), [3])
    with pytest.raises(ConditionError, match="condition '1' is given twice"):
        make_plan(conditions, {1: "a", "1": "b"})
