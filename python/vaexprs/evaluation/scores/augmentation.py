"""Augmentation of classes that are made rare, by generated cells and by other methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeAlias, get_args

import numpy as np

from vaexprs.data import read_expression
from vaexprs.data.scale import to_log
from vaexprs.errors import DataError
from vaexprs.evaluation.arrays import Array, in_threads
from vaexprs.evaluation.comparison.sides import Split
from vaexprs.evaluation.metrics.utility import Method, augmented_f1

#: Given a category and a number of cells, makes them (an AnnData, or an array).
Augment: TypeAlias = Callable[[str, int], Any]
#: Given some of the real training cells, trains a generator and returns its `Augment`.
Refit: TypeAlias = Callable[[Any], Augment]

#: Real cells that are kept of a class, and classes that are made rare: the rarest.
N_REAL, N_CATEGORIES = (5, 10, 25), 3
#: Fewest test cells for an F1, and fewest generated cells to draw from.
LEAST_TEST_CELLS = 5


@dataclass(frozen=True)
class AugmentationRow:
    """F1 of a class that was made rare, and topped up by a method."""

    # Condition key, and the category that was made rare.
    key: str
    category: str
    n_real: int  # Real cells that were kept of it
    method: Method
    f1: tuple[float, ...]  # F1 of the category on real test cells in each draw of the kept cells


def augmentation(
    split: Split,
    key: str,
    *,
    train_rows: Array,
    real_train: Any,
    augment: Augment | None,
    refit: Refit | None,
    n_draws: int,
    n_jobs: int,
) -> Iterator[AugmentationRow]:
    """Make the rarest categories rarer, top them up by each method, and score the class.

    With neither ``augment`` nor ``refit`` the generated cells at hand are drawn from.
    """
    labels, test_labels = split.train.labels[key], split.test.labels[key]
    for category in _rare_categories(labels, test_labels):
        for n_real in N_REAL:
            if n_real > int((labels == category).sum()):
                continue
            source = _Source(split, key, category, train_rows, real_train, augment, refit)
            for method in get_args(Method):
                if method == "smote" and find_spec("imblearn") is None:
                    continue
                if method == "generated" and not source.can_serve:
                    continue
                f1 = partial(
                    augmented_f1, train=split.train_components, train_labels=labels,
                    test=split.test_components, test_labels=test_labels, category=category,
                    n_real=n_real, method=method, generate=source.make,
                )  # fmt: skip
                # What is generated depends on the draws before it.
                n_threads = 1 if method == "generated" else n_jobs
                seeds = range(split.seed, split.seed + n_draws)
                scores = tuple(in_threads(f1, seeds, n_threads))
                yield AugmentationRow(key, category, n_real, method, scores)


def _rare_categories(labels: Array, test_labels: Array) -> list[str]:
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2:
        return []
    usable = [
        (int(count), str(name))
        for name, count in zip(names, counts, strict=True)
        if count >= N_REAL[0] and (test_labels == name).sum() >= LEAST_TEST_CELLS
    ]
    return [name for _, name in sorted(usable)[:N_CATEGORIES]]


@dataclass
class _Source:
    """Where generated cells of one category come from, as principal components."""

    split: Split
    key: str
    category: str
    train_rows: Array
    real_train: Any
    augment: Augment | None
    refit: Refit | None
    pool: Array | None = None
    n_served: int = 0

    def __post_init__(self) -> None:
        is_own = self.split.generated.labels[self.key] == self.category
        self.own = self.split.generated_components[is_own]

    @property
    def can_serve(self) -> bool:
        return bool(self.augment or self.refit or len(self.own) >= LEAST_TEST_CELLS)

    def make(self, rows: Array, n: int) -> Array:
        """Return n cells; rows are the training cells of the split that are kept."""
        if self.refit is not None:
            return self._components(
                self.refit(self.real_train[self.train_rows[rows]])(self.category, n), n
            )
        self.n_served += 1
        rng = np.random.default_rng([self.n_served, n])
        if self.augment is None:
            return np.asarray(self.own[rng.choice(len(self.own), n, replace=len(self.own) < n)])
        # One call to the callback serves all draws, each a different half of its cells.
        if self.pool is None:
            self.pool = self._components(self.augment(self.category, 2 * n), 2 * n)
        return np.asarray(self.pool[rng.choice(len(self.pool), n, replace=False)])

    def _components(self, cells: Any, n: int) -> Array:
        made = read_expression(cells)
        genes, X = self.split.data.genes, made.X
        if made.var_names != genes:
            where = {gene: index for index, gene in enumerate(made.var_names)}
            if any(gene not in where for gene in genes):
                raise DataError(
                    f"the augment callback made cells of category {self.category!r} without all "
                    f"{len(genes)} compared genes."
                )
            X = X[:, np.array([where[gene] for gene in genes])]
        if X.shape[0] != n:
            raise DataError(
                f"the augment callback was asked for {n} cells of category {self.category!r} and "
                f"made {X.shape[0]}."
            )
        return self.split.basis.components_of(to_log(X, self.split.data.scale))
