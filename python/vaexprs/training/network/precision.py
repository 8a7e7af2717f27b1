"""Where a tensor goes for float64: Apple's MPS has none, and the CPU serves instead."""

from __future__ import annotations

from torch import Tensor

__all__ = ["wide"]


def wide(x: Tensor) -> Tensor:
    """Return a tensor in float64, on the CPU if its device has no float64."""
    return (x.cpu() if x.device.type == "mps" else x).double()
