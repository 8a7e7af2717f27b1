"""Classifiers trained on generated cells, or on real ones with generated ones added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from sklearn.metrics import f1_score

from vaexprs.errors import ArgumentError, require
from vaexprs.evaluation.arrays import Array, Floats
from vaexprs.evaluation.comparison.ranges import Measured, Z
from vaexprs.evaluation.comparison.rounds import stratified_halves
from vaexprs.evaluation.comparison.sides import Split
from vaexprs.evaluation.metrics.conditions import category_classifier
from vaexprs.evaluation.registry import SHARE, ScoreKind, metric

#: How the cells of a rare class are topped up.
Method: TypeAlias = Literal["none", "oversampling", "smote", "generated"]


def transfer_f1(train: Array, train_labels: Array, test: Array, test_labels: Array) -> float:
    """Train a classifier of categories on one set of cells; return its macro F1 on another.

    The F1 is averaged over the categories of the test cells, each counted the same.
    """
    if len(np.unique(train_labels)) < 2:
        predicted = np.full(len(test_labels), train_labels[0])
    else:
        predicted = category_classifier(train, train_labels).predict(test)
    present = np.unique(test_labels)
    options = {"labels": present, "average": "macro", "zero_division": 0}
    return float(f1_score(test_labels, predicted, **options))


@metric(
    ScoreKind("transfer_f1", "utility", "Train on generated, test on real (F1)", "higher",
        "Macro F1 on test cells of a classifier trained on generated cells; the control is trained "
        "on equally many real cells.", SHARE),
    stage="whole",
)  # fmt: skip
def transfer(split: Split) -> dict[str, Measured]:
    """Train on generated and test on real cells, for each condition key.

    The range comes from half samples: training, generated and test cells are each halved at
    random within categories, and the spread of the difference of the two F1 over such halves is
    that of the difference itself, since half the cells double the variance and drawing them
    without return halves it.
    """
    found = {}
    components = (split.train_components, split.generated_components, split.test_components)
    for key in split.keys:
        labels = [cells.labels[key] for cells in (split.train, split.generated, split.test)]
        if len(np.unique(labels[0])) < 2:
            continue
        rng = np.random.default_rng([split.seed, 2])
        n = min(len(labels[0]), len(labels[1]))
        rows = [rng.permutation(len(side))[:n] for side in labels[:2]]
        everything = np.arange(len(labels[2]))

        def f1(side: int, rows: Array, tested: Array, labels: list[Array] = labels) -> float:
            train, y = components[side][rows], labels[side][rows]
            return transfer_f1(train, y, components[2][tested], labels[2][tested])

        control, value = f1(0, rows[0], everything), f1(1, rows[1], everything)
        differences = []
        for _ in range(split.n_resamples):
            halves = [stratified_halves(chosen, labels[side][chosen], rng)[0]
                      for side, chosen in enumerate(rows)]  # fmt: skip
            tested = stratified_halves(everything, labels[2], rng)[0]
            differences.append(f1(1, halves[1], tested) - f1(0, halves[0], tested))
        width = Z * float(np.std(differences, ddof=1)) if len(differences) > 2 else float("nan")
        found[f"transfer_f1.{key}"] = Measured(value, control, width)
    return found


def augmented_f1(
    seed: int,
    *,
    train: Array,
    train_labels: Array,
    test: Array,
    test_labels: Array,
    category: object,
    n_real: int,
    method: Method,
    generate: Callable[[Array, int], Array] | None = None,
) -> float:
    """F1 of one category after it was made rare and then topped up.

    ``n_real`` cells of the category are kept, drawn at random by ``seed``; all other cells stay.
    The category is then brought to the median size of the others by the method, a classifier is
    trained, and the F1 of the category on the test cells is returned. SMOTE is that of Chawla et
    al. (2002). For ``"generated"``, ``generate`` is given the rows of ``train`` that are kept (all
    categories) and a number, and returns as many new cells of the category.
    """
    rng = np.random.default_rng(seed)
    members = np.flatnonzero(train_labels == category)
    kept = np.sort(rng.choice(members, min(n_real, len(members)), replace=False))
    rows = np.sort(np.concatenate([np.flatnonzero(train_labels != category), kept]))
    X, y = train[rows], train_labels[rows]
    others = train_labels[train_labels != category]
    n_total = int(np.median(np.unique(others, return_counts=True)[1]))
    missing = max(n_total - len(kept), 0)
    if missing and method != "none":
        if method == "oversampling":
            extra = train[rng.choice(kept, missing)]
        elif method == "smote":
            extra = _smote(X, y, category, n_total, seed)
        elif method == "generated" and generate is not None:
            extra = generate(rows, missing)
        else:
            raise ArgumentError(f"method {method!r} is unknown, or needs generate=.")
        X = np.concatenate([X, extra])
        y = np.concatenate([y, np.full(len(extra), category, dtype=y.dtype)])
    predicted = category_classifier(X, y).predict(test)
    return float(f1_score(test_labels == category, predicted == category, zero_division=0))


def _smote(X: Array, y: Array, category: object, n_total: int, seed: int) -> Floats:
    """Return new cells between neighbours of a category; a single cell is repeated."""
    smote = require("imblearn.over_sampling", extra="evaluate", purpose="Comparing with SMOTE")
    n_kept = int((y == category).sum())
    neighbors = min(5, n_kept - 1)
    if neighbors < 1:
        return np.asarray(X[y == category]).repeat(max(n_total - n_kept, 0), axis=0)
    wanted = {category: max(n_total, n_kept)}
    sampler = smote.SMOTE(sampling_strategy=wanted, k_neighbors=neighbors, random_state=seed)
    resampled, _ = sampler.fit_resample(X, y)
    # imbalanced-learn puts the new cells behind the given ones.
    return np.asarray(resampled[len(X) :])
