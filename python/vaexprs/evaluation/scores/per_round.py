"""The scores of one round: control and generated cells against the same test cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from vaexprs.evaluation.comparison.basis import Basis
from vaexprs.evaluation.comparison.cells import Cells, Evaluated, Scale
from vaexprs.evaluation.comparison.rounds import Round
from vaexprs.evaluation.metrics import (
    conditions,
    distances,
    manifold,
    marginals,
    privacy,
    structure,
)
from vaexprs.evaluation.metrics.arrays import Array, Floats, Matrix
from vaexprs.evaluation.metrics.discriminators import Discrimination, discriminate

__all__ = ["RoundCells", "Side", "classifier_scores", "round_scores"]

#: Fewest cells of a category on each side for fold changes, and of a donor for its privacy.
LEAST_OF_A_CATEGORY = 10
N_CLASSIFIER_GENES = 500
N_CORRELATED_GENES = 100


@dataclass(frozen=True)
class Side:
    """One side of a comparison in the basis of its round.

    Attributes
    ----------
    cells
        The cells.
    block
        Their most variable genes, dense, ``(n_cells, n_variable)``.
    components
        Their principal-component scores, ``(n_cells, n_components)``.
    groups
        Their combinations of conditions.
    """

    cells: Cells
    block: Array
    components: Array
    groups: Array

    @classmethod
    def of(cls, cells: Cells, basis: Basis, keys: tuple[str, ...]) -> Side:
        """Put cells into a basis."""
        block = basis.block(cells.values)
        return cls(cells, block, basis.components(block), cells.group(keys))


@dataclass(frozen=True)
class RoundCells:
    """The sides of one round and their basis."""

    basis: Basis
    fitted: Side
    control: Side
    test: Side
    generated: Side
    all_generated: Side
    scale: Scale
    keys: tuple[str, ...]

    @classmethod
    def of(
        cls, data: Evaluated, plan: Round, keys: tuple[str, ...], *, max_queries: int, seed: int
    ) -> RoundCells:
        """Gather the cells of a round and fit its basis.

        ``all_generated`` are generated cells of any composition, as many as fitted the basis,
        at most ``max_queries``: those whose privacy is asked for.
        """
        n_train = data.train.n_cells

        def real(rows: Array) -> Cells:
            if data.test is None or rows.max() < n_train:
                return data.train.take(rows)
            return data.test.take(rows - n_train)

        fitted = real(plan.basis)
        basis = Basis.fit(fitted.values, seed=seed)
        rng = np.random.default_rng([seed, 1])
        n_queries = min(fitted.n_cells, data.generated.n_cells, max_queries)
        queries = rng.choice(data.generated.n_cells, n_queries, replace=False)
        if fitted.n_cells > n_queries:
            fitted = fitted.take(rng.choice(fitted.n_cells, n_queries, replace=False))

        def side(cells: Cells) -> Side:
            return Side.of(cells, basis, keys)

        return cls(
            basis=basis,
            fitted=side(fitted),
            control=side(real(plan.control)),
            test=side(real(plan.test)),
            generated=side(data.generated.take(plan.generated)),
            all_generated=side(data.generated.take(queries)),
            scale=data.scale,
            keys=keys,
        )


def classifier_scores(
    cells: RoundCells, candidate: Side, *, forests: bool, n_trees: int, seed: int, n_jobs: int
) -> dict[str, Discrimination]:
    """Train discriminators on a candidate against the test cells; forests only if asked for."""
    genes = slice(0, N_CLASSIFIER_GENES)
    strata = (cells.test.groups, candidate.groups)
    test, ours = cells.test.block[:, genes], candidate.block[:, genes]
    found = {}
    if forests:
        for key, real, made in (
            ("forest_auc_components", cells.test.components, candidate.components),
            ("forest_auc_genes", test, ours),
        ):
            found[key] = discriminate(
                real, made, n_trees=n_trees, strata=strata, seed=seed, n_jobs=n_jobs
            )
    found["logistic_auc_genes"] = discriminate(
        test, ours, model="logistic", strata=strata, seed=seed
    )
    return found


def round_scores(
    cells: RoundCells, *, has_test: bool = True
) -> tuple[dict[str, float], dict[str, float]]:
    """Return every score but the discriminators', of the generated cells and of the control.

    Keys are those of the catalogue, with the condition key or donor behind a dot where a score
    has one. A score that cannot be computed is left out. So are those of privacy that compare
    training with test cells, where the test cells are training cells too (``has_test=False``):
    they would say that nothing is memorised, whatever is.
    """
    reference = _Reference(cells)
    generated = dict(reference.compare(cells.generated))
    control = dict(reference.compare(cells.control))
    if has_test:
        for scores, queries in ((generated, cells.all_generated), (control, cells.fitted)):
            scores.update(_privacy(cells, queries))
    for scores, candidate in ((generated, cells.generated), (control, cells.control)):
        scores.update(_train_distances(cells, candidate))
    return generated, control


class _Reference:
    """What is computed of the test cells once for both candidates."""

    def __init__(self, cells: RoundCells) -> None:
        self.cells = cells
        test = cells.test
        self.scale = distances.median_distance(test.components)
        self.genes = marginals.gene_statistics(test.cells.values)
        self.trends = _trend_points(test.cells, cells.scale)
        self.per_cell = marginals.cell_statistics(test.cells.given)
        self.correlation = structure.spearman_matrix(test.block[:, :N_CORRELATED_GENES])
        self.contrasts = {key: _contrasts(cells, test, key) for key in cells.test.cells.labels}

    def compare(self, side: Side) -> Iterator[tuple[str, float]]:
        test = self.cells.test
        yield "mmd", distances.mmd(test.components, side.components, scale=self.scale)
        yield "energy_distance", distances.energy_distance(test.components, side.components)
        overlap = manifold.manifold_scores(test.components, side.components)
        yield from vars(overlap).items()
        yield "mixing_lisi", manifold.integration_lisi(test.components, side.components)

        compared = marginals.compare_genes(self.genes, marginals.gene_statistics(side.cells.values))
        for name, value in compared.items():
            yield name if name.startswith("zero") else f"gene_{name}", value
        (x0, variance0, zeros0), (x1, variance1, zeros1) = (
            self.trends,
            _trend_points(side.cells, self.cells.scale),
        )
        yield "mean_variance_trend", marginals.trend_difference(x0, variance0, x1, variance1)
        yield "mean_zero_trend", marginals.trend_difference(x0, zeros0, x1, zeros1)
        yield from marginals.compare_cells(
            self.per_cell, marginals.cell_statistics(side.cells.given)
        ).items()

        chosen = slice(0, N_CORRELATED_GENES)
        correlation = structure.spearman_matrix(side.block[:, chosen])
        for name, value in structure.compare_correlations(self.correlation, correlation).items():
            yield f"correlation_{name}", value
        if self.cells.keys:
            within = structure.within_condition_difference(
                test.block[:, chosen], test.groups, side.block[:, chosen], side.groups
            )
            for name, value in within.items():
                yield f"within_correlation_{name}", value
        spread = structure.component_spread(test.components, side.components)
        yield "component_spread_error", float(np.abs(np.log2(np.maximum(spread, 2**-5))).mean())

        for key, real in self.contrasts.items():
            made = _contrasts(self.cells, side, key)
            common = [category for category in real if category in made]
            scores = [conditions.compare_contrasts(real[c], made[c]) for c in common]
            if scores:
                yield f"fold_change_slope.{key}", _mean(scores, "slope")
                yield f"fold_change_correlation.{key}", _mean(scores, "correlation")
                yield f"markers_kept.{key}", _mean(scores, "markers_kept")


def _mean(scores: list[dict[str, float]], name: str) -> float:
    values = np.array([score[name] for score in scores])
    return float(values[~np.isnan(values)].mean()) if (~np.isnan(values)).any() else float("nan")


def _trend_points(cells: Cells, scale: Scale) -> tuple[Floats, Floats, Floats]:
    """Mean, variance and zero fraction of the genes a side shows, the first two logged."""
    genes = marginals.gene_statistics(cells.given)
    shown = (genes.variance > 0) & (genes.zero_fraction < 1.0)
    mean, variance, zeros = genes.mean[shown], genes.variance[shown], genes.zero_fraction[shown]
    if scale == "log":
        return mean, variance, zeros
    return np.log10(mean), np.log10(variance), zeros


def to_linear(values: Matrix, scale: Scale) -> Matrix | None:
    """Return values of the score's scale on a linear scale, None where there is none."""
    if scale == "log":
        return None
    return values.expm1() if sp.issparse(values) else np.expm1(values)


