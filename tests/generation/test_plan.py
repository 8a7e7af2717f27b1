"""Which cell is of which condition."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaexprs.errors import ConditionError
from vaexprs.generation.plan import Plan, _apportion
from vaexprs.generation.request import make_plan
from vaexprs.spec import ConditionKey, Conditions

CELL_TYPE = ConditionKey("cell_type", ("B", "NK", "T"))
STATE = ConditionKey("state", ("CTRL", "STIM"))
#: T cells were never seen under STIM.
CONDITIONS = Conditions(
    (CELL_TYPE, STATE),
    np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]], dtype=np.int32),
    np.array([300, 100, 50, 50, 500]),
)
PLAIN = Conditions((), np.zeros((1, 0), dtype=np.int32), np.array([10]))


def labels(plan: Plan, n_cells: int, first_cell: int = 0, seed: int = 0) -> list[tuple[str, ...]]:
    codes = plan.combinations[plan.groups(first_cell, n_cells, seed=seed)]
    return [
        tuple(key.categories[code] for key, code in zip(CONDITIONS.keys, row, strict=True))
        for row in codes
    ]


#: Cells of a window within which an endless plan is shuffled.
WINDOW = 256


def test_training_frequencies_hold_in_any_range() -> None:
    plan = make_plan(CONDITIONS)
    assert plan.total is None
    expected = {("B", "CTRL"): 0.3, ("B", "STIM"): 0.1, ("NK", "CTRL"): 0.05, ("T", "CTRL"): 0.5}
    for first_cell, n_cells, seed in [(0, 1024, 0), (12345, 1000, 1), (10**12, 1000, 2)]:
        counts = Counter(labels(plan, n_cells, first_cell, seed))
        whole = first_cell % WINDOW == n_cells % WINDOW == 0
        for combination, share in expected.items():
            # The discrepancy of the golden ratio's sequence is below log(n) cells; a part of a
            # window is drawn without replacement, with a deviation of at most 8 x 0.5 cells.
            assert abs(counts[combination] - share * n_cells) <= (4 if whole else 4 + 2 * 20)


def test_a_label_says_nothing_of_the_label_at_a_fixed_distance() -> None:
    plan = make_plan(CONDITIONS)
    shares = CONDITIONS.n_cells / CONDITIONS.n_cells.sum()
    by_chance, n = (shares**2).sum(), 20_000
    group = plan.groups(0, n, seed=4)
    for distance in (1, 2, 8, 89, 144, 233, 256, 377, 512, 610):
        equal = (group[distance:] == group[:-distance]).mean()
        # Within a window labels are drawn without replacement: a little fewer are equal.
        assert abs(equal - by_chance) < 0.004 + 5 * (by_chance * (1 - by_chance) / n) ** 0.5
    # Every k-th cell of a run is a fair sample of it.
    for k in (2, 13, 233, 256):
        some = np.bincount(group[::k], minlength=5)
        deviation = np.sqrt(shares * (1 - shares) * some.sum())
        assert (np.abs(some - shares * some.sum()) < 5 * deviation).all()


def test_frequencies_depend_on_the_seed() -> None:
    plan = make_plan(CONDITIONS)
    assert labels(plan, 50, seed=0) != labels(plan, 50, seed=1)


@given(st.integers(0, 2**40), st.integers(0, 200), st.integers(0, 200))
def test_a_range_may_be_cut_anywhere(first_cell: int, head: int, tail: int) -> None:
    plan = make_plan(CONDITIONS)
    whole = plan.groups(first_cell, head + tail, seed=3)
    parts = [plan.groups(first_cell, head, seed=3), plan.groups(first_cell + head, tail, seed=3)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_one_category_leaves_the_other_key_to_its_frequencies() -> None:
    counts = Counter(labels(make_plan(CONDITIONS, {"cell_type": "B"}), 400))
    assert set(counts) == {("B", "CTRL"), ("B", "STIM")}
    assert abs(counts["B", "CTRL"] - 300) <= 3 + 20


def test_a_set_of_categories() -> None:
    plan = make_plan(CONDITIONS, {"cell_type": {"NK", "B"}, "state": "STIM"})
    counts = Counter(labels(plan, 512))
    assert set(counts) == {("B", "STIM"), ("NK", "STIM")}
    assert abs(counts["B", "STIM"] - 512 * 2 / 3) <= 3


def test_exact_numbers() -> None:
    plan = make_plan(CONDITIONS, {"cell_type": {"NK": 200, "B": 50}, "state": "STIM"})
    assert plan.total == 250
    assert labels(plan, 250) == [("NK", "STIM")] * 200 + [("B", "STIM")] * 50


def test_exact_numbers_are_apportioned_over_keys_left_open() -> None:
    plan = make_plan(CONDITIONS, {"cell_type": {"B": 7, "NK": 3}})
    counts = Counter(labels(plan, 10))
    assert counts == {("B", "CTRL"): 5, ("B", "STIM"): 2, ("NK", "CTRL"): 2, ("NK", "STIM"): 1}


def test_a_table_of_designs() -> None:
    table = [
        {"cell_type": "NK", "state": "STIM", "n_cells": "3"},
        {"cell_type": "T", "state": "CTRL", "n_cells": 2.0},
        {"cell_type": "NK", "state": "STIM", "n_cells": 0},
    ]
    assert labels(make_plan(CONDITIONS, table), 5) == [("NK", "STIM")] * 3 + [("T", "CTRL")] * 2


def test_a_data_frame_is_a_table() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"cell_type": ["B"], "state": ["STIM"], "n_cells": [4]})
    assert labels(make_plan(CONDITIONS, frame), 4) == [("B", "STIM")] * 4


def test_one_category_for_each_cell() -> None:
    wanted = ["B", "B", "T", "B"]
    plan = make_plan(CONDITIONS, {"cell_type": wanted, "state": "CTRL"})
    assert [label for label, _ in labels(plan, 4)] == wanted
    array = make_plan(CONDITIONS, {"cell_type": np.array(wanted), "state": "CTRL"})
    assert labels(array, 4) == labels(plan, 4)


@given(st.lists(st.sampled_from(["B", "NK", "T"]), max_size=120))
def test_keys_left_open_follow_the_frequencies_over_labels_of_single_cells(
    wanted: list[str],
) -> None:
    """Of B a quarter, of NK a half are STIM, however short the runs of a label are."""
    table = [{"cell_type": label, "n_cells": 1} for label in wanted]
    for request in ({"cell_type": wanted}, table):
        found = labels(make_plan(CONDITIONS, request), len(wanted))
        assert [label for label, _ in found] == wanted
        for label, share in (("B", 0.25), ("NK", 0.5), ("T", 0.0)):
            stim = [state == "STIM" for own, state in found if own == label]
            assert abs(sum(stim) - share * len(stim)) < 1


@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=7),
    st.lists(st.integers(0, 9), min_size=1, max_size=80),
)
def test_shares_of_parts_add_up_to_those_of_the_whole(weights: list[int], parts: list[int]) -> None:
    """Each part is whole, no share is negative, and none strays from its due."""
    array, owed, given_ = np.array(weights), None, np.zeros(len(weights))
    for number, n_cells in enumerate(parts):
        shares, owed = _apportion(n_cells, array, owed)
        assert sum(shares) == n_cells
        assert min(shares) >= 0
        assert sum(owed) == 0
        given_ += shares
        due = sum(parts[: number + 1]) * array / array.sum()
        assert np.all(np.abs(given_ - due) < 2)


def test_unseen_combinations_are_served_and_marked() -> None:
    plan = make_plan(CONDITIONS, {"cell_type": "T", "state": "STIM"})
    assert set(labels(plan, 5)) == {("T", "STIM")}
    assert plan.unseen.all()
    mixed = make_plan(CONDITIONS, {"cell_type": {"T": 2, "B": 1}, "state": "STIM"})
    assert mixed.unseen[mixed.groups(0, 3, seed=0)].tolist() == [True, True, False]


def test_no_cell_at_all() -> None:
    for request in ([], {"cell_type": {"B": 0}}, {"cell_type": []}):
        plan = make_plan(CONDITIONS, request)
        assert plan.total == 0
        assert plan.groups(0, 64, seed=0).shape == (64,)


def test_a_model_without_conditions() -> None:
    plan = make_plan(PLAIN)
    assert plan.groups(5, 3, seed=1).tolist() == [0, 0, 0]
    assert not plan.unseen.any()
    with pytest.raises(ConditionError, match="trained without conditions"):
        make_plan(PLAIN, {"cell_type": "B"})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"celltype": "B"}, "unknown condition key 'celltype': did you mean 'cell_type'"),
        ({"cell_type": "nk"}, "unknown category 'nk' .* did you mean 'NK'"),
        ({"cell_type": {"B": -1}}, "must not be negative: -1"),
        ({"cell_type": {"B": 1.5}}, "must be an integer, not '1.5'"),
        ({"cell_type": {"B": True}}, "must be an integer, not 'True'"),
        ({"cell_type": {"B": 1}, "state": {"STIM": 1}}, "give a table of designs"),
        ({"cell_type": set()}, "empty set"),
        ({"cell_type": ["B"], "state": ["STIM", "CTRL"]}, "differ in length"),
        ({"cell_type": {"B": 1}, "state": ["STIM"]}, "not both"),
        (
            [{"cell_type": "B", "state": "STIM", "cells": 1}],
            "its columns are 'cell_type', 'state', 'cells'",
        ),
        ([{"cell_type": "B", "n_cells": "many"}], "must be an integer, not 'many'"),
        ([{"cell_type": "B", "n_cells": ""}], "must be an integer"),
        (["B"], "expected a mapping"),
        (3, "must be a mapping"),
        ("B", "must be a mapping"),
    ],
)
def test_what_is_refused(request_: object, message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        make_plan(CONDITIONS, request_)
