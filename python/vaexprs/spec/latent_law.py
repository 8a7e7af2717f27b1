"""`Prior` and `LibraryLaw`: the laws of z and of the library size, as an artifact stores them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prior:
    """The law of the latent variables given the condition, as fitted after training.

    ``gaussian_mixture`` holds one mixture for each combination of ``Conditions.combinations``:
    group ``g`` owns the components ``offsets[g]:offsets[g + 1]``. A draw picks a component by
    weight and returns ``means[c] + tril[factor[c]] @ e`` with ``e`` standard normal. Components
    may share a factor, which keeps models of thousands of categories small. Where
    `with_log_library` is true the vectors have one coordinate more than the latent space: the
    natural logarithm of the library size, drawn jointly.

    Attributes
    ----------
    kind
        ``"standard_normal"`` (all arrays are empty) or ``"gaussian_mixture"``.
    with_log_library
        Whether the last coordinate is the log library size.
    offsets
        ``(n_groups + 1,)``, int64.
    weights
        ``(n_components,)``, float64; they sum to 1 within each group.
    means
        ``(n_components, n_dim)``, float32.
    tril
        Lower Cholesky factors of covariances, ``(n_factors, n_dim, n_dim)``, float32.
    factor
        Which factor each component uses, ``(n_components,)``, int32.
    """

    kind: Literal["standard_normal", "gaussian_mixture"] = "standard_normal"
    with_log_library: bool = False
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    means: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    tril: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    factor: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass(frozen=True)
class LibraryLaw:
    """The law of the library size (total counts of a cell) given the condition.

    Attributes
    ----------
    kind
        ``"joint"``: the log library size is the last coordinate of the prior's mixture.
        ``"lognormal"``: log-normal with `location` and `scale` for each combination.
    minimum, maximum
        Bounds in counts for each combination, ``(n_combinations,)``, float32; draws are clipped
        to them.
    location, scale
        Mean and standard deviation of the log library size for each combination,
        ``(n_combinations,)``, float32. Kept under both kinds, since combinations that
        were never seen borrow from them.
    """

    kind: Literal["joint", "lognormal"]
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]
    location: NDArray[np.float32]
    scale: NDArray[np.float32]
