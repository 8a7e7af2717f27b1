"""The sink in memory: blocks in, an AnnData out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import require
from vaexprs.generation.generator import Block
from vaexprs.generation.observation import CSR
from vaexprs.sinks.obs import ObsColumns
from vaexprs.spec import GeneratorSpec

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["to_anndata"]


def to_anndata(
    spec: GeneratorSpec,
    blocks: Iterable[Block],
    *,
    n_cells: int,
    first_cell: int,
    uns: dict[str, Any],
    return_mean: bool = False,
) -> AnnData:
    """Collect blocks into an AnnData; see `gen_exprs` for what it holds.

    Raises
    ------
    MissingExtraError
        If anndata is not installed.
    """
    anndata = require("anndata", extra="anndata", purpose="Making an AnnData")
    pandas = require("pandas", extra="anndata", purpose="Making an AnnData")
    obs = ObsColumns(spec, n_cells)
    z = np.empty((n_cells, spec.n_latent), dtype=np.float32)
    sparse: list[CSR] = []
    dense = np.empty((n_cells if return_mean else 0, spec.n_genes), dtype=np.float32)
    at = 0
    for block in blocks:
        here = slice(at, at + block.n_cells)
        obs.put(block, at)
        z[here] = block.z
        if isinstance(block.X, CSR):
            sparse.append(block.X)
        else:
            dense[here] = block.X
        at = here.stop
    x: NDArray[np.float32] | Any = (
        dense if return_mean else CSR.concatenate(sparse, spec.n_genes).to_scipy()
    )
    made: AnnData = anndata.AnnData(
        X=x,
        obs=obs.to_frame(pandas, first_cell),
        var=pandas.DataFrame(index=pandas.Index(list(spec.var_names), dtype=object)),
        obsm={"z": z},
        uns={"vaexprs": uns},
    )
    return made
