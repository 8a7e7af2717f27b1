"""`Generator.stream`: endless, seeded, balanced, and shared out without a cell twice."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from vaexprs import ArgumentError, ConditionError, Generator

pytest.importorskip("pandas")
pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def generator(tiny_artifact):
    return Generator(tiny_artifact(), n_threads=1)


def some(generator, n, *args, **options):
    return list(islice(generator.stream(*args, **options), n))


@pytest.mark.parametrize("batch_size", [1, 100, 256, 5000])
def test_the_batches_are_the_cells_of_one_run(generator, batch_size):
    plan = generator.plan()
    run = list(generator.blocks(plan, n_cells=3 * batch_size, seed=4))
    whole = np.concatenate([block.X.to_dense() for block in run])
    found = some(generator, 3, batch_size, balanced=False, seed=4)
    assert [batch.X.shape[0] for batch in found] == [batch_size] * 3
    assert np.array_equal(np.concatenate([batch.X.toarray() for batch in found]), whole)
    codes = np.concatenate([block.codes for block in run])
    assert np.array_equal(np.concatenate([batch.codes for batch in found]), codes)
    assert np.concatenate([batch.obs.index for batch in found]).tolist() == list(range(len(whole)))


def test_obs_holds_what_codes_say(generator):
    (batch,) = some(generator, 1, 64)
    for place, key in enumerate(generator.spec.conditions.keys):
        assert batch.obs[key.name].cat.codes.tolist() == batch.codes[:, place].tolist()
        assert tuple(batch.obs[key.name].cat.categories) == key.categories
    assert set(batch.obs["source"]) == {"generated"}


def test_every_combination_has_the_same_share(generator):
    found = some(generator, 4, 256)
    n = len(generator.spec.conditions.combinations)
    for batch in found:
        _, sizes = np.unique(batch.codes, axis=0, return_counts=True)
        assert len(sizes) == n
        assert np.abs(sizes - 256 / n).max() <= 2
    # and by training frequencies where that is asked for
    codes = np.concatenate([b.codes for b in some(generator, 4, 256, balanced=False)])
    _, sizes = np.unique(codes, axis=0, return_counts=True)
    share = generator.spec.conditions.n_cells / generator.spec.conditions.n_cells.sum()
    assert np.abs(sizes / len(codes) - share).max() < 0.01
    assert np.ptp(share) > 0.05


@pytest.mark.parametrize(("batch_size", "n"), [(100, 240), (4096, 6)])
def test_shares_have_no_cell_in_common_and_are_the_stream(generator, batch_size, n):
    whole = {b.obs.index[0]: b for b in some(generator, n, batch_size, seed=1, dense=True)}
    parts = [
        b
        for k in (1, 2, 3)
        for b in some(generator, len(whole) // 3, batch_size, seed=1, dense=True, shard=(k, 3))
    ]
    assert sorted(b.obs.index[0] for b in parts) == sorted(whole)
    for batch in parts:
        assert np.array_equal(batch.X, whole[batch.obs.index[0]].X)


def test_threads_and_blocks_change_nothing(tiny_artifact, generator):
    other = Generator(tiny_artifact(), n_threads=2, block_size=7)
    for a, b in zip(some(generator, 5, 300), some(other, 5, 300), strict=True):
        assert (a.X != b.X).nnz == 0


def test_a_choice_of_categories_and_expected_values(generator):
    key = generator.spec.conditions.keys[0]
    asked = {key.name: set(key.categories[:2])}
    batch = next(generator.stream(256, conditions=asked, return_mean=True))
    assert set(batch.obs[key.name]) == asked[key.name]
    assert isinstance(batch.X, np.ndarray)


def test_wrong_requests_are_answered_at_the_call(generator):
    key = generator.spec.conditions.keys[0]
    with pytest.raises(ConditionError, match="a stream has no end"):
        generator.stream(conditions={key.name: {key.categories[0]: 5}})
    with pytest.raises(ArgumentError, match="batch_size"):
        generator.stream(0)
    with pytest.raises(ArgumentError, match=r"shard must be \(k, n\)"):
        generator.stream(shard=(3, 2))
    with pytest.raises(ArgumentError, match="seed"):
        generator.stream(seed=-1)
