"""Mixtures find what is there, and the sizes of drawn cells follow those of real ones."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from vaexprs.training.priors import fit_prior, sample_prior

pytestmark = pytest.mark.torch


def three_clusters(n, seed):
    rng = np.random.default_rng(seed)
    centres = np.zeros((3, 8))
    centres[[0, 1, 2], [0, 1, 2]] = 6.0
    return centres[rng.integers(3, size=n)] + rng.normal(size=(n, 8))


@pytest.mark.parametrize("n", [150, 600])
def test_hidden_clusters_get_components_of_their_own(n):
    """Draws fall on the clusters, not between them, though no condition tells them apart."""
    z = three_clusters(n, 0)
    prior = fit_prior(z, None, np.zeros(n, np.int64), 1, seed=0)
    assert len(prior.weights) >= 3
    drawn, _ = sample_prior(prior, None, np.zeros(2000, np.int64), np.random.default_rng(1))
    # distance to the nearest centre: squared, chi-square with 8 degrees of freedom
    centres = 6.0 * np.eye(3, 8)
    squares = ((drawn[:, None] - centres) ** 2).sum(2).min(1)
    assert squares.mean() < 11
    assert np.mean(squares > 26.1) < 0.02  # 0.001 of the true law; between clusters it is 18 to 24


def test_one_cloud_stays_one_component():
    z = np.random.default_rng(0).normal(size=(400, 8))
    prior = fit_prior(z, None, np.zeros(400, np.int64), 1, seed=0)
    assert len(prior.weights) == 1


def test_the_same_seed_gives_the_same_mixture():
    z = three_clusters(300, 1)
    group = np.arange(300) % 2
    first, second = (fit_prior(z, None, group, 2, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.means, second.means)
    np.testing.assert_array_equal(first.tril, second.tril)
