"""Read the contents of files of cells, for comparisons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def in_folder(path: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a folder, by name."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def contents(path: Path) -> dict[str, Any]:
    """Return all that is in an HDF5 file or zarr store, by name."""
    if path.is_dir():
        found = in_folder(path)
        # HDF5 knows no order of attributes, so metadata may come in another one.
        return {
            name: json.loads(text) if name.endswith("zarr.json") else text
            for name, text in found.items()
        }
    values: dict[str, Any] = {}

    def see(name: str, item: Any) -> None:
        attributes = {key: str(np.asarray(value).tolist()) for key, value in item.attrs.items()}
        if isinstance(item, h5py.Group):
            values[name] = attributes
            return
        value = np.asarray(item[()])
        kept = value.tolist() if value.dtype == object else value.tobytes()
        values[name] = attributes, item.dtype, item.shape, item.chunks, item.compression, kept

    with h5py.File(path) as file:
        file.visititems(see)
    return values
