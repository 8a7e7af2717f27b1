"""What fit_vae decides when it is not told: likelihood, sizes, device."""

from __future__ import annotations

import torch

from vaexprs.data import ExpressionData
from vaexprs.errors import DataError, DeviceError
from vaexprs.spec import Likelihood

__all__ = ["choose_device", "choose_latent", "choose_likelihood"]


def choose_likelihood(data: ExpressionData) -> tuple[Likelihood, str]:
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
        return "nb", f"{data.source} holds whole numbers >= 0, as counts are"
    if zeros > 0.001:
        reason = f"{data.source} holds non-negative values that are no counts, {zeros:.0%} zeros"
        return "zigamma", reason
    return "gaussian", f"{data.source} holds continuous values without zeros"


def choose_latent(n_cells: int, n_genes: int) -> int:
    """Choose the size of the latent space: what so many cells can tell apart, at most 30."""
    return max(1, min(30, n_cells // 8, n_genes - 1))


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
