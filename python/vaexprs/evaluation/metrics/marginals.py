"""Each gene by itself, each cell by itself, and trends over genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import ks_2samp, spearmanr

from vaexprs.evaluation.metrics.arrays import (
    Floats,
    Matrix,
    column_maximum,
    mean_variance,
    nonzero_share,
)

__all__ = [
    "GeneStatistics",
    "cell_statistics",
    "compare_cells",
    "compare_genes",
    "gene_statistics",
    "trend_difference",
]


@dataclass(frozen=True)
class GeneStatistics:
    """What each gene does by itself; every array is ``(n_genes,)``, float64.

    Attributes
    ----------
    mean, variance
        Mean and unbiased variance over cells.
    zero_fraction
        Share of cells in which the gene is zero.
    maximum
        Largest value.
    """

    mean: Floats
    variance: Floats
    zero_fraction: Floats
    maximum: Floats


def gene_statistics(X: Matrix) -> GeneStatistics:
    """Return the statistics of every gene of ``X``, ``(n_cells, n_genes)``, dense or sparse."""
    mean, variance = mean_variance(X)
    return GeneStatistics(mean, variance, 1.0 - nonzero_share(X), column_maximum(X))


def compare_genes(
    real: GeneStatistics, generated: GeneStatistics, *, least_detected: float = 0.05
) -> dict[str, float]:
    """Compare the genes of generated cells with those of real cells.

    Genes that neither side shows in more than ``least_detected`` of its cells are left out of
    everything but the zero fraction: their statistics are counting noise, and they are many.

    Returns
    -------
    dict
        ``mean_error``
            Mean absolute difference of the means.
        ``mean_correlation``
            Spearman correlation of the means.
        ``variance_log_ratio``
            Mean absolute log2 ratio of the variances.
        ``variance_ratio``
            Median over genes of generated over real variance.
        ``variance_correlation``
            Spearman correlation of the variances.
        ``zero_fraction_error``
            Mean absolute difference of the zero fractions over all genes that either side shows.
        ``maximum_log_ratio``
            Mean absolute log2 ratio of the maxima, both raised by the smallest positive maximum
            of the real cells, so that a zero is allowed.
    """
    shown = (real.zero_fraction < 1.0) | (generated.zero_fraction < 1.0)
    usual = np.minimum(real.zero_fraction, generated.zero_fraction) < 1.0 - least_detected
    if usual.sum() < 2:
        usual = shown if shown.sum() >= 2 else np.ones_like(shown)
    both = usual & (real.variance > 0) & (generated.variance > 0)
    ratio = generated.variance[both] / real.variance[both]
    # A gene that varies on one side alone would have an infinite ratio: it counts as 32-fold.
    log_ratio = np.clip(np.log2(ratio), -5.0, 5.0)
    one_sided = usual & ((real.variance > 0) != (generated.variance > 0))
    log_ratio = np.concatenate([np.abs(log_ratio), np.full(one_sided.sum(), 5.0)])
    peaks = real.maximum[real.maximum > 0]
    floor = float(peaks.min()) if peaks.size else 1.0
    extremes = np.log2(
        (np.maximum(generated.maximum[usual], 0.0) + floor)
        / (np.maximum(real.maximum[usual], 0.0) + floor)
    )
    return {
        "mean_error": float(np.abs(generated.mean - real.mean)[usual].mean()),
        "mean_correlation": _spearman(real.mean[usual], generated.mean[usual]),
        "variance_log_ratio": float(log_ratio.mean()) if log_ratio.size else 0.0,
        "variance_ratio": float(np.median(ratio)) if ratio.size else float("nan"),
        "variance_correlation": _spearman(real.variance[usual], generated.variance[usual]),
        "zero_fraction_error": float(
            np.abs(generated.zero_fraction - real.zero_fraction)[shown].mean()
        )
        if shown.any()
        else 0.0,
        "maximum_log_ratio": float(np.abs(extremes).mean()),
    }


def trend_difference(
    real_x: Floats,
    real_y: Floats,
    generated_x: Floats,
    generated_y: Floats,
    *,
    n_bins: int = 20,
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
    differences = []
    last = len(edges) - 2
    real_bin = np.clip(np.searchsorted(edges, real_x, side="right") - 1, 0, last)
    inside = (generated_x >= edges[0]) & (generated_x <= edges[-1])
    generated_bin = np.clip(np.searchsorted(edges, generated_x, side="right") - 1, 0, last)
    for index in range(last + 1):
        a = real_y[real_bin == index]
        b = generated_y[inside & (generated_bin == index)]
        if min(len(a), len(b)) >= 5:
            differences.append(abs(float(np.median(a)) - float(np.median(b))))
    return float(np.mean(differences)) if differences else float("nan")


def cell_statistics(X: Matrix) -> tuple[Floats, Floats]:
    """Return the library size and the number of genes detected, ``(n_cells,)`` each.

    The library is the sum of a cell's values; a gene is detected where its value is not zero.
    """
    library = np.asarray(X.sum(axis=1), dtype=np.float64).ravel()
    detected = np.asarray((X != 0).sum(axis=1), dtype=np.float64).ravel()
    return library, detected


def compare_cells(
    real: tuple[Floats, Floats], generated: tuple[Floats, Floats]
) -> dict[str, float]:
    """Kolmogorov-Smirnov statistics of library sizes and of genes detected.

    Each is the largest gap between two cumulative shares of cells, in [0, 1].
    """
    return {
        "library_ks": _ks(real[0], generated[0]),
        "genes_detected_ks": _ks(real[1], generated[1]),
    }


def _ks(a: Floats, b: Floats) -> float:
    return float(ks_2samp(a, b, method="asymp").statistic)


def _spearman(a: Floats, b: Floats) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    result: Any = spearmanr(a, b)
    return float(result.statistic)
