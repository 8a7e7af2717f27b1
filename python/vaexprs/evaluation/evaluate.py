"""Measure generated cells beside real ones: `evaluate`."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vaexprs._version import __version__
from vaexprs.errors import ConditionError
from vaexprs.evaluation.comparison.cells import Evaluated, ScaleChoice, open_cells, read_cells
from vaexprs.evaluation.comparison.ranges import Score, score_rounds
from vaexprs.evaluation.comparison.rounds import Pool, make_pool, rounds, stratified_halves
from vaexprs.evaluation.metrics.discriminators import Discrimination
from vaexprs.evaluation.report.pictures import Pictures, take_pictures
from vaexprs.evaluation.report.report import Report
from vaexprs.evaluation.scores.augmentation import Augment, AugmentationRow, Refit, augmentation
from vaexprs.evaluation.scores.catalogue import CATALOGUE
from vaexprs.evaluation.scores.per_round import (
    N_CLASSIFIER_GENES,
    RoundCells,
    classifier_scores,
    round_scores,
)
from vaexprs.evaluation.scores.small import small_data
from vaexprs.evaluation.scores.telling import TellingGene, telling_genes
from vaexprs.evaluation.scores.whole import CategoryRow, Split, agreement, copies, transfer

__all__ = ["evaluate"]

#: Up to as many training cells, generated cells are also compared with all of them at once.
SMALL_DATA = 1000

Progress = Callable[[str], None]


def evaluate(
    real_train: Any,
    generated: Any,
    *,
    real_test: Any = None,
    condition_keys: str | Sequence[str] = (),
    donor_key: str | None = None,
    layer: str | None = None,
    scale: ScaleChoice = "auto",
    augment: Augment | None = None,
    refit: Refit | None = None,
    n_rounds: int = 10,
    n_forest_rounds: int = 2,
    n_trees: int = 300,
    n_resamples: int = 30,
    n_draws: int = 5,
    max_cells: int = 2000,
    embedding: str = "umap",
    seed: int = 0,
    n_jobs: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Measure generated cells beside real cells, every score beside its real-vs-real control.

    In each round one half of the training cells fits the bases (variable genes, principal
    components), and cells of the other half, the control, and generated cells, as many, are
    compared with the same held-out test cells. `vaexprs.evaluation.comparison.rounds` says how, and
    `vaexprs.evaluation.comparison.ranges` what "within the control's range" means.

    Parameters
    ----------
    real_train
        Real cells that the generator was trained on: an AnnData, a cells x genes matrix, or the
        path of an ``.h5ad`` file.
    generated
        Generated cells, with the same gene names and condition keys.
    real_test
        Real cells that it was not trained on. Without them the training cells are cut into two
        stratified halves, afresh in each round, and one half stands in; a generator that has
        memorised cells then looks better than it is, and the report says so.
    condition_keys
        Columns of ``obs`` that the cells were made for. Compositions are made equal by them.
    donor_key
        Column of ``obs`` of the real cells for privacy by donor.
    layer
        Layer to read instead of ``X``; of the generated cells where they have it.
    scale
        ``"counts"``: compared in log1p of counts per 10,000. ``"linear"`` (RPKM, TPM): in log1p.
        ``"log"``: as given. ``"auto"``: counts where all real values are whole numbers >= 0,
        linear where they exceed 30, else as given.
    augment
        Called with a category of the first condition key and a number, makes as many cells, for
        the augmentation of rare classes; without it cells of ``generated`` are used. Such a
        generator has seen all cells of the class, which flatters it; see ``refit``.
    refit
        Called with the training cells that are kept, trains a generator on these alone and
        returns its ``augment``. Slow, and the honest measure.
    n_rounds
        Rounds of everything but forests; even, and at least 4 for a range.
    n_forest_rounds
        Rounds of the forests, which take most of the time.
    n_trees
        Trees of the random forests.
    n_resamples
        Bootstrap resamples of train-on-generated, test-on-real.
    n_draws
        Draws of the kept cells in the augmentation of rare classes; 0 leaves it out.
    max_cells
        Most cells on each side of a comparison.
    embedding
        ``"umap"`` for the overlay by UMAP, where umap-learn is installed, ``"pca"`` without.
    seed
        Seed of everything random. The same seed gives the same report.
    n_jobs
        Workers of the random forests.
    progress
        Called with a sentence as the work goes on.

    Returns
    -------
    Report
        Scores, verdicts and pictures; see `Report.to_json` and `Report.to_html`.

    Raises
    ------
    DataError
        If cells cannot be read, share too few genes, or are too few to be compared.
    ConditionError
        If a condition key is not in ``obs``.
    """
    files = {
        name: os.path.basename(os.fspath(given)) if isinstance(given, (str, os.PathLike)) else None
        for name, given in (
            ("real_train", real_train),
            ("real_test", real_test),
            ("generated", generated),
        )
    }
    tell = progress or (lambda _: None)
    keys = (condition_keys,) if isinstance(condition_keys, str) else tuple(condition_keys)
    started = time.monotonic()
    tell("reading cells")
    real_train = open_cells(real_train)
    data = read_cells(
        real_train,
        open_cells(generated),
        open_cells(real_test),
        condition_keys=keys,
        donor_key=donor_key,
        layer=layer,
        scale=scale,
    )
    pool = make_pool(data, keys=keys, max_cells=max_cells, seed=seed)
    notes = [*_first_notes(pool), *data.notes, *pool.notes]

    results = _run_rounds(
        data, pool, n_rounds, n_forest_rounds, n_trees, max_cells, seed, n_jobs, embedding, tell
    )
    scores = results.scores(pool)

    tell("conditions, utility and copies")
    train_rows, test_rows = pool.train, pool.test
    if not pool.has_test:
        train_rows, test_rows = stratified_halves(
            pool.train, pool.real_groups[pool.train], np.random.default_rng([seed, 0])
        )
    split = Split.of(data, train_rows, test_rows, held_out=pool.has_test, seed=seed)
    categories: list[CategoryRow] = []
    augmented: list[AugmentationRow] = []
    for key in keys:
        found, rows = agreement(split, key)
        scores += found
        categories += rows
        score = transfer(split, key, n_resamples=n_resamples, seed=seed)
        scores += [score] if score is not None else []
    if keys and n_draws > 0:
        tell("augmentation of rare classes")
        augmented = list(
            augmentation(
                data,
                split,
                keys[0],
                train_rows=train_rows,
                real_train=real_train,
                augment=augment,
                refit=refit,
                n_draws=n_draws,
                seed=seed,
            )
        )
    copied, repeated = copies(data.train, data.generated)
    scores.append(copied)
    if repeated:
        notes.append(f"{repeated:,} generated cells repeat another generated cell exactly.")
    if len(pool.train) <= SMALL_DATA:
        everything = Split.of(
            data,
            pool.train,
            pool.test if pool.has_test else pool.train,
            held_out=pool.has_test,
            seed=seed,
        )
        scores += small_data(everything, keys, max_cells=max_cells, seed=seed)

    order = {key: index for index, key in enumerate(CATALOGUE)}
    scores.sort(key=lambda score: (order[score.kind.key], score.of))
    return Report(
        tuple(scores),
        tuple(categories),
        tuple(augmented),
        tuple(results.telling),
        sizes={
            "train": data.train.n_cells,
            "test": data.test.n_cells if data.test is not None else 0,
            "generated": data.generated.n_cells,
            "genes": len(data.genes),
            "compared": pool.n_compared,
        },
        settings={
            "vaexprs": __version__,
            **files,
            "scale": data.scale,
            "condition_keys": ", ".join(keys),
            "matched_by": ", ".join(pool.matched_by),
            "donor_key": donor_key,
            "layer": layer,
            "n_rounds": n_rounds,
            "n_forest_rounds": n_forest_rounds,
            "n_trees": n_trees,
            "n_components": results.n_components,
            "max_cells": max_cells,
            "augmentation": "refit" if refit else "augment" if augment else "generated",
            "seed": seed,
            "seconds": round(time.monotonic() - started, 1),
        },
        notes=tuple(notes),
        pictures=results.pictures,
    )


