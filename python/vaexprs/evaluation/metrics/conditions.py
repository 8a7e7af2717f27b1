"""Agreement of cells with their condition, and differences between conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from vaexprs.evaluation.arrays import Array, Floats, Matrix, one_thread, pearson
from vaexprs.evaluation.comparison.ranges import Measured, Z, binomial_variance
from vaexprs.evaluation.comparison.sides import Comparison, Side, Split
from vaexprs.evaluation.registry import ANY, SHARE, SIGNED, ScoreKind, metric

#: Fewest cells of a category on each side for fold changes.
LEAST_OF_A_CATEGORY = 10


@one_thread
def category_classifier(X: Array, labels: Array) -> Pipeline:
    """Train a classifier of categories: logistic regression on standardised features."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, tol=1e-3))
    classifier.fit(X, labels)
    return classifier


def category_recall(predicted: Array, labels: Array) -> dict[str, tuple[float, int]]:
    """Share of the cells of each category that are predicted so, and their number."""
    return {
        str(label): (float((predicted[labels == label] == label).mean()), int(n))
        for label, n in zip(*np.unique(labels, return_counts=True), strict=True)
    }


@dataclass(frozen=True)
class CategoryRow:
    """Agreement with one category."""

    key: str
    category: str
    # Share of generated and of real test cells of the category that a classifier puts in it.
    generated: float
    real: float
    n_generated: int
    n_real: int


def categories_of(split: Split, key: str) -> list[CategoryRow]:
    """View of a split: recall of each category that test and generated cells both have."""
    labels = split.train.labels[key]
    if len(np.unique(labels)) < 2:
        return []
    classifier = category_classifier(split.train_components, labels)
    real, made = (
        category_recall(classifier.predict(components), cells.labels[key])
        for components, cells in (
            (split.test_components, split.test),
            (split.generated_components, split.generated),
        )
    )
    return [
        CategoryRow(key, name, made[name][0], share, made[name][1], n)
        for name, (share, n) in real.items()
        if name in made
    ]


@metric(
    ScoreKind("condition_agreement", "conditions", "Agreement with the condition", "match",
        "Share of generated cells that a classifier trained on training cells puts in the "
        "requested category, categories weighted as in the test cells; the control is its accuracy "
        "on test cells. Above the control: cells are more clear-cut than real ones.", SHARE),
    stage="whole",
)  # fmt: skip
def agreement(split: Split) -> dict[str, Measured]:
    """Ask a classifier trained on real training cells for the category of each cell.

    The range is that of the accuracy of real cells in the numbers of the generated ones, given
    the test cells' accuracy in each category (binomial).
    """
    found = {}
    for key in split.keys:
        rows = split.once(categories_of, key)
        if not rows:
            continue
        weights = np.array([row.n_real for row in rows]) / sum(row.n_real for row in rows)
        variances = [
            binomial_variance(row.real, row.n_real) * (1 / row.n_real + 1 / row.n_generated)
            for row in rows
        ]
        found[f"condition_agreement.{key}"] = Measured(
            float(weights @ [row.generated for row in rows]),
            float(weights @ [row.real for row in rows]),
            Z * math.sqrt(float(weights**2 @ variances)),
        )
    return found


@dataclass(frozen=True)
class Contrast:
    """One category against all other cells; every array is ``(n_genes,)``."""

    log_fold_change: Floats  # Of the mean, log2, category over rest
    t: Floats  # Welch's t statistic of the transformed values


