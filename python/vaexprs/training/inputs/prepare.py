"""Split cells, scale them and find their components: the input of a fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaexprs.data import ExpressionData, concatenate, read_expression
from vaexprs.errors import ArgumentError
from vaexprs.latent.hidden_groups import HIDDEN, find_groups, n_confounded_keys
from vaexprs.latent.programs import find_programs
from vaexprs.spec import ConditionKey, Conditions
from vaexprs.training.defaults import MOST_LATENTS, choose_latent
from vaexprs.training.inputs.batches import Cells, split_cells
from vaexprs.training.inputs.cross_fitting import Components
from vaexprs.training.inputs.features import Features, features_of
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.base import TrainingLaw

#: Share of signal in the variance of a component from which it tells hidden groups.
_CLEAR = 0.75
#: Categories up to which groups are looked for besides.
_MOST_CATEGORIES = 100


@dataclass(frozen=True)
class Prepared:
    """Cells ready to train on."""

    data: ExpressionData  # all cells that were given to train on
    training: ExpressionData
    validation: ExpressionData | None
    from_data: bool  # whether the validation cells are a part of `data`
    features: Features
    components: Components
    scaling: Scaling | None
    n_latent: int

    def batches(self, law: TrainingLaw, device: torch.device) -> tuple[Cells, Cells | None]:
        """Return training and validation cells as batches on a device."""
        given = (self.features, self.scaling, law.row.reads_library, device)
        scores = (self.components.scores / np.sqrt(self.components.total)).astype(np.float32)
        validation = None if self.validation is None else Cells(self.validation, *given)
        return Cells(self.training, *given, scores=scores), validation


def prepare(
    data: ExpressionData,
    law: TrainingLaw,
    *,
    n_latent: int | None,
    plain: bool,
    validation: ExpressionData | None,
    validation_split: float,
    seed: int,
) -> Prepared:
    """Return cells ready to train on.

    Without `validation`, the share `validation_split` of `data` is held out. Without `n_latent` the
    data choose it. In a `plain` layout the encoder reads genes rather than scores. Hidden groups
    become the last condition key.
    """
    training, from_data, kept = data, False, np.arange(data.n_cells)
    if validation is None:
        kept, held_out = split_cells(data.group, validation_split, np.random.default_rng(seed))
        if held_out.size:
            training, validation, from_data = data.take(kept), data.take(held_out), True
    scaling, at_most = law.scaling(training), None
    automatic = n_latent is None
    if n_latent is None:
        n_latent = choose_latent(training.n_cells, data.n_genes)
        at_most = choose_latent(training.n_cells, data.n_genes, MOST_LATENTS)
    features, components = features_of(
        training, law.feature_kind(training), scaling, n_latent, seed,
        at_most=None if plain else at_most, reads_genes=plain,
    )  # fmt: skip
    if automatic and not plain:
        n_latent = features.n_inputs
    found = Prepared(data, training, validation, from_data, features, components, scaling, n_latent)
    return _with_hidden_groups(found, kept, seed) if _may_hide(data.conditions) else found


def _may_hide(conditions: Conditions) -> bool:
    """Return whether groups are looked for: not beside very many categories."""
    return conditions.n_conditions <= _MOST_CATEGORIES and HIDDEN not in conditions.names


def _with_hidden_groups(cells: Prepared, kept: NDArray[np.int64], seed: int) -> Prepared:
    """Return cells whose hidden groups are a condition key, if there are any.

    Groups are kinds of cells that lie apart, and within these the patterns of programs.
    """
    found, conditions = cells.components, cells.data.conditions
    n_clear = found.n_signal(_CLEAR)
    if not n_clear:
        return cells
    scores = (found.scores / np.sqrt(found.total)).astype(np.float32)
    clear, to_all = scores[:, :n_clear], np.eye(scores.shape[1], n_clear, dtype=np.float32)
    features, kind = cells.features, np.zeros(len(clear), np.int32)
    kinds, codes = find_groups(clear, seed), cells.training.codes
    all_seen = len(conditions.n_cells) == np.prod(conditions.sizes, dtype=np.float64)
    if kinds is not None and (all_seen or n_confounded_keys(kinds.of(clear), codes) <= 1):
        kind = kinds.of(clear)
        features = replace(features, group_weight=to_all @ kinds.weight, group_bias=kinds.bias)
    combination = conditions.flat(codes)
    programs = find_programs(clear, codes, combination, kind, seed)
    if programs is not None:
        features = replace(
            features,
            program_combination=programs.combination,
            program_centre=programs.centre @ to_all.T,
            program_direction=to_all @ programs.direction,
            program_threshold=programs.threshold,
            program_group=programs.group,
        )
    if not features.n_groups:
        return cells
    key = ConditionKey(HIDDEN, tuple(map(str, range(features.n_groups))))

    def told(some: ExpressionData, group: NDArray[np.int32]) -> ExpressionData:
        return replace(some, keys=(*some.keys, key), codes=np.column_stack([some.codes, group]))

    own, others = features.groups(scores, combination), cells.validation
    everyone = np.zeros(cells.data.n_cells, np.int32)
    everyone[kept] = own
    if others is not None:
        group = features.groups(features.scores(others.X), conditions.flat(others.codes))
        others = told(others, group)
        if cells.from_data:
            everyone[np.setdiff1d(np.arange(len(everyone)), kept)] = group
    return replace(
        cells, data=told(cells.data, everyone), training=told(cells.training, own),
        validation=others, features=features,
    )  # fmt: skip


def read_validation(given: Any, data: ExpressionData, **reading: Any) -> ExpressionData | None:
    """Return the cells of ``validation_data``: an AnnData, an array, or an array with labels."""
    labels = None
    if given is None:
        return None
    if isinstance(given, tuple):
        if len(given) != 2:
            raise ArgumentError(
                "validation_data must be cells, or an array and its labels, not a tuple of "
                f"{len(given)}."
            )
        given, labels = given
    return read_expression(
        given, labels=labels, **reading, known_keys=data.keys,
        condition_keys=[key.name for key in data.keys], genes=data.var_names,
    )  # fmt: skip


def together(parts: list[Cells]) -> tuple[ExpressionData, NDArray[np.float64]]:
    """Return the cells of all parts, and their scores.

    The log library size is the last score where the likelihood reads the library size.
    """
    data = concatenate([part.data for part in parts])
    known = np.concatenate([part.scores for part in parts]).astype(np.float64)
    reads_library = parts[0].reads_library
    return data, np.column_stack([known, np.log(data.library)]) if reads_library else known
