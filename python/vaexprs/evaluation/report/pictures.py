"""Data of the figures: the first round, ROC curves of all rounds, coordinates in a plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from vaexprs.embeddings import umap_begun
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


class Planes:
    """Coordinates of the test and the generated cells of the first round.

    With the embedding ``"umap"``, where umap-learn is installed, UMAP is begun once these cells are
    known and computed beside the other rounds; with ``"pca"`` there are principal components alone.
    """

    def __init__(self, embedding: str, seed: int) -> None:
        self._by_umap = embedding == "umap" and find_spec("umap") is not None
        self._seed = seed % 2**32
        self._stack = ExitStack()
        self._umap: Callable[[], Any] | None = None

    def __enter__(self) -> Planes:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def begin(self, cells: RoundCells) -> None:
        """Take the cells of the first round."""
        self._shown = {"test": cells.test.components, "generated": cells.generated.components}
        if self._by_umap and len(self._shown["test"]) >= LEAST_UMAP_CELLS:
            # Together, so that neither is pulled onto the other.
            both = np.concatenate(list(self._shown.values()))
            begun = umap_begun(both, random_state=self._seed, n_jobs=1, min_dist=0.3)
            self._umap = self._stack.enter_context(begun)

    def coordinates(self) -> dict[str, dict[str, Array]]:
        """Return coordinates by name ("PCA", "UMAP") and side, ``(n_cells, 2)``."""
        planes = {"PCA": {name: scores[:, :2] for name, scores in self._shown.items()}}
        if self._umap is not None:
            (points,) = self._umap()
            n_test = len(self._shown["test"])
            planes["UMAP"] = {"test": points[:n_test], "generated": points[n_test:]}
        return planes


def take_pictures(
    cells: RoundCells,
    names: Sequence[str],
    classifiers: Mapping[str, Sequence[tuple[Discrimination, Discrimination]]],
    giveaways: Sequence[GiveawayGene],
    planes: Planes,
) -> Pictures:
    """Gather the data of the figures."""
    curves = {}
    for key, pairs in classifiers.items():
        ours, control = (np.mean([pair[i].roc for pair in pairs], axis=0) for i in (0, 1))
        curves[key] = (ours, control)
    return Pictures(cells, names, curves, planes.coordinates(), giveaways)
