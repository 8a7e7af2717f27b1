"""The operators that an artifact may use, and the shape of what each gives.

Each operator has a rule, which takes a `Call`, a node with the shapes of its inputs, and returns
the shapes of its results or refuses in the name of the node. In these shapes the number of cells
is a symbol, `CELLS`, and always the first axis. The rules keep cells apart: none takes values
along that axis, sums over it, moves it or lets it meet an axis of another meaning.

Operators: the ONNX standard, ``docs/Operators.md``, versions 13 to 21.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NoReturn

from vaexprs.artifact.onnx.reader import BOOL, INT64, ITEM_SIZES, Attribute, Node, Tensor
from vaexprs.errors import ArtifactError

__all__ = ["CELLS", "OPERATORS", "Call", "Shape", "infer", "shown"]

#: The length of the axis of cells.
CELLS = -1
#: A constant that sets shapes has at most so many numbers.
MAX_NUMBERS = 64

Shape = tuple[int, ...]


def infer(call: Call) -> Sequence[Shape]:
    """Return the shapes of the results of a node, whose operator is one of `OPERATORS`.

    Raises
    ------
    ArtifactError
        If the inputs do not fit the operator, or it would mix cells; the message names the node.
    """
    return _RULES[call.node.op_type](call)


class Call:
    """A node with what is known of its inputs; its methods refuse in the name of the node."""

    def __init__(self, node: Node, shapes: dict[str, Shape], constants: dict[str, Tensor]) -> None:
        self.node, self.shapes, self.constants = node, shapes, constants
        #: Multiplications of a matrix product, for each cell or for all.
        self.n_products = 0

    def refuse(self, problem: str) -> NoReturn:
        """Raise an `ArtifactError` that names the node."""
        label = self.node.name or ", ".join(self.node.outputs[:3])
        raise ArtifactError(f"graph.node {label!r} ({self.node.op_type}) {problem}.")

    def has(self, index: int) -> bool:
        """Whether an input is there; those at the end may be left out, and any be empty."""
        return index < len(self.node.inputs) and self.node.inputs[index] != ""

    def shape(self, index: int) -> Shape:
        """Return the shape of an input that must be there."""
        if not self.has(index):
            self.refuse(f"lacks its input {index}")
        name = self.node.inputs[index]
        if name not in self.shapes:
            self.refuse(f"takes {name!r}, which no input, initializer or earlier node gives")
        return self.shapes[name]

    def fixed(self, index: int) -> Shape:
        """Return the shape of an input that may not depend on the cells."""
        shape = self.shape(index)
        if CELLS in shape:
            self.refuse(f"takes {self.node.inputs[index]!r}, which may not depend on the cells")
        return shape

    def all_shapes(self) -> list[Shape]:
        """Return the shapes of all inputs."""
        return [self.shape(index) for index in range(len(self.node.inputs))]

    def numbers(self, index: int) -> tuple[int, ...]:
        """Return the values of an input that sets shapes, and so must be a constant."""
        if self.has(index):
            tensor = self.constants.get(self.node.inputs[index])
            numbers = None if tensor is None else tensor.integers(MAX_NUMBERS)
            if numbers is not None:
                return numbers
        self.refuse(f"needs a short constant of integers as its input {index}")

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is an integer."""
        attribute = self.attribute(name, "i")
        return default if attribute is None else attribute.integer

    def flag(self, name: str, default: bool) -> bool:
        """Return an attribute that is 0 or 1; runtimes differ in what they make of others."""
        value = self.integer(name, default)
        if value not in (0, 1):
            self.refuse(f"has the attribute {name!r} of {value}, expected 0 or 1")
        return value == 1

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Return an attribute that is a list of integers, or None."""
        attribute = self.attribute(name, "ints")
        return None if attribute is None else attribute.integers

    def attribute(self, name: str, kind: str) -> Attribute | None:
        """Return an attribute, which must be of that kind, or None."""
        attribute = self.node.attributes.get(name)
        if attribute is not None and attribute.kind != kind:
            self.refuse(f"has the attribute {name!r} of the wrong kind {attribute.kind!r}")
        return attribute

    def axis(self, axis: int, shape: Shape) -> int:
        """Return an axis counted from the front, which may not be that of the cells."""
        if not -len(shape) <= axis < len(shape):
            self.refuse(f"works along axis {axis} of the shape {shown(shape)}")
        axis %= len(shape)
        if shape[axis] == CELLS:
            self.refuse("works along the axis of cells, and so would mix them")
        return axis

    def broadcast(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape that elementwise operators give."""
        rank = max(map(len, shapes))
        result = []
        for lengths in zip(*((1,) * (rank - len(s)) + s for s in shapes), strict=True):
            different = set(lengths) - {1}
            if len(different) > 1:
                self.refuse("takes shapes that do not fit: " + " and ".join(map(shown, shapes)))
            result.append(different.pop() if different else 1)
        return tuple(result)


