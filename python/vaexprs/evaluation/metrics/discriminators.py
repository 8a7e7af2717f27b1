"""Classifiers that separate generated from real cells.

The score is the area under the ROC curve on held-out folds: 0.5 when the classifier does no
better than a coin, 1.0 when it never errs. The forest's trees grow
until their leaves are pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaexprs.errors import ArgumentError, DataError
from vaexprs.evaluation.arrays import Array, Floats, in_threads
from vaexprs.evaluation.comparison.sides import Comparison
from vaexprs.evaluation.registry import SHARE, ScoreKind, metric

#: Most variable genes that classifiers see.
N_GENES = 500


@dataclass(frozen=True)
class Discrimination:
    """How well a classifier told generated cells (1) from real cells (0)."""

    auc: float  # Mean over the folds of the area under the ROC curve
    # Of ``auc``, from the variance of the placement values within folds (DeLong et al. 1988; for
    # cross-validated curves LeDell et al. 2015). It leaves out that another training fold would
    # give another classifier.
    standard_error: float
    roc: Floats  # Mean true positive rate over the folds at 101 evenly spaced false positive rates
    # Contribution of each feature: mean decrease in impurity of a forest, or the absolute
    # standardised coefficient of a logistic regression; zeros of boosting, which has none. Mean
    # over folds, ``(n_features,)``.
    importance: Floats


def mann_whitney_auc(negative: Array, positive: Array) -> float:
    """Return the chance that a positive exceeds a negative, ties counted half."""
    n0, n1 = len(negative), len(positive)
    ranks = rankdata(np.concatenate([negative, positive]))
    return float((ranks[n0:].sum() - n1 * (n1 + 1) / 2) / (n0 * n1))


def discriminate(
    real: Array,
    generated: Array,
    *,
    model: Literal["forest", "boosting", "logistic"] = "forest",
    n_trees: int = 300,
    n_folds: int = 5,
    strata: tuple[Array, Array] | None = None,
    seed: int = 0,
    n_jobs: int = 1,
) -> Discrimination:
    """Train a classifier to tell real from generated cells, and test it on held-out folds.

    Give as many cells of each kind: the AUC does not depend on the balance of classes but a
    forest's leaning does. ``strata`` are groups of the real and of the generated cells, such as
    cell types; every fold gets its share of each. Where both sides hold as many cells of each
    group this keeps folds from telling: without it, a group that is mostly real in the training
    folds must be mostly generated in the held-out fold, and the AUC of cells of one law falls
    below 0.5. Each of ``n_jobs`` threads takes a fold at a time.
    """
    X = np.concatenate([real, generated])
    y = np.repeat([0, 1], [len(real), len(generated)])
    folds = min(n_folds, len(real), len(generated))
    if folds < 2:
        raise DataError("a discriminator needs at least two real and two generated cells")
    grid = np.linspace(0.0, 1.0, 101)
    rng = np.random.default_rng(seed)
    groups = strata or (np.zeros(len(real)), np.zeros(len(generated)))
    fold_of = np.concatenate([_deal(side, folds, rng) for side in groups])

    def judge(fold: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the scores of held-out real and generated cells, the curve, the importance."""
        train, test = fold_of != fold, fold_of == fold
        classifier = _classifier(model, n_trees, seed + fold)
        classifier.fit(X[train], y[train])
        scores = classifier.predict_proba(X[test])[:, 1]
        false_rate, true_rate, _ = roc_curve(y[test], scores)
        curve = np.interp(grid, false_rate, true_rate)
        held_out = scores[y[test] == 0], scores[y[test] == 1]
        return *held_out, curve, _importance(classifier, model)

    negatives, positives, curves, importances = zip(
        *in_threads(judge, range(folds), n_jobs), strict=True
    )
    pairs = list(zip(negatives, positives, strict=True))
    placed = (
        np.concatenate([_placements(negative, positive) for negative, positive in pairs]),
        np.concatenate([_placements(positive, negative) for negative, positive in pairs]),
    )
    return Discrimination(
        auc=float(np.mean([mann_whitney_auc(*pair) for pair in pairs])),
        standard_error=float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in placed))),
        roc=np.mean(curves, axis=0),
        importance=np.mean(importances, axis=0),
    )


