"""Run the declared metrics: over rounds of draws, and on all cells at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from vaexprs.evaluation import metrics  # noqa: F401 - its modules declare the metrics
from vaexprs.evaluation.arrays import Array, Floats, in_threads, one_thread
from vaexprs.evaluation.comparison.cells import Evaluated
from vaexprs.evaluation.comparison.ranges import Overlap, Score, score_rounds
from vaexprs.evaluation.comparison.rounds import Pool, rounds
from vaexprs.evaluation.comparison.sides import Comparison, RoundCells, Split
from vaexprs.evaluation.metrics.discriminators import N_GENES, Discrimination
from vaexprs.evaluation.registry import COMPUTATIONS, Stage, kinds


@dataclass
class RoundResults:
    """Values of all rounds."""

    first: RoundCells  # Cells of the first round, for figures
    # Value of the generated cells and of the control in each round, by key; nan where a round has
    # none.
    values: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    genes: list[Array] = field(default_factory=list)  # Genes that classifiers saw in each round
    # Results of classifiers, with curves and importances, by key and round.
    classifiers: dict[str, list[tuple[Discrimination, Discrimination]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    few_rounds: set[str] = field(default_factory=set)  # Keys whose range comes from standard errors

    def scores(self, overlap: Overlap) -> list[Score]:
        """Return the means over rounds with their ranges."""
        declared = {kind.key: kind for kind in kinds()}
        found = []
        for key, pairs in self.values.items():
            kind, _, of = key.partition(".")
            errors = None
            if kind in self.few_rounds:
                errors = [control.standard_error for _, control in self.classifiers[key]]
            found.append(score_rounds(declared[kind], pairs, overlap, errors, of=of))
        return found

    def importance(self, n_genes: int) -> tuple[Floats, Floats]:
        """Return the mean importance of each gene to the forest, for generated and control."""
        pairs = self.classifiers.get("forest_auc_genes", [])
        found = np.zeros((2, n_genes))
        for genes, pair in zip(self.genes, pairs, strict=False):
            for row, discrimination in zip(found, pair, strict=True):
                row[genes] += discrimination.importance / len(pairs)
        return found[0], found[1]


@one_thread
def measure_rounds(
    data: Evaluated,
    pool: Pool,
    *,
    n_rounds: int,
    n_forest_rounds: int,
    n_trees: int,
    max_cells: int,
    seed: int,
    n_jobs: int,
    begin: Callable[[str], None],
    first: Callable[[RoundCells], object],
) -> RoundResults:
    """Compute the metrics of stage ``"round"`` of generated cells and of the control.

    ``begin`` is called at the start of each round, ``first`` with the cells of the first one. See
    `vaexprs.evaluation.evaluate` for the other parameters.
    """
    total = max(n_rounds, n_forest_rounds)
    results: RoundResults | None = None
    for number, plan in enumerate(rounds(pool, total, seed=seed)):
        begin(f"round {number + 1} of {total}")
        cells = RoundCells.of(
            data, plan, pool.matched_by, max_queries=max_cells, seed=seed + number
        )
        if results is None:
            results = RoundResults(cells)
            first(cells)
        results.genes.append(cells.basis.genes[:N_GENES])
        compared = ((cells.generated, cells.all_generated), (cells.control, cells.fitted))
        n_folds_at_once = max(n_jobs // len(compared), 1)
        sides = [
            Comparison(cells, *pair, n_trees, seed + number, n_folds_at_once) for pair in compared
        ]
        for compute in COMPUTATIONS:
            if compute.stage != "round" or (compute.needs_test and not pool.has_test):
                continue
            if number >= (n_forest_rounds if compute.few_rounds else n_rounds):
                continue
            ours, control = in_threads(compute, sides, min(n_jobs, len(sides)))
            for key in (key for key in ours if key in control):
                pair = (ours[key], control[key])
                if isinstance(pair[0], Discrimination):
                    results.classifiers[key].append(pair)
                    pair = (pair[0].auc, pair[1].auc)
                empty = [(math.nan, math.nan)] * total
                results.values.setdefault(key, empty)[number] = pair
                if compute.few_rounds:
                    results.few_rounds.add(key)
    assert results is not None
    return results


@one_thread
def measure_split(split: Split, stage: Stage) -> list[Score]:
    """Compute the metrics of a stage that take all cells at once."""
    declared = {kind.key: kind for kind in kinds()}
    found = []
    for compute in COMPUTATIONS:
        if compute.stage == stage:
            for key, measured in compute(split).items():
                kind, _, of = key.partition(".")
                values = (measured.value, measured.control, measured.width)
                found.append(Score(declared[kind], key, *values, of=of).judged())
    return found


def ordered(scores: Iterable[Score]) -> tuple[Score, ...]:
    """Return scores in the order of the report."""
    order = {kind.key: index for index, kind in enumerate(kinds())}
    return tuple(sorted(scores, key=lambda score: (order[score.kind.key], score.of)))
