"""Latent variables, library sizes and conditions: what goes into a decoder."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vaexprs import _core

F = np.float32


def normals(n_cells: int, n_latent: int, seed: int, first_cell: int = 0) -> np.ndarray:
    out = np.empty((n_cells, n_latent), F)
    _core.fill_latent(out, seed=seed, first_cell=first_cell)
    return out


def test_latent_is_standard_normal() -> None:
    """Kolmogorov-Smirnov, tails and correlations; fails with probability 1e-5 if all is well."""
    stats = pytest.importorskip("scipy.stats")
    z = normals(100_000, 20, seed=1)
    assert stats.kstest(z.ravel().astype(float), "norm").pvalue > 1e-6
    for limit in (3.0, 4.0, 4.5):
        beyond = int((np.abs(z) > limit).sum())
        assert stats.binomtest(beyond, z.size, 2 * stats.norm.sf(limit)).pvalue > 1e-6
    correlation = np.corrcoef(z, rowvar=False)[np.triu_indices(20, 1)]
    assert np.abs(correlation).max() < 6 * len(z) ** -0.5
    # The pairs of Box and Muller share a radius, and must not show it.
    tiles = normals(20_000, 64, seed=2).reshape(-1, 4, 16)
    for a, b in [(0, 1), (2, 3), (0, 2)]:
        shared = np.corrcoef(np.abs(tiles[:, a]).ravel(), np.abs(tiles[:, b]).ravel())[0, 1]
        assert abs(shared) < 6 * (20_000 * 16) ** -0.5


def test_normals_follow_from_their_words() -> None:
    """Box and Muller in float64, from the same words, agree to float32's precision."""
    seed, n = 77, 640
    key = np.array([seed, 0, 1, 0x76616578], np.uint32)
    z = normals(1, n, seed)[0].astype(float)
    j = np.arange(n)
    counter = np.zeros((n, 4), np.uint32)
    counter[:, 2] = j // 64 * 16 + j % 16
    words = _core.threefry4x32(counter, key)
    position = j % 64 // 16
    radius_word = np.where(position < 2, words[:, 0], words[:, 2])
    circle_word = np.where(position < 2, words[:, 1], words[:, 3]).astype(np.int64)
    radius = np.sqrt(-2 * np.log(((radius_word >> 1) + 0.5) * 2.0**-31))
    signed = (circle_word << 2) % 2**32
    angle = np.where(signed >= 2**31, signed - 2**32, signed) * 2.0**-32 * np.pi / 2
    cosine = np.where(circle_word >> 30 & 1, -np.cos(angle), np.cos(angle))
    first = position % 2 == 0
    exchange = circle_word >> 31 == 1
    wanted = radius * np.where(exchange == first, np.sin(angle), cosine)
    np.testing.assert_allclose(z, wanted, rtol=5e-7, atol=2e-6)


