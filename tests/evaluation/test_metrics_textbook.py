"""Scores against their textbook definitions, computed by plain loops on tiny cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.random import default_rng
from sklearn.metrics import roc_auc_score

from vaexprs.evaluation import arrays
from vaexprs.evaluation.metrics import (
    conditions,
    discriminators,
    distances,
    manifold,
    marginals,
    privacy,
    structure,
)


@pytest.fixture
def clouds():
    rng = default_rng(1)
    return rng.normal(size=(9, 3)), rng.normal(0.4, 1.3, size=(7, 3))


def euclid(a, b):
    return math.sqrt(sum((u - v) ** 2 for u, v in zip(a, b, strict=True)))


def test_mmd_is_the_u_statistic(clouds):
    x, y = clouds
    scale = float(np.median([euclid(a, b) for a, b in itertools.combinations(x, 2)]))

    def k(a, b):
        return sum(
            math.exp(-(euclid(a, b) ** 2) / (2 * (m * scale) ** 2)) for m in distances.BANDWIDTHS
        ) / len(distances.BANDWIDTHS)

    expected = (
        sum(k(a, b) for a, b in itertools.permutations(x, 2)) / (9 * 8)
        + sum(k(a, b) for a, b in itertools.permutations(y, 2)) / (7 * 6)
        - 2 * sum(k(a, b) for a in x for b in y) / (9 * 7)
    )
    assert distances.mmd(x, y) == pytest.approx(expected, abs=1e-12)


def test_energy_distance(clouds):
    x, y = clouds
    expected = (
        2 * np.mean([euclid(a, b) for a in x for b in y])
        - np.mean([euclid(a, b) for a, b in itertools.permutations(x, 2)])
        - np.mean([euclid(a, b) for a, b in itertools.permutations(y, 2)])
    )
    assert distances.energy_distance(x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_manifold_scores(clouds, k):
    x, y = clouds

    def radius(cells, index):
        others = sorted(euclid(cells[index], c) for i, c in enumerate(cells) if i != index)
        return others[k - 1]

    holds = [[euclid(a, b) <= radius(x, i) for b in y] for i, a in enumerate(x)]
    reaches = [[euclid(a, b) <= radius(y, j) for j, b in enumerate(y)] for a in x]
    scores = manifold.manifold_scores(x, y, k=k)
    assert scores["precision"] == pytest.approx(
        np.mean([any(column) for column in zip(*holds, strict=True)])
    )
    assert scores["recall"] == pytest.approx(np.mean([any(row) for row in reaches]))
    assert scores["density"] == pytest.approx(np.sum(holds) / (k * len(y)))
    assert scores["coverage"] == pytest.approx(np.mean([any(row) for row in holds]))


def test_integration_lisi_by_its_definition():
    rng = default_rng(2)
    x, y = rng.normal(size=(12, 2)), rng.normal(0.5, 1, size=(12, 2))
    cells, kind = np.concatenate([x, y]), np.repeat([0, 1], 12)
    indices = []
    for i, cell in enumerate(cells):
        near = sorted((euclid(cell, c), j) for j, c in enumerate(cells) if j != i)[:15]

        def weights(beta, near=near):
            raw = [math.exp(-beta * d) for d, _ in near]
            return [w / sum(raw) for w in raw]

        low, high = 1e-9, 1e6
        for _ in range(200):
            beta = math.sqrt(low * high)
            entropy = -sum(w * math.log(w) for w in weights(beta) if w > 0)
            low, high = (beta, high) if entropy > math.log(5) else (low, beta)
        share = sum(w for w, (_, j) in zip(weights(beta), near, strict=True) if kind[j])
        indices.append(1 / (share**2 + (1 - share) ** 2))
    score = manifold.integration_lisi(x, y, perplexity=5)
    assert score == pytest.approx(np.mean(indices), rel=1e-6)


def test_mann_whitney_auc_is_the_area():
    rng = default_rng(3)
    a, b = rng.integers(0, 6, 40), rng.integers(1, 8, 30)
    expected = roc_auc_score(np.repeat([0, 1], [40, 30]), np.concatenate([a, b]))
    assert discriminators.mann_whitney_auc(a, b) == pytest.approx(expected)


def test_standard_error_of_the_auc_is_that_of_repeated_draws():
    """Of 60 draws the standard deviation is within 35 % (false alarm below 1 in 1,000)."""
    rng = default_rng(4)
    runs = [
        discriminators.discriminate(
            rng.normal(size=(60, 1)), rng.normal(1.0, 1, size=(60, 1)), model="logistic"
        )
        for _ in range(60)
    ]
    spread = np.std([run.auc for run in runs], ddof=1)
    assert np.mean([run.standard_error for run in runs]) == pytest.approx(spread, rel=0.35)


def test_columns_of_sparse_and_dense_agree():
    X = default_rng(5).poisson(0.5, (11, 6)).astype(np.float32)
    X[:, 2] = 0
    S = sp.csr_matrix(X)
    S.data[0] = 0.0  # stored zeros are zeros
    X = S.toarray()
    for one, two in zip(arrays.mean_variance(X), arrays.mean_variance(S), strict=True):
        np.testing.assert_allclose(one, two)
    np.testing.assert_allclose(arrays.mean_variance(X)[1], X.var(axis=0, ddof=1), rtol=1e-6)
    np.testing.assert_array_equal(arrays.nonzero_share(S), (X != 0).mean(axis=0))
    np.testing.assert_array_equal(arrays.column_maximum(S), X.max(axis=0))
    for one, two in zip(marginals.cell_statistics(X), marginals.cell_statistics(S), strict=True):
        np.testing.assert_allclose(one, two)


def test_spearman_matrix_is_scipys():
    from scipy.stats import spearmanr

    X = default_rng(6).poisson(1.0, (30, 5)).astype(float)
    np.testing.assert_allclose(structure.spearman_matrix(X), spearmanr(X).statistic, atol=1e-12)
    X[:, 1] = 3.0
    matrix = structure.spearman_matrix(X)
    assert matrix[1, 1] == 1
    assert not matrix[1, [0, 2, 3, 4]].any()


def test_compare_correlations_by_hand():
    a = np.array([[1, 0.5, 0.1], [0.5, 1, -0.3], [0.1, -0.3, 1]])
    b = np.array([[1, 0.3, 0.1], [0.3, 1, -0.2], [0.1, -0.2, 1]])
    scores = structure.compare_correlations(a, b)
    assert scores["difference"] == pytest.approx(0.1)
    assert scores["agreement"] == pytest.approx(
        np.corrcoef([0.5, 0.1, -0.3], [0.3, 0.1, -0.2])[0, 1]
    )


def test_contrast_by_hand():
    X = np.log1p(np.array([[3.0, 0], [1, 4], [0, 2], [0, 0], [0, 3]]))
    member = np.array([True, True, False, False, False])
    expected = [
        math.log2((4 / 2 + 1) / (0 + 1)),
        math.log2((4 / 2 + 1) / (5 / 3 + 1)),
    ]
    for form in (np.asarray, sp.csr_matrix):
        (contrast,) = conditions.contrasts(form(X), member[None], form(np.expm1(X)))
        np.testing.assert_allclose(contrast.log_fold_change, expected, rtol=1e-6)
    from scipy.stats import ttest_ind

    welch = ttest_ind(X[member], X[~member], equal_var=False).statistic
    np.testing.assert_allclose(contrast.t, welch, rtol=1e-6)
    (plain,) = conditions.contrasts(X, member[None])
    np.testing.assert_allclose(
        plain.log_fold_change, X[member].mean(axis=0) - X[~member].mean(axis=0)
    )


def test_compare_contrasts_by_hand():
    real = conditions.Contrast(np.array([1.0, 2, -1, 0]), np.array([1.0, 9, -3, 0]))
    half = conditions.Contrast(np.array([0.5, 1, -0.5, 0]), np.array([8.0, 1, 2, 0]))
    scores = conditions.compare_contrasts(real, half, n_markers=2)
    assert scores["fold_change_slope"] == pytest.approx(0.5)
    assert scores["fold_change_correlation"] == pytest.approx(1.0)
    assert scores["markers_kept"] == pytest.approx(0.5)  # gene 0 of genes {1, 0}


def test_recall_of_each_category():
    labels = np.array(["a", "a", "a", "b"])
    recall = conditions.category_recall(np.array(["a", "a", "b", "b"]), labels)
    assert recall == {"a": (pytest.approx(2 / 3), 3), "b": (1.0, 1)}


def test_nearest_distances_by_hand(clouds):
    x, y = clouds
    by_hand = [min(euclid(a, b) for b in y) for a in x]
    np.testing.assert_allclose(privacy.nearest_distance(x, y), by_hand)
    others = [min(euclid(a, b) for j, b in enumerate(x) if j != i) for i, a in enumerate(x)]
    np.testing.assert_allclose(privacy.nearest(None, x)[0], others)
    train, test = y[:3], y[3:]
    nearer = [min(euclid(a, b) for b in train) < min(euclid(a, b) for b in test) for a in x]
    assert privacy.share_nearer(x, train, test) == pytest.approx(np.mean(nearer))
    assert privacy.share_nearer(x, train, train) == 0.5


def test_fingerprints_are_equal_for_equal_cells_only():
    X = default_rng(7).poisson(1.0, (20, 30)).astype(np.float32)
    X[5] = X[3]
    S = sp.csr_matrix(X)
    prints = arrays.fingerprints(X)
    np.testing.assert_array_equal(prints, arrays.fingerprints(S))
    assert len(np.unique(prints)) == 19
    assert prints[5] == prints[3]


def test_trend_difference_by_hand():
    x = np.arange(40.0)
    assert marginals.trend_difference(x, x, x, x + 0.5, n_bins=4) == pytest.approx(0.5)
    noisy = default_rng(8).permutation(40)
    assert marginals.trend_difference(x, x, x[noisy], x[noisy], n_bins=4) == 0.0


def test_compare_genes_by_hand():
    real = marginals.gene_statistics(np.array([[0.0, 2, 0], [4, 2, 0], [8, 5, 0], [0, 3, 0]]))
    made = marginals.gene_statistics(np.array([[0.0, 1, 0], [2, 3, 0], [4, 2, 0], [0, 4, 0]]))
    scores = marginals.compare_genes(real, made)
    assert scores["gene_mean_error"] == pytest.approx((1.5 + 0.5) / 2)
    ratios = [made.variance[g] / real.variance[g] for g in (0, 1)]
    assert scores["gene_variance_ratio"] == pytest.approx(np.median(ratios))
    assert scores["gene_variance_log_ratio"] == pytest.approx(np.abs(np.log2(ratios)).mean())
    assert scores["zero_fraction_error"] == 0.0
    # Maxima 4 and 4 against 8 and 5, both raised by the smallest real maximum, 5.
    expected = (abs(math.log2(9 / 13)) + abs(math.log2(9 / 10))) / 2
    assert scores["gene_maximum_log_ratio"] == pytest.approx(expected)