def _elementwise(call: Call) -> Sequence[Shape]:
    if not call.node.inputs:
        call.refuse("has no inputs")
    return [call.broadcast(call.all_shapes())]


def _like_first(call: Call) -> Sequence[Shape]:
    return [call.shape(0)]


def _quantize(call: Call) -> Sequence[Shape]:
    """One scale for all values, or one for each place along an axis; zero points alike."""
    shape, scale = call.shape(0), call.shape(1)
    if scale not in ((), (1,)) and scale != (shape[call.axis(call.integer("axis", 1), shape)],):
        call.refuse(f"scales {shown(shape)} by {shown(scale)}")
    if call.has(2) and call.shape(2) != scale:
        call.refuse(f"has a scale of shape {shown(scale)} and a zero of {shown(call.shape(2))}")
    return [shape]


def _clip(call: Call) -> Sequence[Shape]:
    for index in (1, 2):
        if call.has(index) and call.shape(index) != ():
            call.refuse(f"takes a bound of the shape {shown(call.shape(index))}, expected []")
    return [call.shape(0)]


def _cast(call: Call) -> Sequence[Shape]:
    if call.integer("to", 0) not in {*ITEM_SIZES, BOOL}:
        call.refuse(f"casts to the data type of number {call.integer('to', 0)}, expected a number")
    return [call.shape(0)]


def _softmax(call: Call) -> Sequence[Shape]:
    shape = call.shape(0)
    call.axis(call.integer("axis", -1), shape)
    return [shape]


def _product(call: Call, a: Shape, b: Shape) -> Shape:
    if len(a) != 2 or len(b) != 2 or a[1] != b[0] or CELLS in b:
        call.refuse(
            f"takes {shown(a)} and {shown(b)}, expected (rows, k) and (k, columns) with a "
            "second matrix that does not depend on the cells"
        )
    call.n_products = abs(a[0] * a[1] * b[1])
    return a[0], b[1]


def _matmul(call: Call) -> Sequence[Shape]:
    return [_product(call, call.shape(0), call.shape(1))]


def _qlinear_matmul(call: Call) -> Sequence[Shape]:
    for index in (1, 2, 4, 5, 6, 7):
        call.fixed(index)
    return [_product(call, call.shape(0), call.shape(3))]


def _matmul_integer(call: Call) -> Sequence[Shape]:
    for index in (2, 3):
        if call.has(index):
            call.fixed(index)
    return _matmul(call)


def _gemm(call: Call) -> Sequence[Shape]:
    a, b = call.shape(0), call.shape(1)
    if call.flag("transA", False):
        a = a[::-1]
    if call.flag("transB", False):
        b = b[::-1]
    result = _product(call, a, b)
    if call.has(2) and call.broadcast([result, call.shape(2)]) != result:
        call.refuse(f"adds {shown(call.shape(2))} to a product of shape {shown(result)}")
    return [result]


def _concat(call: Call) -> Sequence[Shape]:
    shapes = call.all_shapes()
    if not shapes or "axis" not in call.node.attributes:
        call.refuse("lacks its inputs or its axis")
    axis = call.axis(call.integer("axis", 0), shapes[0])
    if any(
        len(s) != len(shapes[0]) or _with(s, axis, 0) != _with(shapes[0], axis, 0) for s in shapes
    ):
        call.refuse("takes shapes that do not fit: " + " and ".join(map(shown, shapes[:4])))
    return [_with(shapes[0], axis, sum(shape[axis] for shape in shapes))]


