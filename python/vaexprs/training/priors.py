"""The latent prior and the law of library sizes, fitted to encoded cells after training.

Each combination of categories gets a Gaussian mixture over z and, for counts, the log library
size. Most classes have few cells for the number of latents, so every covariance is pulled towards
the pooled covariance within classes, as in regularised discriminant analysis (Friedman 1989):
``(n_k S_k + strength * pooled) / (n_k + strength)``, which is the posterior mode under an inverse
Wishart law. The number of components is chosen by the likelihood of held-out cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.spec import LibraryLaw, Prior

__all__ = ["fit_library", "fit_prior", "sample_prior"]

Array = NDArray[np.float64]

#: A mixture gets one more component for each so many cells, up to the maximum.
_CELLS_PER_COMPONENT = 25
_MAX_COMPONENTS = 10
#: Numbers of components that are tried, on at most so many cells, in so many folds.
_TRIED, _MOST_JUDGED, _FOLDS = (1, 2, 3, 4, 6, 8, 10), 3000, 3
#: How many cells the covariance that components have in common counts for in each, and those that
#: the pooled one of all combinations may count for in a combination, in numbers of dimensions.
_STRENGTH, _TIES = 10, (1.0, 3.0, 10.0, 30.0)
#: Combinations with fewer cells borrow the mixture of a category, which counts for so many cells.
_CELLS_OF_OWN, _LENT_CELLS = 50, 20.0
_MAX_ITERATIONS, _STARTS, _LLOYD_STEPS = 50, 3, 5


@dataclass
class _Mixture:
    weights: Array  # (k,)
    means: Array  # (k, d)
    tril: Array  # (k, d, d)

    def log_prob(self, y: Array) -> Array:
        """Log-density of each component at each point, weights included, ``(n, k)``."""
        out = np.empty((len(y), len(self.weights)))
        for k, (weight, mean, tril) in enumerate(
            zip(self.weights, self.means, self.tril, strict=True)
        ):
            solved = (y - mean) @ np.linalg.inv(tril).T
            out[:, k] = (
                np.log(max(weight, 1e-300))
                - 0.5 * (solved**2).sum(1)
                - np.log(np.diag(tril)).sum()
                - 0.5 * y.shape[1] * np.log(2 * np.pi)
            )
        return out


def fit_prior(
    z: Array,
    log_library: Array | None,
    group: NDArray[np.int64],
    n_groups: int,
    seed: int,
    design: NDArray[np.float32] | None = None,
    sizes: NDArray[Any] | None = None,
) -> Prior:
    """Fit one Gaussian mixture for each combination of categories.

    Parameters
    ----------
    z
        Draws from the posteriors of the training cells, ``(n_cells, n_latent)``.
    log_library
        Log library size of each cell, ``(n_cells,)``, or None.
    group
        Combination of each cell, ``(n_cells,)``.
    n_groups
        Number of combinations; each has at least one cell.
    seed
        Of the starting points.
    design
        Categories of each combination, one-hot, ``(n_groups, n_categories)``: combinations with
        few cells lean on their categories.
    sizes
        How many of these columns belong to each key.

    Returns
    -------
    Prior
        Mixtures of kind ``"gaussian_mixture"``. Combinations with few cells share one factor.
    """
    y = np.asarray(z, np.float64)
    if log_library is not None:
        y = np.column_stack([y, log_library])
    n_dim = y.shape[1]
    pooled = _pooled_covariance(y, group, n_groups)
    rng = np.random.default_rng(seed)
    tie = _choose_tie(y, group, n_groups, rng) * n_dim

    variance = np.diag(pooled)
    centres, parent = _shrunk_means(y, group, n_groups, variance, design, sizes)
    left = y - centres[group]
    shared = np.asarray(np.linalg.cholesky(pooled), np.float64)
    lent: dict[int, tuple[_Mixture, int]] = {}  # mixture of a parent, place of its first factor
    weights, means, offsets = [], [], [0]
    trils: list[Array] = [shared]
    factor: list[int] = []
    for g in range(n_groups):
        cells = left[group == g]
        kin = int(parent[g])
        if len(cells) < _CELLS_OF_OWN and kin not in lent:
            relatives = left[parent[group] == kin]
            mixture = _choose(relatives, pooled, tie, rng) if len(relatives) > 10 else None
            if mixture is None:
                mixture = _Mixture(np.ones(1), np.zeros((1, n_dim)), shared[None])
                lent[kin] = mixture, 0
            else:
                lent[kin] = mixture, len(trils)
                trils.extend(mixture.tril)
        if len(cells) < _CELLS_OF_OWN:
            mixture, first = lent[kin]
            mixture = _reweighted(mixture, cells)
        else:
            mixture, first = _choose(cells, pooled, tie, rng), len(trils)
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
    """Pull the mean of each combination towards the sum of effects of its categories.

    The mean of few cells is off by its own noise, and cells drawn round it would vary by that
    noise on top of their own. How far combinations truly differ from sums of effects follows from
    all of them, coordinate by coordinate (empirical Bayes).

    Returns the means, and the parent of each combination: its category of the key that tells most.
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
    # what effects vary by beyond the noise of their cells says how far to trust them
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
    # beyond what means tell by their noise, for keys whose categories have cells to lend
    told = [
        (n @ (design[:, b] @ effects[b]) ** 2 / variance - size).sum()
        if weighted[:, b].sum(axis=0).max() >= _CELLS_OF_OWN
        else -np.inf
        for b, size in zip(blocks, sizes, strict=True)
    ]
    parent = design[:, blocks[int(np.argmax(told))]].argmax(axis=1)
    return np.asarray(expected + share * left), parent.astype(np.int64)


