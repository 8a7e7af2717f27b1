"""Programs that switch: genes that some cells of a kind have on together, and others off.

A decoder is smooth in z: between the two it draws cells that express the program at half strength.
Where a program shows as a long tail of the scores, the cells in the tail become hidden groups. It
is looked for among all cells, and among those of each category and combination: few resting cells
have a response on that all stimulated cells have.
Directions of long tails are those of greatest skewness, found by the fixed-point iteration of
independent component analysis (Hyvärinen 1999, IEEE Transactions on Neural Networks 10, 626-634).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.latent.mixtures import Mixture, fit_whole

Array = NDArray[np.floating[Any]]
Codes = NDArray[np.integer[Any]]

#: Programs at most, and directions in which they are looked for.
_MOST, _DIRECTIONS = 6, 12
#: Cells that are looked at, which bounds the time to some seconds; and fewest of a category or
#: combination that is looked at by itself.
_MOST_CELLS, _FEWEST_APART = 20_000, 100
#: Fewest cells of a pattern of programs: with fewer, its means would be those of single cells.
_FEWEST_CELLS = 20
#: Skewness of a long tail: the programs of two sets of PBMCs have 0.8 to 2.3, and a score that is
#: spread evenly, to which two components fit as well, has 0.
_LEAST_SKEWNESS = 0.5
#: Nats per held-out cell by which two components describe a score better than one does. Of 150 to
#: 2,000 normal cells and 12 to 30 scores no direction of greatest skewness gains 0.04.
_LEAST_GAIN = 0.05
#: Halves that a direction is held to, and cosine above which two directions are one.
_HALVES, _SAME = 6, 0.7
#: Share of a program's cells that may have another on, where both are looked for.
_MOST_SHARED = 0.5
#: Starts of the iteration for a direction, its steps, and the change at which it ends.
_STARTS, _STEPS, _STILL = 10, 100, 1e-6
#: Part of the largest variance below which a direction is left out.
_RIDGE = 1e-8


@dataclass(frozen=True)
class Programs:
    """A linear rule: program k is on where ``(scores - centre) @ direction[:, k] > threshold``.

    The centre is that of a cell's combination and kind, and the threshold that of its combination.
    The last of each is for combinations that no cell had.
    """

    combination: NDArray[np.int64]  # that cells had, rising, (n_combinations,)
    centre: NDArray[np.float32]  # (n_combinations + 1, n_kinds, n_scores)
    direction: NDArray[np.float32]  # (n_scores, n_programs)
    threshold: NDArray[np.float32]  # (n_combinations + 1, n_programs); inf where never on
    group: NDArray[np.int32]  # group of each kind and pattern, (n_kinds, 2**n_programs)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1

    def of(self, scores: Array, combination: Codes, kind: Codes) -> NDArray[np.int32]:
        """Return the group of each cell, ``(n_cells,)``."""
        row = np.searchsorted(self.combination, combination)
        row[np.append(self.combination, -1)[row] != combination] = len(self.combination)
        along = (scores - self.centre[row, kind]) @ self.direction
        on = along > self.threshold[row]
        return self.group[kind, on @ (1 << np.arange(on.shape[1]))]


@dataclass(frozen=True)
class _Tail:
    """A program that some cells have on."""

    gain: float  # nats of all cells of the part
    direction: Array
    threshold: float
    part: NDArray[np.bool_]  # cells it was looked for among
    on: NDArray[np.bool_]

    def is_in(self, other: _Tail) -> bool:
        """Return whether, where both were looked for, many of its cells have the other on, too."""
        both = (self.on & other.on).sum()
        return bool(both > _MOST_SHARED * (self.on & other.part).sum())


def find_programs(
    scores: Array, codes: Codes, combination: Codes, kind: Codes, seed: int
) -> Programs | None:
    """Return the programs of cells, or None if none is found.

    Parameters
    ----------
    scores
        Scores of each cell, ``(n_cells, n_scores)``.
    codes
        Categories of each cell, ``(n_cells, n_keys)``.
    combination, kind
        Combination of categories, and kind, of each cell, ``(n_cells,)``.
    seed
        Of the starts of the search, and of what is held out.
    """
    rng = np.random.default_rng(seed)
    y = scores.astype(np.float64)
    known, combination = np.unique(combination, return_inverse=True)
    centre = np.zeros((len(known) + 1, kind.max() + 1, y.shape[1]))
    n = np.zeros(centre.shape[:2])
    np.add.at(centre, (combination, kind), y)
    np.add.at(n, (combination, kind), 1)
    centre[-1], n[-1] = centre.sum(axis=0), n.sum(axis=0)
    centre /= np.maximum(n, 1)[..., None]
    y -= centre[combination, kind]
    n_kinds = n.shape[1]
    if len(y) > _MOST_CELLS:
        some = rng.permutation(len(y))[:_MOST_CELLS]
        y, codes, combination, kind = y[some], codes[some], combination[some], kind[some]
    found = [tail for part in _parts(codes, combination) for tail in _tails(y, part, rng)]
    programs: list[_Tail] = []
    for tail in sorted(found, key=lambda tail: -tail.gain):
        if len(programs) < _MOST and not any(tail.is_in(other) for other in programs):
            programs.append(tail)
    if not programs:
        return None
    group = _groups(np.stack([program.on for program in programs], axis=1), kind, n_kinds)
    if group.max() + 1 == len(group):
        return None
    threshold = np.full((len(known) + 1, len(programs)), np.inf)
    for k, program in enumerate(programs):
        threshold[combination[program.part], k] = program.threshold
        if program.part.all():
            threshold[-1, k] = program.threshold
    single = np.float32
    return Programs(
        known.astype(np.int64),
        centre.astype(single),
        np.stack([program.direction for program in programs], axis=1).astype(single),
        threshold.astype(single),
        group,
    )


def _parts(codes: Codes, combination: Codes) -> Iterator[NDArray[np.bool_]]:
    """Yield which cells are looked at together: all, then those of a category or combination."""
    yield np.ones(len(combination), bool)
    partitions = [*codes.T, combination] if codes.shape[1] > 1 else codes.T
    for labels in partitions:
        values, n = np.unique(labels, return_counts=True)
        if len(values) > 1:
            yield from (labels == value for value in values[n >= _FEWEST_APART])


def _tails(y: Array, part: NDArray[np.bool_], rng: np.random.Generator) -> Iterator[_Tail]:
    """Yield the programs of a part of the cells, by centred scores ``(n_cells, n_scores)``."""
    own = y[part]
    white = _whitening(own)
    x = own @ white
    for unit in _long_tails(x, rng):
        if ((x @ unit) ** 3).mean() < _LEAST_SKEWNESS:
            break
        threshold = _switch(x @ unit, rng)
        n_on = int((x @ unit > threshold).sum())
        if _FEWEST_CELLS <= n_on <= len(x) // 2:
            gain = _gain(x, unit, rng)
            if gain >= _LEAST_GAIN:
                direction = white @ unit
                yield _Tail(
                    gain * len(x), direction, threshold, part, part & (y @ direction > threshold)
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
            w = _climb(x, _unit(rng.normal(size=x.shape[1]), others), others)
            skewness = float(((x @ w) ** 3).mean())
            if skewness > most:
                best, most = w, skewness
        found.append(best)
        yield best


def _climb(x: Array, w: Array, others: Array) -> Array:
    """Return the unit vector of greatest skewness of ``(n, d)`` scores that `w` leads to."""
    for _ in range(_STEPS):
        last, w = w, _unit(x.T @ (x @ w) ** 2, others)
        if abs(last @ w) > 1 - _STILL:
            break
    return w


def _unit(w: Any, others: Array) -> Array:
    """Return a vector of length 1 in a direction without the others' parts, which are units."""
    rest = w - others.T @ (others @ w)
    unit: Array = rest / max(float(np.linalg.norm(rest)), 1e-300)
    return unit


