"""Draw the rounds of an evaluation: cells for basis, control, test and generated side.

In each round the training cells are cut into two stratified halves. One fits the bases (gene
choice, principal components), in which it is compared only as training cells. The other gives the
control. Equally many control and generated cells are then compared with the same test cells by the
same code. Every side holds the same number of cells of each combination of conditions, so that no
score reflects only a different composition.

Rounds come in pairs: in the second of a pair the halves change places, and other generated cells
are drawn. The difference between the two measures how much a score depends on the draw of cells
(see `vaexprs.evaluation.comparison.ranges`).

A basis fitted on the very cells that are compared shows them with a variance that is too large,
and a classifier finds that; hence the half for the basis alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator, default_rng

from vaexprs.errors import DataError
from vaexprs.evaluation.arrays import Array, fingerprints
from vaexprs.evaluation.comparison.cells import Evaluated
from vaexprs.evaluation.comparison.ranges import Overlap

#: Fewest cells of a side: half a fold of 5 for classifiers.
LEAST_CELLS = 10
#: A cell with fewer genes detected may equal another one by chance, so it is no duplicate.
LEAST_GENES_OF_A_DUPLICATE = 50


@dataclass(frozen=True)
class Round:
    """Rows of one round: of the real cells (training cells first, then test), and of generated."""

    basis: Array  # Half of the training cells, which fits the bases
    # Equally many real training cells of the other half, real test cells and generated cells, with
    # the same composition.
    control: Array
    test: Array
    generated: Array


@dataclass(frozen=True)
class Pool:
    """The real cells that rounds draw from, and how their draws overlap."""

    # Rows of the real cells; test is empty where there are no held-out cells.
    train: Array
    test: Array
    # Combination of conditions of each real and each generated cell.
    real_groups: Array
    generated_groups: Array
    n_compared: int  # Cells on each side of a round
    overlap: Overlap
    matched_by: tuple[str, ...]  # Condition keys by which compositions are made equal
    notes: tuple[str, ...]

    @property
    def has_test(self) -> bool:
        """Whether held-out cells were given."""
        return len(self.test) > 0


def make_pool(data: Evaluated, *, keys: Sequence[str], max_cells: int, seed: int) -> Pool:
    """Return the cells that can be compared fairly."""
    notes: list[str] = []
    train, test = _without_duplicates(data, notes)
    matched_by = _matching_keys(data, keys, notes)
    groups = [side.group(matched_by) for side in (data.train, data.test) if side is not None]
    pool = Pool(
        train, test, np.concatenate(groups), data.generated.group(matched_by), n_compared=0,
        overlap=Overlap(0.5, 1.0), matched_by=matched_by, notes=(),
    )  # fmt: skip
    pair = _draw_pair(pool, default_rng([seed, 0]), max_cells)
    trial = min(pair, key=lambda drawn: len(drawn.test))
    n_compared = len(trial.test)
    if n_compared < LEAST_CELLS:
        raise DataError(
            f"only {n_compared} cells can be compared on each side, at least {LEAST_CELLS} are "
            f"needed: there are {len(train)} training cells (one half of them is the control), "
            f"{len(test)} test cells and {data.generated.n_cells} generated cells"
            + (f", matched by {', '.join(matched_by)}." if matched_by else ".")
            + "".join(f" {note}" for note in notes)
        )
    of_basis, of_test = (set(pool.real_groups[rows].tolist()) for rows in (trial.basis, trial.test))
    # of the training cells, the test cells if there are any, and the generated cells
    sides = [set(names.tolist()) for names in (*groups, pool.generated_groups)]
    anywhere = set.union(*sides)
    if absent := sorted((of_basis - of_test) | (anywhere - set.intersection(*sides))):
        shown = ", ".join(repr(name) for name in absent[:6]) + (", ..." if len(absent) > 6 else "")
        notes.append(
            f"Of {len(anywhere)} combinations of conditions {len(absent)} cannot be "
            f"compared, because one side has too few cells: {shown}."
        )
    return replace(pool, n_compared=n_compared, overlap=_overlap(pool, trial), notes=tuple(notes))


def _overlap(pool: Pool, drawn: Round) -> Overlap:
    """Return the shares of cells that a round compares, weighted by combination."""
    names, counts = np.unique(pool.real_groups[drawn.test], return_counts=True)
    weights = counts / counts.sum()
    train = counts / _counts_of(pool.real_groups[pool.train], names)
    made = counts / _counts_of(pool.generated_groups, names)
    return Overlap(
        control=min(float(weights @ train), 0.5),
        generated=float(weights @ made),
        repeated=float(weights @ np.maximum(0.0, 2.0 - 1.0 / made)),
    )


def _counts_of(groups: Array, names: Array) -> Array:
    counts = Counter(groups.tolist())
    return np.array([counts[name] for name in names.tolist()])


def rounds(pool: Pool, n_rounds: int, *, seed: int) -> Iterator[Round]:
    """Yield rounds, each a pure function of the seed and its number."""
    for number in range(n_rounds):
        pair = _draw_pair(pool, default_rng([seed, number // 2]), pool.n_compared)
        yield pair[number % 2]


def stratified_halves(rows: Array, groups: Array, rng: Generator) -> tuple[Array, Array]:
    """Cut rows in two halves whose composition is equal up to single cells."""
    order = rng.permutation(len(rows))
    order = order[np.argsort(groups[order], kind="stable")]
    # Every second cell of the sorted order: odd group sizes even out over the groups.
    start = int(rng.integers(2))
    return np.sort(rows[order[start::2]]), np.sort(rows[order[1 - start :: 2]])


def _draw_pair(pool: Pool, rng: Generator, max_cells: int) -> tuple[Round, Round]:
    train, test = pool.train, pool.test
    if not pool.has_test:
        train, test = stratified_halves(train, pool.real_groups[train], rng)
    halves = stratified_halves(train, pool.real_groups[train], rng)
    shuffled = [rng.permutation(half) for half in halves]
    test = rng.permutation(test)
    generated = rng.permutation(len(pool.generated_groups))
    composition_seed = int(rng.integers(2**32))

    def draw(basis: Array, control: Array, generated: Array) -> Round:
        sides = [
            (control, pool.real_groups[control]),
            (test, pool.real_groups[test]),
            (generated, pool.generated_groups[generated]),
        ]
        names, wanted = _common_composition(
            [groups for _, groups in sides], max_cells, default_rng(composition_seed)
        )
        drawn: list[Array] = []
        for rows, groups in sides:
            parts = [rows[groups == name][:n] for name, n in zip(names, wanted, strict=True)]
            drawn.append(np.concatenate([np.empty(0, np.int64), *parts]))
        return Round(basis, *drawn)

    first = draw(halves[0], shuffled[1], generated)
    # Generated cells that were not drawn come first in the second round.
    used = np.isin(generated, first.generated)
    second = draw(halves[1], shuffled[0], np.concatenate([generated[~used], generated[used]]))
    return first, second


def _common_composition(groups: list[Array], max_cells: int, rng: Generator) -> tuple[Array, Array]:
    """Return the cells of each combination that every side has, ``max_cells`` at most in all."""
    names = np.unique(np.concatenate(groups))
    counts = np.stack([_counts_of(side, names) for side in groups])
    wanted = counts.min(axis=0)
    total = int(wanted.sum())
    if total > max_cells:
        share = wanted * (max_cells / total)
        wanted = np.floor(share).astype(np.int64)
        rest = share - wanted
        extra = max_cells - int(wanted.sum())
        if extra:
            wanted[rng.choice(len(names), extra, replace=False, p=rest / rest.sum())] += 1
    return names[wanted > 0], wanted[wanted > 0]


def _matching_keys(data: Evaluated, keys: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    """Return the most keys whose combinations are not too fine to be matched."""
    reference = data.test if data.test is not None else data.train
    for number in range(len(keys), 0, -1):
        chosen = tuple(keys[:number])
        _, inverse, counts = np.unique(
            reference.group(chosen), return_inverse=True, return_counts=True
        )
        if (counts[inverse] >= 5).mean() >= 0.5:
            if number < len(keys):
                notes.append(
                    f"Compositions are made equal by {', '.join(chosen)} alone: combinations of "
                    "all keys have too few cells."
                )
            return chosen
    if keys:
        notes.append("Compositions are not made equal: most categories have fewer than 5 cells.")
    return ()


def _without_duplicates(data: Evaluated, notes: list[str]) -> tuple[Array, Array]:
    """Return rows of the real cells without repeats, which must not be on two sides."""
    given = [side.given for side in (data.train, data.test) if side is not None]
    every = np.concatenate([fingerprints(X) for X in given])
    detected = np.concatenate([np.asarray((X != 0).sum(axis=1)).ravel() for X in given])
    _, first = np.unique(every, return_index=True)
    keep = detected < LEAST_GENES_OF_A_DUPLICATE
    keep[first] = True
    rows, n_train = np.flatnonzero(keep), data.train.n_cells
    train, test = rows[rows < n_train], rows[rows >= n_train]
    sizes = (("training", n_train, len(train)), ("test", len(every) - n_train, len(test)))
    for name, n, kept in sizes:
        if kept < n:
            notes.append(
                f"{n - kept} of {n} real {name} cells repeat another real cell exactly and are "
                "left out: the same cell must not stand on both sides of a comparison."
            )
    if data.test is not None and not len(test):
        raise DataError(
            "every cell of real_test is also in real_train: give cells that the model has not "
            "seen, or leave real_test out."
        )
    return train, test
