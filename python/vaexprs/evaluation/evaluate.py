"""`evaluate`: read cells, draw rounds, compute scores, return a report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from vaexprs._version import __version__
from vaexprs.checks import whole
from vaexprs.data.labels import key_names
from vaexprs.data.open import CellsLike, open_cells
from vaexprs.errors import ArgumentError
from vaexprs.evaluation.arrays import Array
from vaexprs.evaluation.comparison.cells import ScaleChoice, read_cells
from vaexprs.evaluation.comparison.rounds import LEAST_CELLS, Pool, make_pool, stratified_halves
from vaexprs.evaluation.comparison.sides import Split
from vaexprs.evaluation.metrics.conditions import categories_of
from vaexprs.evaluation.metrics.privacy import copies_of
from vaexprs.evaluation.report.pictures import Planes, take_pictures
from vaexprs.evaluation.report.report import Report
from vaexprs.evaluation.scores.augmentation import Augment, AugmentationRow, Refit, augmentation
from vaexprs.evaluation.scores.giveaway import giveaway_genes
from vaexprs.evaluation.scores.measure import measure_rounds, measure_split, ordered

#: Up to this number of training cells, generated cells are also compared with all of them at
#: once: a round then holds at most 500 of them on a side.
SMALL_DATA = 1000

Progress = Callable[[str, float], None]


def evaluate(
    real_train: CellsLike,
    generated: CellsLike,
    *,
    real_test: CellsLike | None = None,
    condition_keys: str | Sequence[str] = (),
    donor_key: str | None = None,
    layer: str | None = None,
    scale: ScaleChoice = "auto",
    augment: Augment | None = None,
    refit: Refit | None = None,
    n_rounds: int = 10,
    n_forest_rounds: int = 1,
    n_trees: int = 100,
    n_resamples: int = 30,
    n_draws: int = 5,
    max_cells: int = 2000,
    embedding: str = "umap",
    seed: int = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure generated cells beside real cells, every score beside its real-vs-real control.

    In each round one half of the training cells fits the bases (variable genes, principal
    components); cells of the other half, the control, and equally many generated cells are
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
        stratified halves, afresh in each round, and one half stands in. The report then gives
        no verdict and no scores of privacy, since a generator that has memorised cells would
        look good.
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
        Called with a category of the first condition key and a number of cells, makes these
        cells for the augmentation of rare classes; without it cells of ``generated`` are used.
        Such a generator has seen all cells of the class, which flatters it; see ``refit``.
    refit
        Called with the training cells that are kept, trains a generator on these alone and
        returns its ``augment``. Slow, and the honest measure.
    n_rounds
        Rounds of everything but forests; even, and at least 4 for a range. The least is 2.
    n_forest_rounds
        Rounds of the forests and of boosting, which take most of the time: each further one takes
        as long again. 0 leaves them out.
    n_trees
        Trees of each random forest. More trees raise the AUC of both sides a little.
    n_resamples
        Bootstrap resamples of train-on-generated, test-on-real.
    n_draws
        Draws of the kept cells in the augmentation of rare classes; 0 leaves it out.
    max_cells
        Most cells on each side of a comparison.
    embedding
        ``"umap"`` for the overlay by UMAP, where umap-learn is installed, ``"pca"`` without.
    seed
        Seed of everything random, from 0 to 2**31 - 1. The same seed gives the same report.
    n_jobs
        Threads that metrics are computed on; None: one for each available core.
    progress
        Called at the start of each step with its name and the share of the work done.

    Returns
    -------
    Report
        Scores, verdicts and pictures; see `Report.to_json` and `Report.to_html`.

    Raises
    ------
    DataError
        If cells cannot be read, share too few genes, are too few to be compared, or are logged
        where others are counts.
    ArgumentError
        If a number is out of its range, ``n_rounds`` is odd, or ``embedding`` is unknown.
    ConditionError
        If a condition key is not in ``obs``.
    """
    sources = {"real_train": real_train, "real_test": real_test, "generated": generated}
    keys = tuple(key_names(condition_keys))
    for name, function in (("augment", augment), ("refit", refit), ("progress", progress)):
        if function is not None and not callable(function):
            raise ArgumentError(f"{name} must be a function, got {function!r}.")
    _check_numbers(
        n_rounds=(n_rounds, 2), n_forest_rounds=(n_forest_rounds, 0), n_trees=(n_trees, 1),
        n_resamples=(n_resamples, 1), n_draws=(n_draws, 0), max_cells=(max_cells, LEAST_CELLS),
        n_jobs=(_available_cores() if n_jobs is None else n_jobs, 1),
    )  # fmt: skip
    whole("seed", seed, 0, 2**31 - 1)
    if embedding not in ("umap", "pca"):
        raise ArgumentError(f"embedding must be 'umap' or 'pca', got {embedding!r}.")
    n_jobs = n_jobs or _available_cores()
    started = time.monotonic()
    steps = _Steps(progress, max(n_rounds, n_forest_rounds), n_forest_rounds)
    steps.begin("reading cells")
    opened = open_cells(real_train)
    data = read_cells(
        opened, generated, real_test,
        condition_keys=keys, donor_key=donor_key, layer=layer, scale=scale,
    )  # fmt: skip
    pool = make_pool(data, keys=keys, max_cells=max_cells, seed=seed)
    with Planes(embedding, seed) as planes:
        rounds = measure_rounds(
            data, pool, n_rounds=n_rounds, n_forest_rounds=n_forest_rounds, n_trees=n_trees,
            max_cells=max_cells, seed=seed, n_jobs=n_jobs, begin=steps.begin, first=planes.begin,
        )  # fmt: skip
        scores = rounds.scores(pool.overlap)

        steps.begin("conditions, utility and copies")
        train_rows, test_rows = _train_and_test(pool, seed)
        options: dict[str, Any] = {
            "held_out": pool.has_test, "keys": keys, "max_cells": max_cells,
            "n_resamples": n_resamples, "seed": seed,
        }  # fmt: skip
        split = Split.of(data, train_rows, test_rows, **options)
        scores += measure_split(split, "whole")
        if len(pool.train) <= SMALL_DATA:
            stand_in = pool.test if pool.has_test else pool.train
            scores += measure_split(Split.of(data, pool.train, stand_in, **options), "small")
        augmented: Iterable[AugmentationRow] = ()
        if keys and n_draws > 0:
            steps.begin("augmentation of rare classes")
            augmented = augmentation(
                split, keys[0], train_rows=train_rows, augment=augment, refit=refit,
                real_train=None if refit is None else opened.anndata(), n_draws=n_draws,
                n_jobs=n_jobs,
            )  # fmt: skip
        augmented = tuple(augmented)
        giveaways = giveaway_genes(*rounds.importance(len(data.genes)), data.genes, rounds.first)
        steps.begin("figures")
        pictures = take_pictures(rounds.first, data.genes, rounds.classifiers, giveaways, planes)
    return Report(
        ordered(scores),
        tuple(row for key in keys for row in split.once(categories_of, key)),
        augmented,
        tuple(giveaways),
        sizes={
            "train": data.train.n_cells,
            "test": data.test.n_cells if data.test is not None else 0,
            "generated": data.generated.n_cells,
            "genes": len(data.genes),
            "compared": pool.n_compared,
        },
        settings={
            "vaexprs": __version__,
            "date": time.strftime("%Y-%m-%d"),
            **{name: _file_name(given) for name, given in sources.items()},
            "scale": data.scale,
            "condition_keys": ", ".join(keys),
            "matched_by": ", ".join(pool.matched_by),
            "donor_key": donor_key,
            "layer": layer,
            "n_rounds": n_rounds,
            "n_forest_rounds": n_forest_rounds,
            "n_trees": n_trees,
            "n_components": int(rounds.first.basis.pca.n_components_),
            "max_cells": max_cells,
            "augmentation": "refit" if refit else "augment" if augment else "generated",
            "seed": seed,
            "seconds": round(time.monotonic() - started, 1),
        },
        notes=tuple(_notes(pool, data.notes, split)),
        pictures=pictures,
    )


