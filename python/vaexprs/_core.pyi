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

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

_Float32 = NDArray[np.float32]
_Csr = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]

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

    All arrays are ``(n_cells, n_latent)``. A result beyond float32 raises ValueError.
    """

class Inputs:
    """Draws the inputs of a decoder: built once for a spec and a plan, drawn from by any thread.

    A combination that training never saw borrows the mixtures of the seen ones that share with it
    the keys that matter most, shifted by the difference that an additive model of the keys expects.

    Parameters
    ----------
    sizes
        Number of categories of each key, ``(n_keys,)``.
    seen
        Codes of the combinations of training, ``(n_seen, n_keys)``.
    n_cells
        Their training cells, ``(n_seen,)``.
    combinations
        Codes of the plan's groups, ``(n_groups, n_keys)``.
    bounds, groups, endless
        See `plan_groups`.
    prior
        None for standard normals, or five arrays as in `vaexprs.spec.Prior`: offsets, weights,
        means, tril, factor. Entries above the diagonals of `tril` are ignored.
    with_log_library
        Whether the last coordinate of the prior is the log library size.
    library
        None, or four arrays as in `vaexprs.spec.LibraryLaw`: minimum, maximum, location, scale.
    keys
        Name and categories of each key. A hash of the names of a combination is the key of its
        random stream, so that cells of different combinations are independent.
    """

    def __init__(
        self,
        *,
        sizes: NDArray[np.int32],
        seen: NDArray[np.int32],
        n_cells: NDArray[np.int64],
        combinations: NDArray[np.int32],
        bounds: NDArray[np.uint64],
        groups: NDArray[np.int32],
        endless: bool,
        n_latent: SupportsIndex,
        with_log_library: bool,
        prior: Sequence[NDArray[Any]] | None,
        library: Sequence[_Float32] | None,
        keys: Sequence[tuple[str, Sequence[str]]],
    ) -> None: ...
    def draw(
        self, *, seed: SupportsIndex, first_cell: SupportsIndex, n_cells: SupportsIndex
    ) -> tuple[
        NDArray[np.int32],
        NDArray[np.bool_],
        NDArray[np.uint32],
        _Float32,
        _Float32 | None,
        _Float32 | None,
    ]:
        """Return codes, unseen, streams, z, condition and library of consecutive cells.

        Condition is None without keys, library without a library law. Shapes: ``(n_cells,
        n_keys)``, ``(n_cells,)`` twice, ``(n_cells, n_latent)``, ``(n_cells, sum of sizes)``
        one-hot, ``(n_cells,)``.
        """

def plan_groups(
    bounds: NDArray[np.uint64],
    groups: NDArray[np.int32],
    endless: bool,
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex,
    n_cells: SupportsIndex,
) -> NDArray[np.int32]:
    """Return the group of each cell of a plan, ``(n_cells,)``.

    Parameters
    ----------
    bounds
        Rising, ``(n_runs,)``. Upper bounds of shares of 2^64 where the plan is endless: groups are
        then stratified, and shuffled within windows of 256 cells. Else the ends of runs of cells,
        the last of which goes on.
    groups
        Group of each run, ``(n_runs,)``.
    """

class Decoder:
    """The portable decoder: runs the graph of an artifact in plain float32.

    A row of its outputs depends on the same row of its inputs alone, and has the same bits on every
    machine. Opened once, it decodes in any number of threads.

    Parameters
    ----------
    model
        An .onnx file. Refused, as by `vaexprs.artifact.load_artifact` and in its words, where it is
        no artifact; and where its graph works along rows of constants, which vaexprs never writes.
    inputs
        Names and widths of the inputs that the metadata promise, z first.
    outputs
        Names of the outputs, the mean first.
    n_combinations
        Combinations of categories that training saw.
    """

    def __init__(
        self,
        model: bytes,
        *,
        inputs: Sequence[tuple[str, SupportsIndex]],
        outputs: Sequence[str],
        n_genes: SupportsIndex,
        n_combinations: SupportsIndex,
        instruction_set: str | None = None,
    ) -> None: ...
    @property
    def gives_logits(self) -> bool:
        """Whether the first output holds logits, for ``library * softmax(logits + bias)``."""

    @property
    def bias(self) -> _Float32 | None:
        """The bias of the logits, ``(n_genes,)``, the largest 0; or None."""

    @property
    def n_values(self) -> int:
        """Values that all nodes of the graph compute for a cell."""

    def decode(self, inputs: Sequence[_Float32]) -> list[_Float32]:
        """Return the outputs, ``(n_cells, n_genes)`` or ``(1, n_genes)``, of all inputs in order.

        Inputs are ``(n_cells, width)``.
        """

def check_artifact(model: bytes) -> None:
    """Read and check an artifact as the C interface does; ValueError says why it is refused.

    The refusals are those of `vaexprs.artifact.load_artifact`, in its words.
    """

def observe(
    likelihood: str,
    outputs: Sequence[_Float32],
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    streams: NDArray[np.uint32] | None = None,
    rounded: bool = False,
    library: _Float32 | None = None,
    bias: _Float32 | None = None,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Csr:
    """Draw the values of consecutive cells: data, indices that rise within a row, indptr.

    Raises ValueError, whose message begins with the name of the output, where a parameter is
    outside its support or a draw is beyond float32.

    Parameters
    ----------
    likelihood
        ``"bernoulli"``, ``"gaussian"``, ``"rectified_gaussian"``, ``"poisson"``, ``"nb"``,
        ``"zinb"`` or ``"zigamma"``.
    outputs
        The parameters in the likelihood's order. The mean is ``(n_cells, n_genes)``, the others
        are that, ``(1, n_genes)`` or ``(n_genes,)``.
    streams
        Keys of the random streams of the cells, ``(n_cells,)``; all plain if None.
    rounded
        Round to the nearest integer, ties to even, positive values to at least 1. Not
        where values may be negative.
    library, bias
        Library sizes, ``(n_cells,)``, where the first output holds logits: the means are
        ``library * softmax(logits + bias)``, with a bias of ``(n_genes,)``. Laws of counts only.
    """

def means(
    likelihood: str,
    outputs: Sequence[_Float32],
    *,
    library: _Float32 | None = None,
    bias: _Float32 | None = None,
    n_threads: SupportsIndex = 1,
    instruction_set: str | None = None,
) -> _Float32:
    """Return the means, ``(n_cells, n_genes)``, after a check of all outputs; see `observe`.

    They are the first output, or follow from its logits. Means of ``"bernoulli"`` may exceed 1
    here. Softmax is quickest where logits with their bias are between -20 and 50; shares of less
    than exp(-87) of a row's largest are taken for that.
    """

def normalise(
    data: _Float32,
    indptr: NDArray[np.int64],
    *,
    seed: SupportsIndex,
    first_cell: SupportsIndex = 0,
    streams: NDArray[np.uint32] | None = None,
    log_base: float,
    pseudocount: float,
    log_sum: float,
    slope: float,
    deviation: float,
    centre: float,
) -> None:
    """Scale the rows of a CSR matrix to a common sum and log them, in place.

    See `vaexprs.spec.Normalisation`; a `log_base` of 0 stands for no logarithm. Raises ValueError
    where `indptr` does not rise from 0 to the length of `data`, or a number is not finite.
    """
