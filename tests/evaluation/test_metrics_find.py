"""Each score is quiet for two samples of one law, and finds what was planted for it.

"Quiet" bounds are at least four standard deviations wide, so that with a fixed seed they fail
only when a score is wrong; another seed would fail in fewer than 1 in 1,000 runs.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.random import default_rng

from vaexprs.evaluation.metrics import (
    conditions,
    discriminators,
    distances,
    manifold,
    marginals,
    privacy,
    structure,
    utility,
)

N = 150


@pytest.fixture(scope="module")
def same():
    rng = default_rng(0)
    return rng.normal(size=(N, 6)), rng.normal(size=(N, 6))


@pytest.fixture(scope="module")
def moved(same):
    return same[0], same[1] + np.array([1.2, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("model", ["forest", "boosting", "logistic"])
def test_discriminator(same, moved, model):
    options = {"model": model, "n_trees": 40}
    null = discriminators.discriminate(*same, **options)
    assert abs(null.auc - 0.5) < 4 * null.standard_error
    found = discriminators.discriminate(*moved, **options)
    assert found.auc > 0.7
    assert model == "boosting" or found.importance.argmax() == 0
    assert found.roc[0] < 0.4
    assert found.roc[-1] == 1.0
    assert discriminators.discriminate(*moved, **options).auc == found.auc


def test_only_the_forest_sees_a_lack_of_spread():
    rng = default_rng(1)
    real, narrow = rng.normal(size=(N, 4)), 0.5 * rng.normal(size=(N, 4))
    assert discriminators.discriminate(real, narrow, n_trees=40).auc > 0.7
    assert discriminators.discriminate(real, narrow, model="logistic").auc < 0.65


def test_threads_leave_the_warning_filters_of_the_process_alone(same, recwarn):
    before = list(warnings.filters)
    for _ in range(5):  # a race: each run of forests in threads lost some of them
        discriminators.discriminate(*same, n_trees=20, n_jobs=4)
    assert list(warnings.filters) == before
    assert not recwarn.list


def test_a_discriminator_refuses_single_cells():
    with pytest.raises(ValueError, match="two real and two generated"):
        discriminators.discriminate(np.zeros((1, 2)), np.zeros((5, 2)))


@pytest.mark.parametrize("distance", [distances.mmd, distances.energy_distance])
def test_distances_between_clouds(same, moved, distance):
    """Unbiased: over 40 pairs of one law the mean is within four standard errors of zero."""
    rng = default_rng(2)
    null = [distance(rng.normal(size=(30, 6)), rng.normal(size=(30, 6))) for _ in range(40)]
    assert abs(np.mean(null)) < 4 * np.std(null) / np.sqrt(40)
    assert min(null) < 0
    assert distance(*moved) > 4 * np.std(null)
    assert abs(distance(*same)) < 4 * np.std(null)


def test_manifold_scores_tell_missing_modes_from_strays(same):
    real, made = same
    null = manifold.manifold_scores(real, made)
    assert null["precision"] > 0.85
    assert null["recall"] > 0.85
    assert 0.8 < null["density"] < 1.2
    assert null["coverage"] > 0.9

    two_modes = np.concatenate([real[: N // 2], real[N // 2 :] + 20])
    one_mode = made
    missing = manifold.manifold_scores(two_modes, one_mode)
    assert missing["precision"] > 0.8
    assert missing["recall"] < 0.6
    assert missing["coverage"] < 0.6
    strays = manifold.manifold_scores(real, np.concatenate([made[: N // 2], made[N // 2 :] + 20]))
    assert strays["precision"] < 0.6
    assert strays["density"] < 0.7
    assert strays["recall"] > 0.7
    collapsed = manifold.manifold_scores(real, np.repeat(made[:5], N // 5, axis=0))
    assert collapsed["recall"] < 0.1


def test_mixing(same, moved):
    assert manifold.integration_lisi(*same) > 1.8
    assert manifold.integration_lisi(*moved) < 1.75
    assert manifold.integration_lisi(same[0], same[1] + 50) == pytest.approx(1.0, abs=1e-6)
    assert 1 <= manifold.integration_lisi(same[0][:2], same[1][:2]) <= 2


def test_marginals_find_what_changes_each():
    rng = default_rng(3)
    rates = np.exp(rng.normal(0, 1, 200))

    def draw(dispersion=5.0, inflation=0.0, scale=1.0):
        means = rng.gamma(dispersion, rates * scale / dispersion, size=(300, 200))
        return rng.poisson(means) * (rng.random((300, 200)) >= inflation)

    real = marginals.gene_statistics(draw())
    control = marginals.compare_genes(real, marginals.gene_statistics(draw()))
    assert control["gene_variance_ratio"] == pytest.approx(1.0, abs=0.1)
    assert control["gene_mean_correlation"] > 0.98
    narrow = marginals.compare_genes(real, marginals.gene_statistics(draw(dispersion=500)))
    assert narrow["gene_variance_ratio"] < 0.9
    assert narrow["gene_variance_log_ratio"] > 1.5 * control["gene_variance_log_ratio"]
    assert narrow["gene_mean_error"] < 2 * control["gene_mean_error"]
    zeros = marginals.compare_genes(real, marginals.gene_statistics(draw(inflation=0.2)))
    assert zeros["zero_fraction_error"] > 3 * control["zero_fraction_error"]
    louder = marginals.compare_genes(real, marginals.gene_statistics(draw(scale=1.5)))
    assert louder["gene_mean_error"] > 5 * control["gene_mean_error"]
    spiky = draw().astype(float)
    spiky[rng.integers(0, 300, 200), np.arange(200)] *= 20
    spiky = marginals.compare_genes(real, marginals.gene_statistics(spiky))
    assert spiky["gene_maximum_log_ratio"] > 3 * control["gene_maximum_log_ratio"]


def test_a_gene_constant_on_one_side_counts_as_a_large_error():
    X = default_rng(4).poisson(2.0, (50, 10)).astype(float)
    flat = X.copy()
    flat[:, 0] = 2.0
    scores = marginals.compare_genes(marginals.gene_statistics(X), marginals.gene_statistics(flat))
    assert scores["gene_variance_log_ratio"] == pytest.approx(5 / 10)


def test_cells_with_other_libraries_are_found():
    rng = default_rng(5)

    def cells(depth):
        return marginals.cell_statistics(rng.poisson(depth, (400, 30)))

    same_depth = marginals.compare_cells(cells(1.0), cells(1.0))
    deeper = marginals.compare_cells(cells(1.0), cells(1.3))
    assert same_depth["library_ks"] < 0.14  # the 0.1 % point for 400 against 400 cells
    assert deeper["library_ks"] > 0.4
    assert deeper["genes_detected_ks"] > 0.3


def test_lost_correlations_are_found_where_they_are():
    rng = default_rng(6)

    def draw(within):
        labels = np.repeat([0, 1], 150)
        shared = rng.normal(size=(300, 1)) * within
        return labels[:, None] * np.linspace(-2, 2, 12) + shared + rng.normal(
            size=(300, 12)
        ), labels

    (real, labels), (again, _), (lost, _) = draw(1.0), draw(1.0), draw(0.0)
    within = structure.matrices_within(real, labels)
    control = structure.compare_within(within, structure.matrices_within(again, labels))
    broken = structure.compare_within(within, structure.matrices_within(lost, labels))
    assert broken["difference"] > 5 * control["difference"]
    overall = structure.compare_correlations(
        structure.spearman_matrix(real), structure.spearman_matrix(lost)
    )
    # The category's own effect keeps the overall picture alike: only "within" tells clearly.
    assert overall["agreement"] > 0.8
    nothing = structure.compare_within(structure.matrices_within(real, np.arange(300)), within)
    assert np.isnan(nothing["difference"])


def test_component_spread():
    rng = default_rng(7)
    real = rng.normal(size=(2000, 3))
    ratio = structure.component_spread(real, rng.normal(size=(2000, 3)) * [1, 0.5, 2])
    np.testing.assert_allclose(ratio, [1, 0.5, 2], rtol=0.1)


@pytest.fixture(scope="module")
def labelled():
    rng = default_rng(8)
    centres = 3.0 * np.eye(4)[:3]

    def draw(n):
        labels = np.repeat(np.array(["a", "b", "c"]), n)
        return centres[np.repeat([0, 1, 2], n)] + rng.normal(size=(3 * n, 4)), labels

    return draw


def test_cells_that_ignore_their_condition_are_found(labelled):
    train, labels = labelled(60)
    test, test_labels = labelled(40)
    classifier = conditions.category_classifier(train, labels)
    predicted = classifier.predict(test)
    obeying = conditions.category_recall(predicted, test_labels)
    shuffled = conditions.category_recall(predicted, default_rng(9).permutation(test_labels))
    assert np.mean([share for share, _ in obeying.values()]) > 0.9
    assert np.mean([share for share, _ in shuffled.values()]) < 0.5


def test_fold_changes_halved_are_found():
    rng = default_rng(10)
    rates = np.exp(rng.normal(1, 1, 300))
    effect = np.exp(rng.normal(0, 0.7, 300) * (rng.random(300) < 0.3))
    member = np.repeat([True, False], 200)

    def contrast(strength):
        X = np.where(member[:, None], rates * effect**strength, rates)
        counts = rng.poisson(X)
        return conditions.contrasts(np.log1p(counts), member[None], counts)[0]

    real = contrast(1.0)
    control = conditions.compare_contrasts(real, contrast(1.0), n_markers=30)
    half = conditions.compare_contrasts(real, contrast(0.5), n_markers=30)
    assert control["fold_change_slope"] == pytest.approx(1.0, abs=0.1)
    assert control["fold_change_correlation"] > 0.95
    assert control["markers_kept"] > 0.7
    assert half["fold_change_slope"] < 0.65


def test_transfer(labelled):
    train, labels = labelled(60)
    test, test_labels = labelled(40)
    good = utility.transfer_f1(train, labels, test, test_labels)
    useless = utility.transfer_f1(train, default_rng(11).permutation(labels), test, test_labels)
    single = utility.transfer_f1(train[:5], labels[:5], test, test_labels)
    assert good > 0.9
    assert useless < 0.6
    assert single == pytest.approx(0.5 / 3)


def test_augmentation_helps_when_the_made_cells_are_good(labelled):
    train, labels = labelled(60)
    test, test_labels = labelled(60)
    common = {"category": "a", "n_real": 3}

    def score(method, generate=None):
        return np.mean(
            [
                utility.augmented_f1(
                    seed, train=train, train_labels=labels, test=test, test_labels=test_labels,
                    method=method, generate=generate, **common,
                )
                for seed in range(5)
            ]
        )  # fmt: skip

    fresh = labelled(200)[0][:200]
    good = score("generated", lambda rows, n: fresh[:n])
    bad = score("generated", lambda rows, n: fresh[:n] + 30.0)
    none = score("none")
    assert good > none + 0.03
    assert good > bad + 0.1
    assert score("oversampling") >= none
    pytest.importorskip("imblearn")
    assert score("smote") > none


def test_augmentation_shows_the_rows_it_keeps(labelled):
    train, labels = labelled(30)
    seen = []

    def generate(rows, n):
        seen.append((rows, n))
        return np.zeros((n, 4))

    given = {"train": train, "train_labels": labels, "test": train, "test_labels": labels}
    common = {**given, "category": "b", "n_real": 5, "method": "generated"}
    utility.augmented_f1(0, generate=generate, **common)
    rows, n = seen[0]
    assert (labels[rows] == "b").sum() == 5
    assert len(rows) == 65
    assert n == 25
    with pytest.raises(ValueError, match="generate"):
        utility.augmented_f1(0, **common)


def test_memorised_cells_are_found(same):
    rng = default_rng(12)
    train, test = same
    fresh = rng.normal(size=(N, 6))
    copied = train + 0.05 * rng.normal(size=train.shape)
    assert privacy.share_nearer(fresh, train, test) == pytest.approx(0.5, abs=0.17)
    assert privacy.share_nearer(copied, train, test) > 0.95
    assert privacy.membership_auc(fresh, train, test) == pytest.approx(0.5, abs=0.14)
    assert privacy.membership_auc(copied, train, test) > 0.95


def test_the_span_of_few_training_cells_reveals_them():
    """Noise directions that a model takes from its 40 training cells span these alone."""
    rng = np.random.default_rng(13)
    train, test, other = (rng.normal(size=(40, 300)) for _ in range(3))
    spanned = rng.normal(size=(200, 40)) @ train / np.sqrt(40)
    fresh = rng.normal(size=(200, 40)) @ other / np.sqrt(40)
    assert privacy.span_auc(spanned, train, test) > 0.95
    # Four standard errors of an AUC of 40 against 40 cells.
    assert privacy.span_auc(fresh, train, test) == pytest.approx(0.5, abs=0.26)


def test_the_strength_of_correlations_that_is_kept():
    rng = np.random.default_rng(14)
    labels = np.repeat([0, 1], 300)

    def draw(strength):
        program = rng.normal(size=(600, 1)) * np.sqrt(strength)
        noise = rng.normal(size=(600, 8)) * np.sqrt(1 - strength)
        return structure.matrices_within(program + noise, labels)

    real = draw(0.6)
    assert structure.correlation_kept(real, real) == pytest.approx(1.0)
    assert structure.correlation_kept(real, draw(0.6)) == pytest.approx(1.0, abs=0.1)
    assert structure.correlation_kept(real, draw(0.3)) == pytest.approx(0.5, abs=0.1)
    assert np.isnan(structure.correlation_kept(draw(0.0), real))  # no strong pair
    few = {0: (20, real[0][1])}
    assert np.isnan(structure.correlation_kept(few, real))
