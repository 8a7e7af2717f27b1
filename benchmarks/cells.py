"""Real cells for benchmarks: read, and split into training and test cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np

__all__ = ["read", "split"]


def read(path: Path, keys: Sequence[str]) -> anndata.AnnData:
    """Read a file; the columns that condition the model become categories."""
    cells = anndata.read_h5ad(path)
    for key in keys:
        cells.obs[key] = cells.obs[key].astype(str).astype("category")
    return cells


def split(
    cells: anndata.AnnData, keys: Sequence[str], *, share: float = 0.7, seed: int = 0
) -> tuple[anndata.AnnData, anndata.AnnData]:
    """Return training and test cells, stratified by the combinations of the keys."""
    rng = np.random.default_rng(seed)
    is_train = np.zeros(cells.n_obs, bool)
    for rows in cells.obs.groupby(list(keys), observed=True).indices.values():
        is_train[rng.permutation(rows)[: round(share * len(rows))]] = True
    train, test = cells[is_train].copy(), cells[~is_train].copy()
    for side in (train, test):
        for key in keys:
            side.obs[key] = side.obs[key].cat.remove_unused_categories()
    return train, test