def inputs(
    n_latent: int,
    offsets: list[int] = [0, 1],  # noqa: B006 - never changed
    weights: Any = (1.0,),
    means: Any = None,
    tril: Any = None,
    factor: Any = (0,),
    library: Any = None,
    **changes: Any,
) -> Any:
    """Make inputs of a model with a key of one category a group, whose cells take turns."""
    n_groups, n_components = len(offsets) - 1, len(weights)
    means = np.zeros((n_components, n_latent)) if means is None else means
    tril = np.eye(n_latent)[None] if tril is None else tril
    codes = np.arange(n_groups, dtype=np.int32)[:, None]
    arguments: dict[str, Any] = {
        "sizes": np.array([n_groups], np.int32),
        "seen": codes,
        "n_cells": np.full(n_groups, 10),
        "combinations": codes,
        "bounds": np.array([2**64 * (g + 1) // n_groups - 1 for g in range(n_groups)], np.uint64),
        "groups": np.arange(n_groups, dtype=np.int32),
        "endless": True,
        "n_latent": n_latent,
        "with_log_library": False,
        "prior": [
            np.array(offsets),
            np.array(weights, float),
            np.asarray(means, F),
            np.asarray(tril, F),
            np.array(factor, np.int32),
        ],
        "library": library,
    }
    arguments |= changes
    sizes = arguments["sizes"].tolist()
    arguments.setdefault("keys", [(f"key{k}", [*map(str, range(n))]) for k, n in enumerate(sizes)])
    return _core.Inputs(**arguments)


def drawn(made: Any, n_cells: int, seed: int, first_cell: int = 0) -> Any:
    names = ("codes", "unseen", "streams", "z", "condition", "library")
    values = made.draw(seed=seed, first_cell=first_cell, n_cells=n_cells)
    return SimpleNamespace(**dict(zip(names, values, strict=True)))


def test_mixture_has_the_moments_of_its_components() -> None:
    """Mean and covariance of each group, within 6 standard errors; components by weight."""
    rng = np.random.default_rng(0)
    n, n_dim = 60_000, 4
    tril = np.tril(rng.normal(0, 0.3, (2, n_dim, n_dim))) + np.eye(n_dim)
    tril = tril.astype(F)
    means = np.array([[0] * n_dim, [50] * n_dim, [-50] * n_dim], F)
    upper = tril + np.triu(np.full((n_dim, n_dim), 1e6, F), 1)  # must not be looked at
    made = inputs(n_dim, [0, 1, 3], [2.0, 0.25, 0.75], means, upper, [0, 1, 0])
    out = drawn(made, n, seed=8)
    first, second = out.z[out.codes[:, 0] == 0], out.z[out.codes[:, 0] == 1]
    components = [(first, 0, 0), (second[second[:, 0] > 0], 1, 1), (second[second[:, 0] < 0], 2, 0)]
    share = len(components[1][0]) / len(second)
    assert abs(share - 0.25) < 6 * (0.25 * 0.75 / len(second)) ** 0.5
    for values, component, factor in components:
        covariance = tril[factor].astype(float) @ tril[factor].T.astype(float)
        deviation = np.sqrt(np.diag(covariance) / len(values))
        assert (np.abs(values.mean(0) - means[component]) < 6 * deviation).all()
        error = np.cov(values, rowvar=False) - covariance
        scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2)
        assert (np.abs(error) < 6 * scale * len(values) ** -0.5).all()


def test_mixture_uses_the_noise_of_fill_latent() -> None:
    n, n_dim = 50, 3
    tril = np.tril(np.full((1, n_dim, n_dim), 0.5, F))
    no_keys: dict[str, Any] = {
        "sizes": np.empty(0, np.int32),
        "seen": np.empty((1, 0), np.int32),
        "combinations": np.empty((1, 0), np.int32),
    }
    made = inputs(n_dim, means=np.ones((1, n_dim)), tril=tril, **no_keys)
    z = drawn(made, n, seed=9, first_cell=5).z
    e = normals(n, n_dim, seed=9, first_cell=5).astype(float)
    np.testing.assert_allclose(z, 1 + e @ tril[0].T.astype(float), rtol=1e-6, atol=1e-6)
    plain = drawn(inputs(n_dim, prior=None, **no_keys), n, seed=9, first_cell=5).z
    np.testing.assert_array_equal(plain, e.astype(F))


def component_counts(weights: list[float], n: int, seed: int) -> NDArray[np.int64]:
    """Count the components that were drawn, each known by its mean."""
    n_components = len(weights)
    made = inputs(
        1, [0, n_components], weights, 100.0 * np.arange(n_components)[:, None],
        factor=[0] * n_components,
    )  # fmt: skip
    components = np.rint(drawn(made, n, seed).z[:, 0] / 100).astype(int)
    return np.bincount(components, minlength=n_components)


def test_a_component_of_no_weight_is_never_drawn() -> None:
    counts = component_counts([0.0, 1.0, 0.0, 1e-3, 0.0], 200_000, seed=1)
    assert (counts[[0, 2, 4]] == 0).all()
    expected = 200_000 * 1e-3 / 1.001
    assert abs(counts[3] - expected) < 6 * expected**0.5


def test_components_have_their_probabilities() -> None:
    """Chi-square; fails with a probability of 1e-6 if all is well (fixed seed)."""
    stats = pytest.importorskip("scipy.stats")
    weights = [5.0, 1.0, 0.1, 20.0, 3.0]
    counts = component_counts(weights, 300_000, seed=2)
    assert stats.chisquare(counts, np.array(weights) / sum(weights) * 300_000).pvalue > 1e-6


def test_library_is_log_normal_within_its_bounds() -> None:
    stats = pytest.importorskip("scipy.stats")
    library = [np.array(x, F) for x in ([0, 0], [1e30, 15], [8.5, 3.0], [0.4, 0.0])]
    made = inputs(1, [0, 1, 2], [1, 1], factor=[0, 0], library=library)
    out = drawn(made, 100_000, seed=4)
    first = out.codes[:, 0] == 0
    logs = np.log(out.library[first].astype(float))
    assert stats.kstest(logs, stats.norm(8.5, 0.4).cdf).pvalue > 1e-6
    assert (out.library[~first] == 15).all()  # exp(3) is beyond it
    again = drawn(made, 10, seed=4, first_cell=500)
    np.testing.assert_array_equal(again.library, out.library[500:510])


def fnv1a(text: bytes) -> int:
    """Return the hash of Fowler, Noll and Vo in 32 bits."""
    value = 0x811C9DC5
    for byte in text:
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def test_a_coordinate_that_does_not_vary_is_not_moved() -> None:
    """An unseen combination of two keys: the second of its latents is a switch."""
    made = inputs(
        2, [0, 1, 2, 3], [1, 1, 1], [[0, 1], [4, -1], [1, -1]], [[[0.5, 0], [0, 0]]], [0, 0, 0],
        sizes=np.array([2, 2], np.int32),
        seen=np.array([[0, 0], [0, 1], [1, 0]], np.int32),
        combinations=np.array([[1, 1]], np.int32),
        groups=np.zeros(1, np.int32), bounds=np.array([2**64 - 1], np.uint64),
    )  # fmt: skip
    out = drawn(made, 400, seed=0)
    assert out.unseen.all()
    # The keys move the first latent by 1 and 4, save for the ridge.
    assert abs(out.z[:, 0].mean() - 5) < 0.1
    assert set(out.z[:, 1].tolist()) == {-1.0}


def test_streams_are_hashes_of_names() -> None:
    assert fnv1a(b"foobar") == 0xBF9CF968  # of the authors' page
    keys = [("Zelltyp", ["β", "α"])]
    out = drawn(inputs(2, [0, 1, 2], [1, 1], factor=[0, 0], keys=keys), 200, seed=1)
    hashes = [fnv1a(f"Zelltyp\0{name}\0".encode()) for name in keys[0][1]]
    assert out.streams.tolist() == [hashes[code] for (code,) in out.codes]
    # Each word of a row is keyed by its stream.
    for i in (0, 1, 5):
        key = np.array([1, 0, 1, out.streams[i]], np.uint32)
        words = _core.threefry4x32(np.array([[i, 0, 0, 0]], np.uint32), key)[0]
        radius = np.sqrt(-2 * np.log(((words[0] >> 1) + 0.5) * 2.0**-31))
        first_and_17th = drawn(
            inputs(17, [0, 1, 2], [1, 1], factor=[0, 0], keys=keys), i + 1, seed=1
        ).z[i, [0, 16]]
        np.testing.assert_allclose(np.hypot(*first_and_17th), radius, rtol=1e-5)


def test_draws_are_keyed_by_their_stream() -> None:
    outputs = [np.full((4, 300), 2.0, F), np.ones(300, F)]
    plain = _core.observe("nb", outputs, seed=1)
    streams = np.array([0x76616578, 7, 0x76616578, 8], np.uint32)
    keyed = _core.observe("nb", outputs, seed=1, streams=streams)

    def rows(made: Any) -> list[tuple[Any, ...]]:
        data, indices, indptr = made
        return [(data[a:b].tolist(), indices[a:b].tolist()) for a, b in itertools.pairwise(indptr)]

    assert [a == b for a, b in zip(rows(plain), rows(keyed), strict=True)] == [1, 0, 1, 0]
    for name in _core.instruction_sets():
        again = _core.observe("nb", outputs, seed=1, streams=streams, instruction_set=name)
        assert rows(again) == rows(keyed)


def test_one_hot() -> None:
    made = inputs(
        1, prior=None, sizes=np.array([2, 3], np.int32), seen=np.array([[0, 2]], np.int32),
        combinations=np.array([[0, 2], [1, 0], [1, 1]], np.int32),
        groups=np.array([0, 1, 2], np.int32),
        bounds=np.array([1, 2, 3], np.uint64), endless=False,
    )  # fmt: skip
    out = drawn(made, 4, seed=0)
    wanted = [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 1, 0, 1, 0]]
    np.testing.assert_array_equal(out.condition, wanted)
    assert out.codes.tolist() == [[0, 2], [1, 0], [1, 1], [1, 1]]
    assert out.unseen.tolist() == [False, True, True, True]
    plain = inputs(1, prior=None, **{
        name: np.empty((1, 0), np.int32) for name in ("seen", "combinations")
    }, sizes=np.empty(0, np.int32))  # fmt: skip
    assert drawn(plain, 3, seed=0).condition is None


def test_reparameterize() -> None:
    rng = np.random.default_rng(1)
    mean = rng.normal(size=(300, 7)).astype(F)
    log_variance = rng.normal(-1, 2, size=(300, 7)).astype(F)
    found = _core.reparameterize(mean, log_variance, seed=3, first_cell=11, n_threads=2)
    e = normals(300, 7, seed=3, first_cell=11).astype(float)
    wanted = mean + np.exp(log_variance.astype(float) / 2) * e
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6)
    # A variance of zero in all but name leaves the mean; a vast one stays finite.
    flat = _core.reparameterize(mean, np.full_like(mean, -1e4), seed=3)
    np.testing.assert_array_equal(flat, mean)
    assert np.isfinite(_core.reparameterize(mean, np.full_like(mean, 160.0), seed=3)).all()
    with pytest.raises(ValueError, match="log_variance: expected draws that float32 can hold"):
        _core.reparameterize(mean, np.full_like(mean, 180.0), seed=3)
