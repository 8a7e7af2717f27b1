"""Generated cells against all training cells, where these are few.

A round holds a quarter to a half of the cells on each side; of ninety cells little is left. Here
nothing is split: training cells take their own place in the control, left out one by one or drawn
anew with return.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.random import Generator
from scipy.stats import t

from vaexprs.evaluation.comparison.cells import Cells
from vaexprs.evaluation.comparison.ranges import LEVEL, Score
from vaexprs.evaluation.metrics import marginals, privacy
from vaexprs.evaluation.metrics.arrays import Array, Floats
from vaexprs.evaluation.scores.catalogue import CATALOGUE
from vaexprs.evaluation.scores.whole import Split, Z, binomial_variance

__all__ = ["small_data"]

N_REDRAWS = 20


def small_data(split: Split, keys: Sequence[str], *, max_cells: int, seed: int) -> Iterator[Score]:
    """Compare generated with all training cells.

    Distances are those of the variable genes, not of components: components of few cells follow
    these cells so closely that every other cell looks near.
    """
    rng = np.random.default_rng([seed, 3])
    generated = _thinned(split.generated, max_cells, rng)
    train = split.basis.block(split.train.values)
    distance, neighbor = privacy.nearest(split.basis.block(generated.values), train)
    alone, other = privacy.leave_one_out(train)
    yield from _distance_score(split, distance, alone, train, max_cells, rng)
    for key in keys:
        labels = split.train.labels[key]
        kind = CATALOGUE["nearest_real_agreement"]
        same = labels[neighbor] == generated.labels[key]
        control = float((labels[other] == labels).mean())
        n = len(labels)
        width = Z * math.sqrt(binomial_variance(control, n) * (1 / n + 1 / len(same)))
        yield Score(kind, f"{kind.key}.{key}", float(same.mean()), control, width, of=key).judged()
    yield from _gene_scores(split.train, generated, keys, rng)


def _distance_score(
    split: Split, distance: Floats, alone: Floats, train: Array, max_cells: int, rng: Generator
) -> Iterator[Score]:
    """Median distance to the nearest training cell, over that of training cells left out."""
    base = float(np.median(alone))
    if not base > 0:
        return
    real = alone
    if split.held_out:
        test = _thinned(split.test, max_cells, rng)
        real = privacy.nearest_distance(split.basis.block(test.values), train)
    # Both medians vary: bootstrap of the real distances at both sizes.
    ours = np.median(rng.choice(real, (500, len(real))), axis=1)
    theirs = np.median(rng.choice(real, (500, len(distance))), axis=1)
    width = Z * float(np.std(ours - theirs))
    kind = CATALOGUE["leave_one_out_ratio"]
    yield Score(
        kind,
        kind.key,
        float(np.median(distance)) / base,
        float(np.median(real)) / base,
        width / base,
    ).judged()


def _gene_scores(
    train: Cells, generated: Cells, keys: Sequence[str], rng: Generator
) -> Iterator[Score]:
    """Variances and zeros of genes.

    The control draws training cells with return twice, for either side: that both are samples
    then counts as it does for generated beside training cells.
    """
    real = marginals.gene_statistics(train.values)
    names = {"variance_ratio": "whole_variance_ratio",
             "zero_fraction_error": "whole_zero_fraction_error"}  # fmt: skip
    made = marginals.compare_genes(real, marginals.gene_statistics(generated.values))
    groups, wanted = train.group(keys), generated.group(keys)
    members = {name: np.flatnonzero(groups == name) for name in np.unique(groups)}
    counts = {name: int((wanted == name).sum()) for name in np.unique(wanted) if name in members}
    redrawn = []
    for _ in range(N_REDRAWS if counts else 0):
        sides = (
            np.concatenate([rng.choice(rows, len(rows)) for rows in members.values()]),
            np.concatenate([rng.choice(members[name], n) for name, n in counts.items()]),
        )
        drawn = [marginals.gene_statistics(train.values[rows]) for rows in sides]
        redrawn.append(marginals.compare_genes(*drawn))
    for name, key in names.items():
        kind = CATALOGUE[key]
        control = [scores[name] for scores in redrawn]
        if not control:
            yield Score(kind, key, made[name])
            continue
        spread = float(np.std(control, ddof=1)) * math.sqrt(1 + 1 / len(control))
        width = float(t.ppf((1 + LEVEL) / 2, len(control) - 1)) * spread
        yield Score(kind, key, made[name], float(np.mean(control)), width).judged()


def _thinned(cells: Cells, most: int, rng: Generator) -> Cells:
    if cells.n_cells <= most:
        return cells
    return cells.take(np.sort(rng.choice(cells.n_cells, most, replace=False)))
