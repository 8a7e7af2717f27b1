"""Programs that switch: genes that some cells of a kind have on together, and others off.

A decoder is smooth in z: between the two it draws cells that express the program at half strength.
Where a program shows as a long tail of the scores, the cells in the tail become hidden groups.
Directions of long tails are those of greatest skewness, found by the fixed-point iteration of
independent component analysis (Hyvärinen 1999, IEEE Transactions on Neural Networks 10, 626-634).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.latent.mixtures import FOLDS, Mixture, fit_whole

Array = NDArray[np.floating[Any]]
Codes = NDArray[np.integer[Any]]

#: Programs at most, and directions in which they are looked for.
_MOST, _DIRECTIONS = 3, 12
#: Cells that are looked at, which bounds the time to some seconds.
_MOST_CELLS = 20_000
#: Fewest cells of a pattern of programs: with fewer, its means would be those of single cells.
_FEWEST_CELLS = 20
#: Skewness of a long tail: the programs of two sets of PBMCs have 0.8 to 1.7, and a score that is
#: spread evenly, to which two components fit as well, has 0.
_LEAST_SKEWNESS = 0.5
#: Nats per held-out cell by which two components describe a score better than one does: noise of
#: 2,000 cells gains -0.01 to 0.01.
_LEAST_GAIN = 0.05
#: Starts of the iteration for a direction, its steps, and the change at which it ends.
_STARTS, _STEPS, _STILL = 10, 100, 1e-6
#: Part of the largest variance below which a direction is left out.
_RIDGE = 1e-8


@dataclass(frozen=True)
class Programs:
    """A linear rule: program k is on where ``(scores - centre) @ direction[:, k] > threshold[k]``.

    The centre is that of a cell's combination and kind.
    """

    centre: NDArray[np.float32]  # (n_combinations, n_kinds, n_scores)
    direction: NDArray[np.float32]  # (n_scores, n_programs)
    threshold: NDArray[np.float32]  # (n_programs,)
    group: NDArray[np.int32]  # group of each kind and pattern, (n_kinds, 2**n_programs)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1

    def of(self, scores: Array, combination: Codes, kind: Codes) -> NDArray[np.int32]:
        """Return the group of each cell, ``(n_cells,)``."""
        on = (scores - self.centre[combination, kind]) @ self.direction > self.threshold
        return self.group[kind, on @ (1 << np.arange(on.shape[1]))]


def find_programs(scores: Array, combination: Codes, kind: Codes, seed: int) -> Programs | None:
    """Return the programs of cells by their scores ``(n_cells, n_scores)``, or None if none is."""
    rng = np.random.default_rng(seed)
    y = scores.astype(np.float64)
    centre = np.zeros((combination.max() + 1, kind.max() + 1, y.shape[1]))
    n = np.zeros(centre.shape[:2])
    np.add.at(centre, (combination, kind), y)
    np.add.at(n, (combination, kind), 1)
    centre /= np.maximum(n, 1)[..., None]
    y -= centre[combination, kind]
    n_kinds = centre.shape[1]
    if len(y) > _MOST_CELLS:
        some = rng.permutation(len(y))[:_MOST_CELLS]
        y, kind = y[some], kind[some]
    white = _whitening(y)
    found = []
    for unit in _long_tails(y @ white, rng):
        direction = white @ unit
        along = y @ direction
        if (along**3).mean() < _LEAST_SKEWNESS:
            break
        gain, threshold = _switch(along, rng)
        n_on = int((along > threshold).sum())
        if gain >= _LEAST_GAIN and _FEWEST_CELLS <= n_on <= len(y) // 2:
            found.append((gain, direction, threshold))
    if not found:
        return None
    best = sorted(found, key=lambda program: -program[0])[:_MOST]
    directions = np.stack([direction for _, direction, _ in best], axis=1)
    thresholds = np.array([threshold for _, _, threshold in best])
    group = _groups(y @ directions > thresholds, kind, n_kinds)
    if group.max() + 1 == len(group):
        return None
    single = np.float32
    return Programs(
        centre.astype(single), directions.astype(single), thresholds.astype(single), group
    )


def _whitening(y: Array) -> Array:
    """Return a matrix that gives scores unit variances and no correlations, ``(d, at most d)``."""
    values, vectors = np.linalg.eigh(y.T @ y / max(len(y), 1))
    kept = values > _RIDGE * max(float(values.max()), 1e-300)
    whitening: Array = vectors[:, kept] / np.sqrt(values[kept])
    return whitening


def _long_tails(x: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Yield orthogonal unit vectors ``(d,)`` along which whitened scores ``(n, d)`` are skewed.

    Each has the greatest skewness of those orthogonal to the ones before.
    """
    found: list[Array] = []
    for _ in range(min(_DIRECTIONS, x.shape[1])):
        others = np.array(found).reshape(len(found), x.shape[1])
        best: Array = np.zeros(x.shape[1])
        most = -np.inf
        for _ in range(_STARTS):
            w: Array = _unit(rng.normal(size=x.shape[1]), others)
            for _ in range(_STEPS):
                last, w = w, _unit(x.T @ (x @ w) ** 2, others)
                if abs(last @ w) > 1 - _STILL:
                    break
            skewness = float(((x @ w) ** 3).mean())
            if skewness > most:
                best, most = w, skewness
        found.append(best)
        yield best


def _unit(w: Any, others: Array) -> Array:
    """Return a vector of length 1 in a direction without the others' parts, which are units."""
    rest = w - others.T @ (others @ w)
    unit: Array = rest / max(float(np.linalg.norm(rest)), 1e-300)
    return unit


def _switch(values: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Return the gain of a second component in nats per held-out cell, and where it begins."""
    y = values[:, None]
    fold = rng.permutation(len(y)) % FOLDS
    gain = 0.0
    for k in range(FOLDS):
        inside, outside = y[fold != k], y[fold == k]
        gain += _fit(inside, 2, rng).score(outside) - _fit(inside, 1, rng).score(outside)
    mixture = _fit(y, 2, rng)
    low, high = mixture.means[:, 0].argsort()
    line = np.sort(values[values > mixture.means[low, 0]])
    log_prob = mixture.log_prob(line[:, None])
    above = np.flatnonzero(log_prob[:, high] > log_prob[:, low])
    threshold = line[above[0]] if len(above) else np.inf
    return gain / len(y), float(threshold)


def _fit(y: Array, k: int, rng: np.random.Generator) -> Mixture:
    return fit_whole(y, k, np.ones((1, 1)), 1.0, rng)


def _groups(on: NDArray[np.bool_], kind: Codes, n_kinds: int) -> NDArray[np.int32]:
    """Return the group of each kind and pattern, ``(n_kinds, 2**n_programs)``.

    A pattern of few cells of a kind belongs to the pattern without its weakest program.
    """
    n_patterns = 1 << on.shape[1]
    code = on @ (1 << np.arange(on.shape[1]))
    n = np.zeros((n_kinds, n_patterns), np.int64)
    np.add.at(n, (kind, code), 1)
    to = np.arange(n_kinds * n_patterns).reshape(n_kinds, n_patterns)
    for k in range(n_kinds):
        for pattern in sorted(range(1, n_patterns), key=lambda p: -p.bit_count()):
            if n[k, pattern] < _FEWEST_CELLS:
                rest = pattern & ~(1 << (pattern.bit_length() - 1))
                n[k, rest] += n[k, pattern]
                to[k][to[k] == to[k, pattern]] = to[k, rest]
    return np.unique(to, return_inverse=True)[1].reshape(to.shape).astype(np.int32)
