"""Generated cells against all training cells, where these are few.

A round holds a quarter to a half of the cells on each side; of ninety cells little is left. Here
nothing is split: training cells take their own place in the control, left out one by one or drawn
anew with return.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from scipy.stats import t

from vaexprs.evaluation.arrays import Array, Floats
from vaexprs.evaluation.comparison.cells import Cells
from vaexprs.evaluation.comparison.ranges import LEVEL, Measured, Z, binomial_variance
from vaexprs.evaluation.comparison.sides import Split
from vaexprs.evaluation.metrics import marginals, privacy
from vaexprs.evaluation.registry import POSITIVE, SHARE, ScoreKind, metric

#: Draws of training cells for the range of the scores of genes.
N_REDRAWS = 20


def _neighbours(split: Split) -> tuple[Cells, Floats, Array, Floats, Array]:
    """View of a split: generated cells, and their and training cells' nearest training cell.

    Distances are those of the variable genes, not of components: components of few cells follow
    these cells so closely that every other cell looks near.
    """
    generated = _thinned(split.generated, split.max_cells, np.random.default_rng([split.seed, 3]))
    train = split.basis.block(split.train.values)
    distance, neighbour = privacy.nearest(split.basis.block(generated.values), train)
    return generated, distance, neighbour, *privacy.nearest(None, train)


@metric(
    ScoreKind("nearest_real_agreement", "whole", "Nearest training cell has the condition", "match",
        "Share of generated cells whose nearest training cell (2,000 genes) is of the requested "
        "category; the control is each training cell's nearest other training cell.", SHARE),
    stage="small",
)  # fmt: skip
def nearest_real_agreement(split: Split) -> dict[str, Measured]:
    """Share of cells whose nearest training cell has their category, for each key."""
    generated, _, neighbour, _, other = split.once(_neighbours)
    found = {}
    for key in split.keys:
        labels = split.train.labels[key]
        same = labels[neighbour] == generated.labels[key]
        control, n = float((labels[other] == labels).mean()), len(labels)
        width = Z * math.sqrt(binomial_variance(control, n) * (1 / n + 1 / len(same)))
        found[f"nearest_real_agreement.{key}"] = Measured(float(same.mean()), control, width)
    return found


@metric(
    ScoreKind("leave_one_out_ratio", "whole", "All cells: nearest training cell", "match",
        "Median distance of generated cells to the nearest training cell over the median distance "
        "of a training cell to its nearest other; the control puts test cells in the place of "
        "generated ones, or, without any, training cells left out one by one.", POSITIVE),
    stage="small",
)  # fmt: skip
def leave_one_out_ratio(split: Split) -> dict[str, Measured]:
    """Median distance to the nearest training cell, over that of training cells left out."""
    _, distance, _, alone, _ = split.once(_neighbours)
    base = float(np.median(alone))
    if not base > 0:
        return {}
    rng = np.random.default_rng([split.seed, 4])
    real = alone
    if split.held_out:
        test = _thinned(split.test, split.max_cells, rng)
        train = split.basis.block(split.train.values)
        real = privacy.nearest_distance(split.basis.block(test.values), train)
    # Both medians vary: bootstrap of the real distances at both sizes.
    ours = np.median(rng.choice(real, (500, len(real))), axis=1)
    theirs = np.median(rng.choice(real, (500, len(distance))), axis=1)
    width = Z * float(np.std(ours - theirs)) / base
    control = float(np.median(real)) / base
    return {"leave_one_out_ratio": Measured(float(np.median(distance)) / base, control, width)}


@metric(
    ScoreKind("whole_variance_ratio", "whole", "All cells: median variance ratio", "match",
        "Median over genes of the variance in all generated cells over that in all training "
        "cells; the control draws training cells with return for both sides.", POSITIVE),
    ScoreKind("whole_zero_fraction_error", "whole", "All cells: zero fraction error", "lower",
        "Mean over genes of the absolute difference of the share of cells without the gene, all "
        "generated against all training cells; the control draws training cells with return for "
        "both sides.", SHARE),
    stage="small",
)  # fmt: skip
def gene_scores(split: Split) -> dict[str, Measured]:
    """Variances and zeros of genes.

    The control draws training cells with return twice, for either side: that both are samples
    then counts as it does for generated beside training cells.
    """
    generated, rng = split.once(_neighbours)[0], np.random.default_rng([split.seed, 5])
    train = split.train
    made = marginals.compare_genes(
        marginals.gene_statistics(train.values), marginals.gene_statistics(generated.values)
    )
    groups, wanted = train.group(split.keys), generated.group(split.keys)
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
    found = {}
    for name in ("gene_variance_ratio", "zero_fraction_error"):
        control = [scores[name] for scores in redrawn]
        key = f"whole_{name.removeprefix('gene_')}"
        found[key] = Measured(made[name])
        if control:
            spread = float(np.std(control, ddof=1)) * math.sqrt(1 + 1 / len(control))
            width = float(t.ppf((1 + LEVEL) / 2, len(control) - 1)) * spread
            found[key] = Measured(made[name], float(np.mean(control)), width)
    return found


def _thinned(cells: Cells, most: int, rng: Generator) -> Cells:
    if cells.n_cells <= most:
        return cells
    return cells.take(np.sort(rng.choice(cells.n_cells, most, replace=False)))
