"""What the recipes of the artifacts share: choose genes, hold cells out, fit, score, attach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vaexprs import fit_vae, gen_exprs
from vaexprs.artifact import attach_quality
from vaexprs.evaluation import evaluate


def variable_genes(cells: Any, n_genes: int) -> Any:
    """Keep the genes with the largest variance in log1p of values per 10,000."""
    library = np.asarray(cells.X.sum(axis=1))
    logged = cells.X.multiply(1e4 / library).tocsr().log1p()
    mean = np.asarray(logged.mean(axis=0)).ravel()
    variance = np.asarray(logged.multiply(logged).mean(axis=0)).ravel() - mean**2
    return cells[:, np.sort(np.argsort(-variance)[:n_genes])].copy()


def make(cells: Any, keys: list[str], target: Path) -> None:
    """Train on four fifths of the cells, export, score on the last fifth, attach the scores.

    Every fifth cell of each combination, in the order of the file, is a test cell.
    """
    order = cells.obs.groupby(keys, observed=True).cumcount().to_numpy()
    train, test = cells[order % 5 != 4].copy(), cells[order % 5 == 4].copy()
    vae = fit_vae(train, condition_keys=keys, seed=0)
    vae.export(target, overwrite=True)
    generated = gen_exprs(target, train.n_obs, seed=1)
    report = evaluate(train, generated, real_test=test, condition_keys=keys, seed=0, n_jobs=2)
    attach_quality(target, report.quality())
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")
