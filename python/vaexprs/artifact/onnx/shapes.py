"""The shape of everything a graph computes, inferred before any of it runs.

A model of a hundred bytes can ask a runtime for gigabytes, and a graph may mix the cells of a
block, so that a cell would depend on its neighbours. Both are refused here. The rules of
`operators` keep cells apart, and the results together must stay within a budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vaexprs.artifact.onnx.operators import CELLS, Call, Shape, infer, shown
from vaexprs.artifact.onnx.reader import MAX_AXES, Graph
from vaexprs.errors import ArtifactError
from vaexprs.spec import GeneratorSpec

#: All results of the graph together, in multiples of the widest layer. Our deepest graph (int8,
#: zero-inflated, dispersions by library size) needs 18.
MAX_RESULTS = 64
#: A layer this wide is no cause for suspicion, however few the genes.
MODEST_WIDTH = 4096
#: All results of one cell, or of all cells, at most: 64 MiB in float32.
MAX_VALUES = 2**24


def check_shapes(graph: Graph, spec: GeneratorSpec) -> dict[str, Shape]:
    """Return the shape of every value of a graph; refuse graphs that no artifact may hold."""
    shapes: dict[str, Shape] = {name: (CELLS, width) for name, width in spec.inputs.items()}
    for tensor in graph.initializers:
        if not tensor.name or tensor.name in shapes:
            raise ArtifactError(f"graph.initializer {tensor.name!r}: the name is empty or taken.")
        shapes[tensor.name] = tensor.dims

    budget = _Budget(graph, spec)
    for node in graph.nodes:
        call = Call(node, shapes)
        if len(node.outputs) != 1:
            call.refuse(f"has {len(node.outputs)} outputs, expected 1")
        (name,), shape = node.outputs, infer(call)
        if not name or name in shapes:
            call.refuse(f"gives its result the name {name!r}, which is empty or taken")
        if CELLS in shape[1:] or len(shape) > MAX_AXES:
            call.refuse(
                f"gives a result of the shape {shown(shape)}: cells are the first axis of 2"
            )
        budget.spend(call, shape)
        shapes[name] = shape

    for output in graph.outputs:
        shape = shapes.get(output.name, ())
        rows = 1 if output.shape is not None and output.shape[0] == 1 else CELLS
        if shape != (rows, spec.n_genes):
            raise ArtifactError(
                f"graph.output {output.name!r}: declared as {shown((rows, spec.n_genes))}, and "
                f"the graph computes {shown(shape) if shape else 'no such value'}."
            )
    for value in graph.value_info:
        known = shapes.get(value.name)
        if known is not None and value.shape is not None and not _agree(known, value.shape):
            raise ArtifactError(
                f"graph.value_info {value.name!r}: declared as {list(value.shape)}, and the graph "
                f"computes {shown(known)}."
            )
    return shapes


class _Budget:
    """The values that the results of a graph may hold, and the multiplications they may cost."""

    def __init__(self, graph: Graph, spec: GeneratorSpec) -> None:
        n_weights = sum(tensor.size for tensor in graph.initializers)
        widest = max(
            MODEST_WIDTH, spec.n_genes, len(spec.conditions.n_cells), *spec.inputs.values()
        )
        n_values = min(MAX_RESULTS * widest, MAX_VALUES)
        # Weights of 8 bits are unpacked to floats.
        self.values = {"for each cell": n_values, "for all cells": n_values + n_weights}
        # A cell meets every weight once, or a few times where weights are shared.
        self.products = dict.fromkeys(self.values, MAX_RESULTS * widest + 4 * n_weights)
        self.allowed = dict(self.values)

    def spend(self, call: Call, shape: Shape) -> None:
        kind = "for each cell" if CELLS in shape else "for all cells"
        self.values[kind] -= abs(math.prod(shape))
        self.products[kind] -= call.n_products
        if self.values[kind] < 0:
            call.refuse(
                f"gives a result of the shape {shown(shape)}, which brings the graph above the "
                f"{self.allowed[kind]} values that it may compute {kind}"
            )
        if self.products[kind] < 0:
            call.refuse(
                f"needs {call.n_products} multiplications {kind}, out of proportion to the weights"
            )


def _agree(known: Shape, declared: Sequence[int | str | None]) -> bool:
    """Return whether a declared shape contradicts the computed one in no axis."""
    return len(known) == len(declared) and all(
        not isinstance(says, int) or says == length
        for length, says in zip(known, declared, strict=True)
    )
