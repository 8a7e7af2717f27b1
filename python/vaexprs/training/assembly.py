"""What a model of given cells is assembled from, and how it is described."""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaexprs._version import __version__
from vaexprs.data import ExpressionData
from vaexprs.training.inputs.batches import Scaling
from vaexprs.training.inputs.cross_fitting import Components, cross_fit
from vaexprs.training.inputs.features import Features, feature_kind
from vaexprs.training.network.model import VAE, Architecture

__all__ = ["describe", "features_of", "members_of", "provenance", "set_embedding"]

#: Combinations of categories with so many cells have corrections of their own, at most so many.
_CELLS_OF_OWN, _MOST_COMBINATIONS = 20, 64
#: Sum of the absolute inputs of a cell, where the encoder reads all genes.
_REACH = 300.0
_ROWS_PER_STEP = 512


def features_of(
    data: ExpressionData, likelihood: str, scaling: Scaling | None, n_components: int | None,
    seed: int, *, at_most: int | None = None,
) -> tuple[Features, Components | None]:  # fmt: skip
    """Choose what the encoder reads; with `n_components`, find components and honest scores.

    With `at_most`, more components are found where the last of `n_components` is still signal.
    """
    kind = feature_kind(data, likelihood)
    shift = np.zeros(data.n_genes, np.float32)
    scale = np.ones(data.n_genes, np.float32)
    if scaling is not None:
        varies = scaling.stretch > 0
        shift = np.where(varies, scaling.shift, 0).astype(np.float32)
        scale = np.where(varies, 1 / np.where(varies, scaling.stretch, 1), 0).astype(np.float32)
    features = Features(kind, shift, scale)
    if n_components is None:
        return _within_reach(features, data), None
    values = features.transform(data.X)
    scaled = values * scale if isinstance(values, np.ndarray) else values.multiply(scale).tocsr()
    most = max(1, min(n_components, data.n_cells - 1, data.n_genes))
    components = cross_fit(scaled, most, seed)
    if at_most is not None and at_most > most and components.n_telling() == most:
        components = cross_fit(scaled, at_most, seed)
        components = components.first(max(most, components.n_telling()))
    return replace(
        features,
        components=components.vectors.astype(np.float32),
        offset=(components.centre @ components.vectors).astype(np.float32),
        score_scale=np.sqrt(components.total).astype(np.float32),
    ), components


def _within_reach(features: Features, data: ExpressionData) -> Features:
    """Centre the genes that an encoder reads, and scale them so that its first steps stay small.

    A step of Adam moves each weight by the learning rate, and so a unit by that times the sum of
    the absolute inputs: 20,000 genes of logged RPKM would throw it off by ten in one step.
    """
    centre = np.asarray(features.transform(data.X).mean(axis=0), np.float32).ravel()
    centred = replace(features, gene_shift=centre)
    total = 0.0
    for start in range(0, data.n_cells, _ROWS_PER_STEP):
        total += float(np.abs(centred.inputs(data.X[start : start + _ROWS_PER_STEP])).sum())
    reach = total / data.n_cells
    return replace(centred, gene_scale=features.gene_scale * np.float32(min(1, _REACH / reach)))


def members_of(data: ExpressionData) -> NDArray[np.float32]:
    """Say which categories make up the combinations that get corrections of their own."""
    conditions = data.conditions
    kept = np.argsort(-conditions.n_cells, kind="stable")[:_MOST_COMBINATIONS]
    kept = np.sort(kept[conditions.n_cells[kept] >= _CELLS_OF_OWN])
    if len(data.keys) < 2:  # one key: its categories are the combinations
        kept = kept[:0]
    return np.ascontiguousarray(conditions.one_hot(conditions.combinations[kept]).T)


def set_embedding(vae: VAE) -> None:
    """Draw the vectors that stand for categories where there are very many."""
    shape = vae.shape
    if shape.embedding:
        vae.decoder.embedding.copy_(
            torch.randn(shape.n_conditions, shape.embedding) / shape.embedding**0.5
        )


def describe(shape: Architecture) -> dict[str, Any]:
    """Describe the layers for people and plots."""

    def layer(name: str, units: int, activation: str) -> dict[str, Any]:
        return {"name": name, "units": units, "activation": activation}

    encoder = [layer("scores" if shape.linear_path else "genes", shape.n_inputs, "linear")]
    encoder += [
        layer(f"hidden {i}", x.units, x.activation) for i, x in enumerate(shape.encoder, start=1)
    ]
    encoder.append(layer("z", shape.n_latent, "linear"))
    link = {"bernoulli": "sigmoid", "gaussian": "linear", "zigamma": "exp"}
    decoder = [layer("z", shape.n_latent, "linear")]
    decoder += [
        layer(f"hidden {i}", x.units, x.activation) for i, x in enumerate(shape.decoder, start=1)
    ]
    decoder.append(layer("mean", shape.n_genes, link.get(shape.likelihood, "softmax")))
    return {
        "layout": "linear path" if shape.linear_path else "plain",
        "encoder": encoder,
        "decoder": decoder,
    }


def provenance(
    data: ExpressionData, layer: str | None, settings: dict[str, Any], reason: str, best: int
) -> dict[str, Any]:
    """Write down where a fit comes from: versions, data, settings."""
    # reproducible builds set the date: https://reproducible-builds.org/specs/source-date-epoch
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = (
        datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
        if epoch
        else datetime.datetime.now(datetime.UTC)
    )
    return {
        "vaexprs": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": now.isoformat(timespec="seconds"),
        "data": {
            "n_cells": data.n_cells,
            "n_genes": data.n_genes,
            "layer": layer,
            "sha256": data.fingerprint(),
        },
        "training": {**settings, "likelihood_reason": reason, "best_epoch": best + 1},
    }
