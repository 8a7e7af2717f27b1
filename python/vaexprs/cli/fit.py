"""``vaexprs fit``."""

from __future__ import annotations

__all__ = ["fit"]


def fit() -> None:
    """Train."""