def contrasts(X: Matrix, members: Array, linear: Matrix | None = None) -> list[Contrast]:
    """Contrast categories, given by rows of booleans, each with all other cells.

    With the same values on a ``linear`` scale the fold change is that of their means, each raised
    by one, ``log2((mean(x) + 1) / (mean(y) + 1))``; without, the difference of the means of X.
    """
    n_all, everything = X.shape[0], np.ones((1, X.shape[0]))
    members = np.concatenate([everything, members])
    n = members.sum(axis=1, keepdims=True)
    total, squares = _sums(members, X), _sums(members, X.power(2) if sp.issparse(X) else X**2)
    straight = None if linear is None else _sums(members, linear)

    def moments(sums: Floats, squares: Floats, n: float) -> tuple[Floats, Floats]:
        mean = sums / n
        return mean, np.maximum(squares / n - mean**2, 0.0) * n / max(n - 1, 1)

    found = []
    for row in range(1, len(members)):
        n1, n0 = float(n[row, 0]), n_all - float(n[row, 0])
        m1, v1 = moments(total[row], squares[row], n1)
        m0, v0 = moments(total[0] - total[row], squares[0] - squares[row], n0)
        error = np.sqrt(v1 / n1 + v0 / n0)
        # Where neither side varies there is no evidence; a gene present in no cell is such.
        flat = error <= 1e-7 * (np.abs(m1) + np.abs(m0))  # differences of sums leave rounding
        t = np.where(flat, 0.0, (m1 - m0) / np.where(flat, 1.0, error))
        change = m1 - m0
        if straight is not None:
            high, low = straight[row] / n1, (straight[0] - straight[row]) / n0
            change = np.log2(high + 1.0) - np.log2(np.maximum(low, 0.0) + 1.0)
        found.append(Contrast(change, t))
    return found


def _sums(members: Array, X: Matrix) -> Floats:
    """Return the sum over the cells of each category, ``(n_categories, n_genes)``, float64."""
    if sp.issparse(X):
        return (sp.csr_matrix(members) @ X.astype(np.float64)).toarray()
    return members.astype(np.float64) @ X


def contrasts_of(side: Side, key: str) -> dict[str, Contrast]:
    """View of a side: each category that has enough cells against the rest, detected genes."""
    labels = side.cells.labels[key]
    names, counts = np.unique(labels, return_counts=True)
    enough = (counts >= LEAST_OF_A_CATEGORY) & (len(labels) - counts >= LEAST_OF_A_CATEGORY)
    if len(names) < 2 or not enough.any():
        return {}
    values = side.cells.values[:, side.basis.detected]
    linear = None
    if side.scale != "log":
        linear = values.expm1() if sp.issparse(values) else np.expm1(values)
    found = contrasts(values, labels == names[enough, None], linear)
    return dict(zip(map(str, names[enough]), found, strict=True))


@metric(
    ScoreKind("fold_change_slope", "conditions", "Fold changes: slope", "match",
        "Slope through the origin of generated on test log2 fold changes, category against rest, "
        "mean over categories. Noise in the test cells pulls it below 1, in the control too.", ANY),
    ScoreKind("fold_change_correlation", "conditions", "Fold changes: correlation", "higher",
        "Pearson correlation over genes of these fold changes, mean over categories.", SIGNED),
    ScoreKind("markers_kept", "conditions", "Top 100 markers kept", "higher",
        "Share of the 100 strongest markers (Welch's t) in test cells that are so in generated "
        "cells, mean over categories.", SHARE),
)  # fmt: skip
def fold_changes(compared: Comparison) -> dict[str, float]:
    """Compare the contrasts of all categories of each condition key."""
    found = {}
    for key in compared.test.cells.labels:
        real = compared.test.once(contrasts_of, key)
        made = compared.side.once(contrasts_of, key)
        rows = [compare_contrasts(real[name], made[name]) for name in real if name in made]
        for name in rows[0] if rows else ():
            values = np.array([row[name] for row in rows])
            values = values[~np.isnan(values)]
            found[f"{name}.{key}"] = float(values.mean()) if len(values) else math.nan
    return found


def compare_contrasts(
    real: Contrast, generated: Contrast, *, n_markers: int = 100
) -> dict[str, float]:
    """Compare the contrast of one category in generated cells with that in real cells."""
    a, b = real.log_fold_change, generated.log_fold_change
    power = float((a**2).sum())
    n_top = min(n_markers, max(len(a) // 2, 1))
    # A stable sort: ties fall in the order of genes, the same on both sides.
    tops = (set(np.argsort(-side.t, kind="stable")[:n_top]) for side in (real, generated))
    return {
        "fold_change_slope": float((a * b).sum()) / power if power > 0 else math.nan,
        "fold_change_correlation": pearson(a, b),
        "markers_kept": len(set.intersection(*tops)) / n_top,
    }