def _slice(call: Call) -> Sequence[Shape]:
    shape = call.shape(0)
    starts, stops = call.numbers(1), call.numbers(2)
    axes = call.numbers(3) if call.has(3) else tuple(range(len(starts)))
    steps = call.numbers(4) if call.has(4) else (1,) * len(starts)
    if not len(starts) == len(stops) == len(axes) == len(steps) or 0 in steps:
        call.refuse("has starts, ends, axes and steps that do not fit")
    axes = tuple(call.axis(axis, shape) for axis in axes)
    if len(set(axes)) != len(axes):
        call.refuse("names an axis twice")
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        # What Python makes of a slice is what the standard prescribes.
        length = len(range(*slice(start, stop, step).indices(shape[axis])))
        shape = _with(shape, axis, length)
    return [shape]


def _split(call: Call) -> Sequence[Shape]:
    shape = call.shape(0)
    axis = call.axis(call.integer("axis", 0), shape)
    n_outputs = len(call.node.outputs)
    if call.integer("num_outputs", n_outputs) != n_outputs or n_outputs < 1:
        call.refuse(f"has {n_outputs} outputs and another num_outputs")
    if call.has(1):
        lengths = call.numbers(1)
    else:
        # All the same but for the last, which may be shorter.
        length = -(-shape[axis] // n_outputs)
        lengths = (length,) * (n_outputs - 1) + (shape[axis] - length * (n_outputs - 1),)
    if len(lengths) != n_outputs or min(lengths) < 1 or sum(lengths) != shape[axis]:
        call.refuse(f"cannot split {shown(shape)} into {list(lengths[:8])} along axis {axis}")
    return [_with(shape, axis, length) for length in lengths]


def _gather(call: Call) -> Sequence[Shape]:
    shape, indices = call.shape(0), call.fixed(1)
    axis = call.axis(call.integer("axis", 0), shape)
    # Runtimes differ in what they do with indices that point outside.
    tensor = call.constants.get(call.node.inputs[1])
    numbers = None if tensor is None else tensor.integers(math.prod(indices))
    if not numbers:
        call.refuse("needs a constant of integers as its indices")
    if min(numbers) < -shape[axis] or max(numbers) >= shape[axis]:
        call.refuse(f"takes indices up to {max(numbers)} along axis {axis} of {shown(shape)}")
    return [shape[:axis] + indices + shape[axis + 1 :]]


def _unsqueeze(call: Call) -> Sequence[Shape]:
    shape, axes = call.shape(0), call.numbers(1)
    rank = len(shape) + len(axes)
    places = {axis % rank for axis in axes if -rank <= axis < rank}
    if len(places) != len(axes):
        call.refuse(f"has axes {list(axes)} that do not fit")
    rest = iter(shape)
    return [tuple(1 if place in places else next(rest) for place in range(rank))]


def _squeeze(call: Call) -> Sequence[Shape]:
    # The axes must be given, or a block of one cell would lose its axis.
    shape = call.shape(0)
    axes = call.numbers(1)
    places = {call.axis(axis, shape) for axis in axes}
    if len(places) != len(axes):
        call.refuse("names an axis twice")
    if any(shape[place] != 1 for place in places):
        call.refuse(f"removes axes of {shown(shape)} that are not of length 1")
    return [tuple(length for place, length in enumerate(shape) if place not in places)]


def _reshape(call: Call) -> Sequence[Shape]:
    shape, wanted = call.shape(0), list(call.numbers(1))
    if call.flag("allowzero", False):
        call.refuse("has allowzero set")
    rest, whole = wanted, shape
    if CELLS in shape:
        # The axis of cells stays: by 0, which copies it, or by -1 where all else is given.
        if not wanted or wanted[0] not in (0, -1) or (wanted[0] == -1 and -1 in wanted[1:]):
            call.refuse(f"turns {shown(shape)} into {wanted}, which does not keep the cells apart")
        rest, whole = wanted[1:], shape[1:]
    if 0 in rest or rest.count(-1) > 1 or min(rest, default=1) < -1:
        call.refuse(f"has the shape {wanted}; only the cells may be copied by 0")
    size = math.prod(whole)
    if -1 in rest:
        others = -math.prod(rest)
        rest[rest.index(-1)] = size // others
    if math.prod(rest) != size:
        call.refuse(f"turns {shown(shape)} into {wanted}, which does not fit")
    return [((CELLS,) if CELLS in shape else ()) + tuple(rest)]


def _transpose(call: Call) -> Sequence[Shape]:
    shape = call.shape(0)
    order = call.integers("perm") or tuple(reversed(range(len(shape))))
    if sorted(order) != list(range(len(shape))):
        call.refuse(f"has perm {list(order)} for the shape {shown(shape)}")
    return [tuple(shape[axis] for axis in order)]


def _reduce(call: Call) -> Sequence[Shape]:
    shape = call.shape(0)
    # Axes are an input, and were an attribute of ReduceMean before version 18.
    axes = call.numbers(1) if call.has(1) else call.integers("axes")
    if not axes:
        call.refuse("names no axes")
    places = {call.axis(axis, shape) for axis in axes}
    if len(places) != len(axes):
        call.refuse("names an axis twice")
    if call.flag("keepdims", True):
        return [tuple(1 if place in places else n for place, n in enumerate(shape))]
    return [tuple(n for place, n in enumerate(shape) if place not in places)]


def _layer_normalization(call: Call) -> Sequence[Shape]:
    shape = call.shape(0)
    axis = call.axis(call.integer("axis", -1), shape)
    for index in (1, 2):
        if index == 1 or call.has(index):
            call.broadcast([shape[axis:], call.fixed(index)])
            if len(call.fixed(index)) > len(shape) - axis:
                call.refuse(f"scales {shown(shape)} by {shown(call.fixed(index))}")
    statistics = shape[:axis] + (1,) * (len(shape) - axis)
    return [shape, statistics, statistics]


def _constant(call: Call) -> Sequence[Shape]:
    attributes = list(call.node.attributes.values())
    names = {"value", "value_float", "value_floats", "value_int", "value_ints"}
    if len(attributes) != 1 or attributes[0].name not in names or call.node.inputs:
        call.refuse("needs one value, a tensor or numbers")
    attribute = attributes[0]
    if attribute.tensor is not None:
        call.constants[call.node.outputs[0]] = attribute.tensor
        return [attribute.tensor.dims]
    if attribute.kind in ("i", "ints"):
        numbers = (attribute.integer,) if attribute.kind == "i" else attribute.integers
        dims = () if attribute.kind == "i" else (len(numbers),)
        call.constants[call.node.outputs[0]] = Tensor(
            "", dims, INT64, 8 * len(numbers), numbers=numbers
        )
        return [dims]
    if attribute.kind in ("f", "floats"):
        return [() if attribute.kind == "f" else (attribute.n_values,)]
    call.refuse("needs one value, a tensor or numbers")


_RULES: dict[str, Callable[[Call], Sequence[Shape]]] = {
    **dict.fromkeys(
        ("Abs", "Elu", "Erf", "Exp", "Gelu", "Identity", "LeakyRelu", "Log", "Neg", "Relu",
         "Selu", "Sigmoid", "Softplus", "Sqrt", "Tanh"),
        _like_first,
    ),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"), _elementwise),
    "Cast": _cast,
    "Clip": _clip,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _quantize,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "MatMulInteger": _matmul_integer,
    "QLinearMatMul": _qlinear_matmul,
    "Gemm": _gemm,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "ReduceSum": _reduce,
    "ReduceMean": _reduce,
    "LayerNormalization": _layer_normalization,
    "Constant": _constant,
}  # fmt: skip

#: The operators that an artifact may use.
OPERATORS: frozenset[str] = frozenset(_RULES)


def _with(shape: Shape, axis: int, length: int) -> Shape:
    return (*shape[:axis], length, *shape[axis + 1 :])


def shown(shape: Shape) -> str:
    """Return a shape as it is written in messages."""
    return "[" + ", ".join("n_cells" if n == CELLS else str(n) for n in shape[:8]) + "]"
