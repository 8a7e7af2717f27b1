"""Random numbers, latent variables and observations, every draw addressed by its place.

A draw is a pure function of (seed; cell, gene or latent variable, purpose, attempt). Results depend
neither on ``n_threads`` nor on the instruction set, nor on how a range of cells is cut: row ``i``
of a call is cell ``first_cell + i``, and carries the same values in every call that makes it.

Arrays must be C-contiguous and of the dtype in the signature. Arguments out of their support raise
ValueError, whose message names them. The GIL is released while work is done.

Common parameters
-----------------
seed
    Integer from 0 to 2^64 - 1.
first_cell
    Global index of the first row, from 0 to 2^63 - 1.
n_threads
    Threads among which the rows are split, at least 1.
instruction_set
    One of `instruction_sets`, or None for `instruction_set`.
"""

from typing import Literal, SupportsIndex

import numpy as np
from numpy.typing import NDArray

_Float32 = NDArray[np.float32]
_Csr = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]
_Purpose = Literal["latent", "component", "library", "observation", "refinement", "condition"]

def instruction_set() -> str:
    """Name of the kernels in use: the fastest this machine runs.

    The environment variable ``VAEXPRS_INSTRUCTION_SET``, read at first use, names others.
    """

def instruction_sets() -> list[str]:
    """Names of the kernels this machine runs, from ``"reference"`` up to the fastest.

    The reference is a plain scalar twin of every kernel; all of them make the same draws.
    """

