"""Data of the figures: the first round, ROC curves of all rounds, coordinates in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from vaexprs.embeddings import umap_plane
from vaexprs.evaluation.arrays import Array, Floats
from vaexprs.evaluation.comparison.sides import RoundCells, Side
from vaexprs.evaluation.metrics.discriminators import Discrimination
from vaexprs.evaluation.scores.giveaway import GiveawayGene

#: Fewest cells of a side for UMAP, whose neighbourhoods hold 15.
LEAST_UMAP_CELLS = 15


@dataclass(frozen=True)
class Pictures:
    """Data of the figures."""

    cells: RoundCells
    names: Sequence[str]
    # Mean ROC curves over rounds by classifier, ``(generated, control)``.
    curves: Mapping[str, tuple[Floats, Floats]]
    # Coordinates by name ("PCA", "UMAP") and side, ``(n_cells, 2)``.
    planes: Mapping[str, Mapping[str, Array]]
    giveaways: Sequence[GiveawayGene]  # Genes by which a forest recognises generated cells

    @property
    def sides(self) -> dict[str, Side]:
        """Test cells, control and generated cells by name."""
        return {
            "test": self.cells.test,
            "control": self.cells.control,
            "generated": self.cells.generated,
        }

    @property
    def key(self) -> str:
        """First condition key, or nothing."""
        return next(iter(self.cells.test.cells.labels), "")


def take_pictures(
    cells: RoundCells,
    names: Sequence[str],
    classifiers: Mapping[str, Sequence[tuple[Discrimination, Discrimination]]],
    giveaways: Sequence[GiveawayGene],
    *,
    embedding: str,
    seed: int,
) -> Pictures:
    """Gather the data of the figures; ``embedding`` is ``"umap"`` or ``"pca"``."""
    shown = {"test": cells.test.components, "generated": cells.generated.components}
    planes = {"PCA": {name: components[:, :2] for name, components in shown.items()}}
    n_test = len(shown["test"])
    if embedding == "umap" and find_spec("umap") is not None and n_test >= LEAST_UMAP_CELLS:
        # Together, so that neither is pulled onto the other.
        both = np.concatenate(list(shown.values()))
        (points,) = umap_plane(both, random_state=seed % 2**32, n_jobs=1, min_dist=0.3)
        planes["UMAP"] = {"test": points[:n_test], "generated": points[n_test:]}
    curves = {}
    for key, pairs in classifiers.items():
        ours, control = (np.mean([pair[i].roc for pair in pairs], axis=0) for i in (0, 1))
        curves[key] = (ours, control)
    return Pictures(cells, names, curves, planes, giveaways)
