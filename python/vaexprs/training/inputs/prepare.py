"""Split cells, scale them and find their components: the input of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaexprs.data import ExpressionData, concatenate, read_expression
from vaexprs.training.defaults import MOST_LATENTS, choose_latent
from vaexprs.training.inputs.batches import Cells, split_cells
from vaexprs.training.inputs.cross_fitting import Components
from vaexprs.training.inputs.features import Features, features_of
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.base import TrainingLaw

__all__ = ["Prepared", "prepare", "read_validation", "together"]


@dataclass(frozen=True)
class Prepared:
    """Cells ready to train on."""

    data: ExpressionData  # all cells that were given to train on
    training: ExpressionData
    validation: ExpressionData | None
    from_data: bool  # whether the validation cells are a part of `data`
    features: Features
    components: Components | None  # None where the encoder reads genes
    scaling: Scaling | None
    n_latent: int

    def batches(self, law: TrainingLaw, device: torch.device) -> tuple[Cells, Cells | None]:
        """Return training and validation cells as batches on a device."""
        given = (self.features, self.scaling, law.row.reads_library, device)
        scores = None
        if self.components is not None:
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
    data choose it. In a `plain` layout the encoder reads genes rather than scores.
    """
    training, from_data = data, False
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
        training, law.feature_kind(training), scaling, None if plain else n_latent, seed,
        at_most=at_most,
    )  # fmt: skip
    if components is not None and automatic:
        n_latent = features.n_inputs
    return Prepared(data, training, validation, from_data, features, components, scaling, n_latent)


def read_validation(given: Any, data: ExpressionData, **reading: Any) -> ExpressionData | None:
    """Return the cells of ``validation_data``: an AnnData, an array, or an array with labels."""
    labels = None
    if given is None:
        return None
    if isinstance(given, tuple):
        given, labels = given
    return read_expression(
        given, labels=labels, **reading, known_keys=data.keys,
        condition_keys=[key.name for key in data.keys], genes=data.var_names,
    )  # fmt: skip


def together(parts: list[Cells]) -> tuple[ExpressionData, NDArray[np.float64] | None]:
    """Return the cells of all parts, and their scores if the encoder reads scores.

    The log library size is the last score where the likelihood reads the library size.
    """
    data = concatenate([part.data for part in parts])
    scores = [part.scores for part in parts if part.scores is not None]
    if not scores:
        return data, None
    known = np.concatenate(scores).astype(np.float64)
    reads_library = parts[0].reads_library
    return data, np.column_stack([known, np.log(data.library)]) if reads_library else known