def threefry4x32(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Threefry4x32 with 20 rounds (Salmon et al. 2011).

    Parameters
    ----------
    counter
        ``(n, 4)``.
    key
        ``(n, 4)``, or ``(4,)`` for all.

    Returns
    -------
    Four words for each counter, ``(n, 4)``.
    """

def fill_uniform(
    out: NDArray[np.float32] | NDArray[np.float64],
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    purpose: _Purpose = "latent",
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> None:
    """Fill `out`, ``(n_cells, n)``, with uniforms of the open interval (0, 1).

    Support: the odd multiples of 2^-24 in float32, of 2^-53 in float64.
    """

def sample_gamma(
    shape: NDArray[np.float64],
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
) -> NDArray[np.float64]:
    """Gamma variates of scale 1 and the given positive shapes, ``(n_cells, n)``.

    Marsaglia and Tsang (2000). Very small shapes may give 0, where the value would be below the
    smallest float64.
    """

def sample_categorical(
    weights: NDArray[np.float64],
    n_cells: SupportsIndex,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
) -> NDArray[np.int32]:
    """Categories with probabilities proportional to `weights`, ``(n_cells,)``."""

def fill_latent(
    out: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> None:
    """Fill `out`, ``(n_cells, n_latent)``, with standard normals (Box and Muller 1958).

    Support: -6.67 to 6.67, beyond which lies a probability of 3e-11.
    """

def fill_latent_mixture(
    out: _Float32,
    group: NDArray[np.int32],
    offsets: NDArray[np.int64],
    weights: NDArray[np.float64],
    means: _Float32,
    tril: _Float32,
    factor: NDArray[np.int32],
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> None:
    """Fill `out`, ``(n_cells, n_dim)``, from the Gaussian mixture of each cell's group.

    A draw picks a component ``c`` of ``offsets[group]:offsets[group + 1]`` by weight and is
    ``means[c] + tril[factor[c]] @ e``, with the ``e`` that `fill_latent` would give.

    Parameters
    ----------
    group
        ``(n_cells,)``.
    offsets
        ``(n_groups + 1,)``, rising from 0 to n_components.
    weights
        ``(n_components,)``, not negative, with a positive sum in each group.
    means
        ``(n_components, n_dim)``.
    tril
        Lower Cholesky factors, ``(n_factors, n_dim, n_dim)``; what is above the diagonals is not
        looked at.
    factor
        ``(n_components,)``.
    """

def reparameterize(
    mean: _Float32,
    log_variance: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Float32:
    """Return ``mean + exp(log_variance / 2) * e``, with the ``e`` that `fill_latent` would give.

    All arrays are ``(n_cells, n_latent)``.
    """

def fill_library(
    out: _Float32,
    group: NDArray[np.int32],
    location: _Float32,
    scale: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
) -> None:
    """Fill `out`, ``(n_cells,)``, with ``exp(location[group] + scale[group] * e)``."""

def fill_one_hot(out: _Float32, codes: NDArray[np.int32], sizes: NDArray[np.int32]) -> None:
    """Fill `out`, ``(n_cells, sum of sizes)``, with the one-hot blocks of `codes` side by side.

    Parameters
    ----------
    codes
        ``(n_cells, n_keys)``, each from 0 to the size of its key less 1.
    sizes
        Number of categories of each key, ``(n_keys,)``.
    """

def softmax_means(
    out: _Float32,
    logits: _Float32,
    library: _Float32,
    bias: _Float32 | None = None,
    *,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> None:
    """Fill `out` with ``library * softmax(logits + bias)``, row by row.

    Quickest where logits with their bias are between -20 and 50. Shares of less than exp(-87) of
    a row's largest are taken for that.

    Parameters
    ----------
    out, logits
        ``(n_cells, n_genes)``.
    library
        ``(n_cells,)``, not negative, below 2^63.
    bias
        ``(n_genes,)``.
    """

def sample_bernoulli(
    mean: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Float32:
    """Draw 1 with probability `mean`, in [0, 1], else 0; all ``(n_cells, n_genes)``."""

def sample_bernoulli_csr(
    mean: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Csr:
    """Draw as `sample_bernoulli` does, without zeros: data, rising indices, indptr."""

def sample_gaussian(
    mean: _Float32,
    scale: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Float32:
    """Draw normals with mean `mean` and standard deviation `scale` >= 0.

    `mean` is ``(n_cells, n_genes)``. The other parameter is ``(n_cells, n_genes)``,
    ``(1, n_genes)`` or ``(n_genes,)``.
    """

def sample_gaussian_csr(
    mean: _Float32,
    scale: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Csr:
    """Draw as `sample_gaussian` does, without zeros: data, rising indices, indptr."""

def sample_poisson(
    mean: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    library: _Float32 | None = None,
    bias: _Float32 | None = None,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Float32:
    """Draw Poisson counts with the given means in [0, 2^63), ``(n_cells, n_genes)``.

    With `library`, ``(n_cells,)``, `mean` holds logits, and the means are what `softmax_means`
    makes of them, `library` and `bias`. So with all laws of counts.
    """

def sample_poisson_csr(
    mean: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    library: _Float32 | None = None,
    bias: _Float32 | None = None,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Csr:
    """Draw as `sample_poisson` does, without zeros: data, rising indices, indptr."""

def sample_nb(
    mean: _Float32,
    inverse_dispersion: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    library: _Float32 | None = None,
    bias: _Float32 | None = None,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Float32:
    """Draw negative binomial counts with variance ``mean + mean^2 / inverse_dispersion``.

    `mean` is ``(n_cells, n_genes)``. The other parameter is ``(n_cells, n_genes)``,
    ``(1, n_genes)`` or ``(n_genes,)``.
    """

def sample_nb_csr(
    mean: _Float32,
    inverse_dispersion: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    library: _Float32 | None = None,
    bias: _Float32 | None = None,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Csr:
    """Draw as `sample_nb` does, without zeros: data, rising indices, indptr."""

def sample_zinb(
    mean: _Float32,
    inverse_dispersion: _Float32,
    zero_logits: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    library: _Float32 | None = None,
    bias: _Float32 | None = None,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Float32:
    """Draw 0 with probability ``sigmoid(zero_logits)``, else as `sample_nb` does.

    `mean` is ``(n_cells, n_genes)``. The other parameters are ``(n_cells, n_genes)``,
    ``(1, n_genes)`` or ``(n_genes,)``.
    """

def sample_zinb_csr(
    mean: _Float32,
    inverse_dispersion: _Float32,
    zero_logits: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    library: _Float32 | None = None,
    bias: _Float32 | None = None,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Csr:
    """Draw as `sample_zinb` does, without zeros: data, rising indices, indptr."""

def sample_zigamma(
    mean: _Float32,
    inverse_dispersion: _Float32,
    zero_logits: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Float32:
    """Draw 0 with probability ``sigmoid(zero_logits)``, else a gamma variate of the given mean.

    The variance of the gamma variate is ``mean^2 / inverse_dispersion``.

    `mean` is ``(n_cells, n_genes)``. The other parameters are ``(n_cells, n_genes)``,
    ``(1, n_genes)`` or ``(n_genes,)``.
    """

def sample_zigamma_csr(
    mean: _Float32,
    inverse_dispersion: _Float32,
    zero_logits: _Float32,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Csr:
    """Draw as `sample_zigamma` does, without zeros: data, rising indices, indptr."""
