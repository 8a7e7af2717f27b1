"""``vaexprs demo``."""

from __future__ import annotations

__all__ = ["demo"]


def demo() -> None:
    """Run the whole chain."""
