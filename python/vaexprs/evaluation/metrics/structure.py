"""How genes go together: correlations, and spread along the axes of variation."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from vaexprs.evaluation.arrays import Array, Floats
from vaexprs.evaluation.comparison.sides import Comparison, Side
from vaexprs.evaluation.metrics.distances import components
from vaexprs.evaluation.registry import POSITIVE, SIGNED, ScoreKind, metric

__all__ = [
    "N_CORRELATED_GENES",
    "compare_correlations",
    "component_spread",
    "correlations",
    "correlations_of",
    "spearman_matrix",
    "spread_error",
    "within_condition_difference",
    "within_conditions",
]

#: Most variable genes whose correlations are compared: 4,950 pairs.
N_CORRELATED_GENES = 100


def spearman_matrix(X: Array) -> Floats:
    """Spearman correlations between the columns of ``X``, ``(n_genes, n_genes)``.

    Ties share their mean rank. A constant gene is taken as uncorrelated with every other.
    """
    return _pearson(rankdata(X, axis=0))


def _pearson(X: Array) -> Floats:
    centred = X - X.mean(axis=0, dtype=np.float64)
    length = np.sqrt((centred**2).sum(axis=0))
    centred = centred / np.where(length > 0, length, 1.0)
    matrix = centred.T @ centred
    np.fill_diagonal(matrix, 1.0)
    return np.asarray(np.clip(matrix, -1.0, 1.0), dtype=np.float64)


def compare_correlations(real: Floats, generated: Floats) -> dict[str, float]:
    """Compare two correlation matrices by the pairs above the diagonal.

    Returns
    -------
    dict
        ``agreement``, the Pearson correlation over the pairs (nan where one side is constant),
        and ``difference``, the mean absolute difference over the pairs.
    """
    pairs = np.triu_indices(len(real), 1)
    a, b = real[pairs], generated[pairs]
    flat = len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0
    return {
        "agreement": float("nan") if flat else float(np.corrcoef(a, b)[0, 1]),
        "difference": float(np.abs(a - b).mean()) if len(a) else 0.0,
    }


def within_condition_difference(
    real: Array,
    real_labels: Array,
    generated: Array,
    generated_labels: Array,
    *,
    least_cells: int = 20,
) -> dict[str, float]:
    """Compare gene-gene correlations inside each condition.

    Correlations over all cells mostly say which cell types there are; those inside a condition
    are what a model of each condition's means would miss.

    Parameters
    ----------
    real, generated
        Dense values of the chosen genes, ``(n_cells, n_genes)``.
    real_labels, generated_labels
        Condition of each cell.
    least_cells
        Conditions with fewer cells on either side are left out.

    Returns
    -------
    dict
        ``agreement`` and ``difference`` as `compare_correlations` gives them, averaged over
        conditions by their number of real cells; nan where no condition has enough cells.
    """
    total, agreement, difference = 0, 0.0, 0.0
    for label in np.unique(real_labels):
        a, b = real[real_labels == label], generated[generated_labels == label]
        if min(len(a), len(b)) < least_cells:
            continue
        scores = compare_correlations(spearman_matrix(a), spearman_matrix(b))
        if np.isnan(scores["agreement"]):
            continue
        total += len(a)
        agreement += len(a) * scores["agreement"]
        difference += len(a) * scores["difference"]
    if not total:
        return {"agreement": float("nan"), "difference": float("nan")}
    return {"agreement": agreement / total, "difference": difference / total}


def component_spread(real: Array, generated: Array) -> Floats:
    """Ratio of standard deviations along each component, generated over real.

    Below one, generated cells do not reach as far as real cells along this axis.

    Parameters
    ----------
    real, generated
        Scores on common principal components, ``(n_cells, n_components)``.
    """
    spread = np.asarray(real, dtype=np.float64).std(axis=0)
    other = np.asarray(generated, dtype=np.float64).std(axis=0)
    return np.asarray(other / np.where(spread > 0, spread, 1.0), dtype=np.float64)


def correlations_of(side: Side) -> Floats:
    """View of a side for metrics: Spearman correlations of the most variable genes."""
    return spearman_matrix(side.block[:, :N_CORRELATED_GENES])


@metric(
    ScoreKind(
        "correlation_agreement",
        "structure",
        "Gene-gene correlation: agreement",
        "higher",
        "Pearson correlation, over gene pairs, of the Spearman correlations among the 100 most "
        "variable genes.",
        SIGNED,
    ),
    ScoreKind(
        "correlation_difference",
        "structure",
        "Gene-gene correlation: difference",
        "lower",
        "Mean absolute difference of these correlations.",
        POSITIVE,
    ),
    view=correlations_of,
)
def correlations(real: Floats, generated: Floats) -> dict[str, float]:
    """Return `compare_correlations` by key."""
    found = compare_correlations(real, generated)
    return {f"correlation_{name}": value for name, value in found.items()}


@metric(
    ScoreKind(
        "within_correlation_agreement",
        "structure",
        "Within conditions: agreement",
        "higher",
        "The same inside each combination of conditions with at least 20 cells on both sides, "
        "averaged.",
        SIGNED,
    ),
    ScoreKind(
        "within_correlation_difference",
        "structure",
        "Within conditions: difference",
        "lower",
        "Mean absolute difference of the correlations inside each combination.",
        POSITIVE,
    ),
)
def within_conditions(compared: Comparison) -> dict[str, float]:
    """Return `within_condition_difference` by key; nothing without condition keys."""
    if not compared.round.keys:
        return {}
    test, side = compared.test, compared.side
    found = within_condition_difference(
        test.block[:, :N_CORRELATED_GENES], test.groups,
        side.block[:, :N_CORRELATED_GENES], side.groups,
    )  # fmt: skip
    return {f"within_correlation_{name}": value for name, value in found.items()}


@metric(
    ScoreKind(
        "component_spread_error",
        "structure",
        "Spread along components",
        "lower",
        "Mean over components of |log2(generated / test standard deviation)|: weak programs that "
        "collapse show here.",
        POSITIVE,
    ),
    view=components,
)
def spread_error(real: Array, generated: Array) -> float:
    """Mean absolute log2 ratio of standard deviations; a collapsed component counts 5."""
    ratio = component_spread(real, generated)
    return float(np.abs(np.log2(np.maximum(ratio, 2**-5))).mean())
