"""The genes by which a forest recognises generated cells, and how their values differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaexprs.evaluation.arrays import Floats
from vaexprs.evaluation.comparison.sides import RoundCells
from vaexprs.evaluation.metrics.discriminators import mann_whitney_auc

#: Genes that the page lists.
N_GIVEAWAYS = 20


@dataclass(frozen=True)
class GiveawayGene:
    """A gene by which the forest separates generated from real cells."""

    gene: str
    # Share of all features' importance, mean over rounds; 1 / 500 when genes matter equally.
    importance: float
    control_importance: float  # The same where the forest looks at real against real cells
    # Area under the ROC curve of this gene alone, below 0.5 where generated values are smaller.
    auc: float
    # Statistics of (test, generated) cells, on the scale of the scores.
    mean: tuple[float, float]
    deviation: tuple[float, float]
    detected: tuple[float, float]
    maximum: tuple[float, float]
    what: tuple[str, ...]  # Differences in words: only those that exceed two standard errors


def giveaway_genes(
    importance: Floats,
    control_importance: Floats,
    names: Sequence[str],
    cells: RoundCells,
) -> list[GiveawayGene]:
    """Describe the genes of largest importance to a classifier."""
    column_of = {gene: column for column, gene in enumerate(cells.basis.genes.tolist())}
    found: list[GiveawayGene] = []
    for gene in np.argsort(-importance, kind="stable").tolist():
        if len(found) == N_GIVEAWAYS or importance[gene] <= 0:
            break
        if gene not in column_of:
            continue
        a, b = (
            side.block[:, column_of[gene]].astype(float) for side in (cells.test, cells.generated)
        )
        found.append(
            GiveawayGene(
                names[gene],
                float(importance[gene]),
                float(control_importance[gene]),
                mann_whitney_auc(a, b),
                (float(a.mean()), float(b.mean())),
                (float(a.std()), float(b.std())),
                (float((a != 0).mean()), float((b != 0).mean())),
                (float(a.max()), float(b.max())),
                tuple(_what(a, b)),
            )
        )
    return found


def _what(test: Floats, generated: Floats) -> list[str]:
    """Name the differences that exceed two standard errors, largest first."""
    n = min(len(test), len(generated))
    words: list[tuple[float, str]] = []

    def say(z: float, high: str, low: str) -> None:
        if abs(z) > 2:
            words.append((abs(z), high if z > 0 else low))

    p, q = (test != 0).mean(), (generated != 0).mean()
    pooled = (p + q) / 2
    if 0 < pooled < 1:
        say((q - p) / math.sqrt(2 * pooled * (1 - pooled) / n), "seen too often", "seen too seldom")
    spread = math.sqrt(test.var() + generated.var())
    if spread > 0:
        say((generated.mean() - test.mean()) / spread * math.sqrt(n), "too high", "too low")
    if test.std() > 0 and generated.std() > 0:
        # The standard error of a log standard deviation from the fourth moments of both sides.
        error = math.sqrt(_log_deviation_variance(test) + _log_deviation_variance(generated))
        if error > 0:
            gap = math.log(generated.std() / test.std())
            say(gap / error, "too wide", "too narrow")
    top, other = np.sort(test)[-max(n // 100, 1) :], np.sort(generated)[-max(n // 100, 1) :]
    spread = math.sqrt(top.var() + other.var())
    if spread > 0 and len(top) >= 5:
        say(
            (other.mean() - top.mean()) / spread * math.sqrt(len(top)) / 1.5,
            "tail too long",
            "tail too short",
        )
    return [word for _, word in sorted(words, reverse=True)]


def _log_deviation_variance(values: Floats) -> float:
    centred = values - values.mean()
    kurtosis = float((centred**4).mean() / (centred**2).mean() ** 2)
    return max(kurtosis - 1.0, 0.0) / (4 * len(values))
