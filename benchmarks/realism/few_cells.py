"""Fits of few cells: whether generated cells vary as new cells do, and who can be told.

    python -m benchmarks.realism.few_cells ../shared/data/pbmc_facs.h5ad:cell_type --cells 13 40

A model with the defaults is trained on the given number of cells of each of the ten largest
classes. As many other cells of each class, at least 50, are the new cells. Printed are

- the standard deviation of generated over new cells along components 11 to 30 of training cells,
  root mean square;
- the span attack with the artifact, and with 2,000 generated cells alone: the area under the ROC
  curve at which the share of a cell in the span of the linear path, or of 30 components of the
  generated cells, tells training from new cells; and with the means of generated classes alone;
- the loss of new cells in nats per cell, with one draw from each posterior.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import torch
from sklearn.decomposition import PCA

from benchmarks.cells import read
from benchmarks.timing import machine
from vaexprs import VAEFit, fit_vae, gen_exprs
from vaexprs.data.scale import to_log
from vaexprs.evaluation.metrics.discriminators import mann_whitney_auc

#: Classes, components, generated cells, and most variable genes that components are found in.
CLASSES, COMPONENTS, GENERATED, GENES = 10, 30, 2000, 2000
#: New cells of a class, at least.
NEW = 50


def cut(
    cells: anndata.AnnData, key: str, n: int, seed: int
) -> tuple[anndata.AnnData, anndata.AnnData]:
    """Return n cells of each of the largest classes, and others of them."""
    rng = np.random.default_rng(seed)
    train, new = [], []
    for name in cells.obs[key].value_counts().index[:CLASSES]:
        rows = rng.permutation(np.flatnonzero(cells.obs[key] == name))
        own = min(n, len(rows) // 2)
        train.append(rows[:own])
        new.append(rows[own : own + max(own, NEW)])
    sides = [cells[np.sort(np.concatenate(rows))].copy() for rows in (train, new)]
    for side in sides:
        side.obs[key] = side.obs[key].cat.remove_unused_categories()
    return sides[0], sides[1]


def told(basis: Any, centre: Any, train: Any, new: Any) -> float:
    """Return the success of the attack with a span of orthonormal columns."""
    shares = []
    for values in (new, train):
        apart = values - centre
        shares.append(((apart @ basis) ** 2).sum(axis=1) / (apart**2).sum(axis=1))
    return mann_whitney_auc(*shares)


def span_of(fit: VAEFit) -> Any:
    """Return an orthonormal basis of the linear path, ``(n_genes, n_latent)``."""
    path = fit.vae.decoder.head("logits").weight["z"].detach().numpy().astype(np.float64)
    return np.linalg.qr(path.T)[0]


@torch.no_grad()
def loss(fit: VAEFit, cells: anndata.AnnData) -> float:
    """Return the loss of cells in nats per cell."""
    batches = fit._cells(cells, None, None, None, None).batches()
    generator, total = torch.Generator().manual_seed(0), 0.0
    for rows, batch in batches:
        noise = torch.randn(len(rows), fit.vae.shape.n_latent, generator=generator)
        total += len(rows) * float(fit.vae.losses(batch, noise, 1.0).loss)
    return total / cells.n_obs


def measure(path: Path, keys: list[str], n: int, seed: int, n_genes: int | None) -> str:
    """Return the scores of one fit as a row of a table."""
    cells = read(path, keys)
    if n_genes is not None:
        sums = np.asarray(cells.X.sum(axis=0)).ravel()
        cells = cells[:, np.sort(np.argsort(-sums, kind="stable")[:n_genes])]
    train, new = cut(cells, keys[0], n, seed)
    started = time.process_time()
    fit = fit_vae(train, condition_keys=keys, seed=seed, progress=False)
    seconds = time.process_time() - started
    made = gen_exprs(fit, GENERATED, seed=seed + 1)
    real, other, drawn = (
        to_log(side.X, "counts").toarray().astype(np.float64) for side in (train, new, made)
    )
    genes = np.sort(np.argsort(-real.var(axis=0), kind="stable")[:GENES])
    n_components = min(COMPONENTS, len(real) - 1)
    pca = PCA(n_components, random_state=0).fit(real[:, genes])
    spread = [pca.transform(x[:, genes])[:, 10:].var(axis=0).sum() for x in (drawn, other)]
    artifact = told(span_of(fit), real.mean(axis=0), real, other)
    span = PCA(n_components, random_state=0).fit(drawn).components_.T
    generated = told(span, drawn.mean(axis=0), real, other)
    classes = made.obs[keys[0]]
    means = np.stack([drawn[classes == name].mean(axis=0) for name in classes.unique()])
    between = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)[2][: len(means) - 1]
    of_means = told(between.T, drawn.mean(axis=0), real, other)
    return (
        f"| {path.stem} | {len(real)} | {seed} | {fit.vae.shape.n_latent} | "
        f"{np.sqrt(spread[0] / spread[1]):.2f} | {artifact:.3f} | {generated:.3f} | "
        f"{of_means:.3f} | {loss(fit, new):.1f} | {seconds:.0f} |"
    )


def main() -> None:
    """Fit and score the files of the command line, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE.h5ad:KEY[,KEY]")
    parser.add_argument("--cells", nargs="+", type=int, default=[13, 40], help="of each class")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--genes", type=int, help="keep the genes with most counts")
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()), "\n")
    print(
        "| set | cells | seed | latents | sd 11-30 | artifact | generated | means | loss | CPU s |"
    )
    print("| --- " * 10 + "|")
    for file in options.files:
        path, _, keys = file.rpartition(":")
        for n in options.cells:
            for seed in options.seeds:
                found = measure(Path(path), keys.split(","), n, seed, options.genes)
                print(found, flush=True)


if __name__ == "__main__":
    main()
