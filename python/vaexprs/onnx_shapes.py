"""The operators an artifact may use."""

from __future__ import annotations

from vaexprs.onnx_reader import Graph
from vaexprs.spec import GeneratorSpec

__all__ = ["OPERATORS", "check_shapes"]

OPERATORS: frozenset[str] = frozenset(
    [
        "Abs",
        "Add",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "DequantizeLinear",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Gather",
        "Gelu",
        "Gemm",
        "Identity",
        "LayerNormalization",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "MatMul",
        "MatMulInteger",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "QLinearMatMul",
        "QuantizeLinear",
        "ReduceMean",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Selu",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Softplus",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
    ]
)


def check_shapes(graph: Graph, spec: GeneratorSpec) -> None:
    """Check names only, for now."""
