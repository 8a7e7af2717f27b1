"""What the figures show: small arrays, taken from the first round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from vaexprs.evaluation.metrics import conditions, marginals, privacy, structure
from vaexprs.evaluation.metrics.arrays import Array, Floats
from vaexprs.evaluation.metrics.discriminators import Discrimination
from vaexprs.evaluation.scores.per_round import (
    LEAST_OF_A_CATEGORY,
    N_CORRELATED_GENES,
    RoundCells,
    Side,
    to_linear,
)
from vaexprs.evaluation.scores.telling import TellingGene

__all__ = ["FoldChanges", "Pictures", "take_pictures"]

N_FOLD_CHANGE_CATEGORIES = 6
N_TELLING_SHOWN = 8
SIDES = ("test", "control", "generated")


@dataclass(frozen=True)
class FoldChanges:
    """Log2 fold changes of one category against the rest, ``(n_genes,)`` each."""

    category: str
    test: Floats
    control: Floats
    generated: Floats


@dataclass(frozen=True)
class Pictures:
    """Everything that is drawn; mappings run over test, control and generated.

    Attributes
    ----------
    embeddings
        Coordinates by name ("PCA", "UMAP") and side, ``(n_cells, 2)``.
    groups
        Category of each cell under the first condition key, by side; empty without keys.
    key
        That condition key.
    genes
        Statistics of genes on the scale of the scores; `given_genes`: of values as given.
    library, detected
        Library size and genes detected of each cell.
    correlation
        Spearman correlations of the most variable genes, ordered by the test cells.
    spread
        Ratio of standard deviations along components, control and generated over test.
    curves
        Mean ROC curves over rounds by classifier, ``(generated, control)``.
    distances
        Distance to the nearest training cell.
    fold_changes
        Of the largest categories.
    telling
        Values of the most telling genes by gene and side.
    scale
        What the values are.
    """

    embeddings: Mapping[str, Mapping[str, Array]]
    groups: Mapping[str, Array]
    key: str
    genes: Mapping[str, marginals.GeneStatistics]
    given_genes: Mapping[str, marginals.GeneStatistics]
    library: Mapping[str, Floats]
    detected: Mapping[str, Floats]
    correlation: Mapping[str, Floats]
    spread: Mapping[str, Floats]
    curves: Mapping[str, tuple[Floats, Floats]]
    distances: Mapping[str, Floats]
    fold_changes: tuple[FoldChanges, ...]
    telling: Mapping[str, Mapping[str, Array]]
    scale: str


def take_pictures(
    cells: RoundCells,
    names: Sequence[str],
    curves: Mapping[str, Sequence[tuple[Discrimination, Discrimination]]],
    telling: Sequence[TellingGene],
    *,
    embedding: str,
    seed: int,
) -> Pictures:
    """Gather what is drawn from one round and the curves of all."""
    sides = {"test": cells.test, "control": cells.control, "generated": cells.generated}
    keys = list(cells.test.cells.labels)
    per_cell = {name: marginals.cell_statistics(side.cells.given) for name, side in sides.items()}
    correlation = {
        name: structure.spearman_matrix(side.block[:, :N_CORRELATED_GENES])
        for name, side in sides.items()
    }
    order = _leaf_order(correlation["test"])
    columns = {names[gene]: column for column, gene in enumerate(cells.basis.genes)}
    return Pictures(
        embeddings=_embeddings(sides, embedding, seed),
        groups={name: side.cells.labels[keys[0]] for name, side in sides.items()} if keys else {},
        key=keys[0] if keys else "",
        genes={name: marginals.gene_statistics(side.cells.values) for name, side in sides.items()},
        given_genes={
            name: marginals.gene_statistics(side.cells.given) for name, side in sides.items()
        },
        library={name: values[0] for name, values in per_cell.items()},
        detected={name: values[1] for name, values in per_cell.items()},
        correlation={name: matrix[np.ix_(order, order)] for name, matrix in correlation.items()},
        spread={
            name: structure.component_spread(cells.test.components, sides[name].components)
            for name in ("control", "generated")
        },
        curves={
            key: (
                np.mean([pair[0].roc for pair in pairs], axis=0),
                np.mean([pair[1].roc for pair in pairs], axis=0),
            )
            for key, pairs in curves.items()
        },
        distances={
            name: privacy.nearest_distance(side.components, cells.fitted.components)
            for name, side in sides.items()
        },
        fold_changes=tuple(_fold_changes(cells, keys[0])) if keys else (),
        telling={
            gene.gene: {name: side.block[:, columns[gene.gene]] for name, side in sides.items()}
            for gene in telling[:N_TELLING_SHOWN]
        },
        scale=cells.scale,
    )


def _leaf_order(matrix: Floats) -> Array:
    """Order of genes in which correlated ones stand side by side."""
    if len(matrix) < 3:
        return np.arange(len(matrix))
    distance = np.clip(1.0 - (matrix + matrix.T) / 2, 0.0, None)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)
    return np.asarray(leaves_list(tree))


def _embeddings(
    sides: Mapping[str, Side], embedding: str, seed: int
) -> dict[str, dict[str, Array]]:
    shown = ("test", "generated")
    found = {"PCA": {name: sides[name].components[:, :2] for name in shown}}
    n_cells = len(sides["test"].components)
    if embedding == "umap" and find_spec("umap") is not None and n_cells >= 15:
        found["UMAP"] = _umap({name: sides[name].components for name in shown}, seed)
    return found


def _umap(components: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """Embed test and generated cells together, so that neither is pulled onto the other."""
    import warnings

    from vaexprs.errors import require

    umap: Any = require("umap", extra="evaluate", purpose="The overlay by UMAP")
    stacked = np.concatenate(list(components.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        placed = umap.UMAP(random_state=seed, n_jobs=1, min_dist=0.3).fit_transform(stacked)
    cuts = np.cumsum([len(block) for block in components.values()])[:-1]
    return dict(zip(components, np.split(placed, cuts), strict=True))


def _fold_changes(cells: RoundCells, key: str) -> list[FoldChanges]:
    test = cells.test
    sides = (test, cells.control, cells.generated)
    labels, counts = np.unique(test.cells.labels[key], return_counts=True)
    if len(labels) < 2:
        return []
    chosen = []
    for index in np.argsort(-counts)[:N_FOLD_CHANGE_CATEGORIES]:
        masks = [side.cells.labels[key] == labels[index] for side in sides]
        if min(mask.sum() for mask in masks) < LEAST_OF_A_CATEGORY:
            continue
        changes = []
        for side, mask in zip(sides, masks, strict=True):
            values = side.cells.values[:, cells.basis.detected]
            linear = to_linear(values, cells.scale)
            contrast = conditions.category_contrast(values, mask, linear=linear)
            changes.append(contrast.log_fold_change)
        chosen.append(FoldChanges(str(labels[index]), *changes))
    return chosen
