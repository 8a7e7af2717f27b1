"""Scores that are computed once, on all cells: conditions, utility, copies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from vaexprs.evaluation.comparison.basis import Basis
from vaexprs.evaluation.comparison.cells import Cells, Evaluated
from vaexprs.evaluation.comparison.ranges import LEVEL, Score
from vaexprs.evaluation.comparison.rounds import LEAST_GENES_OF_A_DUPLICATE, stratified_halves
from vaexprs.evaluation.metrics import conditions, privacy, utility
from vaexprs.evaluation.metrics.arrays import Array
from vaexprs.evaluation.scores.catalogue import CATALOGUE

__all__ = ["CategoryRow", "Split", "Z", "agreement", "binomial_variance", "copies", "transfer"]

#: Half widths are as many standard deviations.
Z = float(norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True)
class Split:
    """Real training and test cells as whole sets, with a basis of the training cells.

    Attributes
    ----------
    train, test, generated
        The cells.
    basis
        Fitted to the training cells.
    train_components, test_components, generated_components
        Principal-component scores.
    held_out
        Whether the test cells were given; otherwise they are half of the training cells.
    """

    train: Cells
    test: Cells
    generated: Cells
    basis: Basis
    train_components: Array
    test_components: Array
    generated_components: Array
    held_out: bool

    @classmethod
    def of(cls, data: Evaluated, train: Array, test: Array, *, held_out: bool, seed: int) -> Split:
        """Gather the cells; rows count training cells first, then test cells."""
        n_train = data.train.n_cells
        train_cells = data.train.take(train)
        if held_out and data.test is not None:
            test_cells = data.test.take(test - n_train)
        else:
            test_cells = data.train.take(test)
        basis = Basis.fit(train_cells.values, seed=seed)
        return cls(
            train=train_cells,
            test=test_cells,
            generated=data.generated,
            basis=basis,
            train_components=basis.components_of(train_cells.values),
            test_components=basis.components_of(test_cells.values),
            generated_components=basis.components_of(data.generated.values),
            held_out=held_out,
        )


@dataclass(frozen=True)
class CategoryRow:
    """Agreement with one category.

    Attributes
    ----------
    key, category
        Condition key and category.
    generated, real
        Share of generated and of real test cells of the category that a classifier puts in it.
    n_generated, n_real
        Their numbers.
    """

    key: str
    category: str
    generated: float
    real: float
    n_generated: int
    n_real: int


def agreement(split: Split, key: str) -> tuple[list[Score], list[CategoryRow]]:
    """Ask a classifier trained on real training cells for the category of each cell.

    The range is that of the accuracy of as many real cells as there are generated ones, given
    the test cells' accuracy in each category (binomial).
    """
    labels = split.train.labels[key]
    if len(np.unique(labels)) < 2:
        return [], []
    classifier = conditions.category_classifier(split.train_components, labels)
    real = conditions.category_recall(
        classifier.predict(split.test_components), split.test.labels[key]
    )
    made = conditions.category_recall(
        classifier.predict(split.generated_components), split.generated.labels[key]
    )
    common = [category for category in real if category in made]
    if not common:
        return [], []
    weights = {category: real[category][1] for category in common}
    total = sum(weights.values())
    control = conditions.weighted_recall(real, weights)
    variance = 0.0
    for category in common:
        share, n_real = real[category]
        spread = binomial_variance(share, n_real) * (1 / n_real + 1 / made[category][1])
        variance += (weights[category] / total) ** 2 * spread
    width = Z * math.sqrt(variance)
    kind = CATALOGUE["condition_agreement"]
    score = Score(
        kind,
        f"{kind.key}.{key}",
        conditions.weighted_recall(made, weights),
        control,
        width,
        of=key,
    ).judged()
    rows = [
        CategoryRow(key, category, made[category][0], real[category][0], made[category][1],
                    real[category][1])
        for category in common
    ]  # fmt: skip
    return [score], rows


def transfer(split: Split, key: str, *, n_resamples: int, seed: int) -> Score | None:
    """Train on generated and test on real cells, beside training on as many real cells.

    The range comes from half samples: training, generated and test cells are each halved at
    random within categories, and the spread of the difference of the two F1 over such halves is
    that of the difference itself, since half as many cells double the variance and drawing them
    without return halves it.
    """
    labels = [cells.labels[key] for cells in (split.train, split.generated, split.test)]
    if len(np.unique(labels[0])) < 2:
        return None
    components = (split.train_components, split.generated_components, split.test_components)
    rng = np.random.default_rng([seed, 2])
    n = min(len(labels[0]), len(labels[1]))
    rows = [rng.permutation(len(labels[0]))[:n], rng.permutation(len(labels[1]))[:n]]
    everything = np.arange(len(labels[2]))

    def f1(side: int, rows: Array, tested: Array) -> float:
        return utility.transfer_f1(
            components[side][rows], labels[side][rows], components[2][tested], labels[2][tested]
        )[0]

    control, value = f1(0, rows[0], everything), f1(1, rows[1], everything)
    differences = []
    for _ in range(n_resamples):
        halves = [stratified_halves(chosen, labels[side][chosen], rng)[0]
                  for side, chosen in enumerate(rows)]  # fmt: skip
        tested = stratified_halves(everything, labels[2], rng)[0]
        differences.append(f1(1, halves[1], tested) - f1(0, halves[0], tested))
    width = Z * float(np.std(differences, ddof=1)) if n_resamples > 2 else math.nan
    kind = CATALOGUE["transfer_f1"]
    return Score(kind, f"{kind.key}.{key}", value, control, width, of=key).judged()


def copies(train: Cells, generated: Cells) -> tuple[Score, int]:
    """Count exact copies of training cells, and generated cells that repeat one another.

    Cells with few genes may be equal by chance and do not count.
    """
    rich = [
        np.asarray((cells.given != 0).sum(axis=1)).ravel() >= LEAST_GENES_OF_A_DUPLICATE
        for cells in (train, generated)
    ]
    real = privacy.fingerprints(train.given[np.flatnonzero(rich[0])])
    made = privacy.fingerprints(generated.given[np.flatnonzero(rich[1])])
    found = privacy.count_copies(made, real)
    score = Score(CATALOGUE["exact_copies"], "exact_copies", float(found), 0.0, 0.0)
    return score.judged(), len(made) - len(np.unique(made))


def binomial_variance(share: float, n: int) -> float:
    """Variance of one cell, steadied so that a share of 0 or 1 in few cells has some."""
    steady = (share * n + 0.5) / (n + 1)
    return steady * (1 - steady)
