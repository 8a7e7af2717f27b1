"""Real beside generated cells, and beside every score its real-vs-real control.

`evaluate` measures and returns a `Report`; `run_report` does so from files to files. The scores
themselves are pure functions on arrays in `vaexprs.evaluation.metrics`.

==================  =====================================================================
``cells``           reading: common genes, labels, the scale of the scores
``rounds``          who is compared with whom
``basis``           variable genes and principal components, of training cells alone
``scoring``         the scores of one round
``whole``           scores of all cells at once; ``small`` those for few training cells
``augmentation``    classes made rare and topped up
``ranges``          the range of real cells, and verdicts
``catalogue``       every score: its key, its direction, its meaning
``telling``         the genes that give generated cells away
``report``          the report, its JSON
``pictures``        what is drawn; ``figures`` draws it, ``page`` puts it on one page
==================  =====================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vaexprs.errors import require

if TYPE_CHECKING:
    from vaexprs.evaluation.evaluation import evaluate
    from vaexprs.evaluation.report import Report
    from vaexprs.evaluation.run import run_report

__all__ = ["Report", "evaluate", "run_report"]

_HOMES = {"Report": "report", "evaluate": "evaluation", "run_report": "run"}

for _module in ("scipy", "sklearn"):
    require(_module, extra="evaluate", purpose="Evaluation")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
