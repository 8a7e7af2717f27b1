"""Stacks of dense layers, as users write them and as a module."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaexprs.checks import whole
from vaexprs.errors import ArgumentError, near_matches
from vaexprs.export.graph import ACTIVATIONS
from vaexprs.spec import Likelihood

#: Units of a layer at most: more would not fit in the numbers that count weights.
_WIDEST = 2**24
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "gelu": F.gelu,
    "leaky_relu": F.leaky_relu,
    "linear": lambda x: x,
    "relu": F.relu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class Layer:
    """A dense layer: width and activation."""

    units: int
    activation: str = "relu"


#: Layers from the input to the output: widths, pairs of width and activation, or one width.
LayersLike: TypeAlias = int | Sequence[int | tuple[int, str] | Layer]


def parse_layers(layers: Any, *, name: str) -> tuple[Layer, ...]:
    """Return layers given as ``(512, 256)``, ``[(512, "relu"), ...]`` or one number."""
    if isinstance(layers, Integral) and not isinstance(layers, bool):
        layers = (layers,)
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise ArgumentError(
            f'{name} must list layers, such as (128,) or [(512, "relu")], got {layers!r}.'
        )
    parsed = []
    for layer in layers:
        if isinstance(layer, Layer):
            units, function = layer.units, layer.activation
        elif isinstance(layer, (tuple, list)) and len(layer) == 2:
            units, function = layer
        else:
            units, function = layer, "relu"
        units = whole(f"{name}: a layer's width", units, 1, _WIDEST)
        if function not in ACTIVATIONS:
            raise ArgumentError(
                f"{name}: unknown activation {function!r}: " + near_matches(function, ACTIVATIONS)
            )
        parsed.append(Layer(units, function))
    return tuple(parsed)


def layers_of(
    hidden: LayersLike,
    encoder: LayersLike | None,
    decoder: LayersLike | None,
    n_genes: int,
    likelihood: Likelihood,
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """Return the hidden layers of encoder and decoder, by `fit_vae`'s arguments."""
    if encoder is None and decoder is None:
        layers = parse_layers(hidden, name="hidden")
        return layers, layers[::-1]
    encoder_layers = parse_layers(hidden if encoder is None else encoder, name="encoder")
    decoder_layers = parse_layers(
        encoder_layers[::-1] if decoder is None else decoder, name="decoder"
    )
    if decoder is not None and len(decoder_layers) and decoder_layers[-1].units == n_genes:
        wanted, given = likelihood.outputs["mean"].function, decoder_layers[-1].activation
        if given not in (wanted, "linear"):
            raise ArgumentError(
                f"the decoder's output layer has the activation {given!r}, but likelihood "
                f"{likelihood.name!r} links its mean by {wanted!r}: leave the output layer out, "
                f"or use likelihood={'bernoulli' if given == 'sigmoid' else 'auto'!r}."
            )
        decoder_layers = decoder_layers[:-1]
    if not decoder_layers or not encoder_layers:
        raise ArgumentError("encoder and decoder need at least one hidden layer each.")
    return encoder_layers, decoder_layers


class Stack(nn.Module):
    """Dense layers one after the other."""

    def __init__(self, n_inputs: int, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        widths = [n_inputs, *(layer.units for layer in layers)]
        self.dense = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.n_outputs = widths[-1]
        for dense, layer in zip(self.dense, self.layers, strict=True):
            assert isinstance(dense, nn.Linear)
            # He et al. 2015 for activations cut off below zero, else Glorot and Bengio 2010
            gain = math.sqrt(2.0) if "relu" in layer.activation else 1.0
            nn.init.normal_(dense.weight, std=gain / math.sqrt(dense.in_features))
            nn.init.zeros_(dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers, ``(n, n_inputs)`` to ``(n, n_outputs)``."""
        for dense, layer in zip(self.dense, self.layers, strict=True):
            x = _FUNCTIONS[layer.activation](dense(x))
        return x
