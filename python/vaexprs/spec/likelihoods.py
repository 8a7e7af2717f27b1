"""The table of likelihoods: one row a law of an expression value given the decoder's outputs.

To add a law, add its row here, its training class in `vaexprs.training.likelihoods`, and its
kernel to the C++ core (or a `sampler`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.errors import ArgumentError, near_matches

Array = NDArray[np.float32]
Csr = tuple[Array, NDArray[np.int32], NDArray[np.int64]]
Observation = Literal["draw", "rounded", "mean", "normal", "rectified"]
Function = Literal["softmax", "exp", "sigmoid", "linear"]
Support = Literal["real", "nonnegative", "counts"]

#: Block that a head reads gene by gene: the logits less their bias.
FOLLOWED = "logits"
#: Least change of a head that follows the logits: a shape falls to a four-hundredth at most.
LEAST_CHANGE = -6.0


class Output(NamedTuple):
    """One output of the graph: ``function(head)``.

    ``"softmax"`` runs over the genes of a cell, and is multiplied by its library size.
    """

    head: str
    function: Function


def _mean(outputs: Mapping[str, Array]) -> Array:
    return outputs["mean"]


def _zero_inflated_mean(outputs: Mapping[str, Array]) -> Array:
    # 1 - sigmoid(a), written with tanh, which does not overflow
    mean: Array = outputs["mean"] * (0.5 - 0.5 * np.tanh(0.5 * outputs["zero_logits"]))
    return mean


_erfc = np.frompyfunc(math.erfc, 1, 1)


def _rectified_mean(outputs: Mapping[str, Array]) -> Array:
    """Return ``mean * Phi(r) + scale * phi(r)`` with ``r = mean / scale``."""
    mean = outputs["mean"].astype(np.float64)
    scale = np.maximum(outputs["scale"], np.finfo(np.float32).tiny)
    r = mean / scale
    above = 0.5 * _erfc(-r / np.sqrt(2)).astype(np.float64)
    return (mean * above + scale * np.exp(-0.5 * r * r) / np.sqrt(2 * np.pi)).astype(np.float32)


@dataclass(frozen=True)
class Likelihood:
    """The law of a value given the outputs of the graph.

    Attributes
    ----------
    name
        As `fit_vae` and the artifact's metadata name it.
    title
        Its name in figures.
    outputs
        Outputs of the graph in order, each a function of one head of the decoder. The first is
        ``"mean"``.
    support
        Values that data may hold: any real number, numbers >= 0, or whole numbers >= 0.
    reads_library
        Whether the graph takes the library size of each cell.
    sparse
        Whether draws hold exact zeros.
    observations
        How a value may follow from the law; see `GeneratorSpec`.
    expected
        Expected values, ``(n_cells, n_genes)``, from the outputs by name. Zero inflation counts.
    sampler
        Draws values, ``(n_cells, n_genes)``, in place of the C++ core:
        ``sampler(outputs, seed=..., first_cell=...)``. Cell i of a call is cell
        ``first_cell + i`` and must not depend on the others.
    """

    name: str
    title: str
    outputs: Mapping[str, Output]
    support: Support
    reads_library: bool = False
    sparse: bool = True
    observations: tuple[Observation, ...] = ("draw",)
    expected: Callable[[Mapping[str, Array]], Array] = _mean
    sampler: Callable[..., Array] | None = None

    def draw(
        self,
        outputs: Mapping[str, Array],
        *,
        seed: int,
        first_cell: int = 0,
        streams: NDArray[np.uint32] | None = None,
        rounded: bool = False,
        library: Array | None = None,
        bias: Array | None = None,
    ) -> Csr:
        """Draw the values of consecutive cells.

        Parameters
        ----------
        outputs
            Outputs of the graph by name, ``(n_cells, n_genes)`` or ``(1, n_genes)``.
        seed, first_cell
            A value is a pure function of the seed, the stream and the indices of its cell and gene.
        streams
            Keys of the random streams of the cells, ``(n_cells,)``; one for all if None.
        rounded
            Round values to whole numbers, positive ones to at least 1.
        library, bias
            If `library` is given, ``outputs["mean"]`` holds logits, and the mean is
            ``library * softmax(logits + bias)``.

        Returns
        -------
        data, indices, indptr
            Rows in compressed sparse row layout.
        """
        if self.sampler is None:
            return _core.observe(
                self.name, [np.ascontiguousarray(outputs[name]) for name in self.outputs],
                seed=seed, first_cell=first_cell, streams=streams, rounded=rounded,
                library=library, bias=bias,
            )  # fmt: skip
        if library is not None:
            mean = _core.means("poisson", [outputs["mean"]], library=library, bias=bias)
            outputs = {**outputs, "mean": mean}
        dense = self.sampler(outputs, seed=seed, first_cell=first_cell).astype(np.float32)
        rows, columns = np.nonzero(dense)
        data, indices = dense[rows, columns], columns.astype(np.int32)
        indptr = np.searchsorted(rows, np.arange(len(dense) + 1)).astype(np.int64)
        if rounded:
            np.maximum(np.rint(data, out=data), 1, out=data)
        return data, indices, indptr


_SHARE = Output("logits", "softmax")
_INVERSE_DISPERSION = Output("log_inverse_dispersion", "exp")
_ZERO_LOGITS = Output("zero_logits", "linear")

#: All laws by name; `register` adds to it.
LIKELIHOODS: dict[str, Likelihood] = {
    law.name: law
    for law in (
        Likelihood(
            "bernoulli", "Bernoulli",
            {"mean": Output("logits", "sigmoid")},
            support="real", sparse=False,
            observations=("draw", "mean", "normal", "rectified"),
        ),
        Likelihood(
            "gaussian", "Gaussian",
            {"mean": Output("logits", "linear"), "scale": Output("log_scale", "exp")},
            support="real", sparse=False,
        ),
        Likelihood(
            "rectified_gaussian", "rectified Gaussian",
            {"mean": Output("logits", "linear"), "scale": Output("log_scale", "exp")},
            support="nonnegative", expected=_rectified_mean,
        ),
        Likelihood(
            "poisson", "Poisson",
            {"mean": _SHARE},
            support="counts", reads_library=True,
        ),
        Likelihood(
            "nb", "negative binomial",
            {"mean": _SHARE, "inverse_dispersion": _INVERSE_DISPERSION},
            support="counts", reads_library=True,
        ),
        Likelihood(
            "zinb", "zero-inflated negative binomial",
            {"mean": _SHARE, "inverse_dispersion": _INVERSE_DISPERSION,
             "zero_logits": _ZERO_LOGITS},
            support="counts", reads_library=True, expected=_zero_inflated_mean,
        ),
        Likelihood(
            "zigamma", "zero-inflated gamma",
            {"mean": Output("logits", "exp"), "inverse_dispersion": _INVERSE_DISPERSION,
             "zero_logits": _ZERO_LOGITS},
            support="nonnegative", observations=("draw", "rounded"),
            expected=_zero_inflated_mean,
        ),
    )
}  # fmt: skip

#: Names of the outputs of each likelihood's graph, in order.
OUTPUTS = {name: tuple(law.outputs) for name, law in LIKELIHOODS.items()}


def likelihood_named(name: str) -> Likelihood:
    """Return the law of a name.

    Raises
    ------
    ArgumentError
        If there is none; the message names near matches.
    """
    if name not in LIKELIHOODS:
        raise ArgumentError(f"unknown likelihood {name!r}: " + near_matches(name, LIKELIHOODS))
    return LIKELIHOODS[name]


def register(likelihood: Likelihood) -> Likelihood:
    """Add a law to the table and return it.

    Raises
    ------
    ArgumentError
        If its name is taken.
    """
    if likelihood.name in LIKELIHOODS:
        raise ArgumentError(f"there is a likelihood {likelihood.name!r} already.")
    LIKELIHOODS[likelihood.name] = likelihood
    return likelihood
