"""Mixtures of few cells in many dimensions: as many components as new cells ask for."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from vaexprs.latent.mixtures import Mixture, _fit_leading, choose_mixture, fit_normal

pytestmark = pytest.mark.torch

D = 20


def cells(n: int, seed: int, share: float = 0.0, shift: float = 8.0) -> np.ndarray:
    """Draw normal cells; a share of them has a program on, along one slanted direction."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, D))
    direction = np.zeros(D)
    direction[[2, 5, 11]] = np.array([1, -1, 1]) / np.sqrt(3)
    on = rng.random(n) < share
    return y + on[:, None] * rng.normal(shift, 1, n)[:, None] * direction


def choose(y: np.ndarray, importance: np.ndarray | None = None) -> Mixture:
    given = np.eye(D)
    scale = np.ones(D) if importance is None else importance
    return choose_mixture(y, given, 20.0, scale, np.random.default_rng(0))


def test_a_program_of_few_cells_is_found():
    """120 cells in 20 dimensions, one in seven with the program on."""
    mixture = choose(cells(120, 1, share=0.15))
    assert len(mixture.weights) > 1
    new = cells(2000, 2, share=0.15)
    normal = fit_normal(cells(120, 1, share=0.15), np.eye(D), 20.0)
    assert mixture.score(new) > normal.score(new) + 0.3 * len(new)
    # one component lies where the program is on, and holds about its share
    along = mixture.means[:, [2, 5, 11]] @ np.array([1, -1, 1]) / np.sqrt(3)
    assert mixture.weights[along > 4].sum() == pytest.approx(0.15, abs=0.07)


@pytest.mark.parametrize("n", [35, 120, 400])
def test_normal_cells_stay_about_normal(n):
    """Held-out cells may like a second component by chance, but new ones lose next to nothing."""
    new = cells(2000, 3)
    lost = []
    for seed in range(5):
        y = cells(n, 10 + seed)
        lost.append(fit_normal(y, np.eye(D), 20.0).score(new) - choose(y).score(new))
    assert np.median(lost) / len(new) < 0.01


def test_leading_mixtures_keep_mean_and_covariance():
    """They reshape the leading directions, and leave the rest as one normal law has it."""
    y = cells(500, 4, share=0.3)
    rng = np.random.default_rng(0)
    mixture = _fit_leading(y, 3, 2, np.eye(D), 20.0, np.ones(D), rng)
    assert mixture.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(mixture.weights @ mixture.means, y.mean(0), atol=1e-6)
    centred = mixture.means - y.mean(0)
    covariance = (mixture.weights[:, None] * centred).T @ centred
    covariance += np.einsum("k,kij,klj->il", mixture.weights, mixture.tril, mixture.tril)
    tril = fit_normal(y, np.eye(D), 20.0).tril[0]
    wanted = tril @ tril.T
    leading = np.linalg.eigh(wanted)[1][:, -2:]
    other = np.eye(D) - leading @ leading.T
    difference = covariance - wanted
    np.testing.assert_allclose(other @ difference @ other, 0, atol=1e-6)  # but for a floor
    np.testing.assert_allclose(other @ difference @ leading, 0, atol=1e-9)
    # its pull to the covariance in common is not that of one law: a few percent of the variance
    along = leading.T @ difference @ leading
    assert np.abs(along).max() < 0.05 * np.diag(leading.T @ wanted @ leading).max()


def test_importance_says_which_directions_lead():
    """Two programs of equal strength: components form along the one that counts."""
    rng = np.random.default_rng(5)
    y = rng.normal(size=(300, D))
    y[:, 0] += 6 * (rng.random(300) < 0.5)
    y[:, 1] += 6 * (rng.random(300) < 0.5)
    importance = np.ones(D)
    importance[1] = 10.0
    mixture = _fit_leading(y, 2, 1, np.eye(D), 20.0, importance, rng)
    gap = np.abs(np.diff(mixture.means, axis=0))[0]
    assert gap[1] > 4
    assert gap[0] < 1.5


def test_two_cells_are_a_normal_law():
    mixture = choose(cells(2, 6))
    assert len(mixture.weights) == 1
    assert np.isfinite(mixture.tril).all()