def _reweighted(mixture: _Mixture, cells: Array) -> _Mixture:
    """Lend a mixture to a few cells: their own shares of the components, as far as they tell."""
    if len(mixture.weights) == 1 or not len(cells):
        return mixture
    log_prob = mixture.log_prob(cells)
    own = np.exp(log_prob - np.logaddexp.reduce(log_prob, axis=1)[:, None]).sum(0)
    weights = (own + _LENT_CELLS * mixture.weights) / (len(cells) + _LENT_CELLS)
    return _Mixture(weights, mixture.means, mixture.tril)


def fit_library(library: Array, group: NDArray[np.int64], n_groups: int) -> LibraryLaw:
    """Fit bounds, location and scale of the library size of each combination."""
    log_library = np.log(library)
    pooled = np.sqrt(
        np.mean((log_library - _group_means(log_library, group, n_groups)[group]) ** 2)
    )
    location = _group_means(log_library, group, n_groups)
    n_cells = np.bincount(group, minlength=n_groups)
    variance = np.bincount(group, (log_library - location[group]) ** 2, minlength=n_groups)
    scale = np.sqrt((variance + 5 * pooled**2) / (n_cells + 5))
    # as far as the data reach, and for small groups as far as their law says
    low = np.full(n_groups, np.inf)
    high = np.full(n_groups, -np.inf)
    np.minimum.at(low, group, log_library)
    np.maximum.at(high, group, log_library)
    low = np.maximum(np.minimum(low, location - 2.5 * scale), log_library.min())
    high = np.minimum(np.maximum(high, location + 2.5 * scale), log_library.max())
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
    """Pool the covariance within groups, pulled a little to its diagonal."""
    centred = y.copy()
    for g in range(n_groups):
        if (group == g).any():
            centred[group == g] -= centred[group == g].mean(0)
    freedom = max(len(y) - n_groups, 1)
    covariance = centred.T @ centred / freedom
    diagonal = np.maximum(np.diag(covariance), 1e-4)
    share = y.shape[1] / (y.shape[1] + freedom)
    pulled = (1 - share) * covariance + share * np.diag(diagonal)
    return np.asarray(pulled + 1e-6 * np.eye(y.shape[1]))


def _choose_tie(
    y: Array, group: NDArray[np.int64], n_groups: int, rng: np.random.Generator
) -> float:
    """Choose how far covariances are pulled to the pooled one, by held-out cells of all groups."""
    fold = rng.permutation(len(y)) % _FOLDS
    scores = np.zeros(len(_TIES))
    for held_out in range(_FOLDS):
        inside = fold != held_out
        pooled = _pooled_covariance(y[inside], group[inside], n_groups)
        for g in range(n_groups):
            seen, unseen = y[inside & (group == g)], y[~inside & (group == g)]
            if len(seen) <= 10 or not len(unseen):
                continue
            for i, tie in enumerate(_TIES):
                mixture = _fit_mixture(seen, 1, pooled, tie * y.shape[1], rng)
                scores[i] += mixture.log_prob(unseen).sum()
    return _TIES[int(scores.argmax())]


