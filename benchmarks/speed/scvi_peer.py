"""scvi-tools beside us: the process that `pipeline.scvi` talks to.

Builds an SCVI model of given widths on cells of given sparsity, then samples from its posterior
predictive law once for each line it reads, and answers with the share of zeros. The model is not
trained: that takes long and changes no speed. Its output layer is given the gene means of the
cells, so that what it samples is as sparse as they are.

Needs an environment of its own::

    python -m venv scvi
    scvi/bin/pip install torch scvi-tools
    python -m benchmarks.speed.speed --scvi-python scvi/bin/python
"""

from __future__ import annotations

import sys
import warnings

import anndata
import numpy as np
import scipy.sparse as sp
import scvi
import torch


def cells(n_cells: int, n_genes: int) -> anndata.AnnData:
    """Return counts with log-normal gene means, about 90 % zeros."""
    rng = np.random.default_rng(0)
    share = np.exp(rng.normal(0, 1.9, n_genes))
    mean = 5000 * n_genes / 20_000 * share / share.sum()
    theta = np.exp(rng.uniform(np.log(0.5), np.log(10), n_genes))
    counts = rng.negative_binomial(theta, theta / (theta + mean), (n_cells, n_genes))
    return anndata.AnnData(sp.csr_matrix(counts.astype(np.float32)))


def model(adata: anndata.AnnData, hidden: int, n_latent: int) -> scvi.model.SCVI:
    """Return an SCVI model whose means are those of the cells."""
    scvi.model.SCVI.setup_anndata(adata)
    made = scvi.model.SCVI(
        adata, n_hidden=hidden, n_layers=1, n_latent=n_latent, gene_likelihood="nb"
    )
    mean = np.asarray(adata.X.mean(axis=0)).ravel() + 1e-4
    with torch.no_grad():
        made.module.decoder.px_scale_decoder[0].bias.copy_(torch.from_numpy(np.log(mean)))
    made.is_trained_ = True
    made.module.eval()
    return made


def main() -> None:
    """Sample whenever asked to."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    n_genes, hidden, n_latent, n_cells = map(int, sys.argv[1:])
    adata = cells(n_cells, n_genes)
    sampler = model(adata, hidden, n_latent)
    for _ in sys.stdin:
        counts = sampler.posterior_predictive_sample(n_samples=1)
        print(1 - counts.nnz / (n_cells * n_genes), flush=True)


if __name__ == "__main__":
    main()
