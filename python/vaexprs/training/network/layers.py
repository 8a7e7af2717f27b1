"""Stacks of dense layers as users write them, and the activations that both sides know."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaexprs.checks import whole
from vaexprs.errors import near_matches
from vaexprs.export.graph import ACTIVATIONS

__all__ = ["Layer", "Stack", "activation", "parse_layers"]

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


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return the function of an activation by its name."""
    return _FUNCTIONS[name]


@dataclass(frozen=True)
class Layer:
    """A dense layer: its width and its activation."""

    units: int
    activation: str = "relu"


def parse_layers(layers: Any, *, name: str, default_activation: str = "relu") -> tuple[Layer, ...]:
    """Read layers from ``(512, 256)``, ``[(512, "relu"), ...]`` or one number.

    Raises
    ------
    ValueError
        If a width is not a positive whole number or an activation is not known.
    """
    if isinstance(layers, Integral) and not isinstance(layers, bool):
        layers = (layers,)
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise ValueError(
            f'{name} must list layers, such as (128,) or [(512, "relu")], got {layers!r}.'
        )
    parsed = []
    for layer in layers:
        if isinstance(layer, Layer):
            units, function = layer.units, layer.activation
        elif isinstance(layer, (tuple, list)) and len(layer) == 2:
            units, function = layer
        else:
            units, function = layer, default_activation
        units = whole(f"{name}: a layer's width", units, 1)
        if function not in ACTIVATIONS:
            raise ValueError(
                f"{name}: unknown activation {function!r}: " + near_matches(function, ACTIVATIONS)
            )
        parsed.append(Layer(units, function))
    return tuple(parsed)


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
            # He et al. 2015 for what is cut off below zero, Glorot and Bengio 2010 otherwise.
            gain = math.sqrt(2.0) if "relu" in layer.activation else 1.0
            nn.init.normal_(dense.weight, std=gain / math.sqrt(dense.in_features))
            nn.init.zeros_(dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers, ``(n, n_inputs)`` to ``(n, n_outputs)``."""
        for dense, layer in zip(self.dense, self.layers, strict=True):
            x = activation(layer.activation)(dense(x))
        return x
