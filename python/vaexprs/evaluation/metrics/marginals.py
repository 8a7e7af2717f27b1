"""Statistics of single genes, of single cells, and trends over genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import ks_2samp, spearmanr

from vaexprs.evaluation.arrays import (
    Floats,
    Matrix,
    column_maximum,
    mean_variance,
    nonzero_share,
)  # fmt: skip
from vaexprs.evaluation.comparison.sides import Side
from vaexprs.evaluation.registry import POSITIVE, SHARE, SIGNED, ScoreKind, metric

#: Least share of the cells, on either side, that show a gene whose statistics are compared.
LEAST_DETECTED = 0.05


@dataclass(frozen=True)
class GeneStatistics:
    """Statistics of each gene by itself; every array is ``(n_genes,)``, float64."""

    # Mean and unbiased variance over cells.
    mean: Floats
    variance: Floats
    zero_fraction: Floats  # Share of cells in which the gene is zero
    maximum: Floats  # Largest value


def gene_statistics(X: Matrix) -> GeneStatistics:
    """Return the statistics of every gene of ``X``, ``(n_cells, n_genes)``, dense or sparse."""
    mean, variance = mean_variance(X)
    return GeneStatistics(mean, variance, 1.0 - nonzero_share(X), column_maximum(X))


def genes_of(side: Side) -> GeneStatistics:
    """View of a side for metrics: statistics of genes on the scale of the scores."""
    return gene_statistics(side.cells.values)


def given_genes_of(side: Side) -> GeneStatistics:
    """View of a side for metrics: statistics of genes on the scale as given."""
    return gene_statistics(side.cells.given)


def cells_of(side: Side) -> tuple[Floats, Floats]:
    """View of a side for metrics: library size and genes detected of each cell, as given."""
    return cell_statistics(side.cells.given)


@metric(
    ScoreKind("gene_mean_error", "genes", "Mean: absolute error", "lower",
        "Mean over genes of the absolute difference of mean expression.", POSITIVE),
    ScoreKind("gene_mean_correlation", "genes", "Mean: rank correlation", "higher",
        "Spearman correlation over genes of mean expression.", SIGNED),
    ScoreKind("gene_variance_log_ratio", "genes", "Variance: absolute log2 ratio", "lower",
        "Mean over genes of |log2(generated variance / test variance)|.", POSITIVE),
    ScoreKind("gene_variance_ratio", "genes", "Variance: median ratio", "match",
        "Median over genes of generated over test variance. Below the control: cells are too much "
        "alike.", POSITIVE),
    ScoreKind("gene_variance_correlation", "genes", "Variance: rank correlation", "higher",
        "Spearman correlation over genes of the variance.", SIGNED),
    ScoreKind("zero_fraction_error", "genes", "Zero fraction: absolute error", "lower",
        "Mean over genes of the absolute difference of the share of cells without the gene.",
        SHARE),
    ScoreKind("gene_maximum_log_ratio", "genes", "Maximum: absolute log2 ratio", "lower",
        "Mean over genes of the absolute log2 ratio of the largest value: tails too long or cut.",
        POSITIVE),
    view=genes_of,
)  # fmt: skip
def compare_genes(real: GeneStatistics, generated: GeneStatistics) -> dict[str, float]:
    """Compare the genes of generated cells with those of real cells.

    Genes that neither side shows in more than `LEAST_DETECTED` of its cells are left out of
    everything but the zero fraction: their statistics are counting noise, and they are many.
    """
    shown = (real.zero_fraction < 1.0) | (generated.zero_fraction < 1.0)
    usual = np.minimum(real.zero_fraction, generated.zero_fraction) < 1.0 - LEAST_DETECTED
    if usual.sum() < 2:
        usual = shown if shown.sum() >= 2 else np.ones_like(shown)
    both = usual & (real.variance > 0) & (generated.variance > 0)
    ratio = generated.variance[both] / real.variance[both]
    # A gene that varies on one side alone would have an infinite ratio: it counts as 32-fold.
    log_ratio = np.clip(np.log2(ratio), -5.0, 5.0)
    one_sided = usual & ((real.variance > 0) != (generated.variance > 0))
    log_ratio = np.concatenate([np.abs(log_ratio), np.full(one_sided.sum(), 5.0)])
    peaks = real.maximum[real.maximum > 0]
    floor = float(peaks.min()) if peaks.size else 1.0  # raises both maxima: one may be zero
    extremes = np.log2(
        (np.maximum(generated.maximum[usual], 0.0) + floor)
        / (np.maximum(real.maximum[usual], 0.0) + floor)
    )
    zeros = np.abs(generated.zero_fraction - real.zero_fraction)[shown]
    return {
        "gene_mean_error": float(np.abs(generated.mean - real.mean)[usual].mean()),
        "gene_mean_correlation": _spearman(real.mean[usual], generated.mean[usual]),
        "gene_variance_log_ratio": float(log_ratio.mean()) if log_ratio.size else 0.0,
        "gene_variance_ratio": float(np.median(ratio)) if ratio.size else float("nan"),
        "gene_variance_correlation": _spearman(real.variance[usual], generated.variance[usual]),
        "zero_fraction_error": float(zeros.mean()) if shown.any() else 0.0,
        "gene_maximum_log_ratio": float(np.abs(extremes).mean()),
    }


def trends_of(side: Side) -> tuple[Floats, Floats, Floats]:
    """View of a side for metrics: mean, variance and zero fraction of its genes, as given.

    The first two are logged (base 10) unless the values are. Only genes that vary.
    """
    found = side.once(given_genes_of)
    shown = (found.variance > 0) & (found.zero_fraction < 1.0)
    mean, variance, zeros = found.mean[shown], found.variance[shown], found.zero_fraction[shown]
    if side.scale == "log":
        return mean, variance, zeros
    return np.log10(mean), np.log10(variance), zeros


@metric(
    ScoreKind("mean_variance_trend", "genes", "Mean-variance trend", "lower",
        "Mean absolute gap of the median log10 variance along log10 mean, values as given.",
        POSITIVE),
    ScoreKind("mean_zero_trend", "genes", "Mean-zero trend", "lower",
        "Mean absolute gap of the median zero fraction along log10 mean, values as given.", SHARE),
    view=trends_of,
)  # fmt: skip
def trends(real: tuple[Floats, ...], generated: tuple[Floats, ...]) -> dict[str, float]:
    """Return `trend_difference` of variances and of zero fractions."""
    (x0, variance0, zeros0), (x1, variance1, zeros1) = real, generated
    return {
        "mean_variance_trend": trend_difference(x0, variance0, x1, variance1),
        "mean_zero_trend": trend_difference(x0, zeros0, x1, zeros1),
    }


def trend_difference(
    real_x: Floats, real_y: Floats, generated_x: Floats, generated_y: Floats, *, n_bins: int = 20
) -> float:
    """Mean absolute difference of two trends, y over x, each point a gene.

    The range of x in the real cells is cut into ``n_bins`` bins of one width, so that the few
    genes of high expression count as well; the trend is the median of y in each bin, and bins
    with fewer than five genes on either side are left out. In units of y.
    """
    if not len(real_x) or not len(generated_x):
        return float("nan")
    if np.ptp(real_x) == 0:
        return float(abs(np.median(real_y) - np.median(generated_y)))
    edges = np.linspace(real_x.min(), real_x.max(), n_bins + 1)
    inside = (generated_x >= edges[0]) & (generated_x <= edges[-1])
    real_trend = binned_medians(real_x, real_y, edges)
    generated_trend = binned_medians(generated_x[inside], generated_y[inside], edges)
    shared = [index for index in real_trend if index in generated_trend]
    differences = [abs(real_trend[index] - generated_trend[index]) for index in shared]
    return float(np.mean(differences)) if differences else float("nan")


def binned_medians(x: Floats, y: Floats, edges: Floats) -> dict[int, float]:
    """Return the median of y in each bin of x, by number, that holds at least five points."""
    bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    names, counts = np.unique(bins, return_counts=True)
    return {int(b): float(np.median(y[bins == b])) for b in names[counts >= 5]}


def cell_statistics(X: Matrix) -> tuple[Floats, Floats]:
    """Return the library size and the number of genes detected, ``(n_cells,)`` each.

    The library is the sum of a cell's values; a gene is detected where its value is not zero.
    """
    library = np.asarray(X.sum(axis=1), dtype=np.float64).ravel()
    detected = np.asarray((X != 0).sum(axis=1), dtype=np.float64).ravel()
    return library, detected


@metric(
    ScoreKind("library_ks", "cells", "Library size (KS)", "lower",
        "Kolmogorov-Smirnov statistic of the total of each cell's values, as given.", SHARE),
    ScoreKind("genes_detected_ks", "cells", "Genes detected (KS)", "lower",
        "Kolmogorov-Smirnov statistic of the number of genes that are not zero in each cell.",
        SHARE),
    view=cells_of,
)  # fmt: skip
def compare_cells(
    real: tuple[Floats, Floats], generated: tuple[Floats, Floats]
) -> dict[str, float]:
    """Kolmogorov-Smirnov statistics of library sizes and of genes detected.

    Each is the largest gap between two cumulative shares of cells, in [0, 1].
    """
    pairs = zip(("library_ks", "genes_detected_ks"), real, generated, strict=True)
    return {key: float(ks_2samp(a, b, method="asymp").statistic) for key, a, b in pairs}


def _spearman(a: Floats, b: Floats) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    result: Any = spearmanr(a, b)
    return float(result.statistic)
