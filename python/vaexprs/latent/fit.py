"""Fit the latent prior and the law of library sizes to encoded cells.

Each combination of categories gets a Gaussian mixture over z and, for counts, the log library
size; see `vaexprs.latent.mixtures`. Combinations with few cells are shrunk: their means towards
the effects of their categories, their shape towards the mixture of a category and the covariance
pooled within combinations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.expression import evenly
from vaexprs.latent.mixtures import FOLDS, MOST_CELLS, Mixture, choose_mixture, fit_normal
from vaexprs.spec import LibraryLaw, Prior

Array = NDArray[np.floating[Any]]

#: Cells that the pooled covariance counts for in a combination, in numbers of dimensions: to be
#: chosen by held-out cells.
_TIES = (1.0, 3.0, 10.0, 30.0)
#: Combinations with fewer than 50 cells borrow the mixture of a category, whose weights count for
#: 20 cells. A category, or a fold, needs more than 10 cells for a mixture of its own.
_CELLS_OF_OWN, _LENT_CELLS, _FEW_CELLS = 50, 20.0, 10
#: Least variance of a latent, where posteriors have a variance of 1 before training.
_LEAST_VARIANCE = 1e-4
#: Cells that the pooled standard deviation of the log library size counts for, and the standard
#: deviations to which draws of small combinations reach.
_POOLED_CELLS, _REACH = 5, 2.5


def fit_prior(
    z: Array,
    log_library: Array | None,
    group: NDArray[np.int64],
    n_groups: int,
    seed: int,
    design: NDArray[np.float32] | None = None,
    sizes: NDArray[Any] | None = None,
    importance: Array | None = None,
) -> Prior:
    """Return one Gaussian mixture for each combination of categories.

    Parameters
    ----------
    z, log_library
        Draws from the posteriors of the training cells, ``(n_cells, n_latent)``, and their log
        library sizes, or None.
    group, n_groups
        Combination of each cell, and number of combinations; each has at least one cell.
    design, sizes
        Categories of each combination, one-hot, ``(n_groups, n_categories)``, and number of these
        columns of each key.
    importance
        Change of a cell's expression for a unit of each latent, ``(n_latent,)``; all alike if None.
    """
    if len(group) > MOST_CELLS:
        some = evenly(group, MOST_CELLS)
        z, group = z[some], group[some]
        log_library = None if log_library is None else log_library[some]
    y = np.asarray(z, np.float64)
    importance = np.ones(y.shape[1]) if importance is None else importance.astype(np.float64)
    if log_library is not None:
        y = np.column_stack([y, log_library])
        importance = np.append(importance, importance.mean())
    n_dim = y.shape[1]
    pooled = _pooled_covariance(y, group, n_groups)
    rng = np.random.default_rng(seed)
    tie = _choose_tie(y, group, n_groups, rng) * n_dim

    variance = np.diag(pooled)
    centres, parent = _shrunk_means(y, group, n_groups, variance, design, sizes)
    left = y - centres[group]
    shared = np.linalg.cholesky(pooled)
    lent: dict[int, tuple[Mixture, int]] = {}  # mixture of a parent, place of its first factor
    weights, means, offsets = [], [], [0]
    trils: list[Array] = [shared]
    factor: list[int] = []
    for g in range(n_groups):
        cells = left[group == g]
        kin = int(parent[g])
        if len(cells) < _CELLS_OF_OWN and kin not in lent:
            relatives = left[parent[group] == kin]
            if len(relatives) > _FEW_CELLS:
                mixture = choose_mixture(relatives, pooled, tie, importance, rng)
                lent[kin] = mixture, len(trils)
                trils.extend(mixture.tril)
            else:
                lent[kin] = Mixture(np.ones(1), np.zeros((1, n_dim)), shared[None]), 0
        if len(cells) < _CELLS_OF_OWN:
            mixture, first = lent[kin]
            mixture = _reweighted(mixture, cells)
        else:
            mixture, first = choose_mixture(cells, pooled, tie, importance, rng), len(trils)
            trils.extend(mixture.tril)
        factor.extend(range(first, first + len(mixture.weights)))
        weights.append(mixture.weights)
        means.append(mixture.means - mixture.weights @ mixture.means + centres[g])
        offsets.append(offsets[-1] + len(mixture.weights))
    return Prior(
        "gaussian_mixture",
        log_library is not None,
        np.array(offsets, np.int64),
        np.concatenate(weights),
        np.concatenate(means).astype(np.float32),
        np.stack(trils).astype(np.float32).reshape(-1, n_dim, n_dim),
        np.array(factor, np.int32),
    )


def _shrunk_means(
    y: Array,
    group: NDArray[np.int64],
    n_groups: int,
    variance: Array,
    design: NDArray[np.float32] | None,
    sizes: NDArray[Any] | None,
) -> tuple[Array, NDArray[np.int64]]:
    """Shrink the mean of each combination towards the sum of effects of its categories.

    The mean of few cells has an error, and cells drawn about it would vary by that error besides
    their own variance. True deviations from the sums of effects have one variance for each
    coordinate, estimated from all combinations (empirical Bayes).

    Returns the means, and the parent of each combination: its category of the key whose effects
    are largest.
    """
    n = np.bincount(group, minlength=n_groups).astype(np.float64)
    means = np.stack([_group_means(column, group, n_groups) for column in y.T], axis=1)
    if design is None or sizes is None or len(sizes) < 2:
        return means, np.arange(n_groups)
    stops = np.cumsum(sizes)
    blocks = [slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
    overall = n @ means / n.sum()
    weighted = design * n[:, None]
    in_category = weighted.sum(axis=0)[:, None]
    cross, target = design.T @ weighted, weighted.T @ (means - overall)
    effects = np.linalg.solve(cross + np.eye(len(cross)), target)
    # ridge of each effect: noise over the variance of true effects
    excess = effects**2 - variance / in_category
    varies = [np.maximum((in_category[b] * excess[b]).sum(0), 0) / n.sum() for b in blocks]
    precision = np.repeat([variance / (v + 1e-6 * variance) for v in varies], sizes, axis=0)
    for j in range(y.shape[1]):
        effects[:, j] = np.linalg.solve(cross + np.diag(precision[:, j]), target[:, j])
    expected = overall + design @ effects
    left = means - expected
    freedom = max(n_groups - np.linalg.matrix_rank(design), 0)
    spread = np.maximum((n @ left**2 - freedom * variance) / n.sum(), 0)
    share = spread / (spread + variance / n[:, None])
    # effects beyond their noise, of keys whose categories have cells to lend
    strength = [
        (n @ (design[:, b] @ effects[b]) ** 2 / variance - size).sum()
        if weighted[:, b].sum(axis=0).max() >= _CELLS_OF_OWN
        else -np.inf
        for b, size in zip(blocks, sizes, strict=True)
    ]
    parent = design[:, blocks[int(np.argmax(strength))]].argmax(axis=1)
    return expected + share * left, parent.astype(np.int64)


def _reweighted(mixture: Mixture, cells: Array) -> Mixture:
    """Return a lent mixture with weights moved towards the few cells' own shares."""
    if len(mixture.weights) == 1 or not len(cells):
        return mixture
    log_prob = mixture.log_prob(cells)
    own = np.exp(log_prob - np.logaddexp.reduce(log_prob, axis=1)[:, None]).sum(0)
    weights = (own + _LENT_CELLS * mixture.weights) / (len(cells) + _LENT_CELLS)
    return Mixture(weights, mixture.means, mixture.tril)


