"""What fit_vae decides when it is not told: likelihood, sizes, device."""

from __future__ import annotations

import numpy as np
import torch

from vaexprs.data import ExpressionData
from vaexprs.errors import DataError, DeviceError

__all__ = [
    "MOST_LATENTS", "USUAL_LATENTS", "choose_device", "choose_latent", "choose_likelihood",
]  # fmt: skip

#: Latents that are enough for most data; those of data with more to tell, such as deep counts of
#: plates, whose components beyond these are still signal.
USUAL_LATENTS, MOST_LATENTS = 30, 64

#: Median of the counts that are not zero from which they are taken for reads, where so many are
#: zero: it was 1 or 2 in 12 sets of molecules, 14 to 292 in 7 of reads of full-length protocols.
#: Reads drop out in genes of any level, which no negative binomial law does that fits their
#: positive values.
_READS, _DROPPED = 10, 0.3


def choose_likelihood(data: ExpressionData) -> tuple[str, str]:
    """Look at the values and choose a likelihood; return it with the reason in words.

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
        middle = _median_positive(data)
        if zeros >= _DROPPED and middle >= _READS:
            reason = f"{data.source} holds counts of reads rather than of molecules: {zeros:.0%} "
            return "zigamma", reason + f"zeros, and half of the others are {middle:g} or more"
        return "nb", f"{data.source} holds whole numbers >= 0, as counts are"
    if zeros > 0.001:
        reason = f"{data.source} holds non-negative values that are no counts, {zeros:.0%} zeros"
        return "zigamma", reason
    return "gaussian", f"{data.source} holds continuous values without zeros"


def _median_positive(data: ExpressionData) -> float:
    values = data.X if isinstance(data.X, np.ndarray) else data.X.data
    return float(np.median(values[values > 0]))


def choose_latent(n_cells: int, n_genes: int, most: int = USUAL_LATENTS) -> int:
    """Choose the size of the latent space: what so many cells can tell apart, up to a limit."""
    return max(1, min(most, n_cells // 8, n_genes - 1))


def choose_device(device: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``mps`` into a device that is there.

    Raises
    ------
    DeviceError
        If the device asked for is not available.
    """
    name = str(device)
    kind = name.partition(":")[0]
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if kind == "auto":
        return torch.device(next(k for k in ("cuda", "mps", "cpu") if available[k]))
    if kind not in available:
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'mps', got {name!r}.")
    if not available[kind]:
        raise DeviceError(
            f"device={name!r} was asked for, but this torch ({torch.__version__}) finds none: "
            "use device='auto', or install torch for that device."
        )
    return torch.device(name)
