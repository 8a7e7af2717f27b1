"""Overlap of the regions of real and generated cells: precision, recall, mixing."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from vaexprs.errors import DataError
from vaexprs.evaluation.arrays import Array, Floats
from vaexprs.evaluation.metrics.distances import components
from vaexprs.evaluation.registry import POSITIVE, SHARE, ScoreKind, metric


@metric(
    ScoreKind("precision", "manifold", "Precision", "match",
        "Share of generated cells within the 5-nearest-neighbour ball of some test cell. Above "
        "the control: cells keep to the middle of the crowd.", SHARE),
    ScoreKind("recall", "manifold", "Recall", "higher",
        "Share of test cells within the 5-nearest-neighbour ball of some generated cell. Low: "
        "part of the real diversity is missing.", SHARE),
    ScoreKind("density", "manifold", "Density", "match",
        "Mean number of test balls a generated cell lies in, over 5. Above the control: cells "
        "crowd where real cells are densest.", POSITIVE),
    ScoreKind("coverage", "manifold", "Coverage", "higher",
        "Share of test cells whose 5-nearest-neighbour ball holds a generated cell.", SHARE),
    view=components,
)  # fmt: skip
def manifold_scores(real: Array, generated: Array, *, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage by k-nearest-neighbour balls.

    Precision and recall after Kynkäänniemi et al. (2019), density and coverage after Naeem et
    al. (2020). The neighbourhood of a cell is the closed ball round it that reaches to its k-th
    nearest other cell of its own kind.
    """
    k = min(k, len(real) - 1, len(generated) - 1)
    if k < 1:
        raise DataError("neighbourhoods need at least two cells of each kind")
    x, y = np.asarray(real, dtype=np.float64), np.asarray(generated, dtype=np.float64)
    across = pairwise_distances(x, y)
    in_real = across <= _radii(x, k)[:, None]
    in_generated = across <= _radii(y, k)[None, :]
    return {
        "precision": float(in_real.any(axis=0).mean()),
        "recall": float(in_generated.any(axis=1).mean()),
        "density": float(in_real.sum(axis=0).mean() / k),
        "coverage": float(in_real.any(axis=1).mean()),
    }


def _radii(X: Floats, k: int) -> Floats:
    distances = pairwise_distances(X)
    np.fill_diagonal(distances, np.inf)
    return np.asarray(np.partition(distances, k - 1, axis=1)[:, k - 1], dtype=np.float64)


@metric(
    ScoreKind("mixing_lisi", "manifold", "Mixing (iLISI)", "higher",
        "Integration local inverse Simpson index of test and generated cells on components, from "
        "1 (apart) to 2 (perfectly mixed).", (1.0, 2.0)),
    view=components,
)  # fmt: skip
def integration_lisi(real: Array, generated: Array, *, perplexity: float = 30.0) -> float:
    """Mixing of real and generated cells: mean local inverse Simpson index (iLISI).

    Korsunsky et al. (2019). Round each cell its ``3 * perplexity`` nearest other cells get
    Gaussian weights whose entropy is that of ``perplexity`` equally likely neighbours; the index
    is 1 / (p_real² + p_generated²). It runs from 1, where each kind keeps to itself, to 2, where
    every neighbourhood is half and half; as many cells of both kinds that share one law come
    close to 2 (a little below, since neighbourhoods vary by chance).
    """
    X = np.concatenate([real, generated]).astype(np.float64)
    is_generated = np.repeat([False, True], [len(real), len(generated)])
    n_neighbors = int(min(3 * perplexity, len(X) - 1))
    perplexity = min(perplexity, n_neighbors / 3) if n_neighbors >= 6 else n_neighbors / 2
    finder = NearestNeighbors(n_neighbors=n_neighbors).fit(X)
    distances, neighbors = finder.kneighbors()
    weights = _perplexity_weights(distances, max(perplexity, 1.0))
    share = (weights * is_generated[neighbors]).sum(axis=1)
    return float((1.0 / (share**2 + (1.0 - share) ** 2)).mean())


def _perplexity_weights(distances: Floats, perplexity: float) -> Floats:
    """Rows of weights exp(-beta d) that sum to one, with entropy log(perplexity).

    The exponent is linear in the distance, as in the index's reference implementation.
    """
    shifted = distances - distances[:, :1]
    low = np.zeros(len(distances))
    high = np.full(len(distances), np.inf)
    beta = np.ones(len(distances))
    target = np.log(perplexity)
    weights = np.full_like(shifted, 1.0 / shifted.shape[1])
    for _ in range(60):
        weights = np.exp(-shifted * beta[:, None])
        total = weights.sum(axis=1)
        weights /= total[:, None]
        entropy = np.log(total) + beta * (weights * shifted).sum(axis=1)
        too_wide = entropy > target
        low = np.where(too_wide, beta, low)
        high = np.where(too_wide, high, beta)
        beta = np.where(np.isinf(high), beta * 2, (low + high) / 2)
    return np.asarray(weights, dtype=np.float64)
