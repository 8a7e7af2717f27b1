"""Defaults of `fit_vae` that depend on data or machine: likelihood, latent size, device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import gammaln
from scipy.stats import norm

from vaexprs.data import ExpressionData
from vaexprs.data.scale import scale_of, stored_values
from vaexprs.errors import ArgumentError, DataError, DeviceError

#: Most latents, and most where components beyond are still signal, as in deep counts of plates.
_USUAL_LATENTS, MOST_LATENTS = 30, 64
#: Training cells for each latent.
_CELLS_OF_LATENT = 8
#: Counts are taken for reads from this share of zeros and this median of the others. The median was
#: 1 or 2 in 12 sets of molecules, 14 to 292 in 7 of full-length reads. Reads drop out in genes of
#: any level, which no negative binomial law does that fits their positive values.
_DROPPED, _READS = 0.3, 10
#: Share of zeros in continuous values from which they are exact zeros and no rounding.
_FEW_ZEROS = 0.001
#: Cells that two laws are compared on at most, positive values of genes that take part, steps of
#: expectation-maximisation, and the least variance of a gene.
_COMPARED_CELLS, _KNOWN, _EM_STEPS, _TINY = 2000, 10, 50, 1e-12


def choose_likelihood(data: ExpressionData) -> tuple[str, str]:
    """Return the likelihood that fits the values, and the reason in words.

    Raises
    ------
    DataError
        If every value is zero.
    """
    if data.n_nonzero == 0:
        raise DataError(f"{data.source} holds only zeros: there is nothing to learn from.")
    zeros = 1 - data.n_nonzero / (data.n_cells * data.n_genes)
    if data.minimum < 0:
        return "gaussian", f"{data.source} holds negative values"
    if data.is_integer:
        if data.maximum <= 1:
            return "bernoulli", f"{data.source} holds zeros and ones only"
        values = stored_values(data.sample().X)
        middle = float(np.median(values[values > 0]))
        if zeros >= _DROPPED and middle >= _READS:
            reason = f"{data.source} holds counts of reads rather than of molecules: {zeros:.0%} "
            return "zigamma", reason + f"zeros, and half of the others are {middle:g} or more"
        return "nb", f"{data.source} holds whole numbers >= 0, as counts are"
    if zeros > _FEW_ZEROS:
        reason = f"{data.source} holds non-negative values that are no counts, {zeros:.0%} zeros"
        # logged values are left to zigamma: a gene that is on or off has two modes
        if scale_of(data.X) == "linear" and rectified_gain(data) > 0:
            return "rectified_gaussian", f"{reason}; they are normal but cut off at zero"
        return "zigamma", reason
    return "gaussian", f"{data.source} holds continuous values without zeros"


def rectified_gain(data: ExpressionData) -> float:
    """Return the gain in likelihood of a rectified normal over a zero-inflated gamma law.

    In nats per value of held-out cells, the median over genes. Each gene has one law, fitted to
    every other cell.
    """
    cells = np.arange(min(data.n_cells, _COMPARED_CELLS))
    fit, test = (_sums(data.rows(cells[start::2]).astype(np.float64)) for start in (0, 1))
    seen = fit.n_positive >= _KNOWN
    if not seen.any():
        return -np.inf
    fit, test = fit.of(seen), test.of(seen)
    return float(np.median(_rectified(fit, test) - _gamma(fit, test)) / max(test.n, 1))


@dataclass(frozen=True)
class _Sums:
    """Sums of each gene over positive values, ``(n_genes,)`` each."""

    n: int  # cells
    n_positive: Any
    first: Any
    second: Any
    logs: Any

    def of(self, genes: Any) -> _Sums:
        parts = (self.n_positive, self.first, self.second, self.logs)
        return _Sums(self.n, *(part[genes] for part in parts))


def _sums(x: Any) -> _Sums:
    logs = np.log(x, out=np.zeros_like(x), where=x > 0)
    return _Sums(len(x), (x > 0).sum(0), x.sum(0), (x**2).sum(0), logs.sum(0))


def _rectified(fit: _Sums, test: _Sums) -> Any:
    """Return log-likelihoods of genes, fitted by expectation-maximisation (Tobin 1958)."""
    n_zero = fit.n - fit.n_positive
    mean = fit.first / fit.n
    scale = np.sqrt(np.maximum(fit.second / fit.n - mean**2, _TINY))
    for _ in range(_EM_STEPS):
        ratio = -mean / scale
        hazard = np.exp(norm.logpdf(ratio) - norm.logcdf(ratio))
        below = mean - scale * hazard  # mean of what is below zero, and mean square
        square = mean**2 + scale**2 - scale * mean * hazard
        mean = (fit.first + n_zero * below) / fit.n
        scale = np.sqrt(np.maximum((fit.second + n_zero * square) / fit.n - mean**2, _TINY))
    apart = test.second - 2 * mean * test.first + test.n_positive * mean**2
    positive = -0.5 * apart / scale**2 - test.n_positive * np.log(scale * np.sqrt(2 * np.pi))
    return positive + (test.n - test.n_positive) * norm.logcdf(-mean / scale)


def _gamma(fit: _Sums, test: _Sums) -> Any:
    """Return log-likelihoods of genes, with Minka's (2002) approximation of the shape."""
    zero = (fit.n - fit.n_positive + 0.5) / (fit.n + 1)
    mean = fit.first / fit.n_positive
    gap = np.maximum(np.log(mean) - fit.logs / fit.n_positive, 1e-4)
    shape = (3 - gap + np.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    positive = (shape - 1) * test.logs - shape * test.first / mean
    positive += test.n_positive * (shape * np.log(shape / mean) - gammaln(shape))
    n_zero = test.n - test.n_positive
    return positive + n_zero * np.log(zero) + test.n_positive * np.log1p(-zero)


def choose_latent(n_cells: int, n_genes: int, most: int = _USUAL_LATENTS) -> int:
    """Return the size of the latent space for a number of cells, up to a limit."""
    return max(1, min(most, n_cells // _CELLS_OF_LATENT, n_genes - 1))


def choose_device(device: str) -> torch.device:
    """Return the device of a name: ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or ``mps``.

    Raises
    ------
    DeviceError
        If the device is not available.
    ValueError
        If the name is unknown.
    """
    name = str(device)
    kind, _, index = name.partition(":")
    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if name == "auto":
        return torch.device(next(k for k in ("cuda", "mps", "cpu") if count[k]))
    if kind not in count or (":" in name and not index.isdecimal()):
        raise ArgumentError(
            f"device must be 'auto', 'cpu', 'cuda', 'mps', or one by number such as 'cuda:0', "
            f"got {name!r}."
        )
    if int(index or 0) >= count[kind]:
        raise DeviceError(
            f"device={name!r} was asked for, but this torch ({torch.__version__}) finds "
            f"{count[kind] or 'none'}: use device='auto', or install torch for that device."
        )
    return torch.device(name)