def _choose(cells: Array, pooled: Array, tie: float, rng: np.random.Generator) -> _Mixture:
    """Choose the number of components by the likelihood of held-out cells."""
    most = int(np.clip(len(cells) // _CELLS_PER_COMPONENT, 1, _MAX_COMPONENTS))
    if most == 1:
        return _fit_mixture(cells, 1, pooled, tie, rng)
    judged = cells if len(cells) <= _MOST_JUDGED else rng.permutation(cells)[:_MOST_JUDGED]
    fold = rng.permutation(len(judged)) % _FOLDS
    # the pooled covariance of one combination is its own, and spans the gaps between kinds of cells
    ties = sorted({float(cells.shape[1]), tie})
    best, best_score, worse = (1, tie), -np.inf, 0
    for k in (k for k in _TRIED if k <= most):
        scores = np.zeros(len(ties))
        for held_out in range(_FOLDS):
            for i, pull in enumerate(ties):
                mixture = _fit_mixture(judged[fold != held_out], k, pooled, pull, rng)
                log_prob = mixture.log_prob(judged[fold == held_out])
                scores[i] += np.logaddexp.reduce(log_prob, axis=1).sum()
        score = float(scores.max())
        worse = worse + 1 if score < best_score else 0
        if score > best_score:
            best, best_score = (k, ties[int(scores.argmax())]), score
        if worse == 2:  # one more component may help where one did not
            break
    return _fit_mixture(cells, best[0], pooled, best[1], rng)


def _fit_mixture(
    cells: Array, k: int, pooled: Array, tie: float, rng: np.random.Generator
) -> _Mixture:
    """Fit a mixture by expectation-maximisation.

    Each covariance is pulled to the one that the components have in common, which is pulled to
    the pooled one: where cells of one combination are of several kinds, the pooled covariance
    spans the gaps between the kinds, and would fill them.
    """
    n, n_dim = cells.shape
    strength = float(_STRENGTH * n_dim)
    responsibility = np.zeros((n, k))
    responsibility[np.arange(n), _nearest(cells, k, rng)] = 1.0
    last = -np.inf
    for _ in range(_MAX_ITERATIONS):
        size = responsibility.sum(0) + 1e-9
        means = responsibility.T @ cells / size[:, None]
        scatter = np.empty((k, n_dim, n_dim))
        for component in range(k):
            centred = cells - means[component]
            scatter[component] = (responsibility[:, component, None] * centred).T @ centred
        common = (scatter.sum(0) + tie * pooled) / (n + tie)
        covariances = (scatter + strength * common) / (size + strength)[:, None, None]
        mixture = _Mixture(size / size.sum(), means, np.linalg.cholesky(covariances))
        if k == 1:
            break
        log_prob = mixture.log_prob(cells)
        total = np.logaddexp.reduce(log_prob, axis=1)
        responsibility = np.exp(log_prob - total[:, None])
        if abs(total.sum() - last) < 1e-3 * n:
            break
        last = total.sum()
    return mixture


def _nearest(cells: Array, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Start: the nearest of k-means++ centres (Arthur and Vassilvitskii 2007), best of a few."""
    scale = np.maximum(cells.std(0), 1e-6)
    scaled = cells / scale
    best, least = np.zeros(len(cells), np.int64), np.inf
    for _ in range(_STARTS if k > 1 else 1):
        centres = scaled[rng.integers(len(cells))][None]
        for _ in range(k - 1):
            distance = _squares(scaled, centres).min(1)
            total = distance.sum()
            picked = rng.choice(len(cells), p=distance / total) if total > 0 else 0
            centres = np.concatenate([centres, scaled[picked][None]])
        for _ in range(_LLOYD_STEPS):
            nearest = _squares(scaled, centres).argmin(1)
            for c in np.unique(nearest):
                centres[c] = scaled[nearest == c].mean(0)
        distance = _squares(scaled, centres)
        if distance.min(1).sum() < least:
            least, best = float(distance.min(1).sum()), distance.argmin(1)
    return best


def _squares(x: Array, centres: Array) -> Array:
    """Compute squared distances, ``(n, k)``."""
    squares = (x**2).sum(1)[:, None] - 2 * x @ centres.T + (centres**2).sum(1)
    return np.asarray(np.maximum(squares, 0))


def sample_prior(
    prior: Prior, law: LibraryLaw | None, group: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Draw z and library of cells of given combinations, to calibrate a fit on its own draws."""
    n_dim = prior.means.shape[1]
    noise = rng.standard_normal((len(group), n_dim))
    y = np.empty((len(group), n_dim))
    for g in np.unique(group):
        own = slice(prior.offsets[g], prior.offsets[g + 1])
        cells = np.flatnonzero(group == g)
        picked = rng.choice(np.arange(own.start, own.stop), size=len(cells), p=prior.weights[own])
        for component in np.unique(picked):
            rows = cells[picked == component]
            tril = prior.tril[prior.factor[component]]
            y[rows] = prior.means[component] + noise[rows] @ tril.T
    if law is None:
        return y.astype(np.float32), None
    library = np.clip(np.exp(y[:, -1]), law.minimum[group], law.maximum[group])
    return y[:, :-1].astype(np.float32), library.astype(np.float32)