def _contrasts(cells: RoundCells, side: Side, key: str) -> dict[str, conditions.Contrast]:
    """Contrast each category that has enough cells with the rest, on detected genes."""
    labels = side.cells.labels[key]
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2:
        return {}
    values = side.cells.values[:, cells.basis.detected]
    linear = to_linear(values, cells.scale)
    return {
        str(name): conditions.category_contrast(values, labels == name, linear=linear)
        for name, count in zip(names, counts, strict=True)
        if count >= LEAST_OF_A_CATEGORY and len(labels) - count >= LEAST_OF_A_CATEGORY
    }


def _privacy(cells: RoundCells, queries: Side) -> Iterator[tuple[str, float]]:
    """Privacy of training cells the basis has not seen: those of the control's half."""
    train, test = cells.control, cells.test
    yield (
        "share_nearer_train",
        privacy.share_nearer(queries.components, train.components, test.components),
    )
    yield (
        "membership_auc",
        privacy.membership_auc(queries.components, train.components, test.components),
    )
    donors, strangers = train.cells.donor, test.cells.donor
    if donors is None:
        return
    for donor in np.unique(donors):
        members = train.components[donors == donor]
        others = test.components
        if strangers is not None and (strangers == donor).sum() >= LEAST_OF_A_CATEGORY:
            others = test.components[strangers == donor]
        if len(members) >= LEAST_OF_A_CATEGORY:
            auc = privacy.membership_auc(queries.components, members, others)
            yield f"donor_membership_auc.{donor}", auc


def _train_distances(cells: RoundCells, candidate: Side) -> Iterator[tuple[str, float]]:
    """Distances to the half of the training cells that fitted the basis, over those of test."""
    far = privacy.nearest_distance(cells.test.components, cells.fitted.components)
    near = privacy.nearest_distance(candidate.components, cells.fitted.components)
    for name, quantile in (("train_distance_ratio", 0.5), ("train_distance_ratio_low", 0.05)):
        base = float(np.quantile(far, quantile))
        yield name, float(np.quantile(near, quantile)) / base if base > 0 else float("nan")
