"""Numbers that a user sets: checked by name, and turned into Python's own."""

from __future__ import annotations

import math
import numbers
from typing import Any

from vaexprs.errors import ArgumentError

__all__ = ["real", "whole"]


def whole(name: str, value: Any, low: int) -> int:
    """Return a whole number as Python's own.

    Raises
    ------
    ArgumentError
        If it is no whole number, or below `low`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ArgumentError(f"{name} must be a whole number >= {low}, got {value!r}.")
    return int(value)


def real(name: str, value: Any, low: float, *, inclusive: bool) -> float:
    """Return a finite number as Python's own.

    Raises
    ------
    ArgumentError
        If it is no number, not finite, or below `low` (at it, unless `inclusive`).
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    inside = number and math.isfinite(value) and (value > low or (inclusive and value == low))
    if not inside:
        sign = ">=" if inclusive else ">"
        raise ArgumentError(f"{name} must be a number {sign} {low:g}, got {value!r}.")
    return float(value)
