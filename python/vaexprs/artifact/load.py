"""Load an artifact: an .onnx file that generates cells.

An artifact comes from anywhere, so nothing in it is trusted. `load_artifact` reads the file once
and checks those very bytes: the structure (`onnx.reader`), operators and constants (`model`), the
metadata (`vaexprs.spec`), and the shape of everything the graph computes (`onnx.shapes`). It needs
neither onnx nor onnxruntime. ``models/FORMAT.md`` says what is refused and why.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from vaexprs.artifact.model import MAX_BYTES, check_interface, checked_model
from vaexprs.artifact.onnx.shapes import check_shapes
from vaexprs.artifact.shipped import shipped_artifacts
from vaexprs.errors import ArtifactError, near_matches
from vaexprs.spec import GeneratorSpec, read_metadata

#: First bytes of other files that users pass by mistake.
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

    Artifacts of the same bytes are equal, wherever they lie.

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

    spec: GeneratorSpec = field(compare=False)
    model_bytes: bytes = field(compare=False, repr=False)
    sha256: str
    path: str | None = field(compare=False)
    opset: int = field(compare=False)
    ir_version: int = field(compare=False)

    def __repr__(self) -> str:
        """Return a few lines: the spec in full would show thousands of gene names."""
        return (
            f"Artifact of {self.path or 'bytes'}\n"
            f"  sha256  {self.sha256}\n"
            f"  bytes   {len(self.model_bytes):,}\n"
            f"  spec    {self.spec!r}"
        )


@runtime_checkable
class Fit(Protocol):
    """A trained model that can write itself as an artifact, such as `vaexprs.VAEFit`."""

    def artifact_bytes(self) -> bytes:
        """Return the bytes of an artifact."""


#: A path, the name of a shipped artifact, the bytes of one, a loaded `Artifact`, or a fit.
Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Artifact | Fit


def load_artifact(source: Source) -> Artifact:
    """Read and check an artifact, without running any of it.

    Parameters
    ----------
    source
        Path of an .onnx file, name of a shipped artifact, contents of an .onnx file, a fit, or
        a loaded artifact, which is returned as it is. A shipped name wins over a file or folder
        of that name in the working directory; ``./name`` and ``name.onnx`` are paths.

    Raises
    ------
    ArtifactError
        If there is no such file, or it is no artifact of a format this version reads; the
        message names the file, and the field that is at fault.
    """
    if isinstance(source, Artifact):
        return source
    path = None
    if isinstance(source, bytes | bytearray | memoryview):
        name, data = "artifact", bytes(source)
        _refuse_other_files(data, name)
    elif isinstance(source, str | os.PathLike):
        path = _path_of(os.fspath(source))
        name = f"artifact {path!r}"
        data = _read_file(path, name)
    elif isinstance(source, Fit):
        name, data = "the fit's artifact", source.artifact_bytes()
    else:
        raise ArtifactError(
            "an artifact is given as a path, the name of a shipped one, bytes, a loaded Artifact "
            f"or a fit, not as {type(source).__name__}."
        )
    try:
        model = checked_model(data)
        spec = read_metadata(model.metadata)
        check_interface(model, spec)
        check_shapes(model.graph, spec)
    except ArtifactError as error:
        # The message may quote names from the file, of any length.
        problem = str(error)
        problem = problem if len(problem) <= 1000 else f"{problem[:800]} ... {problem[-150:]}"
        raise ArtifactError(f"{name}: {problem}") from None
    return Artifact(
        spec, data, hashlib.sha256(data).hexdigest(), path, model.opsets[""], model.ir_version
    )


def _path_of(name: str) -> str:
    """Return the path of a shipped artifact for its name, and any other path as it is."""
    is_path = Path(name).suffix == ".onnx" or os.sep in name or (os.altsep or os.sep) in name
    return name if is_path else str(shipped_artifacts().get(name, name))


def _read_file(path: str, name: str) -> bytes:
    # Opened once and examined through the descriptor, so that the checked file is the one read.
    # O_NONBLOCK: a named pipe would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise ArtifactError(
            f"{name}: there is no such file, and no shipped artifact of that name: "
            + near_matches(path, shipped_artifacts())
        ) from None
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
    if start[8:10] == b'{"':  # safetensors: the length of a JSON header, and the header
        raise ArtifactError(
            f"{name} is a saved fit or other tensors, not an artifact: export one with "
            "VAEFit.load(path).export('model.onnx')."
        )
    for magic, kind in _OTHER_FILES.items():
        if start.startswith(magic):
            raise ArtifactError(f"{name} is {kind}; expected an .onnx file exported by vaexprs.")
