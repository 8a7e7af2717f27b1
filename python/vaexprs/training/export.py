"""From a trained model to the bytes of an artifact, proved equal before anyone sees them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from vaexprs.errors import OutputError, VaexprsError, require
from vaexprs.export.graph import DecoderWeights, Head, build_model
from vaexprs.export.quantization import quantize
from vaexprs.spec import COUNT_LIKELIHOODS, GeneratorSpec
from vaexprs.training.inputs.batches import Scaling
from vaexprs.training.network.model import VAE

__all__ = ["Precision", "decoder_weights", "export_bytes", "write_atomically"]

Precision: TypeAlias = Literal["float32", "int8"]

#: Largest difference between torch and onnxruntime, relative to the largest value of an output
#: near it: float32 sums of a few hundred terms in another order.
PARITY_TOLERANCE = 2e-5
_PARITY_CELLS = 16
#: Standard deviation of genes that never varied: a normal law needs one.
_SMALLEST_SCALE = 1e-6

Array = NDArray[np.float32]


def decoder_weights(vae: VAE, scaling: Scaling | None) -> DecoderWeights:
    """Read the decoder out of torch, with what one key makes superfluous folded together."""
    decoder, shape = vae.decoder, vae.shape

    def numpy(tensor: torch.Tensor) -> Array:
        return tensor.detach().cpu().numpy().astype(np.float32)

    layers = tuple(
        (numpy(dense.weight).T, numpy(dense.bias), layer.activation)  # type: ignore[arg-type]
        for dense, layer in zip(decoder.stack.dense, decoder.stack.layers, strict=True)
    )
    heads = {}
    for name, head in decoder.heads.items():
        bias = numpy(head.bias)  # type: ignore[arg-type]
        weight = {block: numpy(value) for block, value in head.weight.items()}  # type: ignore[operator, union-attr]
        if name == "log_scale" and scaling is not None:
            stretch = np.maximum(scaling.stretch, _SMALLEST_SCALE)
            bias = bias + np.log(stretch)
        heads[name] = Head(bias, weight)
    bound, ceiling = numpy(decoder.bound), numpy(decoder.ceiling)
    return DecoderWeights(
        layers=layers,
        heads=heads,
        bound=bound if np.isfinite(bound).all() else None,
        ceiling=ceiling if np.isfinite(ceiling).all() else None,
        member=numpy(decoder.member),
        embedding=numpy(decoder.embedding) if shape.embedding else None,
        typical_library=shape.typical_library,
        shift=None if scaling is None else scaling.shift,
        stretch=None if scaling is None else scaling.stretch,
    )


def export_bytes(
    vae: VAE, scaling: Scaling | None, spec: GeneratorSpec, precision: Precision = "float32"
) -> bytes:
    """Build the artifact in float32, compare it with torch on random cells, then quantise it.

    Raises
    ------
    VaexprsError
        If onnxruntime and torch differ by more than float32 arithmetic explains, or if int8 is
        asked of a decoder that has nothing to quantise.
    ValueError
        If the precision is unknown.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be 'float32' or 'int8', not {precision!r}.")
    model = build_model(decoder_weights(vae, scaling), spec)
    content: bytes = model.SerializeToString(deterministic=True)
    _check_parity(content, vae, scaling, spec)
    if precision == "int8":
        content = quantize(model, spec).SerializeToString(deterministic=True)
    return content


@torch.no_grad()
def torch_outputs(
    vae: VAE, scaling: Scaling | None, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Compute the outputs of the graph with torch, in data units."""
    device = vae.decoder.member.device
    z = torch.from_numpy(inputs["z"]).to(device)
    condition = torch.from_numpy(
        inputs.get("condition", np.zeros((len(inputs["z"]), 0), np.float32))
    ).to(device)
    library = torch.from_numpy(inputs.get("library", np.ones((len(z), 1), np.float32))).to(device)
    heads = {name: head.float() for name, head in vae.decoder(z, condition, library.log()).items()}
    likelihood, logits = vae.shape.likelihood, heads["logits"]
    out = {}
    if likelihood in COUNT_LIKELIHOODS:
        out["mean"] = torch.softmax(logits, -1) * library
    elif likelihood == "zigamma":
        out["mean"] = logits.exp()
    else:
        assert scaling is not None
        stretch = torch.from_numpy(scaling.stretch).to(device)
        value = torch.sigmoid(logits) if likelihood == "bernoulli" else logits
        out["mean"] = value * stretch + torch.from_numpy(scaling.shift).to(device)
        if likelihood == "gaussian":
            floor = stretch.clamp(min=_SMALLEST_SCALE)
            out["scale"] = heads["log_scale"].exp() * floor
    if "log_inverse_dispersion" in heads:
        out["inverse_dispersion"] = heads["log_inverse_dispersion"].exp()
    if "zero_logits" in heads:
        out["zero_logits"] = heads["zero_logits"]
    return {name: value.cpu().numpy() for name, value in out.items()}


def random_inputs(spec: GeneratorSpec, n_cells: int, seed: int) -> dict[str, Array]:
    """Draw inputs of the graph: seen combinations, z and library sizes of a plausible range."""
    rng = np.random.default_rng(seed)
    inputs = {"z": rng.standard_normal((n_cells, spec.n_latent)).astype(np.float32)}
    if spec.conditions.keys:
        picked = spec.conditions.combinations[
            rng.integers(len(spec.conditions.combinations), size=n_cells)
        ]
        inputs["condition"] = spec.conditions.one_hot(picked)
    if spec.library is not None:
        library = np.exp(rng.normal(spec.library.location.mean(), 0.5, (n_cells, 1)))
        inputs["library"] = library.astype(np.float32)
    return inputs


def _check_parity(content: bytes, vae: VAE, scaling: Scaling | None, spec: GeneratorSpec) -> None:
    runtime = require("onnxruntime", extra="train", purpose="Export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = random_inputs(spec, _PARITY_CELLS, seed=0)
    wanted = torch_outputs(vae, scaling, inputs)
    for name, got in zip(spec.outputs, session.run(list(spec.outputs), inputs), strict=True):
        # relative to each value, with a floor at a small part of the gene's typical size
        size = np.abs(wanted[name]) + 1e-2 * np.abs(wanted[name]).mean() + 1e-12
        worst = float((np.abs(got - wanted[name]) / size).max())
        if not worst <= PARITY_TOLERANCE * 10:
            raise VaexprsError(
                f"export failed its check: output {name!r} of the artifact differs from the "
                f"trained model by {worst:.1e} (relative), more than {PARITY_TOLERANCE * 10:.0e}. "
                "Nothing was written; please report this with the package versions."
            )


def write_atomically(path: str | os.PathLike[str], content: bytes, *, overwrite: bool) -> Path:
    """Write a file so that its final name never holds half of it.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, its folder does not, or the disk refuses.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: choose another name, or pass overwrite=True.")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}.")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return path
