"""The bars of realism: one split of real cells, generated cells, and a score for every bar.

The bases (most variable genes, principal components) are fitted on training cells alone. Beside
every score stands its control: one half of the training cells against the test cells by the same
code, in bases fitted on the other half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.metrics import accuracy_score

from vaexprs.evaluation.comparison.basis import Basis
from vaexprs.evaluation.metrics import conditions, marginals, privacy, structure, utility
from vaexprs.evaluation.metrics.discriminators import discriminate

__all__ = [
    "Labelled", "control_scores", "generated_scores", "split_rows", "whole_scores",
]  # fmt: skip

N_CLASSIFIER_GENES, N_CORRELATED_GENES = 500, 100


@dataclass(frozen=True)
class Labelled:
    """Counts of cells with their labels, ``(n_cells, n_genes)`` and ``(n_cells,)``."""

    counts: Any
    labels: np.ndarray

    @classmethod
    def of(cls, adata: Any, key: str) -> Labelled:
        """Read an AnnData."""
        return cls(sparse.csr_matrix(adata.X), np.asarray(adata.obs[key].astype(str)))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Labelled:
        """Return some of the cells."""
        return Labelled(self.counts[rows], self.labels[rows])

    @property
    def values(self) -> Any:
        """``log1p`` of counts per 10,000, the scale of the scores."""
        out = self.counts.astype(np.float32)
        total = np.asarray(out.sum(axis=1)).ravel()
        out.data *= np.repeat((1e4 / np.maximum(total, 1e-12)).astype(np.float32),
                              np.diff(out.indptr))  # fmt: skip
        return out.log1p()


def split_rows(labels: np.ndarray, seed: int, share: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into training and test, stratified by label; every label keeps one of each."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cut = min(max(round(share * len(rows)), 1), max(len(rows) - 1, 1))
        train.append(rows[:cut])
        test.append(rows[cut:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def generated_scores(
    train: Labelled, test: Labelled, generated: Labelled, *, seed: int, forests: bool = True
) -> dict[str, float]:
    """Score generated cells against test cells, in bases fitted on the training cells."""
    basis = Basis.fit(train.values, seed=seed)
    scores = _compare(basis, generated, test, seed, forests)
    named = {"train": train, "test": test, "made": generated}
    sides = {name: basis.components(basis.block(cells.values)) for name, cells in named.items()}
    judge = conditions.category_classifier(sides["train"], train.labels)
    scores["agreement"] = accuracy_score(generated.labels, judge.predict(sides["made"]))
    scores["transfer"] = utility.transfer_f1(
        sides["made"], generated.labels, sides["test"], test.labels
    )[0]
    return scores


def control_scores(train: Labelled, test: Labelled, *, seed: int) -> dict[str, float]:
    """Score real cells as if they were generated; labels are judged and learned from all."""
    halves = split_rows(train.labels, seed, 0.5)
    fitted, compared = (train.take(rows) for rows in halves)
    scores = _compare(Basis.fit(fitted.values, seed=seed), compared, test, seed, forests=True)
    basis = Basis.fit(train.values, seed=seed)
    own, other = (basis.components(basis.block(cells.values)) for cells in (train, test))
    judge = conditions.category_classifier(own, train.labels)
    scores["agreement"] = accuracy_score(test.labels, judge.predict(other))
    scores["transfer"] = utility.transfer_f1(own, train.labels, other, test.labels)[0]
    return scores


def _compare(
    basis: Basis, made: Labelled, test: Labelled, seed: int, forests: bool
) -> dict[str, float]:
    """Compare as many cells of both sides where a classifier does, all cells elsewhere."""
    rng = np.random.default_rng([seed, 3])
    n = min(len(made), len(test))
    ours, real = (cells.take(np.sort(rng.permutation(len(cells))[:n])) for cells in (made, test))
    a, b = basis.block(ours.values), basis.block(real.values)
    genes = slice(0, N_CLASSIFIER_GENES)
    scores = {}
    if forests:
        scores["forest_components"] = discriminate(
            basis.components(b), basis.components(a), seed=seed
        ).auc
        scores["forest_genes"] = discriminate(b[:, genes], a[:, genes], seed=seed).auc
    scores["logistic_genes"] = discriminate(
        b[:, genes], a[:, genes], model="logistic", seed=seed
    ).auc
    a, b = basis.block(made.values), basis.block(test.values)
    few = slice(0, N_CORRELATED_GENES)
    scores["correlation"] = structure.compare_correlations(
        structure.spearman_matrix(b[:, few]), structure.spearman_matrix(a[:, few])
    )["difference"]
    zeros = [marginals.gene_statistics(cells.values).zero_fraction for cells in (test, made)]
    scores["zeros"] = float(np.abs(zeros[0] - zeros[1]).mean())
    cells = [marginals.cell_statistics(cells.counts) for cells in (test, made)]
    ks = marginals.compare_cells(cells[0], cells[1])
    return scores | {"library": ks["library_ks"], "detected": ks["genes_detected_ks"]}


def whole_scores(real: Labelled, made: Labelled) -> tuple[dict[str, float], dict[str, float]]:
    """Score generated cells against all real cells, where these are too few to be split.

    Values are scored on ``log1p`` of what was given. The control leaves each real cell out of its
    own neighbours.
    """
    values = [cells.counts.astype(np.float64).log1p().tocsr() for cells in (real, made)]
    basis = Basis.fit(values[0])
    ours, theirs = (basis.components(basis.block(x)) for x in (values[1], values[0]))
    far, nearest = privacy.nearest(ours, theirs)
    own, neighbour = privacy.leave_one_out(theirs)
    genes = [marginals.gene_statistics(x) for x in values]
    varies = genes[0].variance > 0
    ratio = float(np.median(genes[1].variance[varies] / genes[0].variance[varies]))
    prints = [privacy.fingerprints(cells.counts) for cells in (made, real)]
    scores = {
        "zeros": float(np.abs(genes[0].zero_fraction - genes[1].zero_fraction).mean()),
        "agreement": float((real.labels[nearest] == made.labels).mean()),
        "variance_low": ratio,
        "variance_high": ratio,
        "distance": float(np.median(far) / np.median(own)),
        "copies": float(privacy.count_copies(*prints)),
    }
    control = {"agreement": float((real.labels[neighbour] == real.labels).mean()), "distance": 1.0}
    return scores, control
