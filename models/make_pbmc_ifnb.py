"""The recipe of ``pbmc_ifnb.onnx``: PBMCs at rest and under interferon-beta.

Usage: ``python models/make_pbmc_ifnb.py PBMC_IFNB.h5ad [OUT.onnx]``

The data: 2,800 cells of Kang et al. 2018 (GSE96583), UMI counts, with ``obs["cell_type"]`` (13
types) and ``obs["condition"]`` (CTRL, STIM). The 2,000 genes with the largest variance in log1p
of counts per 10,000 are kept, which makes the file small and leaves the markers in. The model is
trained with the defaults on four fifths of the cells, stratified, and scored on the last fifth;
the scores go into the artifact.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anndata
import numpy as np

from vaexprs import fit_vae, gen_exprs
from vaexprs.artifact import attach_quality
from vaexprs.evaluation import evaluate

N_GENES = 2000
KEYS = ["cell_type", "condition"]


def main() -> None:
    """Train, export, score, attach."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    target = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent / "pbmc_ifnb.onnx")
    cells = anndata.read_h5ad(sys.argv[1])
    library = np.asarray(cells.X.sum(axis=1))
    logged = cells.X.multiply(1e4 / library).tocsr().log1p()
    mean = np.asarray(logged.mean(axis=0)).ravel()
    variance = np.asarray(logged.multiply(logged).mean(axis=0)).ravel() - mean**2
    keep = np.sort(np.argsort(-variance)[:N_GENES])
    cells = cells[:, keep].copy()
    # Every fifth cell of each combination, in the order of the file, is a test cell.
    order = cells.obs.groupby(KEYS, observed=True).cumcount().to_numpy()
    train, test = cells[order % 5 != 4].copy(), cells[order % 5 == 4].copy()
    vae = fit_vae(train, condition_keys=KEYS, seed=0)
    vae.export(target, overwrite=True)
    generated = gen_exprs(target, train.n_obs, seed=1)
    report = evaluate(train, generated, real_test=test, condition_keys=KEYS, seed=0, n_jobs=2)
    attach_quality(target, report.quality())
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
