"""The operators an artifact may use, and the shape of the result of each.

A rule takes a `Call`, a node with the shapes of its inputs, and returns the shape of the result.
The number of cells is a symbol, `CELLS`, and always the first axis. No rule lets an operator
reduce, move or index that axis, so a row of an output depends on the same row of the inputs alone.

The list holds the operators that `vaexprs.export` writes and decoders of other packages need.
Every other operator is refused: a short list is quick to review.

Operators: the ONNX standard, ``docs/Operators.md``, versions 13 to 21.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from vaexprs.artifact.onnx.reader import Node
from vaexprs.errors import ArtifactError

#: The length of the axis of cells.
CELLS = -1

Shape = tuple[int, ...]


def infer(call: Call) -> Shape:
    """Return the shape of the result of a node, whose operator is one of `OPERATORS`.

    Raises
    ------
    ArtifactError
        If the inputs do not fit the operator, or it would mix cells; the message names the node.
    """
    known = _ATTRIBUTES.get(call.node.op_type, {})
    for name, attribute in call.node.attributes.items():
        if known.get(name) != attribute.kind:
            call.refuse(f"has the attribute {name!r} of kind {attribute.kind!r}, which is not its")
    if len(call.node.inputs) > _MOST_INPUTS.get(call.node.op_type, 1):
        call.refuse(f"has {len(call.node.inputs)} inputs, more than it takes")
    return _RULES[call.node.op_type](call)


class Call:
    """A node with the shapes of its inputs; its methods refuse in the name of the node."""

    def __init__(self, node: Node, shapes: dict[str, Shape]) -> None:
        self.node, self.shapes = node, shapes
        #: Multiplications of a matrix product, for each cell or for all.
        self.n_products = 0

    def refuse(self, problem: str) -> NoReturn:
        """Raise an `ArtifactError` that names the node."""
        label = self.node.name or ", ".join(self.node.outputs[:3])
        raise ArtifactError(f"graph.node {label!r} ({self.node.op_type}) {problem}.")

    def has(self, index: int) -> bool:
        """Return whether an input is there; trailing inputs may be absent, and any be empty."""
        return index < len(self.node.inputs) and self.node.inputs[index] != ""

    def shape(self, index: int) -> Shape:
        """Return the shape of an input that must be there."""
        if not self.has(index):
            self.refuse(f"lacks its input {index}")
        name = self.node.inputs[index]
        if name not in self.shapes:
            self.refuse(f"takes {name!r}, which no input, initializer or earlier node gives")
        return self.shapes[name]

    def all_shapes(self) -> list[Shape]:
        """Return the shapes of all inputs."""
        return [self.shape(index) for index in range(len(self.node.inputs))]

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.integer

    def flag(self, name: str) -> bool:
        """Return an attribute that is 0 or 1, by default 0; runtimes differ on other values."""
        value = self.integer(name, 0)
        if value not in (0, 1):
            self.refuse(f"has the attribute {name!r} of {value}, expected 0 or 1")
        return value == 1

    def axis(self, default: int, shape: Shape) -> int:
        """Return the attribute ``axis`` counted from the front; the axis of cells is refused."""
        axis = self.integer("axis", default)
        if not -len(shape) <= axis < len(shape):
            self.refuse(f"works along axis {axis} of the shape {shown(shape)}")
        axis %= len(shape)
        if shape[axis] == CELLS:
            self.refuse("works along the axis of cells, and so would mix them")
        return axis

    def broadcast(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of an elementwise result."""
        rank = max(map(len, shapes))
        result = []
        for lengths in zip(*((1,) * (rank - len(s)) + s for s in shapes), strict=True):
            different = set(lengths) - {1}
            if len(different) > 1:
                self.refuse("takes shapes that do not fit: " + " and ".join(map(shown, shapes)))
            result.append(different.pop() if different else 1)
        return tuple(result)


def _like_first(call: Call) -> Shape:
    return call.shape(0)


def _of_two(call: Call) -> Shape:
    return call.broadcast([call.shape(0), call.shape(1)])


def _of_many(call: Call) -> Shape:
    return call.broadcast([call.shape(0), *call.all_shapes()[1:]])


