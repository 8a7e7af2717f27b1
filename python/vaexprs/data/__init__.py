"""From what a user has to `ExpressionData`: checked, and nothing of it changed."""

from __future__ import annotations

from vaexprs.data.expression import ExpressionData, concatenate
from vaexprs.data.reading import read_expression

__all__ = ["ExpressionData", "concatenate", "read_expression"]
