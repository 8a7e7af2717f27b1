"""Score generated cells with other packages, beside equally many training cells.

    python -m benchmarks.realism.quality ../shared/data/pbmc_ifnb.h5ad:cell_type,condition \
        --cells judged
    python -m venv judges
    judges/bin/pip install torch cell-eval gge-eval geomloss
    judges/bin/python benchmarks/realism/judges.py judged --keys cell_type condition

Runs in an environment of its own, without vaexprs. A judge that is not installed is named and left
out. The judges are

- cell-eval (Arc Institute): each combination of the keys against the largest one, its fold changes
  and its means; the ceiling is the score of one half of the test cells against the other, corrected
  to full depth by cell-eval;
- GGE: Wasserstein distance (Sinkhorn) and MMD on 50 components of the test cells;
- SimBench (Cao et al. 2021): the kernel density test of R's ``ks`` on statistics of genes and of
  cells; 0 is no difference.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp

#: Fewest test cells of a combination that cell-eval compares, and most cells of a side for GGE,
#: whose kernels hold all pairs in all components.
LEAST, MOST = 10, 1000
#: Scores of cell-eval that the table shows, where it gives them.
SHOWN = (
    "pearson_delta", "mse", "mae", "mse_delta", "discrimination_score_l1",
    "discrimination_score_cosine", "overlap_at_N", "overlap_at_100", "precision_at_N",
    "precision_at_100", "de_spearman_sig", "de_spearman_lfc_sig", "de_direction_match",
    "de_sig_genes_recall", "pr_auc", "roc_auc", "pearson_edistance",
)  # fmt: skip
#: Statistics of SimBench, by R's kde.test, of two files with a column each.
KDE = (
    "a <- commandArgs(TRUE); suppressMessages(library(ks)); "
    "read <- function(f) drop(as.matrix(read.csv(f, header = FALSE))); "
    "cat(kde.test(read(a[1]), read(a[2]))$zstat)"
)
#: Most rows that R's test is given: its time grows with their square.
MOST_ROWS = 2000


def logged(cells: anndata.AnnData) -> sp.csr_matrix:
    """Return log1p of counts per 10,000."""
    X = sp.csr_matrix(cells.X, dtype=np.float64)
    X = sp.diags(1e4 / np.asarray(X.sum(axis=1)).ravel()) @ X
    return X.log1p().tocsr().astype(np.float32)


def like(cells: anndata.AnnData, labels: Any, wanted: Any, seed: int) -> anndata.AnnData:
    """Return a random sample with a given number of cells per label, or all of a smaller label."""
    rng = np.random.default_rng(seed)
    rows = [
        rng.permutation(np.flatnonzero(labels == name))[:n]
        for name, n in zip(*np.unique(wanted, return_counts=True), strict=True)
    ]
    return cells[np.sort(np.concatenate(rows))].copy()


def cell_eval(test: anndata.AnnData, sides: dict[str, anndata.AnnData]) -> dict[str, list[float]]:
    """Return scores of each side, and the ceiling, by the name of the score."""
    from cell_eval import MetricsEvaluator

    names, counts = np.unique(test.obs["combination"], return_counts=True)
    kept, control = names[counts >= LEAST], str(names[counts.argmax()])

    def ready(cells: anndata.AnnData) -> anndata.AnnData:
        some = cells[cells.obs["combination"].isin(kept)]
        obs = some.obs[["combination"]].astype(str)
        return anndata.AnnData(logged(some), obs=obs, var=some.var[[]].copy())

    found: dict[str, list[float]] = {}
    skipped = {"profile": "full", "skip_metrics": ["clustering_agreement"], "write_csv": False}
    for side in sides.values():
        with tempfile.TemporaryDirectory() as folder:
            judge = MetricsEvaluator(
                ready(side), ready(test), control_pert=control, pert_col="combination",
                num_threads=1, outdir=folder,
            )  # fmt: skip
            result = judge.compute(**skipped)[0].drop("perturbation").mean()
            for name in result.columns:
                found.setdefault(name, []).append(result[name][0])
    ceiling = judge.compute_ceiling(**skipped, seed=0)[1]
    for name in found:
        found[name].append(ceiling[name][0] if name in ceiling.columns else float("nan"))
    return {name: found[name] for name in SHOWN if name in found}


def gge(test: anndata.AnnData, sides: dict[str, anndata.AnnData]) -> dict[str, list[float]]:
    """Return multivariate distances of each side from the test cells."""
    from gge.metrics.distances import MultivariateMMD, MultivariateWasserstein

    rng = np.random.default_rng(0)

    def dense(cells: anndata.AnnData) -> Any:
        some = np.sort(rng.permutation(cells.n_obs)[:MOST])
        return logged(cells)[some].toarray()

    real, others = dense(test), [dense(side) for side in sides.values()]
    return {
        name: [float(judge(space="pca").compute(real, other).aggregate_value) for other in others]
        for name, judge in (("Wasserstein", MultivariateWasserstein), ("MMD", MultivariateMMD))
    }


def simbench(test: anndata.AnnData, sides: dict[str, anndata.AnnData]) -> dict[str, list[float]]:
    """Return the statistic of R's kernel density test of each side against the test cells."""
    seen = np.asarray(test.X.sum(axis=0)).ravel() > 0

    def columns(cells: anndata.AnnData) -> dict[str, Any]:
        X, values = sp.csr_matrix(cells.X)[:, seen], logged(cells)[:, seen]
        mean = np.asarray(values.mean(axis=0)).ravel()
        variance = np.asarray(values.multiply(values).mean(axis=0)).ravel() - mean**2
        zeros = 1 - np.asarray((X > 0).mean(axis=0)).ravel()
        return {
            "mean": mean, "variance": variance, "zeros of genes": zeros,
            "library size": np.log(np.asarray(X.sum(axis=1)).ravel()),
            "zeros of cells": 1 - np.asarray((X > 0).mean(axis=1)).ravel(),
            "mean and variance": np.column_stack([mean, variance]),
        }  # fmt: skip

    real, out = columns(test), {}
    for name, values in real.items():
        pairs = [(values, columns(side)[name]) for side in sides.values()]
        out[name] = [kde(*pair) for pair in pairs]
    return out


