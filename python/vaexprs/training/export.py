"""From a trained decoder to the bytes of an artifact, checked against torch."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from vaexprs.errors import ArgumentError, VaexprsError, require
from vaexprs.export.graph import DecoderWeights, Head, build_model
from vaexprs.export.quantization import prior_inputs, quantize
from vaexprs.spec import GeneratorSpec
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.network.model import Decoder
from vaexprs.training.network.outputs import decoder_outputs

Precision: TypeAlias = Literal["float32", "int8"]

#: Largest relative difference between torch and onnxruntime: ten times what float32 sums of a few
#: hundred terms in another order were seen to give.
PARITY_TOLERANCE = 2e-4
#: Floor of a sigmoid's size, as a share of its range. onnxruntime computes any sigmoid to within
#: 6e-8, half a unit in the last place of 1: a third of the tolerance at this floor.
_SIGMOID_FLOOR = 1e-3
#: Cells of the comparison.
_PARITY_CELLS = 16

Array = NDArray[np.float32]


def decoder_weights(decoder: Decoder, scaling: Scaling | None) -> DecoderWeights:
    """Return a decoder's weights as arrays; standard deviations are turned into data units."""

    def numpy(tensor: torch.Tensor) -> Array:
        return tensor.detach().cpu().numpy().astype(np.float32)

    layers = tuple(
        (numpy(dense.weight).T, numpy(dense.bias), layer.activation)  # type: ignore[arg-type]
        for dense, layer in zip(decoder.stack.dense, decoder.stack.layers, strict=True)
    )
    heads = {}
    for name in decoder.heads:
        head = decoder.head(name)
        bias = numpy(head.bias)
        if name == "log_scale" and scaling is not None:
            bias = bias + scaling.log_scale_factor
        heads[name] = Head(bias, {block: numpy(value) for block, value in head.weight.items()})
    ceiling = numpy(decoder.ceiling)
    return DecoderWeights(
        layers=layers,
        heads=heads,
        centres=numpy(decoder.centres) if decoder.shape.hidden_groups else None,
        digits=numpy(decoder.digits) if decoder.shape.hidden_groups else None,
        ceiling=ceiling if np.isfinite(ceiling).all() else None,
        member=numpy(decoder.member),
        embedding=numpy(decoder.embedding) if decoder.shape.embedding else None,
        typical_library=decoder.shape.typical_library,
        shift=None if scaling is None else scaling.shift,
        stretch=None if scaling is None else scaling.stretch,
    )


def export_bytes(
    decoder: Decoder,
    scaling: Scaling | None,
    spec: GeneratorSpec,
    precision: Precision = "float32",
) -> bytes:
    """Return the artifact: built in float32, compared with torch, then quantised if asked for."""
    if precision not in get_args(Precision):
        raise ArgumentError(f"precision must be 'float32' or 'int8', not {precision!r}.")
    model = build_model(decoder_weights(decoder, scaling), spec)
    content: bytes = model.SerializeToString(deterministic=True)
    _check_parity(content, decoder, scaling, spec)
    if precision == "int8":
        content = quantize(model, spec).SerializeToString(deterministic=True)
    return content


def _check_parity(
    content: bytes, decoder: Decoder, scaling: Scaling | None, spec: GeneratorSpec
) -> None:
    runtime = require("onnxruntime", extra="train", purpose="Export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = prior_inputs(spec, _PARITY_CELLS, seed=0)
    wanted = decoder_outputs(decoder, spec.law, scaling, **inputs)
    for name, got in zip(spec.outputs, session.run(list(spec.outputs), inputs), strict=True):
        # relative to each value, with a floor at a hundredth of the output's mean size
        size = np.abs(wanted[name]) + 1e-2 * np.abs(wanted[name]).mean() + 1e-12
        if spec.law.outputs[name].function == "sigmoid":
            size = size + _SIGMOID_FLOOR * (1 if scaling is None else scaling.stretch)
        worst = float((np.abs(got - wanted[name]) / size).max())
        if not worst <= PARITY_TOLERANCE:
            raise VaexprsError(
                f"export failed its check: output {name!r} of the artifact differs from the "
                f"trained model by {worst:.1e} (relative), more than {PARITY_TOLERANCE:.0e}. "
                "No artifact was written; please report this with the package versions."
            )
