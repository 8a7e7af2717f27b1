"""Gene-gene correlations, and spread along principal components."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from vaexprs.evaluation.arrays import Array, Floats
from vaexprs.evaluation.comparison.sides import Comparison, Side
from vaexprs.evaluation.metrics.distances import components
from vaexprs.evaluation.registry import POSITIVE, SIGNED, ScoreKind, metric

#: Most variable genes whose correlations are compared: 4,950 pairs.
N_CORRELATED_GENES = 100
#: A correlation beyond this is strong; with 50 cells its standard error is 0.14.
STRONG, LEAST_STRONG = 0.2, 50


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
    matrices = [
        _matrices(values, labels, least_cells)
        for values, labels in ((real, real_labels), (generated, generated_labels))
    ]
    return _compare_within(*matrices)


def _matrices(values: Array, labels: Array, least_cells: int) -> dict[Any, tuple[int, Floats]]:
    """Return number of cells and correlations of each label that has enough cells."""
    names, counts = np.unique(labels, return_counts=True)
    return {
        name: (int(n), spearman_matrix(values[labels == name]))
        for name, n in zip(names.tolist(), counts, strict=True)
        if n >= least_cells
    }


def _compare_within(
    real: dict[Any, tuple[int, Floats]], generated: dict[Any, tuple[int, Floats]]
) -> dict[str, float]:
    total, agreement, difference = 0, 0.0, 0.0
    for label in (label for label in real if label in generated):
        n, matrix = real[label]
        scores = compare_correlations(matrix, generated[label][1])
        if np.isnan(scores["agreement"]):
            continue
        total += n
        agreement += n * scores["agreement"]
        difference += n * scores["difference"]
    if not total:
        return {"agreement": float("nan"), "difference": float("nan")}
    return {"agreement": agreement / total, "difference": difference / total}


def correlation_kept(
    real: dict[Any, tuple[int, Floats]], generated: dict[Any, tuple[int, Floats]]
) -> float:
    """Share of the strength of within-condition correlations that generated cells keep.

    Over the pairs of genes with a correlation beyond `STRONG` in the real cells of a condition
    of `LEAST_STRONG` cells: sum of the generated correlations along their sign, over the sum of
    the real ones. Choosing strong pairs favours those whose noise is on their side, so a second
    real sample keeps less than 1.
    """
    kept = strength = 0.0
    for label in (label for label in real if label in generated):
        (n, a), (_, b) = real[label], generated[label]
        if n >= LEAST_STRONG:
            pairs = np.triu(np.abs(a) > STRONG, 1)
            kept += float((b * np.sign(a))[pairs].sum())
            strength += float(np.abs(a)[pairs].sum())
    return kept / strength if strength > 0 else float("nan")


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
    ScoreKind("correlation_agreement", "structure", "Gene-gene correlation: agreement", "higher",
        "Pearson correlation, over gene pairs, of the Spearman correlations among the 100 most "
        "variable genes.", SIGNED),
    ScoreKind("correlation_difference", "structure", "Gene-gene correlation: difference", "lower",
        "Mean absolute difference of these correlations.", POSITIVE),
    view=correlations_of,
)  # fmt: skip
def correlations(real: Floats, generated: Floats) -> dict[str, float]:
    """Return `compare_correlations` by key."""
    found = compare_correlations(real, generated)
    return {f"correlation_{name}": value for name, value in found.items()}


def _matrices_of(side: Side) -> dict[Any, tuple[int, Floats]]:
    """View of a side: correlations within each combination of conditions."""
    return _matrices(side.block[:, :N_CORRELATED_GENES], side.groups, least_cells=20)


@metric(
    ScoreKind("within_correlation_agreement", "structure", "Within conditions: agreement", "higher",
        "The same inside each combination of conditions with at least 20 cells on both sides, "
        "averaged.", SIGNED),
    ScoreKind("within_correlation_difference", "structure", "Within conditions: difference",
        "lower",
        "Mean absolute difference of the correlations inside each combination.", POSITIVE),
    ScoreKind("within_correlation_kept", "structure", "Within conditions: strength kept", "match",
        "Strength that pairs of genes keep which correlate beyond 0.2 in the test cells of a "
        "combination of at least 50; the control shows how much other real cells keep."),
)  # fmt: skip
def within_conditions(compared: Comparison) -> dict[str, float]:
    """Compare correlations within conditions; nothing without condition keys."""
    if not compared.round.keys:
        return {}
    test, side = (each.once(_matrices_of) for each in (compared.test, compared.side))
    found = _compare_within(test, side) | {"kept": correlation_kept(test, side)}
    return {f"within_correlation_{name}": value for name, value in found.items()}


@metric(
    ScoreKind("component_spread_error", "structure", "Spread along components", "lower",
        "Mean over components of |log2(generated / test standard deviation)|: weak programs that "
        "collapse show here.", POSITIVE),
    view=components,
)  # fmt: skip
def spread_error(real: Array, generated: Array) -> float:
    """Mean absolute log2 ratio of standard deviations; a collapsed component counts 5."""
    ratio = component_spread(real, generated)
    return float(np.abs(np.log2(np.maximum(ratio, 2**-5))).mean())
