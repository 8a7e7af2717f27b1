"""Make the pictures of README.md: ``python -m benchmarks.readme.figures DATA_FOLDER``.

``DATA_FOLDER`` holds ``pbmc_ifnb.h5ad`` and ``yan.h5ad``. Pictures go to ``docs/pictures``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anndata

from vaexprs import fit_vae, gen_exprs, plot_aug, plot_vae
from vaexprs.datasets import simulate_groups

FIGURES = Path(__file__).parents[2] / "docs" / "pictures"


def main() -> None:
    """Train where it is needed, generate, draw."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    data = Path(sys.argv[1])
    FIGURES.mkdir(exist_ok=True)

    pbmc = anndata.read_h5ad(data / "pbmc_ifnb.h5ad")
    cells = gen_exprs("pbmc_ifnb", pbmc.n_obs, seed=1)
    real = pbmc[:, cells.var_names].copy()
    save("pbmc_ifnb_umap", plot_aug(cells, "UMAP", real=real, color="cell_type"))
    save("architecture", plot_vae("pbmc_ifnb"))

    groups = simulate_groups(seed=1)
    vae = fit_vae(
        groups, likelihood="bernoulli", encoder=[(512, "relu")],
        decoder=[(512, "relu"), (1000, "sigmoid")], epochs=100, batch_size=32,
        validation_split=0.5, patience=10, seed=1,
    )  # fmt: skip
    save("augmented", plot_aug(gen_exprs(vae, 100), "PCA", real=groups))

    yan = anndata.read_h5ad(data / "yan.h5ad")
    vae = fit_vae(yan, condition_keys="cell_type", seed=1)
    embryos = gen_exprs(vae, 300, seed=1)
    save("yan", plot_aug(embryos, "PCA", real=yan, color="cell_type"))


def save(name: str, figure: object) -> None:
    """Save a figure for the page."""
    path = FIGURES / f"{name}.png"
    figure.savefig(path, dpi=110)  # type: ignore[attr-defined]
    print(path)


if __name__ == "__main__":
    main()
