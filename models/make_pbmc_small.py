"""Make ``pbmc_small.h5ad``, the cells that come with the package: drawn, not measured.

``python models/make_pbmc_small.py`` writes `python/vaexprs/data/pbmc_small.h5ad`: 700 cells x 560
genes drawn from the shipped artifact ``pbmc_ifnb``, with the names of its genes, cell types and
conditions. No cell of a donor is in it.
"""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np

from vaexprs import gen_exprs
from vaexprs.data.scale import log_normalise

OUT = Path(__file__).parents[1] / "python" / "vaexprs" / "data" / "pbmc_small.h5ad"
N_MARKERS, N_OTHERS, SEED = 200, 400, 2026
#: Cells of each type, in the proportions of blood; pDC are rare, for the augmentation of a class.
TYPES = {
    "CD14 Mono": 200, "CD4 Naive T": 160, "CD4 Memory T": 110, "B": 80, "CD16 Mono": 60,
    "NK": 40, "CD8 T": 35, "pDC": 15,
}  # fmt: skip


def main() -> None:
    """Draw the cells, keep the genes that tell the types apart and some others, write them."""
    drawn = gen_exprs("pbmc_ifnb", conditions={"cell_type": TYPES}, seed=SEED)
    logged = log_normalise(drawn.X)
    types = drawn.obs["cell_type"].to_numpy()
    means = np.stack([np.ravel(logged[types == name].mean(axis=0)) for name in TYPES])
    order = np.argsort(-means.var(axis=0), kind="stable")
    keep = np.sort([*order[:N_MARKERS], *order[N_MARKERS :: (drawn.n_vars // N_OTHERS)][:N_OTHERS]])
    rows = np.random.default_rng(SEED).permutation(drawn.n_obs)
    X = drawn.X[rows][:, keep]
    obs = drawn.obs.iloc[rows][["cell_type", "condition"]].copy()
    obs.index = [f"cell{number:03d}" for number in range(len(rows))]
    var = drawn.var.iloc[keep][[]].copy()
    cells = anndata.AnnData(X, obs=obs, var=var)
    cells.uns["simulation"] = {
        "note": "drawn from the artifact pbmc_ifnb of vaexprs; no measured cell",
        "artifact_sha256": drawn.uns["vaexprs"]["artifact_sha256"],
        "seed": SEED,
    }
    cells.X = None
    cells.write_h5ad(OUT)
    with h5py.File(OUT, "a") as file:  # shuffled bytes pack twice as well
        packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
        anndata.io.write_elem(file, "X", X, dataset_kwargs=packed)
    print(OUT, cells.shape, f"{OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
