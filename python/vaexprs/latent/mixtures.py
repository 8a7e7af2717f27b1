"""Gaussian mixtures of few cells in many dimensions, chosen by the likelihood of held-out cells.

Covariances are shrunk towards a given one, as in regularised discriminant analysis (Friedman 1989):
``(n S + strength * given) / (n + strength)``, the posterior mode under an inverse Wishart law. Two
families are tried:

- *whole*: each component has its own mean and covariance in all dimensions. It suits large classes
  of kinds that differ in everything.
- *leading*: components differ in the few directions in which cells of the class vary most, and
  the rest follows by regression on these, as in a single normal law. One more component costs a
  few numbers instead of hundreds, so that classes of a hundred cells can have skewed and
  long-tailed programs, such as a chemokine that is on in one cell of ten.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

Array = NDArray[np.floating[Any]]
_Fitter = Callable[[Array, int], "Mixture"]

#: Numbers of components of whole mixtures, and cells for each: their means alone take 30 numbers.
_WHOLE, _CELLS_OF_WHOLE = (1, 2, 3, 4, 6, 8, 10), 25
#: The same of leading mixtures, and numbers of leading directions.
_LEADING, _CELLS_OF_LEADING, _DIRECTIONS = (2, 3, 4, 6, 8, 12), 15, (2, 4, 8)
#: Most cells that mixtures are fitted to, so that memory is bounded: means and covariances of 100
#: dimensions are known to a few per cent of their size by then.
MOST_CELLS = 200_000
#: Cells that mixtures are judged on at most, which bounds the time, and folds.
_MOST_JUDGED, FOLDS = 3000, 3
#: Cells that the components' common covariance counts for in each, in numbers of dimensions: of
#: whole and of leading mixtures.
_STRENGTH, _LEADING_STRENGTH = 10.0, 3.0
#: Variance that keeps a covariance of scores of variance 1 regular.
_RIDGE = 1e-6
#: Steps of expectation-maximisation, and their gain in nats per cell at which they stop.
_MAX_ITERATIONS, _LEAST_GAIN = 50, 1e-3
#: Starts of k-means, and steps of each: a start needs no more, expectation-maximisation goes on.
_STARTS, _LLOYD_STEPS = 3, 5


@dataclass(frozen=True)
class Mixture:
    """Components with weights ``(k,)``, means ``(k, d)``, Cholesky factors ``(k, d, d)``."""

    weights: Array
    means: Array
    tril: Array

    def log_prob(self, y: Array) -> Array:
        """Return the log-density of each component, weights included, ``(n, k)``."""
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
        """Return the log-likelihood of cells."""
        return float(np.logaddexp.reduce(self.log_prob(y), axis=1).sum())


def fit_normal(cells: Array, given: Array, tie: float) -> Mixture:
    """Return a normal law with covariance shrunk to a given one, which counts for `tie` cells."""
    mean = cells.mean(0)
    tril = np.linalg.cholesky(_shrunk(cells - mean, given, tie))
    return Mixture(np.ones(1), mean[None], tril[None])


def choose_mixture(
    cells: Array, given: Array, tie: float, importance: Array, rng: np.random.Generator
) -> Mixture:
    """Return the mixture of cells ``(n, d)`` with the highest likelihood of held-out cells."""
    n, d = cells.shape
    most = int(np.clip(n // _CELLS_OF_WHOLE, 1, _WHOLE[-1]))
    if most == 1 and n < 2 * _CELLS_OF_LEADING:
        return fit_normal(cells, given, tie)
    judged = cells if n <= _MOST_JUDGED else rng.permutation(cells)[:_MOST_JUDGED]
    fold = rng.permutation(len(judged)) % FOLDS
    parts = [(judged[fold != k], judged[fold == k]) for k in range(FOLDS)]

    def whole(inside: Array, k: int, strength: float) -> Mixture:
        return fit_whole(inside, k, given, strength, rng)

    def leading(inside: Array, k: int, r: int) -> Mixture:
        return _fit_leading(inside, k, r, given, tie, importance, rng)

    # The pooled covariance of a single combination spans the gaps between kinds of cells: a weak
    # pull to it is tried besides.
    families: list[tuple[list[int], list[_Fitter]]] = [
        (
            [k for k in _WHOLE if k <= most],
            [partial(whole, strength=strength) for strength in sorted({float(d), tie})],
        )
    ]
    few = [k for k in _LEADING if k <= n // _CELLS_OF_LEADING]
    families += [(few, [partial(leading, r=r)]) for r in _DIRECTIONS if r < d]
    best: tuple[_Fitter, int] = partial(whole, strength=tie), 1
    best_score = -np.inf
    for numbers, fitters in families:
        highest, worse = -np.inf, 0
        for k in numbers:
            scores = [sum(fit(a, k).score(b) for a, b in parts) for fit in fitters]
            score = max(scores)
            if score > best_score:
                best, best_score = (fitters[int(np.argmax(scores))], k), score
            worse, highest = worse + 1 if score < highest else 0, max(highest, score)
            if worse == 2:  # one more component may help where one did not
                break
    fit, k = best
    return fit(cells, k)


def choose_whole_mixture(cells: Array, rng: np.random.Generator) -> Mixture:
    """Return the mixture of whole components with the highest likelihood of held-out cells."""
    n, d = cells.shape
    given = np.cov(cells.T, bias=True).reshape(d, d) + _RIDGE * np.eye(d)
    judged = cells if n <= _MOST_JUDGED else rng.permutation(cells)[:_MOST_JUDGED]
    fold = rng.permutation(len(judged)) % FOLDS
    scores: list[float] = []
    for k in range(1, int(np.clip(n // _CELLS_OF_WHOLE, 1, _WHOLE[-1])) + 1):
        fits = [fit_whole(judged[fold != f], k, given, d, rng) for f in range(FOLDS)]
        scores.append(sum(fit.score(judged[fold == f]) for f, fit in enumerate(fits)))
        if max(scores) > max(scores[-2:]):
            break
    return fit_whole(cells, int(np.argmax(scores)) + 1, given, d, rng)


def _shrunk(centred: Array, given: Array, strength: float) -> Array:
    return (centred.T @ centred + strength * given) / (len(centred) + strength)


def fit_whole(cells: Array, k: int, given: Array, tie: float, rng: np.random.Generator) -> Mixture:
    """Return a mixture by expectation-maximisation.

    Each covariance is shrunk to the one that the components have in common, and that to the given
    one, which may span gaps between kinds of cells and would fill them.
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
    """Return a mixture in the `r` directions in which cells vary most; the rest follows.

    With the covariance ``S`` of all cells and directions ``Q``, ``u = Q' y`` has a mixture of its
    own, and given u all components have the same normal law: mean ``G u`` with
    ``G = S Q (Q' S Q)^-1``, covariance ``S - G Q' S``.
    """
    d = cells.shape[1]
    mean = cells.mean(0)
    covariance = _shrunk(cells - mean, given, tie)
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
    """Return the mixture of greatest penalised likelihood, started from clusters of cells."""
    n, n_dim = cells.shape
    responsibility = np.zeros((n, k))
    responsibility[np.arange(n), _clusters(cells, k, rng)] = 1.0
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
        if abs(total.sum() - last) < _LEAST_GAIN * n:
            break
        last = total.sum()
    return mixture


def _clusters(cells: Array, k: int, rng: np.random.Generator) -> NDArray[np.integer]:
    """Return the cluster of each cell: the best of a few starts of k-means++."""
    scaled = cells / np.maximum(cells.std(0), 1e-6)
    best, least = np.zeros(len(cells), np.int64), np.inf
    for _ in range(_STARTS):
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            # equal cells leave clusters empty, which then count for nothing
            warnings.simplefilter("ignore", UserWarning)
            centres, nearest = kmeans2(scaled, k, _LLOYD_STEPS, minit="++", seed=rng)
        spread = float(((scaled - centres[nearest]) ** 2).sum())
        if spread < least:
            least, best = spread, nearest
    return best