class _Results:
    """What the rounds gave."""

    def __init__(self) -> None:
        self.generated: dict[str, list[float]] = defaultdict(list)
        self.control: dict[str, list[float]] = defaultdict(list)
        self.errors: dict[str, list[float]] = defaultdict(list)
        self.telling: list[TellingGene] = []
        self.pictures: Pictures | None = None
        self.n_components = 0

    def scores(self, pool: Pool) -> list[Score]:
        found = []
        for key, values in self.generated.items():
            kind, _, of = key.partition(".")
            found.append(
                score_rounds(
                    CATALOGUE[kind],
                    values,
                    self.control[key],
                    overlap=pool.overlap,
                    standard_errors=self.errors.get(key),
                    of=of,
                )
            )
        return found


def _run_rounds(
    data: Evaluated,
    pool: Pool,
    n_rounds: int,
    n_forest_rounds: int,
    n_trees: int,
    max_cells: int,
    seed: int,
    n_jobs: int,
    embedding: str,
    tell: Progress,
) -> _Results:
    results = _Results()
    curves: dict[str, list[tuple[Discrimination, Discrimination]]] = defaultdict(list)
    importance = np.zeros((2, len(data.genes)))
    total = max(n_rounds, n_forest_rounds)
    kept: RoundCells | None = None
    for number, plan in enumerate(rounds(pool, total, seed=seed)):
        tell(f"round {number + 1} of {total}")
        cells = RoundCells.of(
            data, plan, pool.matched_by, max_queries=max_cells, seed=seed + number
        )
        if kept is None:
            kept = cells
        if number < n_rounds:
            for store, scores in zip(
                (results.generated, results.control),
                round_scores(cells, has_test=pool.has_test),
                strict=True,
            ):
                for key, value in scores.items():
                    store[key].append(value)
        ours, theirs = (
            classifier_scores(
                cells,
                side,
                forests=number < n_forest_rounds,
                n_trees=n_trees,
                seed=seed + number,
                n_jobs=n_jobs,
            )
            for side in (cells.generated, cells.control)
        )
        for key, found in ours.items():
            results.generated[key].append(found.auc)
            results.control[key].append(theirs[key].auc)
            curves[key].append((found, theirs[key]))
            if key.startswith("forest"):
                results.errors[key].append(theirs[key].standard_error)
        if number < n_forest_rounds:
            genes = cells.basis.genes[:N_CLASSIFIER_GENES]
            for row, side in enumerate((ours, theirs)):
                importance[row, genes] += side["forest_auc_genes"].importance / n_forest_rounds
    if kept is None:
        raise ConditionError("n_rounds and n_forest_rounds are both 0: there is nothing to score.")
    columns = np.full(len(data.genes), -1)
    columns[kept.basis.genes] = np.arange(len(kept.basis.genes))
    results.telling = telling_genes(
        importance[0], importance[1], data.genes, columns, kept.test, kept.generated
    )
    results.n_components = int(kept.basis.pca.n_components_)
    tell("pictures")
    results.pictures = take_pictures(
        kept, data.genes, curves, results.telling, embedding=embedding, seed=seed
    )
    return results


def _first_notes(pool: Pool) -> list[str]:
    if pool.has_test:
        return []
    return [
        "No held-out test cells were given. The training cells were cut into two stratified "
        "halves, afresh in each round, and one half stood in for test cells. If the generator was "
        "trained on all of them it has seen them: scores are then too good, and the scores of "
        "privacy that compare training with test cells say nothing. Hold cells out and give them "
        "as real_test."
    ]
