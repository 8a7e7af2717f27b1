"""Variable genes and principal components in which cells are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

from vaexprs.evaluation.arrays import Array, Matrix, dense, mean_variance, nonzero_share

#: The customary numbers of variable genes and of components.
N_PCA_GENES, N_COMPONENTS = 2000, 50
#: Cells that are dense at once: 32 MB.
ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Basis:
    """Variable genes and principal components of some cells, applied to any cells."""

    # Columns of the most variable genes on the scale of the scores, most variable first; at most
    # `N_PCA_GENES`.
    genes: Array
    detected: Array  # Which genes are not zero in at least 5 % of the cells, ``(n_genes,)`` bool
    pca: PCA  # Principal components of the centred, unscaled values of these genes

    @classmethod
    def fit(cls, values: Matrix, *, seed: int = 0) -> Basis:
        """Fit a basis to cells on the scale of the scores, ``(n_cells, n_genes)``."""
        _, variance = mean_variance(values)
        order = np.argsort(-variance, kind="stable")[:N_PCA_GENES]
        genes = order[variance[order] > 0]
        if len(genes) < 2:
            genes = order[:2]
        block = dense(values[:, genes])
        n_components = min(N_COMPONENTS, len(genes), max(len(block) - 1, 1))
        pca = PCA(n_components, random_state=seed, svd_solver="auto").fit(block)
        return cls(genes, nonzero_share(values) >= 0.05, pca)

    def block(self, values: Matrix) -> Array:
        """Return all variable genes as a dense array, most variable first."""
        return dense(values[:, self.genes])

    def components(self, block: Array) -> Array:
        """Return principal-component scores of cells given by `block`."""
        return np.asarray(self.pca.transform(block), dtype=np.float32)

    def components_of(self, values: Matrix) -> Array:
        """Return principal-component scores of any number of cells, densified in parts."""
        parts = [
            self.components(self.block(values[start : start + ROWS_AT_A_TIME]))
            for start in range(0, values.shape[0], ROWS_AT_A_TIME)
        ]
        return np.concatenate(parts)
