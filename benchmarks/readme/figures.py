"""Make pictures of README.md and the book: ``python -m benchmarks.readme.figures DATA_FOLDER``.

``DATA_FOLDER`` holds ``pbmc_facs.h5ad``, ``pbmc_ifnb.h5ad`` and ``yan.h5ad``. Pictures go to
``docs/pictures``; ``--shipped`` makes those of the shipped artifacts alone.
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
    folders = [word for word in sys.argv[1:] if word != "--shipped"]
    if len(folders) != 1:
        sys.exit(__doc__)
    data = Path(folders[0])
    FIGURES.mkdir(exist_ok=True)
    for name, method in {"pbmc_facs": "UMAP", "pbmc_ifnb": "UMAP", "yan": "PCA"}.items():
        real = anndata.read_h5ad(data / f"{name}.h5ad")
        cells = gen_exprs(name, max(real.n_obs, 300), seed=1)
        real = real[:, cells.var_names].copy()
        save(name, plot_aug(cells, method, real=real, color="cell_type"))
    if "--shipped" in sys.argv:
        return
    save("architecture", plot_vae("pbmc_ifnb"))

    groups = simulate_groups(seed=1)
    vae = fit_vae(
        groups, likelihood="bernoulli", encoder=[(512, "relu")],
        decoder=[(512, "relu"), (1000, "sigmoid")], epochs=100, batch_size=32,
        validation_split=0.5, patience=10, seed=1,
    )  # fmt: skip
    save("augmented", plot_aug(gen_exprs(vae, 100), "PCA", real=groups))


def save(name: str, figure: object) -> None:
    """Save a figure for the page."""
    path = FIGURES / f"{name}.png"
    figure.savefig(path, dpi=110)  # type: ignore[attr-defined]
    print(path)


if __name__ == "__main__":
    main()
