"""Covariances of draws: moved to those of real cells, as far as these tell."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from vaexprs.spec import Prior
from vaexprs.training.calibration.covariances import shrunk_covariances
from vaexprs.training.calibration.scores import match_scores

pytestmark = pytest.mark.torch

D = 20


def correlated(strength: float, seed: int) -> np.ndarray:
    """Return a covariance of variances between 0.3 and 3 with one common factor."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=D)
    deviation = np.sqrt(np.geomspace(3, 0.3, D))
    covariance = strength * np.outer(factor, factor) + np.eye(D)
    scale = deviation / np.sqrt(np.diag(covariance))
    return scale[:, None] * covariance * scale


def centred(covariance: np.ndarray, n: int, seed: int) -> np.ndarray:
    cells = np.random.default_rng(seed).normal(size=(n, D)) @ np.linalg.cholesky(covariance).T
    return cells - cells.mean(0)


def correlation(covariance: np.ndarray) -> np.ndarray:
    deviation = np.sqrt(np.diag(covariance))
    return covariance / deviation[:, None] / deviation


def test_noise_of_few_cells_is_not_believed():
    """Real cells of the law of the draws, which have noise of their own: 0.3 of that of 40."""
    truth = correlated(0.5, 0)
    real = [centred(truth, n, seed) for seed, n in enumerate([40, 40, 60])]
    drawn = [centred(truth, 400, 10 + seed) for seed in range(3)]
    made = [np.cov(cells.T) for cells in drawn]
    targets = shrunk_covariances(made, np.full(3, 400), real)
    for target, cells in zip(targets, real, strict=True):
        off = np.abs(correlation(target) - correlation(truth)).mean()
        assert off < 0.5 * np.abs(correlation(np.cov(cells.T)) - correlation(truth)).mean()


def test_what_many_cells_tell_is_believed():
    """One of two combinations has other correlations and half the variances."""
    usual, other = correlated(0.3, 1), 0.5 * correlated(3.0, 2)
    real = [centred(usual, 2000, 3), centred(other, 2000, 4)]
    made = [np.cov(centred(usual, 400, 5 + g).T) for g in range(2)]
    targets = shrunk_covariances(made, np.full(2, 400), real)
    before = np.abs(correlation(made[1]) - correlation(other)).mean()
    assert np.abs(correlation(targets[1]) - correlation(other)).mean() < 0.3 * before
    ratio = np.diag(targets[1]) / np.diag(other)
    assert 0.85 < np.median(ratio) < 1.15


@pytest.mark.parametrize("sizes", [(30, 200), (1, 300), (2, 2, 2)])
def test_variances_of_all_cells_together_are_the_real_ones(sizes):
    real = [centred(correlated(1, 0), n, n) for n in sizes]
    made = [correlated(0.2, g) for g in range(len(sizes))]
    targets = shrunk_covariances(made, np.full(len(sizes), 100), real)
    freedom = np.array([n - 1 for n in sizes])
    wanted = sum(cells.T @ cells for cells in real).diagonal() / freedom.sum()
    got = sum(n * np.diag(target) for n, target in zip(freedom, targets, strict=True))
    np.testing.assert_allclose(got / freedom.sum(), wanted, rtol=1e-9)


def test_combinations_of_one_cell_each_change_nothing():
    made = [correlated(0.2, g) for g in range(3)]
    targets = shrunk_covariances(made, np.full(3, 100), [np.zeros((1, D))] * 3)
    np.testing.assert_array_equal(targets, made)


def test_draws_come_to_vary_as_real_cells_do():
    """Scores follow z with noise on top; the prior starts four times too wide along half of z.

    Two combinations of 150 cells; the variance of 300 cells has a standard error of 8 %, and those
    of the later scores are half noise.
    """
    rng = np.random.default_rng(0)
    d, n = 10, 150
    slope = np.linalg.qr(rng.normal(size=(d, d)))[0]
    noise = np.linspace(0.1, 1.0, d)
    truth = np.linspace(2.0, 0.5, d)

    def observe(z: np.ndarray) -> np.ndarray:
        return z @ slope + np.sqrt(noise) * rng.normal(size=z.shape)

    def prior_of(variance: np.ndarray) -> Prior:
        tril = np.diag(np.sqrt(variance)).astype(np.float32)[None]
        return Prior(
            "gaussian_mixture", False, np.array([0, 1, 2]), np.ones(2),
            np.zeros((2, d), np.float32), tril, np.zeros(2, np.int32),
        )  # fmt: skip

    group = np.repeat([0, 1], n)
    real = observe(np.sqrt(truth) * rng.normal(size=(2 * n, d)))
    prior = prior_of(np.where(np.arange(d) % 2, 4.0, 1.0) * truth)
    made = np.repeat([0, 1], 400)
    for _ in range(3):
        y = np.empty((len(made), d))
        for g in range(2):
            tril = prior.tril[prior.factor[g]]
            y[made == g] = rng.normal(size=(400, d)) @ tril.T
        prior = match_scores(prior, y, observe(y), observe(y), made, real, group)
    covariance = np.mean([t @ t.T for t in prior.tril[prior.factor].astype(float)], axis=0)
    scores = slope.T @ covariance @ slope + np.diag(noise)
    ratio = np.diag(scores) / real.var(axis=0)
    assert np.abs(np.log(ratio)).max() < np.log(1.25)
    assert np.abs(np.log(ratio)).mean() < np.log(1.1)
