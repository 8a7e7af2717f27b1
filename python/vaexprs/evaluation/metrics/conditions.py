"""Whether cells match the condition they were made for, and conditions differ as they should."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from vaexprs.evaluation.metrics.arrays import Array, Floats, Matrix, mean_variance, nonzero_share

__all__ = [
    "Contrast",
    "category_classifier",
    "category_contrast",
    "category_recall",
    "compare_contrasts",
    "detected_genes",
    "weighted_recall",
]


def category_classifier(X: Array, labels: Array) -> Pipeline:
    """Train a classifier of categories: logistic regression on standardised features.

    Parameters
    ----------
    X
        Principal-component scores of real training cells, ``(n_cells, n_components)``.
    labels
        Category of each cell, at least two different ones.
    """
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    classifier.fit(X, labels)
    return classifier


def category_recall(predicted: Array, labels: Array) -> dict[str, tuple[float, int]]:
    """Share of the cells of each category that are predicted so, and their number."""
    return {
        str(label): (float((predicted[labels == label] == label).mean()), int(n))
        for label, n in zip(*np.unique(labels, return_counts=True), strict=True)
    }


def weighted_recall(recall: dict[str, tuple[float, int]], weights: dict[str, int]) -> float:
    """Mean of the categories' recalls by given weights, over categories that have both.

    With the numbers of real test cells as weights, generated cells of any composition are
    comparable with the accuracy on test cells.
    """
    common = [label for label in recall if weights.get(label, 0) > 0]
    total = sum(weights[label] for label in common)
    if not total:
        return float("nan")
    return sum(weights[label] * recall[label][0] for label in common) / total


@dataclass(frozen=True)
class Contrast:
    """One category against all other cells; every array is ``(n_genes,)``.

    Attributes
    ----------
    log_fold_change
        Of the mean, log2, category over rest.
    t
        Welch's t statistic of the transformed values.
    """

    log_fold_change: Floats
    t: Floats


def category_contrast(X: Matrix, member: Array, *, linear: Matrix | None = None) -> Contrast:
    """Contrast the cells of a category with all others.

    Parameters
    ----------
    X
        Transformed values, ``(n_cells, n_genes)``, dense or sparse.
    member
        Which cells belong to the category, bool.
    linear
        The same values on a linear scale. Then the fold change is that of their means, each
        raised by one, ``log2((mean(x) + 1) / (mean(y) + 1))``. Without, it is the difference of
        the means of X.
    """
    inside, outside = X[member], X[~member]
    (m1, v1), (m0, v0) = mean_variance(inside), mean_variance(outside)
    error = np.sqrt(v1 / inside.shape[0] + v0 / outside.shape[0])
    # Where neither side varies there is no evidence; a gene present in no cell is such.
    t = np.where(error > 0, (m1 - m0) / np.where(error > 0, error, 1.0), 0.0)
    if linear is None:
        return Contrast(m1 - m0, t)
    high, low = linear[member].mean(axis=0), linear[~member].mean(axis=0)
    change = np.log2(np.asarray(high).ravel() + 1.0) - np.log2(np.asarray(low).ravel() + 1.0)
    return Contrast(np.asarray(change, dtype=np.float64), t)


def compare_contrasts(
    real: Contrast, generated: Contrast, *, genes: Array | None = None, n_markers: int = 100
) -> dict[str, float]:
    """Compare the contrast of one category in generated cells with that in real cells.

    Returns
    -------
    dict
        ``slope``
            Of generated on real log-fold changes through the origin, by least squares. Noise in
            the real fold changes pulls it below one for real cells too: read it beside its
            control.
        ``correlation``
            Pearson correlation of the log-fold changes.
        ``markers_kept``
            Share of the real top markers (largest t) that are among the generated top markers.
    """
    chosen = slice(None) if genes is None else genes
    a, b = real.log_fold_change[chosen], generated.log_fold_change[chosen]
    power = float((a**2).sum())
    flat = len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0
    n_top = min(n_markers, max(len(a) // 2, 1))
    top_real = set(_top(real.t[chosen], n_top))
    top_generated = set(_top(generated.t[chosen], n_top))
    return {
        "slope": float((a * b).sum()) / power if power > 0 else float("nan"),
        "correlation": float("nan") if flat else float(np.corrcoef(a, b)[0, 1]),
        "markers_kept": len(top_real & top_generated) / n_top,
    }


def detected_genes(X: Matrix, least: float = 0.05) -> Array:
    """Return which genes are not zero in at least a share ``least`` of the cells."""
    return nonzero_share(X) >= least


def _top(values: Floats, n: int) -> list[int]:
    # Ordinal ranks: ties fall in the order of genes, the same on both sides.
    return [int(index) for index in np.argsort(rankdata(-values, method="ordinal"))[:n]]
