"""The artifacts that come with the package, by name."""

from __future__ import annotations

import os
from pathlib import Path

from vaexprs.errors import ArtifactError, near_matches

__all__ = ["find_artifact", "shipped_artifacts"]

# Installed, the models lie inside the package; in a checkout, at its top.
_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "models", _PACKAGE.parents[1] / "models")


def shipped_artifacts() -> dict[str, Path]:
    """Return the paths of the shipped artifacts by name."""
    for folder in _FOLDERS:
        found = {path.stem: path for path in sorted(folder.glob("*.onnx"))}
        if found:
            return found
    return {}


def find_artifact(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the path of an artifact, given as a path or as the name of a shipped one.

    Raises
    ------
    ArtifactError
        If there is neither a file nor a shipped artifact of that name.
    """
    path = Path(name_or_path)
    if path.exists():
        return path
    shipped = shipped_artifacts()
    name = os.fspath(name_or_path)
    if name in shipped:
        return shipped[name]
    raise ArtifactError(
        f"there is no file {name!r}, and no shipped artifact of that name: "
        + near_matches(name, shipped)
    )
