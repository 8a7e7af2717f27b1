"""Real beside generated cells, and beside every score its real-vs-real control."""

from __future__ import annotations

from vaexprs.errors import require

for _module in ("scipy", "sklearn"):
    require(_module, extra="evaluate", purpose="Evaluation")

from vaexprs.evaluation.evaluation import evaluate  # noqa: E402
from vaexprs.evaluation.report import Report  # noqa: E402

__all__ = ["Report", "evaluate"]
