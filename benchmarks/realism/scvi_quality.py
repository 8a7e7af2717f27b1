"""scvi-tools' SCVI beside us: the process that `quality.py` starts in its own environment.

Trains SCVI of the widths of our defaults on the cells given, label and batch as covariates, for
150 epochs, and writes two sets of cells as .h5ad: decoded from z of N(0, I) with the training
cells' library sizes and labels, and posterior samples of the training cells, which are
reconstructions.

    python -m venv scvi
    scvi/bin/pip install torch scvi-tools
    python -m benchmarks.realism.quality ... --scvi-python scvi/bin/python
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp
import scvi
import torch

N_EPOCHS, N_LATENT, N_HIDDEN = 150, 30, 128


def build(adata: anndata.AnnData, keys: list[str]) -> scvi.model.SCVI:
    """Return an untrained model conditioned on labels and batches."""
    scvi.model.SCVI.setup_anndata(adata, categorical_covariate_keys=keys)
    return scvi.model.SCVI(adata, n_hidden=N_HIDDEN, n_latent=N_LATENT, n_layers=1)


@torch.no_grad()
def from_prior(model: scvi.model.SCVI, adata: anndata.AnnData, seed: int) -> sp.csr_matrix:
    """Decode z of N(0, I) with the library sizes and labels of the cells."""
    torch.manual_seed(seed)
    module, rows = model.module, []
    module.eval()
    for tensors in model._make_data_loader(adata=adata, batch_size=512):
        x = tensors["X"]
        inputs = {"z": torch.randn(len(x), N_LATENT), "library": x.sum(1, keepdim=True).log()}
        law = module.generative(**module._get_generative_input(tensors, inputs))["px"]
        rows.append(sp.csr_matrix(law.sample().numpy()))
    return sp.vstack(rows, format="csr")


def main() -> None:
    """Train and sample."""
    warnings.simplefilter("ignore")
    source, folder, seed, *keys = sys.argv[1:]
    scvi.settings.seed = int(seed)
    adata = anndata.read_h5ad(source)
    model = build(adata, keys)
    model.train(
        max_epochs=N_EPOCHS, train_size=1.0, accelerator="cpu", enable_progress_bar=False,
        logger=None,
    )  # fmt: skip
    posterior = model.posterior_predictive_sample(n_samples=1)
    made = {
        "SCVI from N(0, I)": from_prior(model, adata, int(seed)),
        "SCVI posterior": posterior.to_scipy_sparse() if hasattr(posterior, "to_scipy_sparse")
        else sp.csr_matrix(posterior),
    }  # fmt: skip
    for kind, X in made.items():
        counts = sp.csr_matrix(X).astype(np.float32)
        anndata.AnnData(counts, obs=adata.obs[keys].copy()).write_h5ad(
            Path(folder) / f"{kind}.h5ad"
        )


if __name__ == "__main__":
    main()