@metric(
    ScoreKind("forest_auc_components", "classifiers", "Random forest, 50 components (AUC)", "lower",
        "Random forest of full-grown trees on principal-component scores, generated against test "
        "cells, 5 stratified folds; 0.5 is a coin toss, 1 never errs.", SHARE),
    ScoreKind("forest_auc_genes", "classifiers", "Random forest, 500 genes (AUC)", "lower",
        "The same on the most variable genes.", SHARE),
    few_rounds=True,
)  # fmt: skip
def forests(compared: Comparison) -> dict[str, Discrimination]:
    """Random forests on components and on genes."""
    test, side = compared.test, compared.side
    options: dict[str, Any] = {
        "n_trees": compared.n_trees, "strata": (test.groups, side.groups),
        "seed": compared.seed, "n_jobs": compared.n_jobs,
    }  # fmt: skip
    return {
        "forest_auc_components": discriminate(test.components, side.components, **options),
        "forest_auc_genes": discriminate(
            test.block[:, :N_GENES], side.block[:, :N_GENES], **options
        ),
    }


@metric(
    ScoreKind("boosting_auc", "classifiers", "Gradient boosting (AUC)", "lower",
        "Gradient boosting on the most variable genes, the components and the library size "
        "together; mostly the strictest of the classifiers.", SHARE),
    few_rounds=True,
)  # fmt: skip
def boosting(compared: Comparison) -> dict[str, Discrimination]:
    """Gradient boosting on genes, components and the logged library size."""
    features = []
    for side in (compared.test, compared.side):
        library = np.asarray(side.cells.given.sum(axis=1), dtype=np.float64).reshape(-1, 1)
        logged = np.log1p(np.maximum(library, 0.0))
        features.append(np.hstack([side.block[:, :N_GENES], side.components, logged]))
    strata = (compared.test.groups, compared.side.groups)
    options: dict[str, Any] = {"seed": compared.seed, "n_jobs": compared.n_jobs}
    found = discriminate(*features, model="boosting", strata=strata, **options)
    return {"boosting_auc": found}


@metric(
    ScoreKind("logistic_auc_genes", "classifiers", "Logistic regression, 500 genes (AUC)", "lower",
        "Logistic regression on the most variable genes, standardised; sees shifts of means, not "
        "of spread.", SHARE),
)  # fmt: skip
def logistic(compared: Comparison) -> Discrimination:
    """Logistic regression on genes."""
    sides = (compared.test, compared.side)
    strata = (sides[0].groups, sides[1].groups)
    genes = (side.block[:, :N_GENES] for side in sides)
    options: dict[str, Any] = {"seed": compared.seed, "n_jobs": compared.n_jobs}
    return discriminate(*genes, model="logistic", strata=strata, **options)


def _deal(groups: Array, n_folds: int, rng: np.random.Generator) -> Array:
    """Deal cells to folds in turn, group by group, each group in random order."""
    order = rng.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    fold_of = np.empty(len(groups), dtype=np.int64)
    fold_of[order] = np.arange(len(groups)) % n_folds
    return fold_of


def _classifier(model: str, n_trees: int, seed: int) -> Any:
    if model == "forest":
        return RandomForestClassifier(n_trees, random_state=seed)
    if model == "boosting":  # few steps of small trees, which take less time than the defaults
        return HistGradientBoostingClassifier(
            learning_rate=0.2, max_iter=40, max_leaf_nodes=8, max_bins=63, max_features=0.2,
            random_state=seed,
        )  # fmt: skip
    if model == "logistic":  # a coarse tolerance: the order of cells settles early
        return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000, tol=0.01))
    raise ArgumentError(f"unknown model {model!r}, expected 'forest', 'boosting' or 'logistic'")


def _importance(classifier: Any, model: str) -> Floats:
    if model == "forest":
        return np.asarray(classifier.feature_importances_, dtype=np.float64)
    if model == "boosting":
        return np.zeros(classifier.n_features_in_)
    return np.abs(np.asarray(classifier[-1].coef_[0], dtype=np.float64))


def _placements(values: Array, others: Array) -> Floats:
    """Share of ``others`` below each value, ties counted half."""
    order = np.sort(others)
    below = np.searchsorted(order, values, side="left")
    not_above = np.searchsorted(order, values, side="right")
    return np.asarray((below + not_above) / (2.0 * len(others)), dtype=np.float64)