def kde(real: Any, other: Any) -> float:
    """Return the statistic of ``ks::kde.test``; the same rows of both where they are genes."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("real.csv", "other.csv")]
        some = rng.permutation(min(len(real), len(other)))[:MOST_ROWS]
        for path, values in zip(paths, (real, other), strict=True):
            np.savetxt(path, values[some], delimiter=",")
        told = subprocess.run(
            ["Rscript", "-e", KDE, *map(str, paths)], capture_output=True, text=True, check=True
        )
    return float(told.stdout.split()[-1])


def has_ks() -> bool:
    """Return whether R with the package ``ks`` is installed."""
    if shutil.which("Rscript") is None:
        return False
    return subprocess.run(["Rscript", "-e", "library(ks)"], capture_output=True).returncode == 0


def main() -> None:
    """Judge the cells of a folder, and print a table for each judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="with train.h5ad, test.h5ad and generated.h5ad")
    parser.add_argument("--keys", nargs="+", required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["TQDM_DISABLE"] = "1"  # cell-eval's bars of progress
    train, test, made = (
        anndata.read_h5ad(options.folder / f"{name}.h5ad")
        for name in ("train", "test", "generated")
    )
    for cells in (train, test, made):
        cells.obs["combination"] = cells.obs[options.keys].astype(str).agg(", ".join, axis=1)
    wanted = test.obs["combination"].to_numpy()
    sides = {
        name: like(cells, cells.obs["combination"].to_numpy(), wanted, 0)
        for name, cells in (("generated", made), ("training cells", train))
    }
    names = ("cell-eval", "gge-eval", "geomloss", "torch", "anndata", "numpy")
    versions = [f"{n} {metadata.version(n)}" for n in names if n in installed()]
    print(f"python {platform.python_version()}, {', '.join(versions)}; test cells: {test.n_obs:,}")
    judges = {
        "cell-eval": (cell_eval, importlib.util.find_spec("cell_eval") is not None),
        "GGE": (gge, all(importlib.util.find_spec(name) for name in ("gge", "geomloss"))),
        "SimBench": (simbench, has_ks()),
    }
    for title, (judge, there) in judges.items():
        if not there:
            print(f"\n{title} is not installed in {sys.prefix}: left out.")
            continue
        scores = judge(test, sides)
        heads = [*sides, *(["ceiling"] if any(len(s) > 2 for s in scores.values()) else [])]
        print(f"\n| {title} | {' | '.join(heads)} |\n{'| --- ' * (len(heads) + 1)}|")
        for name, values in scores.items():
            shown = ["-" if v is None or np.isnan(v) else f"{v:.4g}" for v in values]
            print(f"| {name} | {' | '.join(shown)} |", flush=True)


def installed() -> set[str]:
    """Return the names of the packages of this environment."""
    return {each.metadata["Name"] for each in metadata.distributions()}


if __name__ == "__main__":
    main()
