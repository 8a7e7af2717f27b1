"""The base class of training classes: all that training needs to know of a law.

`vaexprs.spec.likelihoods` holds the rest of a law: its outputs, support and draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.spec import Likelihood, Observation, likelihood_named
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import Grouping
from vaexprs.training.inputs.features import FeatureKind, Features
from vaexprs.training.inputs.scaling import Scaling

Array = NDArray[np.float64]

#: Bounds of the inverse dispersion: below 0.02 one cell holds most counts of a gene, above 1,000
#: no sample of cells tells the law from Poisson's.
DISPERSION_BOUNDS = (0.02, 1000.0)


@dataclass(frozen=True)
class Start:
    """Starting values of the decoder, ``(n_genes,)`` each.

    Attributes
    ----------
    heads
        Biases of the heads by name.
    slope
        Derivative of a gene's feature by its logit: turns loadings into weights.
    trust
        Share of a gene's loadings to start with, from 0 to 1.
    """

    heads: Mapping[str, Array]
    slope: Array
    trust: Array


class TrainingLaw(ABC):
    """How to fit a likelihood. Subclass it, and register an instance.

    A subclass needs `name`, `log_prob` and `start`; all else has defaults.
    """

    #: Name of the law's row in `vaexprs.spec.likelihoods.LIKELIHOODS`.
    name: ClassVar[str]
    #: Heads that are the same for every cell.
    gene_wise: ClassVar[tuple[str, ...]] = ("log_inverse_dispersion", "log_scale")
    #: Bounds that the biases of heads keep to during training.
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}

    @property
    def row(self) -> Likelihood:
        """The law's row in the table."""
        return likelihood_named(self.name)

    @property
    def heads(self) -> dict[str, bool]:
        """Heads of the decoder by name, and whether each differs between cells."""
        names = [output.head for output in self.row.outputs.values()]
        return {name: name not in self.gene_wise for name in names}

    @abstractmethod
    def log_prob(self, x: Tensor, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        """Return the log-probability of each cell, summed over genes, ``(n_cells,)``.

        Parameters
        ----------
        x
            Values, scaled by `scaling`, ``(n_cells, n_genes)``.
        heads
            The decoder's heads, ``(n_cells, n_genes)`` or ``(1, n_genes)``.
        log_library
            ``(n_cells, 1)``; zeros where the law reads no library size.
        """

    @abstractmethod
    def start(self, data: ExpressionData, features: Features, scaling: Scaling | None) -> Start:
        """Return starting values from moments of the training cells.

        A few hundred cells give a fit a few hundred steps. Weights that start far off do not
        arrive: ribosomal genes need an inverse dispersion of 20 to 100, chemokines of 0.1.
        """

    def log_mean(self, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        """Return the log of the mean that the inverse dispersion belongs to, ``(n_cells, G)``."""
        return heads["logits"]

    def shape_terms(self, x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor | None:
        """Return the terms of the log-probability that hold the inverse dispersion, of each value.

        None for a law without one.
        """
        return None

    def scaling(self, data: ExpressionData) -> Scaling | None:
        """Return the scaling of the values, or None."""
        return None

    def feature_kind(self, data: ExpressionData) -> FeatureKind:
        """Return the transformation that the encoder reads."""
        return "identity"

    def ceiling(self, data: ExpressionData) -> Array | None:
        """Return the largest mean (or share) of each gene, or None for no bound."""
        return None

    def observation(self, data: ExpressionData) -> Observation:
        """Return how a value follows from the law; see `GeneratorSpec`."""
        return "draw"

    def residual(self, data: ExpressionData) -> NDArray[np.float32] | None:
        """Return the noise of each gene where `observation` asks for it; see `GeneratorSpec`."""
        return None

    def correct_means(
        self, data: ExpressionData, draws: Draws, groupings: Sequence[Grouping]
    ) -> None:
        """Correct the means in each partition in turn, from the coarsest to the finest."""
        for grouping in groupings:
            self.correct_means_of(data, draws, grouping)

    # Hooks that a law may leave empty.
    def correct_means_of(  # noqa: B027
        self, data: ExpressionData, draws: Draws, grouping: Grouping
    ) -> None:
        """Correct the decoder so that draws have the cells' mean in each group of a partition."""

    def correct_dispersions(  # noqa: B027
        self, data: ExpressionData, draws: Draws, groupings: Sequence[Grouping]
    ) -> NDArray[np.float32] | None:
        """Correct the decoder's dispersions; partitions come from the coarsest to the finest.

        Returns the residuals of a law whose noise is told in the metadata.
        """

    def match_spread(  # noqa: B027
        self, features: Features, data: ExpressionData, draws: Draws
    ) -> None:
        """Last step: correct the variance of the encoder's features."""