def fit_library(library: Array, group: NDArray[np.int64], n_groups: int) -> LibraryLaw:
    """Return bounds, location and scale of the library size of each combination."""
    log_library = np.log(library)
    pooled = np.sqrt(
        np.mean((log_library - _group_means(log_library, group, n_groups)[group]) ** 2)
    )
    location = _group_means(log_library, group, n_groups)
    n_cells = np.bincount(group, minlength=n_groups)
    variance = np.bincount(group, (log_library - location[group]) ** 2, minlength=n_groups)
    scale = np.sqrt((variance + _POOLED_CELLS * pooled**2) / (n_cells + _POOLED_CELLS))
    # the range of the cells, and for small groups of their law
    low = np.full(n_groups, np.inf)
    high = np.full(n_groups, -np.inf)
    np.minimum.at(low, group, log_library)
    np.maximum.at(high, group, log_library)
    low = np.maximum(np.minimum(low, location - _REACH * scale), log_library.min())
    high = np.minimum(np.maximum(high, location + _REACH * scale), log_library.max())
    single = np.float32
    return LibraryLaw(
        "joint",
        np.exp(low).astype(single),
        np.exp(high).astype(single),
        location.astype(single),
        scale.astype(single),
    )


def _group_means(values: Array, group: NDArray[np.int64], n_groups: int) -> Array:
    return np.bincount(group, values, minlength=n_groups) / np.bincount(group, minlength=n_groups)


def _pooled_covariance(y: Array, group: NDArray[np.int64], n_groups: int) -> Array:
    """Return the covariance within groups, shrunk a little to its diagonal."""
    centred = y.copy()
    for g in range(n_groups):
        if (group == g).any():
            centred[group == g] -= centred[group == g].mean(0)
    freedom = max(len(y) - n_groups, 1)
    covariance = centred.T @ centred / freedom
    diagonal = np.maximum(np.diag(covariance), _LEAST_VARIANCE)
    share = y.shape[1] / (y.shape[1] + freedom)
    pulled = (1 - share) * covariance + share * np.diag(diagonal)
    return pulled + 1e-6 * np.eye(y.shape[1])


def _choose_tie(
    y: Array, group: NDArray[np.int64], n_groups: int, rng: np.random.Generator
) -> float:
    """Return how far to shrink covariances to the pooled one, by held-out cells of all groups."""
    fold = rng.permutation(len(y)) % FOLDS
    scores = np.zeros(len(_TIES))
    for held_out in range(FOLDS):
        inside = fold != held_out
        pooled = _pooled_covariance(y[inside], group[inside], n_groups)
        for g in range(n_groups):
            seen, unseen = y[inside & (group == g)], y[~inside & (group == g)]
            if len(seen) <= _FEW_CELLS or not len(unseen):
                continue
            for i, tie in enumerate(_TIES):
                scores[i] += fit_normal(seen, pooled, tie * y.shape[1]).score(unseen)
    return _TIES[int(scores.argmax())]
