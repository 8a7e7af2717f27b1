"""Whether generated cells give training cells away."""

from __future__ import annotations

import hashlib

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

from vaexprs.evaluation.metrics.arrays import Array, Floats, Matrix
from vaexprs.evaluation.metrics.discriminators import mann_whitney_auc

__all__ = [
    "count_copies",
    "fingerprints",
    "leave_one_out",
    "membership_auc",
    "nearest",
    "nearest_distance",
    "share_nearer",
]


def nearest(queries: Array, cells: Array) -> tuple[Floats, Array]:
    """Return the Euclidean distance from each query to its nearest cell, and that cell's row."""
    distances, rows = NearestNeighbors(n_neighbors=1).fit(cells).kneighbors(queries)
    return np.asarray(distances[:, 0], dtype=np.float64), np.asarray(rows[:, 0])


def nearest_distance(queries: Array, cells: Array) -> Floats:
    """Return the distance from each query to its nearest cell, ``(n_queries,)``."""
    return nearest(queries, cells)[0]


def leave_one_out(cells: Array) -> tuple[Floats, Array]:
    """Return the distance from each cell to its nearest other cell, and that cell's row."""
    distances, rows = NearestNeighbors(n_neighbors=1).fit(cells).kneighbors()
    return np.asarray(distances[:, 0], dtype=np.float64), np.asarray(rows[:, 0])


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
    0.5 when nothing is given away, 1 when every training cell is.
    """
    members, strangers = nearest_distance(train, generated), nearest_distance(test, generated)
    return mann_whitney_auc(-strangers, -members)


def fingerprints(X: Matrix) -> Array:
    """Return a digest of each cell's values, ``(n_cells,)``, equal for equal cells only.

    Values are taken as float32, which is what generated cells are stored as.
    """
    rows = sp.csr_matrix(X, dtype=np.float32, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    rows.sort_indices()
    digests = []
    for start, stop in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        digest = hashlib.blake2b(rows.indices[start:stop].astype("<i8").tobytes(), digest_size=16)
        digest.update(rows.data[start:stop].astype("<f4").tobytes())
        digests.append(digest.digest())
    return np.array(digests, dtype="S16")


def count_copies(queries: Array, cells: Array) -> int:
    """Return how many queries equal some cell exactly, both given by `fingerprints`."""
    return int(np.isin(queries, cells).sum())
