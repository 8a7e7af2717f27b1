"""Who is compared with whom."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vaexprs.errors import DataError
from vaexprs.evaluation.comparison.cells import read_cells
from vaexprs.evaluation.comparison.rounds import make_pool, rounds, stratified_halves

KEYS = ("cell_type", "treatment")


def pool_of(train, made, test=None, keys=KEYS, max_cells=2000):
    data = read_cells(train, made, test, condition_keys=keys)
    return data, make_pool(data, keys=keys, max_cells=max_cells, seed=0)


def test_sides_are_disjoint_and_composed_alike(simulate):
    train, test = simulate(200, 0), simulate(90, 1)
    made = simulate(300, 2, shares=(0.2, 0.6, 0.2))
    _, pool = pool_of(train, made, test)
    plans = list(rounds(pool, 4, seed=0))
    for plan in plans:
        assert not set(plan.basis) & set(plan.control)
        assert plan.basis.max() < 200
        assert plan.control.max() < 200
        assert plan.test.min() >= 200
        for side in (plan.control, plan.test, plan.generated):
            assert len(set(side)) == len(side) >= 40
        compositions = [
            Counter(pool.real_groups[plan.control]),
            Counter(pool.real_groups[plan.test]),
            Counter(pool.generated_groups[plan.generated]),
        ]
        assert compositions[0] == compositions[1] == compositions[2]
    first, second = plans[:2]
    assert set(first.basis) >= set(second.control)
    assert set(second.basis) >= set(first.control)
    common = len(set(first.generated) & set(second.generated)) / len(first.generated)
    assert pool.overlap.repeated == pytest.approx(common, abs=0.05)
    assert pool.overlap.control <= 0.5
    assert set(plans[2].basis) != set(first.basis)


def test_rounds_are_a_function_of_the_seed(simulate):
    _, pool = pool_of(simulate(100, 0), simulate(100, 1), simulate(60, 2))
    one, two, other = (list(rounds(pool, 3, seed=seed)) for seed in (5, 5, 6))
    for a, b, c in zip(one, two, other, strict=True):
        np.testing.assert_array_equal(a.generated, b.generated)
        np.testing.assert_array_equal(a.control, b.control)
        assert set(a.control) != set(c.control)


def test_halves_are_stratified():
    groups = np.repeat(["a", "b", "c"], [11, 4, 1])
    rows = np.arange(100, 116)
    one, two = stratified_halves(rows, groups, np.random.default_rng(0))
    assert sorted([*one, *two]) == list(rows)
    assert abs((groups[one - 100] == "a").sum() - 5.5) == 0.5
    assert (groups[one - 100] == "b").sum() == 2


def test_without_test_cells_one_half_stands_in(simulate):
    _, pool = pool_of(simulate(200, 0), simulate(200, 1))
    assert not pool.has_test
    first, second, third = rounds(pool, 3, seed=0)
    for plan in (first, second, third):
        parts = [set(plan.basis), set(plan.control), set(plan.test)]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
    assert set(first.test) != set(third.test)


def test_the_same_real_cell_never_stands_on_two_sides(simulate):
    big = type(simulate)(400)
    train, test = big(100, 0), big(60, 1)
    from anndata import concat

    repeated = concat([train, train[:7]], index_unique="-")
    leaked = concat([test, train[:9]], index_unique="-")
    _, pool = pool_of(repeated, big(100, 2), leaked)
    assert len(pool.train) == 100
    assert len(pool.test) == 60
    assert sum("repeat another real cell" in note for note in pool.notes) == 2
    with pytest.raises(DataError, match="also in real_train"):
        pool_of(train, big(100, 2), train[:50])
    mistaken = train[:50].copy()
    mistaken.X = mistaken.X.toarray()
    mistaken.X[0, 3:] = 0  # too few genes to be known as a cell of both
    with pytest.raises(DataError, match=r"1 test cells.*49 of 50 real test cells repeat"):
        pool_of(train, big(100, 2), mistaken)


def test_a_few_genes_alike_are_no_repeated_cell():
    X = np.zeros((60, 5), dtype=np.float32)
    X[:, 0] = 1 + np.arange(60) % 2
    _, pool = pool_of(X, X, keys=())
    assert len(pool.train) == 60


def test_too_few_cells_are_refused_and_large_sides_cut(simulate):
    with pytest.raises(DataError, match=r"only . cells can be compared"):
        pool_of(simulate(20, 0), simulate(20, 1), simulate(5, 2))
    _, pool = pool_of(simulate(200, 0), simulate(200, 1), simulate(90, 2), max_cells=37)
    plan = next(rounds(pool, 1, seed=0))
    assert len(plan.test) == len(plan.generated) == 37


def test_combinations_too_fine_to_match_fall_back(simulate):
    train, test, made = simulate(200, 0), simulate(90, 1), simulate(200, 2)
    for side in (train, test, made):
        side.obs["fine"] = [f"f{i % 50}" for i in range(side.n_obs)]
    _, pool = pool_of(train, made, test, keys=("cell_type", "fine"))
    assert pool.matched_by == ("cell_type",)
    _, pool = pool_of(train, made, test, keys=("fine",))
    assert pool.matched_by == ()
    assert "not made equal" in pool.notes[0]


def test_a_category_that_one_side_lacks_is_noted(simulate):
    train, test = simulate(200, 0), simulate(90, 1)
    made = simulate(200, 2, shares=(0.5, 0.5, 0.0))
    _, pool = pool_of(train, made, test)
    assert "'T | ctrl'" in pool.notes[0]
    assert "np.str_" not in pool.notes[0]


def test_a_category_that_only_generated_cells_have_is_noted(simulate):
    train, test = (simulate(n, seed, shares=(0.5, 0.5, 0.0)) for seed, n in enumerate((200, 90)))
    _, pool = pool_of(train, simulate(200, 2), test)
    assert "Of 6 combinations of conditions 2 cannot be compared" in pool.notes[0]
    assert "'T | ctrl'" in pool.notes[0]
