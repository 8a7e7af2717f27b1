"""The artifacts that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

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
