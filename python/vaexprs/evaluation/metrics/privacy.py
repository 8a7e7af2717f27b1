"""Attacks that recover training cells, or membership among them, from generated cells."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from vaexprs.evaluation.arrays import Array, Floats, fingerprints
from vaexprs.evaluation.comparison.ranges import Measured
from vaexprs.evaluation.comparison.rounds import LEAST_GENES_OF_A_DUPLICATE
from vaexprs.evaluation.comparison.sides import Comparison, Side, Split
from vaexprs.evaluation.metrics.discriminators import mann_whitney_auc
from vaexprs.evaluation.registry import POSITIVE, SHARE, ScoreKind, metric

#: Fewest cells of a donor for its privacy.
LEAST_OF_A_DONOR = 10
#: Components of the generated cells in `span_auc`: fewer than the cells of a small training set.
SPANNED = 30


def nearest(queries: Array | None, cells: Array) -> tuple[Floats, Array]:
    """Return the Euclidean distance from each query to its nearest cell, and that cell's row.

    Without queries: from each cell to its nearest other cell.
    """
    distances, rows = NearestNeighbors(n_neighbors=1).fit(cells).kneighbors(queries)
    return np.asarray(distances[:, 0], dtype=np.float64), np.asarray(rows[:, 0])


def nearest_distance(queries: Array, cells: Array) -> Floats:
    """Return the distance from each query to its nearest cell, ``(n_queries,)``."""
    return nearest(queries, cells)[0]


def share_nearer(queries: Array, train: Array, test: Array) -> float:
    """Share of the queries that lie nearer to a training cell than to any test cell.

    Ties count half. 0.5 in expectation when train and test hold as many cells of one law and
    the queries know neither; 1 when every query is a copy of a training cell.
    """
    to_train, to_test = nearest_distance(queries, train), nearest_distance(queries, test)
    return float((to_train < to_test).mean() + 0.5 * (to_train == to_test).mean())


def membership_auc(generated: Array, train: Array, test: Array) -> float:
    """How well the distance to the nearest generated cell tells training from test cells.

    The attack of an outsider who holds a cell and the generated cells, and bets that the cell
    was trained on when a generated cell is near (Chen et al. 2020, "GAN-Leaks", full black box).
    0.5 when nothing is revealed, 1 when every training cell is.
    """
    members, strangers = nearest_distance(train, generated), nearest_distance(test, generated)
    return mann_whitney_auc(-strangers, -members)


def copies_of(split: Split) -> tuple[int, int]:
    """View of a split: exact copies of real cells, and repeats among generated cells.

    Cells with few genes may be equal by chance and do not count.
    """
    prints = []
    for cells in (split.data.train, split.data.test or split.data.train, split.data.generated):
        detected = np.asarray((cells.given != 0).sum(axis=1)).ravel()
        rich = np.flatnonzero(detected >= LEAST_GENES_OF_A_DUPLICATE)
        prints.append(fingerprints(cells.given[rich]))
    *real, made = prints
    return int(np.isin(made, np.concatenate(real)).sum()), len(made) - len(np.unique(made))


@metric(
    ScoreKind("exact_copies", "privacy", "Exact copies of real cells", "lower",
        "Generated cells equal to a training or test cell in every value; must be 0.", POSITIVE),
    stage="whole",
)  # fmt: skip
def copies(split: Split) -> dict[str, Measured]:
    """Count exact copies of training and test cells."""
    return {"exact_copies": Measured(float(split.once(copies_of)[0]), 0.0, 0.0)}


def span_auc(generated: Array, train: Array, test: Array) -> float:
    """How well the span of the generated cells separates training from test cells.

    The attack of an outsider who holds a cell and the generated cells: a generator that has
    learned directions of noise from few training cells spans more of these cells than of others.
    Compared is the share of a cell's squared distance to the mean of the generated cells that
    lies in their principal components. 0.5 when nothing is revealed.
    """
    if not np.ptp(generated, axis=0).any():  # cells that are all alike span nothing
        return 0.5
    n_components = min(SPANNED, min(generated.shape) - 1)
    pca = PCA(n_components, svd_solver="randomized", random_state=0).fit(generated)

    def share(cells: Array) -> Floats:
        centred = cells - pca.mean_
        inside = ((centred @ pca.components_.T) ** 2).sum(axis=1)
        return inside / np.maximum((centred**2).sum(axis=1), 1e-12)

    return mann_whitney_auc(share(test), share(train))


@metric(
    ScoreKind("share_nearer_train", "privacy", "Share nearer to training than test cells", "match",
        "Share of generated cells nearer to a training cell than to any of equally many test "
        "cells; 0.5 when nothing is memorised. The control: real cells that are neither.", SHARE),
    ScoreKind("membership_auc", "privacy", "Membership inference (AUC)", "match",
        "How well the distance to the nearest generated cell tells training from test cells; 0.5 "
        "when nothing is revealed.", SHARE),
    ScoreKind("span_auc", "privacy", "Span attack (AUC)", "match",
        "How well the share of a cell in the span of the generated cells' components tells "
        "training from test cells; 0.5 when nothing is revealed.", SHARE),
    needs_test=True,
)  # fmt: skip
def membership(compared: Comparison) -> dict[str, float]:
    """Privacy of training cells that the basis has not seen: those of the control's half."""
    sides = (compared.queries, compared.round.control, compared.test)
    components = [side.components for side in sides]
    return {
        "share_nearer_train": share_nearer(*components),
        "membership_auc": membership_auc(*components),
        "span_auc": span_auc(*(side.block for side in sides)),
    }


