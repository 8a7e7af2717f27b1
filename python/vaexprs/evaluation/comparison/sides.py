"""The cells that metrics are computed on, in a basis: those of a round, and all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from sklearn.decomposition import PCA

from vaexprs.evaluation.arrays import Array, Matrix, dense, mean_variance, nonzero_share
from vaexprs.evaluation.comparison.cells import Cells, Evaluated, Scale
from vaexprs.evaluation.comparison.rounds import Round

#: The customary numbers of variable genes and of components.
N_PCA_GENES, N_COMPONENTS = 2000, 50
#: Cells that are dense at once: 32 MB.
ROWS_AT_A_TIME = 4096

T = TypeVar("T")


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


class Memo:
    """Keeps the results of functions of an object, so that metrics share them."""

    def once(self, function: Callable[..., T], *args: Any) -> T:
        """Return ``function(self, *args)``, computed at the first call."""
        kept, key = vars(self).setdefault("_kept", {}), (function, *args)
        if key not in kept:
            kept[key] = function(self, *args)
        found: T = kept[key]
        return found


@dataclass(frozen=True, eq=False)
class Side(Memo):
    """One side of a comparison in the basis of its round."""

    cells: Cells
    basis: Basis
    groups: Array  # Combination of conditions of each cell
    scale: Scale
    block: Array  # Their most variable genes, dense, ``(n_cells, n_variable)``
    components: Array  # Their principal-component scores, ``(n_cells, n_components)``

    @classmethod
    def of(cls, cells: Cells, basis: Basis, keys: tuple[str, ...], scale: Scale) -> Side:
        """Put cells into a basis."""
        block = basis.block(cells.values)
        return cls(cells, basis, cells.group(keys), scale, block, basis.components(block))


@dataclass(frozen=True)
class RoundCells:
    """The sides of one round and their basis."""

    basis: Basis
    fitted: Side  # Training cells that fitted the basis
    # Other training cells, test cells and generated cells, equally many of each combination.
    control: Side
    test: Side
    generated: Side
    # Generated cells of any composition, at most as many as ``fitted``, for privacy.
    all_generated: Side
    scale: Scale
    keys: tuple[str, ...]  # Condition keys by which compositions are made equal

    @classmethod
    def of(
        cls, data: Evaluated, plan: Round, keys: tuple[str, ...], *, max_queries: int, seed: int
    ) -> RoundCells:
        """Gather the cells of a round and fit its basis."""
        fitted = data.real(plan.basis)
        basis = Basis.fit(fitted.values, seed=seed)
        rng = np.random.default_rng([seed, 1])
        n_queries = min(fitted.n_cells, data.generated.n_cells, max_queries)
        queries = rng.choice(data.generated.n_cells, n_queries, replace=False)
        if fitted.n_cells > n_queries:
            fitted = fitted.take(rng.choice(fitted.n_cells, n_queries, replace=False))

        def side(cells: Cells) -> Side:
            return Side.of(cells, basis, keys, data.scale)

        return cls(
            basis=basis,
            fitted=side(fitted),
            control=side(data.real(plan.control)),
            test=side(data.real(plan.test)),
            generated=side(data.generated.take(plan.generated)),
            all_generated=side(data.generated.take(queries)),
            scale=data.scale,
            keys=keys,
        )


@dataclass(frozen=True)
class Comparison:
    """Cells compared with the test cells of a round: generated ones, or the control."""

    round: RoundCells  # All sides of the round
    side: Side  # The generated cells, or the control
    # Cells whose privacy is asked for: generated ones, or those that fitted the basis.
    queries: Side
    n_trees: int = 100
    seed: int = 0
    n_jobs: int = 1

    @property
    def test(self) -> Side:
        """Test cells."""
        return self.round.test


@dataclass(frozen=True, eq=False)
class Split(Memo):
    """Real training and test cells as whole sets, with a basis of the training cells."""

    data: Evaluated
    train: Cells
    test: Cells
    basis: Basis
    # Whether the test cells were given; otherwise they are half of the training cells.
    held_out: bool
    keys: tuple[str, ...]
    # Options of `evaluate`.
    max_cells: int
    n_resamples: int
    seed: int

    @classmethod
    def of(cls, data: Evaluated, train: Array, test: Array, *, seed: int, **options: Any) -> Split:
        """Gather the cells of some rows; these count training cells first, then test cells."""
        cells = data.real(train)
        basis = Basis.fit(cells.values, seed=seed)
        return cls(data, cells, data.real(test), basis, seed=seed, **options)

    @property
    def generated(self) -> Cells:
        """All generated cells."""
        return self.data.generated

    @cached_property
    def train_components(self) -> Array:
        """Principal-component scores of the training cells."""
        return self.basis.components_of(self.train.values)

    @cached_property
    def test_components(self) -> Array:
        """Principal-component scores of the test cells."""
        return self.basis.components_of(self.test.values)

    @cached_property
    def generated_components(self) -> Array:
        """Principal-component scores of the generated cells."""
        return self.basis.components_of(self.generated.values)
