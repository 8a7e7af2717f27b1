"""Whether generated cells help a classifier where real cells of a class are few.

In each draw the three rarest classes that can be judged keep ten training cells each, and one fit
is made of what is left: it never saw another cell of theirs. A class is then topped up to the
median size of the others, by generated cells, by SMOTE, or by repeating the ten, and the F1 of the
class on the test cells is compared.
"""

from __future__ import annotations

import statistics
from typing import Any

import anndata
import numpy as np

from bars import Labelled, split_rows
from vaexprs import fit_vae, gen_exprs
from vaexprs.evaluation.comparison.basis import Basis
from vaexprs.evaluation.metrics.utility import augmented_f1

__all__ = ["augmentation"]

N_REAL, N_CLASSES, N_DRAWS = 10, 3, 5
#: Fewest test cells of a class whose F1 says something.
LEAST_TEST_CELLS = 8
METHODS = ("none", "oversampling", "smote", "generated")


def augmentation(
    cells: anndata.AnnData, name: str, keys: list[str]
) -> tuple[dict[str, dict[str, list[float]]], str]:
    """Measure a set; return the F1 of each class, method and draw, and a table of medians."""
    key = keys[0]
    labels = np.asarray(cells.obs[key].astype(str))
    rows = split_rows(labels, seed=0)
    train, test = (cells[part].copy() for part in rows)
    known, other = (Labelled.of(side, key) for side in (train, test))
    classes = _rare(known.labels, other.labels)
    f1: dict[str, dict[str, list[float]]] = {c: {m: [] for m in METHODS} for c in classes}
    for draw in range(N_DRAWS):
        kept = _kept(known.labels, classes, draw)
        fit = fit_vae(train[kept].copy(), condition_keys=keys, seed=draw, progress=False)
        basis = Basis.fit(known.take(kept).values, seed=draw)
        own, others = (basis.components_of(side.values) for side in (known, other))
        for category in classes:

            def generate(rows: np.ndarray, n: int, category: str = category) -> np.ndarray:
                # the ten that the classifier is given are the ten that the model was given
                assert set(rows[known.labels[rows] == category]) <= set(kept)  # noqa: B023
                made = gen_exprs(fit, n, conditions={key: category}, seed=draw)  # noqa: B023
                return basis.components_of(Labelled.of(made, key).values)  # noqa: B023

            for method in METHODS:
                f1[category][method].append(
                    augmented_f1(
                        own, known.labels, others, other.labels, category=category,
                        n_real=N_REAL, method=method, generate=generate, seed=draw,
                    )
                )  # fmt: skip
    return f1, _table(name, f1)


def _rare(train: np.ndarray, test: np.ndarray) -> list[str]:
    names, counts = np.unique(train, return_counts=True)
    usable = [
        (int(count), str(name))
        for name, count in zip(names, counts, strict=True)
        if count > N_REAL and (test == name).sum() >= LEAST_TEST_CELLS
    ]
    return [name for _, name in sorted(usable)[:N_CLASSES]]


def _kept(labels: np.ndarray, classes: list[str], draw: int) -> np.ndarray:
    """Return the rows that are left when each class keeps the cells `augmented_f1` draws."""
    rows = [np.flatnonzero(~np.isin(labels, classes))]
    for category in classes:
        members = np.flatnonzero(labels == category)
        rows.append(np.random.default_rng(draw).choice(members, N_REAL, replace=False))
    return np.sort(np.concatenate(rows))


def _table(name: str, f1: dict[str, Any]) -> str:
    lines = [
        f"### {name}, {N_REAL} real cells of a rare class", "",
        f"| class | {' | '.join(METHODS)} | |", "| --- " * (len(METHODS) + 2) + "|",
    ]  # fmt: skip
    for category, found in f1.items():
        median = {method: statistics.median(values) for method, values in found.items()}
        holds = median["generated"] >= max(median["smote"], median["oversampling"])
        shown = " | ".join(f"{median[method]:.3f}" for method in METHODS)
        lines.append(f"| {category} | {shown} | {'holds' if holds else 'MISSED'} |")
    return "\n".join(lines)