def _softmax(call: Call) -> Shape:
    shape = call.shape(0)
    call.axis(-1, shape)
    return shape


def _layer_normalization(call: Call) -> Shape:
    shape = call.shape(0)
    width = shape[call.axis(-1, shape) :]
    for index in range(1, max(len(call.node.inputs), 2)):
        if call.shape(index) != width:
            call.refuse(f"scales {shown(shape)} by {shown(call.shape(index))}")
    return shape


def _quantize(call: Call) -> Shape:
    """One scale for all values, or one for each place along an axis; zero points alike."""
    shape, scale = call.shape(0), call.shape(1)
    if scale not in ((), (1,)) and scale != (shape[call.axis(1, shape)],):
        call.refuse(f"scales {shown(shape)} by {shown(scale)}")
    if call.has(2) and call.shape(2) != scale:
        call.refuse(f"has a scale of shape {shown(scale)} and a zero of {shown(call.shape(2))}")
    return shape


def _product(call: Call, a: Shape, b: Shape) -> Shape:
    if len(a) != 2 or len(b) != 2 or a[1] != b[0] or CELLS in b:
        call.refuse(
            f"takes {shown(a)} and {shown(b)}, expected (rows, k) and (k, columns) with a "
            "second matrix that does not depend on the cells"
        )
    call.n_products = abs(a[0] * a[1] * b[1])
    return a[0], b[1]


def _matmul(call: Call) -> Shape:
    return _product(call, call.shape(0), call.shape(1))


def _gemm(call: Call) -> Shape:
    a, b = call.shape(0), call.shape(1)
    if call.flag("transA"):
        a = a[::-1]
    if call.flag("transB"):
        b = b[::-1]
    result = _product(call, a, b)
    if call.has(2) and call.broadcast([result, call.shape(2)]) != result:
        call.refuse(f"adds {shown(call.shape(2))} to a product of shape {shown(result)}")
    return result


def _concat(call: Call) -> Shape:
    shapes = call.all_shapes()
    if not shapes or "axis" not in call.node.attributes:
        call.refuse("lacks its inputs or its axis")
    axis = call.axis(0, shapes[0])

    def others(shape: Shape) -> Shape:
        return shape[:axis] + shape[axis + 1 :]

    if any(len(s) != len(shapes[0]) or others(s) != others(shapes[0]) for s in shapes):
        call.refuse("takes shapes that do not fit: " + " and ".join(map(shown, shapes[:4])))
    return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])


_RULES: dict[str, Callable[[Call], Shape]] = {
    **dict.fromkeys(
        ("Elu", "Erf", "Exp", "Identity", "LeakyRelu", "Log", "Relu", "Selu", "Sigmoid",
         "Softplus", "Tanh"),
        _like_first,
    ),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _of_two),
    **dict.fromkeys(("Min", "Max"), _of_many),
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _quantize,
    "Softmax": _softmax,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Concat": _concat,
}  # fmt: skip

#: Attributes by operator and kind: a float or an integer. Other operators have none.
_ATTRIBUTES: dict[str, dict[str, str]] = {
    "Concat": {"axis": "i"},
    "DequantizeLinear": {"axis": "i"},
    "Elu": {"alpha": "f"},
    "Gemm": {"alpha": "f", "beta": "f", "transA": "i", "transB": "i"},
    "LayerNormalization": {"axis": "i", "epsilon": "f"},
    "LeakyRelu": {"alpha": "f"},
    "QuantizeLinear": {"axis": "i"},
    "Selu": {"alpha": "f", "gamma": "f"},
    "Softmax": {"axis": "i"},
}
#: Most inputs by operator; other operators have one. 64 is beyond any decoder.
_MOST_INPUTS: dict[str, int] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "MatMul"), 2),
    **dict.fromkeys(("Gemm", "LayerNormalization", "QuantizeLinear", "DequantizeLinear"), 3),
    **dict.fromkeys(("Concat", "Max", "Min"), 64),
}

#: The operators that an artifact may use.
OPERATORS: frozenset[str] = frozenset(_RULES)


def shown(shape: Shape) -> str:
    """Return a shape as messages show it."""
    return "[" + ", ".join("n_cells" if n == CELLS else str(n) for n in shape[:8]) + "]"