def from_training_cells(side: Side, fitted: Side) -> Floats:
    """View of a side: distance of each cell to the nearest cell that fitted the basis."""
    return nearest_distance(side.components, fitted.components)


@metric(
    ScoreKind("train_distance_ratio", "privacy", "Distance to nearest training cell", "match",
        "Median distance of generated cells to the nearest training cell over that of test cells; "
        "1 is as far as test cells. Below: too near, memorised or too smooth.", POSITIVE),
    ScoreKind("train_distance_ratio_low", "privacy", "Distance to nearest training cell, 5 %",
        "match",
        "Ratio of the 5th percentiles of these distances: copies would show here first.", POSITIVE),
    needs_test=True,
)  # fmt: skip
def train_distances(compared: Comparison) -> dict[str, float]:
    """Distances to the half of the training cells that fitted the basis, over those of test."""
    fitted = compared.round.fitted
    far = compared.test.once(from_training_cells, fitted)
    near = compared.side.once(from_training_cells, fitted)
    found = {}
    for name, quantile in (("train_distance_ratio", 0.5), ("train_distance_ratio_low", 0.05)):
        base = float(np.quantile(far, quantile))
        found[name] = float(np.quantile(near, quantile)) / base if base > 0 else float("nan")
    return found


@metric(
    ScoreKind("donor_membership_auc", "privacy", "Membership inference within donor", "match",
        "Area under the ROC curve of membership inference on the cells of one donor.", SHARE),
    needs_test=True,
)  # fmt: skip
def donor_membership(compared: Comparison) -> dict[str, float]:
    """Return `membership_auc` of the cells of each donor, where a donor column is there."""
    train, test = compared.round.control, compared.test
    donors, others = train.cells.donor, test.cells.donor
    found = {}
    for donor in () if donors is None else np.unique(donors):
        members = train.components[donors == donor]
        strangers = test.components
        if others is not None and (others == donor).sum() >= LEAST_OF_A_DONOR:
            strangers = strangers[others == donor]
        if len(members) >= LEAST_OF_A_DONOR:
            key = f"donor_membership_auc.{donor}"
            found[key] = membership_auc(compared.queries.components, members, strangers)
    return found
