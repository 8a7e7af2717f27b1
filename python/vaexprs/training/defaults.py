"""Defaults of `fit_vae` that depend on data or machine: likelihood, latent size, device."""

from __future__ import annotations

import numpy as np
import torch

from vaexprs.data import ExpressionData
from vaexprs.errors import ArgumentError, DataError, DeviceError

__all__ = ["MOST_LATENTS", "choose_device", "choose_latent", "choose_likelihood"]

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
        values = data.X if isinstance(data.X, np.ndarray) else data.X.data
        middle = float(np.median(values[values > 0]))
        if zeros >= _DROPPED and middle >= _READS:
            reason = f"{data.source} holds counts of reads rather than of molecules: {zeros:.0%} "
            return "zigamma", reason + f"zeros, and half of the others are {middle:g} or more"
        return "nb", f"{data.source} holds whole numbers >= 0, as counts are"
    if zeros > _FEW_ZEROS:
        reason = f"{data.source} holds non-negative values that are no counts, {zeros:.0%} zeros"
        return "zigamma", reason
    return "gaussian", f"{data.source} holds continuous values without zeros"


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
