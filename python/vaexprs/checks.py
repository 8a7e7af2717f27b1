"""Numbers that a user sets: checked by name, and turned into Python's own."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from vaexprs.errors import ArgumentError, UnknownArgumentError, near_matches

P = ParamSpec("P")
T = TypeVar("T")


def known_arguments(elsewhere: Mapping[str, str]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that answers unknown keyword arguments with near matches."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        ours = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs:
                if name not in ours:
                    known = [elsewhere[name]] if name in elsewhere else ours
                    hint = near_matches(known[0] if name in elsewhere else name, known)
                    raise UnknownArgumentError(
                        f"{function.__name__} has no argument {name!r}: {hint}"
                    )
            return function(*args, **kwargs)

        return checked

    return decorate


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return a whole number, from low to high if there is one, as Python's own."""
    number = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not number or value < low or (high is not None and value > high):
        bounds = f">= {low}" if high is None else f"between {low} and {high}"
        raise ArgumentError(f"{name} must be a whole number {bounds}, got {value!r}.")
    return int(value)


def real(name: str, value: Any, low: float, *, inclusive: bool) -> float:
    """Return a finite number as Python's own."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    inside = number and math.isfinite(value) and (value > low or (inclusive and value == low))
    if not inside:
        sign = ">=" if inclusive else ">"
        raise ArgumentError(f"{name} must be a number {sign} {low:g}, got {value!r}.")
    return float(value)
