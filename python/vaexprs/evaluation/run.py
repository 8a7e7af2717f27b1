"""`run_report`: evaluate files; write a page, a JSON, and scores into an artifact."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

from vaexprs.artifact import load_artifact
from vaexprs.artifact.quality import attached_quality
from vaexprs.evaluation.evaluate import evaluate
from vaexprs.evaluation.report.report import Report
from vaexprs.files import check_output, whole_files

Path: TypeAlias = str | os.PathLike[str]


def run_report(
    real_train: Path,
    generated: Path,
    *,
    real_test: Path | None = None,
    condition_keys: Sequence[str] = (),
    output: Path | None = None,
    json: Path | None = None,
    attach: Path | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Report:
    """Evaluate generated cells in files, and write the outputs that are named.

    Outputs and the artifact are checked before any work starts.

    Parameters
    ----------
    real_train, generated, real_test
        Paths of ``.h5ad`` files.
    condition_keys
        Columns of ``obs`` that the cells were made for.
    output
        Where the page goes.
    json
        Where the JSON goes.
    attach
        Artifact whose metadata the scores are put into, as `Report.quality` gives them.
    overwrite
        Whether existing outputs are replaced.
    **options
        Passed on to `evaluate`.

    Raises
    ------
    OutputError
        If an output exists and ``overwrite`` is false, or cannot be written.
    ArtifactError
        If ``attach`` is no artifact.
    DataError, ConditionError
        As `evaluate`.
    """
    for path in (output, json):
        if path is not None:
            check_output(path, overwrite=overwrite)
    if attach is not None:
        load_artifact(attach)
        check_output(os.path.realpath(attach), overwrite=True)
    report = evaluate(
        real_train, generated, real_test=real_test, condition_keys=condition_keys, **options
    )
    outputs = [(json, report.to_json), (output, report.to_html)]
    wanted = [(path, write) for path, write in outputs if path is not None]
    attached = attached_quality(attach, report.quality()) if attach is not None else nullcontext()
    with attached, whole_files([path for path, _ in wanted], overwrite=overwrite) as partials:
        for (_, write), partial in zip(wanted, partials, strict=True):
            write(partial)
    return report
