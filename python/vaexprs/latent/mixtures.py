"""Gaussian mixtures of few cells in many dimensions, chosen by the likelihood of held-out cells.

A class has few cells for the number of latents, so covariances are pulled towards a given one, as
in regularised discriminant analysis (Friedman 1989): ``(n S + strength * given) / (n + strength)``,
the posterior mode under an inverse Wishart law. Two kinds of mixture are tried:

- *whole*: every component has a mean and a covariance of its own, in all dimensions. Right for
  large classes of kinds that differ in everything;
- *leading*: components differ in the few directions in which cells of the class vary most, and all
  else follows by regression on these, as in a single normal law. One more component costs a few
  numbers in place of hundreds, so that classes of a hundred cells can afford the skew and the long
  tails of their programs (a chemokine on in one cell of ten, say).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOLDS", "Mixture", "choose_mixture", "fit_normal"]

Array = NDArray[np.float64]
_Way = Callable[[Array, int], "Mixture"]

#: Numbers of components that are tried, and the cells that one more takes: of whole mixtures.
_WHOLE, _CELLS_OF_WHOLE = (1, 2, 3, 4, 6, 8, 10), 25
#: The same of leading mixtures, and how many directions may lead.
_LEADING, _CELLS_OF_LEADING, _DIRECTIONS = (2, 3, 4, 6, 8, 12), 15, (2, 4, 8)
#: They are judged on at most so many cells, in so many folds.
_MOST_JUDGED, FOLDS = 3000, 3
#: How many cells the covariance that components have in common counts for in each, in numbers of
#: dimensions: of whole and of leading mixtures.
_STRENGTH, _LEADING_STRENGTH = 10.0, 3.0
_MAX_ITERATIONS, _STARTS, _LLOYD_STEPS = 50, 3, 5


@dataclass(frozen=True)
class Mixture:
    """Components with weights ``(k,)``, means ``(k, d)``, Cholesky factors ``(k, d, d)``."""

    weights: Array
    means: Array
    tril: Array

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

    def score(self, y: Array) -> float:
        """Log-likelihood of cells."""
        return float(np.logaddexp.reduce(self.log_prob(y), axis=1).sum())


def fit_normal(cells: Array, given: Array, tie: float) -> Mixture:
    """Fit a normal law whose covariance is pulled to a given one, which counts for `tie` cells."""
    mean = cells.mean(0)
    tril = np.asarray(np.linalg.cholesky(_pulled(cells - mean, given, tie)), np.float64)
    return Mixture(np.ones(1), mean[None], tril[None])


def choose_mixture(
    cells: Array, given: Array, tie: float, importance: Array, rng: np.random.Generator
) -> Mixture:
    """Fit the mixture that held-out cells like best.

    Parameters
    ----------
    cells
        ``(n, d)``.
    given
        Covariance that those of the components are pulled to, ``(d, d)``.
    tie
        For how many cells it counts.
    importance
        What a unit of each coordinate means for a cell's expression, ``(d,)``: leading directions
        are those in which cells vary most by it.
    rng
        Of folds and starting points.
    """
    n, d = cells.shape
    most = int(np.clip(n // _CELLS_OF_WHOLE, 1, _WHOLE[-1]))
    if most == 1 and n < 2 * _CELLS_OF_LEADING:
        return fit_normal(cells, given, tie)
    judged = cells if n <= _MOST_JUDGED else rng.permutation(cells)[:_MOST_JUDGED]
    fold = rng.permutation(len(judged)) % FOLDS
    parts = [(judged[fold != k], judged[fold == k]) for k in range(FOLDS)]

    def whole(inside: Array, k: int, pull: float) -> Mixture:
        return _fit_whole(inside, k, given, pull, rng)

    def leading(inside: Array, k: int, r: int) -> Mixture:
        return _fit_leading(inside, k, r, given, tie, importance, rng)

    # the pooled covariance of one combination is its own, and spans the gaps between kinds of cells
    families: list[tuple[list[int], list[_Way]]] = [
        (
            [k for k in _WHOLE if k <= most],
            [partial(whole, pull=pull) for pull in sorted({float(d), tie})],
        )
    ]
    few = [k for k in _LEADING if k <= n // _CELLS_OF_LEADING]
    families += [(few, [partial(leading, r=r)]) for r in _DIRECTIONS if r < d]
    best: tuple[_Way, int] = partial(whole, pull=tie), 1
    best_score = -np.inf
    for numbers, ways in families:
        highest, worse = -np.inf, 0
        for k in numbers:
            scores = [sum(way(a, k).score(b) for a, b in parts) for way in ways]
            score = max(scores)
            if score > best_score:
                best, best_score = (ways[int(np.argmax(scores))], k), score
            worse, highest = worse + 1 if score < highest else 0, max(highest, score)
            if worse == 2:  # one more component may help where one did not
                break
    way, k = best
    return way(cells, k)


def _pulled(centred: Array, given: Array, strength: float) -> Array:
    return np.asarray((centred.T @ centred + strength * given) / (len(centred) + strength))


def _fit_whole(cells: Array, k: int, given: Array, tie: float, rng: np.random.Generator) -> Mixture:
    """Fit a mixture by expectation-maximisation.

    Each covariance is pulled to the one that the components have in common, which is pulled to
    the given one: where cells of one combination are of several kinds, the pooled covariance
    spans the gaps between the kinds, and would fill them.
    """
    if k == 1:
        return fit_normal(cells, given, tie)
    return _maximise(cells, k, given, tie, _STRENGTH * cells.shape[1], rng)


def _fit_leading(
    cells: Array,
    k: int,
    r: int,
    given: Array,
    tie: float,
    importance: Array,
    rng: np.random.Generator,
) -> Mixture:
    """Fit a mixture in the `r` directions in which cells vary most; the rest follows.

    With the covariance ``S`` of all cells and directions ``Q``, ``u = Q' y`` has a mixture of its
    own, and given u all components have the same normal law: mean ``G u`` with
    ``G = S Q (Q' S Q)^-1``, covariance ``S - G Q' S``.
    """
    d = cells.shape[1]
    mean = cells.mean(0)
    covariance = _pulled(cells - mean, given, tie)
    _, vectors = np.linalg.eigh(importance[:, None] * covariance * importance)
    directions = vectors[:, ::-1][:, :r] * importance[:, None]  # (d, r)
    along = directions.T @ covariance @ directions
    follow = covariance @ directions @ np.linalg.inv(along)  # (d, r)
    rest = covariance - follow @ along @ follow.T
    strength = _LEADING_STRENGTH * r
    found = _maximise((cells - mean) @ directions, k, along, strength, strength, rng)
    of_component = follow @ found.tril
    covariances = of_component @ of_component.transpose(0, 2, 1) + rest
    floor = 1e-7 * np.trace(covariance) / d * np.eye(d)
    return Mixture(
        found.weights, mean + found.means @ follow.T, np.linalg.cholesky(covariances + floor)
    )


def _maximise(
    cells: Array, k: int, given: Array, tie: float, strength: float, rng: np.random.Generator
) -> Mixture:
    """Maximise the penalised likelihood of a mixture, from clusters of cells."""
    n, n_dim = cells.shape
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
        common = (scatter.sum(0) + tie * given) / (n + tie)
        covariances = (scatter + strength * common) / (size + strength)[:, None, None]
        mixture = Mixture(size / size.sum(), means, np.linalg.cholesky(covariances))
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
