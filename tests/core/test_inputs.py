"""Latent variables, library sizes and conditions: what goes into a decoder."""

from __future__ import annotations

import numpy as np
import pytest

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


def test_mixture_has_the_moments_of_its_components() -> None:
    """Mean and covariance of each group, within 6 standard errors; components by weight."""
    rng = np.random.default_rng(0)
    n, n_dim = 60_000, 4
    tril = np.tril(rng.normal(0, 0.3, (2, n_dim, n_dim))) + np.eye(n_dim)
    tril = tril.astype(F)
    means = np.array([[0] * n_dim, [50] * n_dim, [-50] * n_dim], F)
    weights = np.array([2.0, 0.25, 0.75])
    out, group = np.empty((n, n_dim), F), (np.arange(n) % 2).astype(np.int32)
    upper = tril + np.triu(np.full((n_dim, n_dim), 1e6, F), 1)  # must not be looked at
    _core.fill_latent_mixture(
        out, group, np.array([0, 1, 3]), weights, means, upper, np.array([0, 1, 0], np.int32),
        seed=8,
    )  # fmt: skip
    first, second = out[group == 0], out[group == 1]
    components = [(first, 0, 0), (second[second[:, 0] > 0], 1, 1), (second[second[:, 0] < 0], 2, 0)]
    share = len(components[1][0]) / len(second)
    assert abs(share - 0.25) < 6 * (0.25 * 0.75 / len(second)) ** 0.5
    for drawn, component, factor in components:
        covariance = tril[factor].astype(float) @ tril[factor].T.astype(float)
        deviation = np.sqrt(np.diag(covariance) / len(drawn))
        assert (np.abs(drawn.mean(0) - means[component]) < 6 * deviation).all()
        error = np.cov(drawn, rowvar=False) - covariance
        scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2)
        assert (np.abs(error) < 6 * scale * len(drawn) ** -0.5).all()


def test_mixture_uses_the_noise_of_fill_latent() -> None:
    n, n_dim = 50, 3
    out, tril = np.empty((n, n_dim), F), np.tril(np.full((1, n_dim, n_dim), 0.5, F))
    _core.fill_latent_mixture(
        out, np.zeros(n, np.int32), np.array([0, 1]), np.ones(1), np.ones((1, n_dim), F), tril,
        np.zeros(1, np.int32), seed=9, first_cell=5,
    )  # fmt: skip
    e = normals(n, n_dim, seed=9, first_cell=5).astype(float)
    np.testing.assert_allclose(out, 1 + e @ tril[0].T.astype(float), rtol=1e-6, atol=1e-6)


def test_a_component_of_no_weight_is_never_drawn() -> None:
    weights = np.array([0.0, 1.0, 0.0, 1e-3, 0.0])
    drawn = _core.sample_categorical(weights, 200_000, seed=1)
    counts = np.bincount(drawn, minlength=5)
    assert (counts[[0, 2, 4]] == 0).all()
    expected = 200_000 * 1e-3 / 1.001
    assert abs(counts[3] - expected) < 6 * expected**0.5


def test_categories_have_their_probabilities() -> None:
    """Chi-square; fails with a probability of 1e-6 if all is well (fixed seed)."""
    stats = pytest.importorskip("scipy.stats")
    weights = np.array([5.0, 1.0, 0.1, 20.0, 3.0])
    counts = np.bincount(_core.sample_categorical(weights, 300_000, seed=2), minlength=5)
    assert stats.chisquare(counts, weights / weights.sum() * 300_000).pvalue > 1e-6


def test_library_is_log_normal() -> None:
    stats = pytest.importorskip("scipy.stats")
    location, scale = np.array([8.5, 3.0], F), np.array([0.4, 0.0], F)
    out, group = np.empty(100_000, F), (np.arange(100_000) % 2).astype(np.int32)
    _core.fill_library(out, group, location, scale, seed=4)
    assert stats.kstest(np.log(out[::2].astype(float)), stats.norm(8.5, 0.4).cdf).pvalue > 1e-6
    np.testing.assert_allclose(out[1::2], np.exp(3.0), rtol=1e-6)
    again = np.empty(10, F)
    _core.fill_library(again, group[500:510], location, scale, seed=4, first_cell=500, n_threads=2)
    np.testing.assert_array_equal(again, out[500:510])


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


def test_one_hot() -> None:
    codes = np.array([[0, 2], [1, 0], [1, 1]], np.int32)
    out = np.full((3, 5), 9, F)
    _core.fill_one_hot(out, codes, np.array([2, 3], np.int32))
    wanted = [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0]]
    np.testing.assert_array_equal(out, wanted)
    _core.fill_one_hot(np.empty((3, 0), F), np.empty((3, 0), np.int32), np.empty(0, np.int32))
