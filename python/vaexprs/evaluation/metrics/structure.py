"""Gene-gene correlations, and spread along principal components."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from scipy.stats import rankdata

from vaexprs.evaluation.arrays import Array, Floats, pearson
from vaexprs.evaluation.comparison.sides import Comparison, Side
from vaexprs.evaluation.metrics.distances import components
from vaexprs.evaluation.registry import POSITIVE, SIGNED, ScoreKind, metric

#: Most variable genes whose correlations are compared: 4,950 pairs.
N_CORRELATED_GENES = 100
#: A correlation beyond this is strong; with 50 cells its standard error is 0.14.
STRONG, LEAST_STRONG = 0.2, 50
#: Fewest cells of a combination for its correlations: their standard error is then 0.23.
LEAST_WITHIN = 20

Matrices: TypeAlias = dict[Any, tuple[int, Floats]]


def spearman_matrix(X: Array) -> Floats:
    """Spearman correlations between the columns of ``X``, ``(n_genes, n_genes)``.

    Ties share their mean rank. A constant gene is taken as uncorrelated with every other.
    """
    ranks = rankdata(X, axis=0)
    centred = ranks - ranks.mean(axis=0, dtype=np.float64)
    length = np.sqrt((centred**2).sum(axis=0))
    centred = centred / np.where(length > 0, length, 1.0)
    matrix = centred.T @ centred
    np.fill_diagonal(matrix, 1.0)
    return np.asarray(np.clip(matrix, -1.0, 1.0), dtype=np.float64)


def compare_correlations(real: Floats, generated: Floats) -> dict[str, float]:
    """Compare two correlation matrices by the pairs above the diagonal."""
    pairs = np.triu_indices(len(real), 1)
    a, b = real[pairs], generated[pairs]
    return {
        "agreement": pearson(a, b),
        "difference": float(np.abs(a - b).mean()) if len(a) else 0.0,
    }


def matrices_within(values: Array, labels: Array) -> Matrices:
    """Return number of cells and correlations of each label that has enough cells.

    Correlations over all cells mostly say which cell types there are; those inside a condition
    are what a model of each condition's means would miss.
    """
    names, counts = np.unique(labels, return_counts=True)
    return {
        name: (int(n), spearman_matrix(values[labels == name]))
        for name, n in zip(names.tolist(), counts, strict=True)
        if n >= LEAST_WITHIN
    }


def compare_within(real: Matrices, generated: Matrices) -> dict[str, float]:
    """Average `compare_correlations` over labels by their number of real cells; nan without any."""
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


def correlation_kept(real: Matrices, generated: Matrices) -> float:
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
    """Ratio of standard deviations along each component, generated over real."""
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


def matrices_of(side: Side) -> Matrices:
    """View of a side: correlations within each combination of conditions."""
    return matrices_within(side.block[:, :N_CORRELATED_GENES], side.groups)


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
    test, side = (each.once(matrices_of) for each in (compared.test, compared.side))
    found = compare_within(test, side) | {"kept": correlation_kept(test, side)}
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
