"""Write the scores of an evaluation into an artifact, or remove them."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vaexprs.artifact.load import load_artifact
from vaexprs.artifact.onnx.reader import read_model
from vaexprs.artifact.onnx.wire import encode_bytes
from vaexprs.errors import ArtifactError
from vaexprs.files import whole_file
from vaexprs.spec import PREFIX

#: Number of the field ``metadata_props`` of a ``ModelProto``, and of key and value in it.
_METADATA, _KEY, _VALUE = 14, 1, 2


def attach_quality(path: str | os.PathLike[str], quality: Mapping[str, Any] | None) -> None:
    """Write scores into the metadata entry ``vaexprs.quality``, or remove the entry.

    What a fit has found out about itself, the member ``fit``, stays beside them.

    The file is replaced as a whole or not at all; all its other bytes stay.

    Parameters
    ----------
    path
        Path of an artifact. A link stays a link: the file it points to is replaced.
    quality
        Scores by name, JSON values; None removes the entry.

    Raises
    ------
    ArtifactError
        If the file is no artifact, or the scores are not JSON (NaN and infinities are not).
    OutputError
        If the new file cannot be written.
    """
    with attached_quality(path, quality):
        pass


@contextlib.contextmanager
def attached_quality(
    path: str | os.PathLike[str], quality: Mapping[str, Any] | None
) -> Iterator[None]:
    """Prepare the new file as `attach_quality` does; replace the old when the block succeeds."""
    target = Path(os.path.realpath(path))
    artifact = load_artifact(target)
    text = None
    if quality is not None:
        kept = (artifact.spec.quality or {}).get("fit")
        quality = quality if kept is None else {"fit": kept, **quality}
        try:
            text = json.dumps(dict(quality), ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ArtifactError(
                f"quality scores for {str(path)!r} are not JSON: {error}."
            ) from None
    data = _with_entry(artifact.model_bytes, PREFIX + "quality", text)
    load_artifact(data)
    with whole_file(target, overwrite=True) as partial:
        partial.write_bytes(data)
        os.chmod(partial, stat.S_IMODE(target.stat().st_mode))
        yield


def _with_entry(data: bytes, key: str, value: bytes | None) -> bytes:
    """Return a model with one metadata entry set or removed, all other bytes unchanged."""
    spans = read_model(data).metadata_spans
    if key in spans:
        start, stop = spans[key]
    else:
        start = stop = max(stop for _, stop in spans.values())
    entry = b""
    if value is not None:
        entry = encode_bytes(_KEY, key.encode()) + encode_bytes(_VALUE, value)
        entry = encode_bytes(_METADATA, entry)
    view = memoryview(data)
    return b"".join((view[:start], entry, view[stop:]))