def _gain(x: Array, unit: Array, rng: np.random.Generator) -> float:
    """Return by how many nats per held-out cell two components describe a score better than one.

    One half of the whitened scores ``(n, d)`` turns the direction ``(d,)`` to its own greatest
    skewness; the other half is asked. A direction that one half turns away from gains nothing.
    """
    gain = 0.0
    for _ in range(_HALVES):
        first, second = np.array_split(x[rng.permutation(len(x))], 2)
        w = _climb(first, unit, np.zeros((0, len(unit))))
        if w @ unit < _SAME:
            continue
        inside, outside = (first @ w)[:, None], (second @ w)[:, None]
        better = _fit(inside, 2, rng).score(outside) - _fit(inside, 1, rng).score(outside)
        gain += better / len(second)
    return gain / _HALVES


def _switch(values: Array, rng: np.random.Generator) -> float:
    """Return the value at which the upper of two components of a score begins."""
    mixture = _fit(values[:, None], 2, rng)
    low, high = mixture.means[:, 0].argsort()
    line = np.sort(values[values > mixture.means[low, 0]])
    log_prob = mixture.log_prob(line[:, None])
    above = np.flatnonzero(log_prob[:, high] > log_prob[:, low])
    return float(line[above[0]]) if len(above) else np.inf


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
