"""Artifacts: .onnx files that generate cells. Load one, and put scores into one.

An artifact comes from anywhere, so nothing in it is trusted. `load_artifact` reads the file
once and checks those very bytes: structure (`reader`), the shapes of everything the graph
computes (`shapes`), and the promises in the metadata (`spec`). It needs neither onnx nor
onnxruntime, and only bytes that passed are for a runtime. What is refused and why is written
down in ``models/FORMAT.md``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vaexprs.artifact.onnx.operators import OPERATORS
from vaexprs.artifact.onnx.reader import (
    FLOAT,
    ITEM_SIZES,
    TYPE_NAMES,
    Model,
    Tensor,
    Value,
    read_model,
)
from vaexprs.artifact.onnx.shapes import check_shapes
from vaexprs.artifact.onnx.wire import encode_bytes
from vaexprs.errors import ArtifactError
from vaexprs.files import whole_file
from vaexprs.spec import PREFIX, GeneratorSpec, read_metadata

__all__ = ["Artifact", "attach_quality", "load_artifact"]

#: Protobuf, and with it every other reader of ONNX, ends at 2 GiB.
MAX_BYTES = 2**31 - 1
#: What onnxruntime 1.20, the oldest supported, reads. Operators mean what they mean since 13.
OPSETS = range(13, 22)
IR_VERSIONS = range(7, 11)
#: Sizes beyond any assay, which bound what a small file can ask for at run time.
MAX_GENES, MAX_LATENT, MAX_CONDITIONS = 1_000_000, 10_000, 100_000
MAX_NODES = 2000

_FLOATS = {1: "<f4", 10: "<f2", 11: "<f8"}

#: How other files that end up in this place begin.
_OTHER_FILES = {
    b"\x89HDF": "an HDF5 file (an .h5ad holds data, not a model)",
    b"PK\x03\x04": "a zip archive (a torch checkpoint is no artifact: export the fit)",
    b"\x1f\x8b": "a gzip file (unpack it first)",
    b"version https://git-lfs": "a git-lfs pointer (fetch the file itself with `git lfs pull`)",
    b"\x80": "a pickle",
    b"{": "a JSON file",
}


@dataclass(frozen=True)
class Artifact:
    """A checked artifact.

    Attributes
    ----------
    spec
        What the artifact promises.
    model_bytes
        The .onnx file, for a runtime to load. Never give a runtime the path instead: the file
        may have changed since it was checked, and runtimes read external data beside it.
    sha256
        Hash of `model_bytes` in hexadecimal: the identity of the artifact.
    path
        Where it was read from, or None.
    opset, ir_version
        Version of the ONNX operators and of the file layout.
    """

    # Artifacts of the same bytes are equal, wherever they lie.
    spec: GeneratorSpec = field(compare=False)
    model_bytes: bytes = field(compare=False, repr=False)
    sha256: str
    path: str | None = field(compare=False)
    opset: int = field(compare=False)
    ir_version: int = field(compare=False)


def load_artifact(path_or_bytes: str | os.PathLike[str] | bytes) -> Artifact:
    """Read and check an artifact, without running any of it.

    Parameters
    ----------
    path_or_bytes
        Path of an .onnx file, or its contents.

    Raises
    ------
    ArtifactError
        If there is no such file, or it is no artifact of a format this version reads; the
        message names the file, and the field that is at fault.
    """
    if isinstance(path_or_bytes, (bytes, bytearray, memoryview)):
        path, name, data = None, "artifact", bytes(path_or_bytes)
        _refuse_other_files(data, name)
    else:
        path = os.fspath(path_or_bytes)
        name = f"artifact {path!r}"
        data = _read_file(path, name)
    try:
        model = _read_model(data)
        spec = read_metadata(model.metadata)
        _check_sizes(spec)
        _check_interface(model, spec)
        check_shapes(model.graph, spec)
    except ArtifactError as error:
        # The message may quote names from the file, of any length.
        problem = str(error)
        problem = problem if len(problem) <= 1000 else f"{problem[:800]} ... {problem[-150:]}"
        raise ArtifactError(f"{name}: {problem}") from None
    return Artifact(
        spec, data, hashlib.sha256(data).hexdigest(), path, model.opsets[""], model.ir_version
    )


def attach_quality(path: str | os.PathLike[str], quality: Mapping[str, Any] | None) -> None:
    """Put the scores of an evaluation report into an artifact, or take them out.

    The file is replaced as a whole or not at all, and every byte besides the metadata entry
    ``vaexprs.quality`` stays as it is.

    Parameters
    ----------
    path
        Path of an artifact.
    quality
        Scores by name, JSON values; None removes the entry.

    Raises
    ------
    ArtifactError
        If the file is no artifact, or the scores are no JSON (not-a-number and infinities are
        none).
    OutputError
        If the new file cannot be written.
    """
    # The file itself is replaced, not a link to it.
    target = Path(os.path.realpath(path))
    artifact = load_artifact(target)
    text = None
    if quality is not None:
        try:
            text = json.dumps(dict(quality), ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ArtifactError(
                f"quality scores for {str(path)!r} are not JSON: {error}."
            ) from None
    data = _with_metadata(artifact.model_bytes, PREFIX + "quality", text)
    load_artifact(data)
    with whole_file(target, overwrite=True) as partial:
        mode = stat.S_IMODE(target.stat().st_mode)
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, mode)


def _read_file(path: str, name: str) -> bytes:
    # Opened once and looked at through the descriptor, so that what is checked is what is read.
    # O_NONBLOCK: a named pipe would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise ArtifactError(f"{name}: there is no such file.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{name} cannot be opened: {reason}.") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ArtifactError(f"{name} is {kind}, expected an .onnx file.")
        if status.st_size > MAX_BYTES:
            raise ArtifactError(
                f"{name} has {status.st_size} bytes; an .onnx file has at most {MAX_BYTES}."
            )
        with open(descriptor, "rb", closefd=False) as file:
            _refuse_other_files(file.peek(32), name)
            return file.read(status.st_size)
    except OSError as error:
        raise ArtifactError(f"{name} cannot be read: {error.strerror}.") from None
    finally:
        os.close(descriptor)


def _refuse_other_files(start: bytes, name: str) -> None:
    for magic, kind in _OTHER_FILES.items():
        if start.startswith(magic):
            raise ArtifactError(f"{name} is {kind}; expected an .onnx file exported by vaexprs.")


def _read_model(data: bytes) -> Model:
    """Read the model and refuse what no artifact has, whatever its metadata say."""
    if not data:
        raise ArtifactError("the file is empty.")
    if len(data) > MAX_BYTES:
        raise ArtifactError(f"{len(data)} bytes; an .onnx file has at most {MAX_BYTES}.")
    try:
        model = read_model(data)
    except ArtifactError as error:
        raise ArtifactError(f"no ONNX model, or a damaged one: {error}") from None

    if not any(key.startswith(PREFIX) for key in model.metadata):
        raise ArtifactError(
            "an ONNX model without vaexprs metadata: it was not exported by vaexprs."
        )
    domains = {*model.opsets, *(node.domain for node in model.graph.nodes)} - {""}
    if domains:
        raise ArtifactError(
            f"operators of the domain {sorted(domains)[0]!r}: only standard ONNX operators are "
            "served. A file written by a runtime's optimizer is no artifact: use the original."
        )
    if "" not in model.opsets:
        raise ArtifactError("opset_import names no version of the standard operators.")
    for what, version, served in (
        ("opset_import", model.opsets[""], OPSETS),
        ("ir_version", model.ir_version, IR_VERSIONS),
    ):
        if version not in served:
            age = "newer" if version > served[-1] else "older"
            raise ArtifactError(
                f"{what} is {version}, {age} than this vaexprs serves ({served[0]} to "
                f"{served[-1]}): " + ("upgrade vaexprs." if age == "newer" else "export it again.")
            )
    for what, number in (
        ("functions", model.n_functions),
        ("training_info", model.n_training_infos),
        ("graph.sparse_initializer", model.graph.n_sparse_initializers),
    ):
        if number:
            raise ArtifactError(f"{what} has {number} entries; an artifact may not have any.")
    if len(model.graph.nodes) > MAX_NODES:
        raise ArtifactError(f"graph has {len(model.graph.nodes)} nodes, more than {MAX_NODES}.")
    _check_constants(model)
    return model


def _check_constants(model: Model) -> None:
    for tensor in model.graph.initializers:
        _check_tensor(tensor, f"graph.initializer {tensor.name!r}")
    for node in model.graph.nodes:
        what = f"graph.node {node.name or ', '.join(node.outputs[:3])!r} ({node.op_type})"
        if node.op_type not in OPERATORS:
            raise ArtifactError(
                f"{what}: the operator is not one of those an artifact may use: "
                f"{', '.join(sorted(OPERATORS))}."
            )
        for attribute in node.attributes.values():
            if attribute.kind not in ("f", "i", "s", "t", "floats", "ints"):
                raise ArtifactError(
                    f"{what}: attribute {attribute.name!r} holds {attribute.kind!r}; graphs, "
                    "types, sparse tensors and references are not served."
                )
            if attribute.tensor is not None:
                _check_tensor(attribute.tensor, f"{what}: attribute {attribute.name!r}")


def _check_tensor(tensor: Tensor, what: str) -> None:
    if tensor.is_external:
        raise ArtifactError(
            f"{what} has external data; an artifact holds everything itself. Export it again "
            "without external data."
        )
    if tensor.data_type not in ITEM_SIZES:
        shown = TYPE_NAMES.get(tensor.data_type, f"number {tensor.data_type}")
        raise ArtifactError(f"{what} has the data type {shown}, which is not served.")
    if 0 in tensor.dims and tensor.dims != (0,):
        raise ArtifactError(f"{what} has the dims {list(tensor.dims)}: an axis of no length.")
    expected = tensor.size * ITEM_SIZES[tensor.data_type]
    if tensor.n_bytes != expected:
        raise ArtifactError(
            f"{what} has dims {list(tensor.dims)} of {TYPE_NAMES[tensor.data_type]}, "
            f"{expected} bytes, and holds {tensor.n_bytes}."
        )
    if tensor.data_type in _FLOATS and tensor.raw is not None:
        values = np.frombuffer(tensor.raw, dtype=_FLOATS[tensor.data_type])
        with np.errstate(over="ignore", invalid="ignore"):
            total = values.sum()
        # A finite sum tells of finite values, and is quicker than a look at each.
        if not np.isfinite(total) and not np.isfinite(values).all():
            raise ArtifactError(f"{what} holds values that are not finite: training diverged?")


def _check_sizes(spec: GeneratorSpec) -> None:
    for what, size, limit in (
        ("var_names", spec.n_genes, MAX_GENES),
        ("n_latent", spec.n_latent, MAX_LATENT),
        ("conditions", spec.conditions.n_conditions, MAX_CONDITIONS),
    ):
        if size > limit:
            raise ArtifactError(f"metadata '{PREFIX}{what}': {size} are more than {limit}.")


def _check_interface(model: Model, spec: GeneratorSpec) -> None:
    """Compare the declared inputs and outputs with what the metadata promise."""
    constants = {tensor.name for tensor in model.graph.initializers}
    widths = {"input": dict(spec.inputs), "output": dict.fromkeys(spec.outputs, spec.n_genes)}
    declared = {"input": model.graph.inputs, "output": model.graph.outputs}
    for what, expected in widths.items():
        names = [value.name for value in declared[what]]
        if names != list(expected):
            raise ArtifactError(
                f"graph.{what}: expected {list(expected)} for likelihood {spec.likelihood!r} and "
                f"{len(spec.conditions.keys)} condition keys, got {names[:12]}."
            )
        for value in declared[what]:
            _check_value(value, f"graph.{what} {value.name!r}", what, expected[value.name])
            if what == "input" and value.name in constants:
                raise ArtifactError(f"graph.input {value.name!r} is also an initializer.")


def _check_value(value: Value, what: str, side: str, width: int) -> None:
    if value.data_type != FLOAT:
        shown = TYPE_NAMES.get(value.data_type, "no tensor")
        raise ArtifactError(f"{what} is {shown}, expected a tensor of float32.")
    gene_wise = side == "output" and value.name != "mean"
    shape = value.shape or ()
    if len(shape) != 2 or shape[1] != width or (isinstance(shape[0], int) and not gene_wise):
        raise ArtifactError(
            f"{what} has the shape {list(shape)}, expected [n_cells, {width}] with a dynamic "
            f"first axis{f' or [1, {width}]' if gene_wise else ''}."
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise ArtifactError(f"{what} has {shape[0]} rows, expected n_cells (dynamic) or 1.")


def _with_metadata(data: bytes, key: str, value: bytes | None) -> bytes:
    """Return a model with one metadata entry set or taken out, all else byte for byte."""
    spans = read_model(data).metadata_spans
    if key in spans:
        start, stop = spans[key]
    else:
        start = stop = max(stop for _, stop in spans.values())
    entry = b""
    if value is not None:
        entry = encode_bytes(1, key.encode()) + encode_bytes(2, value)
        entry = encode_bytes(14, entry)
    view = memoryview(data)
    return b"".join((view[:start], entry, view[stop:]))