def _check_numbers(**given: tuple[Any, int]) -> None:
    """Raise `ArgumentError` where a number is below its least, or rounds are no pairs."""
    for name, (value, least) in given.items():
        if whole(name, value, least) % 2 and name == "n_rounds":
            raise ArgumentError(f"n_rounds must be even, since rounds come in pairs, got {value}.")


class _Steps:
    """Calls ``progress`` with the share of the work done; a round with forests counts as five."""

    def __init__(self, progress: Progress | None, n_rounds: int, n_forest_rounds: int) -> None:
        self.progress = progress or (lambda step, share: None)
        forests = min(n_forest_rounds, n_rounds)
        self.weights = [1, *[5] * forests, *[1] * (n_rounds - forests), 3, 3, 2]
        self.begun = 0

    def begin(self, step: str) -> None:
        done = sum(self.weights[: self.begun]) / sum(self.weights)
        self.progress(step, done)
        self.begun += 1


def _train_and_test(pool: Pool, seed: int) -> tuple[Array, Array]:
    """Return rows of training and of test cells, or without any two halves of the former."""
    if pool.has_test:
        return pool.train, pool.test
    groups = pool.real_groups[pool.train]
    return stratified_halves(pool.train, groups, np.random.default_rng([seed, 0]))


def _file_name(given: Any) -> str | None:
    return os.path.basename(os.fspath(given)) if isinstance(given, (str, os.PathLike)) else None


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _notes(pool: Pool, from_reading: Sequence[str], split: Split) -> list[str]:
    """Return sentences to read before the scores, the most important first."""
    notes = [*from_reading, *pool.notes]
    if not pool.has_test:
        notes.insert(
            0,
            "No held-out test cells were given, so this report cannot judge the generator. One "
            "half of the training cells stood in for test cells. If the generator was trained on "
            "all of them, it has seen them, and the scores are better than those of new cells. "
            "Scores of privacy that need test cells are left out. Hold cells out of training and "
            "pass them as real_test (--test).",
        )
    repeated = split.once(copies_of)[1]
    if repeated:
        notes.append(f"{repeated:,} generated cells repeat another generated cell exactly.")
    return notes
