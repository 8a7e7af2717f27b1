"""Build a VAE with starting weights from the training cells."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaexprs.data import ExpressionData
from vaexprs.errors import ArgumentError
from vaexprs.spec import Conditions
from vaexprs.training.inputs.cross_fitting import Components
from vaexprs.training.inputs.prepare import Prepared
from vaexprs.training.likelihoods.base import Start, TrainingLaw
from vaexprs.training.network.layers import Layer
from vaexprs.training.network.model import VAE, Architecture

#: Combinations with at least 20 cells get corrections of their own, the 64 largest at most.
_CELLS_OF_OWN, _MOST_COMBINATIONS = 20, 64
#: With more than 256 categories, one-hot is replaced by fixed random 64-dimensional embeddings in
#: the linear path.
_MOST_CATEGORIES, _EMBEDDING = 256, 64
#: Bytes that a weight takes in training: itself, its gradient, two moments of Adam, and the best
#: weights so far, in float32.
_BYTES_OF_WEIGHT = 20


def build(
    cells: Prepared,
    law: TrainingLaw,
    layers: tuple[tuple[Layer, ...], tuple[Layer, ...]],
    device: torch.device,
    seed: int,
) -> VAE:
    """Return a VAE for prepared cells, on a device, at its starting weights.

    `layers` are the hidden layers of encoder and decoder. Torch's global generator stays as it was.

    Raises
    ------
    ArgumentError
        If the weights alone would take more memory than the device has.
    """
    data = cells.data
    member = _members(data.conditions)
    n_conditions = data.conditions.n_conditions
    shape = Architecture(
        likelihood=law.name,
        heads=law.heads,
        n_genes=data.n_genes,
        n_latent=cells.n_latent,
        n_inputs=cells.features.n_inputs,
        n_keys=len(data.keys),
        n_conditions=n_conditions,
        n_combinations=member.shape[1],
        encoder=layers[0],
        decoder=layers[1],
        linear_path=not cells.features.reads_genes,
        embedding=_EMBEDDING if n_conditions > _MOST_CATEGORIES else 0,
        reads_library=law.row.reads_library,
        hidden_groups=cells.features.n_groups,
        typical_library=_typical_library(data) if law.row.reads_library else 1.0,
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        with torch.device("meta"):  # which holds no values
            _check_memory(VAE(shape, law.log_prob), device)
        torch.manual_seed(seed)
        vae = VAE(shape, law.log_prob).to(device)
        vae.decoder.member.copy_(torch.from_numpy(member))
        if shape.embedding:
            vectors = torch.randn(n_conditions, shape.embedding) / shape.embedding**0.5
            vae.decoder.embedding.copy_(vectors)
    start = law.start(cells.training, cells.features, cells.scaling)
    with torch.no_grad():
        for name, values in start.heads.items():
            if name in shape.heads:
                vae.decoder.head(name).bias.copy_(_float32(values))
        if shape.linear_path:
            _start_linear_path(vae, cells.components, start)
        ceiling = law.ceiling(data)
        if ceiling is not None:
            vae.decoder.ceiling.copy_(_float32(np.log(ceiling)))
    return vae


def _check_memory(vae: VAE, device: torch.device) -> None:
    """Refuse a model that cannot be trained: a host that lacks memory ends the process."""
    needed = _BYTES_OF_WEIGHT * sum(weight.numel() for weight in vae.parameters())
    if device.type == "cuda":
        there = torch.cuda.get_device_properties(device).total_memory
    elif hasattr(os, "sysconf"):
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:  # Windows, which does not say
        return
    if needed > there:
        widths = [
            [layer.units for layer in side] for side in (vae.shape.encoder, vae.shape.decoder)
        ]
        raise ArgumentError(
            f"a model with hidden layers of {widths[0]} and {widths[1]} units takes "
            f"{needed / 1e9:,.0f} GB to train on {vae.shape.n_genes:,} genes, and the device has "
            f"{there / 1e9:,.0f} GB: use fewer units."
        )


def _start_linear_path(vae: VAE, components: Components, start: Start) -> None:
    """Start z as the signal in the scores, and move the genes by the loadings.

    Genes without a loading stay off the path: training would fill in the noise of its cells.
    """
    share = components.signal / components.total
    weight = components.loadings / start.slope[:, None] * start.trust[:, None]
    skip = vae.encoder.skip
    assert skip is not None
    skip.zero_()
    path = vae.decoder.head("logits").weight["z"]
    kept = torch.ones_like(path)
    for j in range(min(vae.shape.n_latent, weight.shape[1])):
        skip[j, j] = float(np.sqrt(share[j]))
        vae.encoder.log_variance.bias[j] = float(np.log(1 - share[j]))
        path[j] = _float32(weight[:, j]).to(skip.device)
        kept[j] = path[j] != 0
    path.register_hook(lambda gradient: gradient * kept)


def _float32(values: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def _typical_library(data: ExpressionData) -> float:
    return float(np.exp(np.log(data.library).mean()))


def _members(conditions: Conditions) -> NDArray[np.float32]:
    """Return the categories of the combinations with corrections of their own, ``(C, m)``."""
    kept = np.argsort(-conditions.n_cells, kind="stable")[:_MOST_COMBINATIONS]
    kept = np.sort(kept[conditions.n_cells[kept] >= _CELLS_OF_OWN])
    if len(conditions.keys) < 2:  # one key: its categories are the combinations
        kept = kept[:0]
    return np.ascontiguousarray(conditions.one_hot(conditions.combinations[kept]).T)


def describe(shape: Architecture, function: str) -> dict[str, Any]:
    """Return the layers for people and plots; `function` links the mean."""

    def layer(name: str, units: int, activation: str = "linear") -> dict[str, Any]:
        return {"name": name, "units": units, "activation": activation}

    def hidden(layers: tuple[Layer, ...]) -> list[dict[str, Any]]:
        return [layer(f"hidden {i}", x.units, x.activation) for i, x in enumerate(layers, start=1)]

    first = layer("scores" if shape.linear_path else "genes", shape.n_inputs)
    z, mean = layer("z", shape.n_latent), layer("mean", shape.n_genes, function)
    return {
        "layout": "linear path" if shape.linear_path else "plain",
        "encoder": [first, *hidden(shape.encoder), z],
        "decoder": [z, *hidden(shape.decoder), mean],
    }
