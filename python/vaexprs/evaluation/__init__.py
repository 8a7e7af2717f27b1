"""Scores of generated cells, each beside its real-vs-real control.

`evaluate` measures and returns a `Report`; `run_report` does so from files to files. The scores
themselves are pure functions on arrays in `vaexprs.evaluation.metrics`.
"""

from vaexprs.errors import require

for _module in ("scipy", "sklearn"):
    require(_module, extra="evaluate", purpose="Evaluation")

from vaexprs.evaluation.evaluate import evaluate  # noqa: E402 - after the check for its packages
from vaexprs.evaluation.report.report import Report  # noqa: E402
from vaexprs.evaluation.run import run_report  # noqa: E402

__all__ = ["Report", "evaluate", "run_report"]
