"""The latent prior and the law of library sizes, fitted to encoded cells after training.

Each combination of categories gets a Gaussian mixture over z and, for counts, the log library
size. Most classes have few cells for the number of latents, so every covariance is pulled towards
the pooled covariance within classes, as in regularised discriminant analysis (Friedman 1989):
``(n_k S_k + strength * pooled) / (n_k + strength)``, which is the posterior mode under an inverse
Wishart law. The number of components is chosen by the likelihood of held-out cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaexprs.spec import LibraryLaw, Prior

__all__ = ["fit_library", "fit_prior", "sample_prior"]

Array = NDArray[np.float64]

#: A mixture gets one more component for each so many cells, up to the maximum.
_CELLS_PER_COMPONENT = 40
_MAX_COMPONENTS = 6
_MAX_ITERATIONS = 100


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
            solved = np.linalg.solve(tril, (y - mean).T)
            out[:, k] = (
                np.log(max(weight, 1e-300))
                - 0.5 * (solved**2).sum(0)
                - np.log(np.diag(tril)).sum()
                - 0.5 * y.shape[1] * np.log(2 * np.pi)
            )
        return out


def fit_prior(
    z: Array, log_library: Array | None, group: NDArray[np.int64], n_groups: int, seed: int
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

    weights, means, trils, factor, offsets = [], [], [np.linalg.cholesky(pooled)], [], [0]
    for g in range(n_groups):
        cells = y[group == g]
        if len(cells) <= 10:
            mixture = _Mixture(np.ones(1), cells.mean(0)[None], np.zeros((1, 0, 0)))
            factor.append(0)
        else:
            mixture = _choose(cells, pooled, rng)
            factor.extend(range(len(trils), len(trils) + len(mixture.weights)))
            trils.extend(mixture.tril)
        weights.append(mixture.weights)
        means.append(mixture.means)
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
        centred[group == g] -= centred[group == g].mean(0)
    freedom = max(len(y) - n_groups, 1)
    covariance = centred.T @ centred / freedom
    diagonal = np.maximum(np.diag(covariance), 1e-4)
    share = y.shape[1] / (y.shape[1] + freedom)
    return (1 - share) * covariance + share * np.diag(diagonal) + 1e-6 * np.eye(y.shape[1])


def _choose(cells: Array, pooled: Array, rng: np.random.Generator) -> _Mixture:
    """Choose the number of components by the likelihood of held-out cells."""
    limit = int(np.clip(len(cells) // _CELLS_PER_COMPONENT, 1, _MAX_COMPONENTS))
    if limit == 1:
        return _fit_mixture(cells, 1, pooled, rng)
    fold = rng.permutation(len(cells)) % 3
    scores = np.zeros(limit)
    for k in range(1, limit + 1):
        for held_out in range(3):
            mixture = _fit_mixture(cells[fold != held_out], k, pooled, rng)
            scores[k - 1] += np.logaddexp.reduce(
                mixture.log_prob(cells[fold == held_out]), axis=1
            ).sum()
        if k > 1 and scores[k - 1] < scores[k - 2]:
            break
        best = k
    return _fit_mixture(cells, best, pooled, rng)


def _fit_mixture(cells: Array, k: int, pooled: Array, rng: np.random.Generator) -> _Mixture:
    """Fit a mixture by expectation-maximisation with covariances pulled to the pooled one."""
    n, n_dim = cells.shape
    strength = float(n_dim)
    responsibility = np.zeros((n, k))
    # start: k-means++ centres (Arthur and Vassilvitskii 2007) in the pooled metric
    white = np.linalg.solve(np.linalg.cholesky(pooled), cells.T).T
    centres = [int(rng.integers(n))]
    for _ in range(k - 1):
        distance = np.min([((white - white[c]) ** 2).sum(1) for c in centres], axis=0)
        centres.append(int(rng.choice(n, p=distance / distance.sum())))
    nearest = np.argmin([((white - white[c]) ** 2).sum(1) for c in centres], axis=0)
    responsibility[np.arange(n), nearest] = 1.0
    last = -np.inf
    for _ in range(_MAX_ITERATIONS):
        size = responsibility.sum(0) + 1e-9
        means = responsibility.T @ cells / size[:, None]
        tril = np.empty((k, n_dim, n_dim))
        for component in range(k):
            centred = cells - means[component]
            scatter = (responsibility[:, component, None] * centred).T @ centred
            covariance = (scatter + strength * pooled) / (size[component] + strength)
            tril[component] = np.linalg.cholesky(covariance)
        mixture = _Mixture(size / size.sum(), means, tril)
        if k == 1:
            return mixture
        log_prob = mixture.log_prob(cells)
        total = np.logaddexp.reduce(log_prob, axis=1)
        responsibility = np.exp(log_prob - total[:, None])
        if abs(total.sum() - last) < 1e-4 * n:
            break
        last = total.sum()
    return mixture


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
