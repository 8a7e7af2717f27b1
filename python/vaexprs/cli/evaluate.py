"""``vaexprs evaluate``: how real generated cells are, beside real-vs-real controls."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer

from vaexprs.cli.console import facts, note, print_json, say
from vaexprs.cli.options import AsJson, ConditionKeys, Layer, Overwrite, Quiet, Seed


def evaluate(
    real: Annotated[Path, typer.Argument(metavar="REAL_TRAIN", help="Real cells it learned from.")],
    generated: Annotated[Path, typer.Argument(metavar="GENERATED", help="Generated cells.")],
    *,
    test: Annotated[
        Path | None,
        typer.Option(
            "--test", "--real-test", metavar="REAL_TEST", help="Real cells it has not seen."
        ),
    ] = None,
    condition_key: ConditionKeys = None,
    donor_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="obs column of donors, for privacy by donor.")
    ] = None,
    layer: Layer = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Report to write (.html).")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="SCORES.json", help="File of scores to write.")
    ] = None,
    attach: Annotated[
        Path | None,
        typer.Option(metavar="MODEL.onnx", help="Artifact whose metadata gets the scores."),
    ] = None,
    n_trees: Annotated[
        int, typer.Option("--n-trees", "--trees", min=1, help="Trees of each random forest.")
    ] = 100,
    max_cells: Annotated[int, typer.Option(min=10, help="Cells on a side, at most.")] = 2000,
    seed: Seed = 0,
    n_jobs: Annotated[
        int | None,
        typer.Option("--n-jobs", "--jobs", min=1, help="Threads; by default one for each core."),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score GENERATED beside real-vs-real controls; write a report and its numbers.

    Cells are read from .h5ad or .zarr. Give --test: without cells that the model has not seen
    there is no fair control.
    """
    from vaexprs.errors import require
    from vaexprs.files import check_output

    require("sklearn", extra="evaluate", purpose="Evaluation")
    for path, suffix in ((output, ".html"), (scores, ".json")):
        if path is not None:
            check_output(path, suffixes=[suffix], overwrite=overwrite)
    from vaexprs.evaluation.report.words import lines, summary
    from vaexprs.evaluation.run import run_report

    with _progress(quiet=quiet) as progress:
        report = run_report(
            real, generated, real_test=test, condition_keys=condition_key or (),
            donor_key=donor_key, layer=layer, output=output, json=scores, attach=attach,
            overwrite=overwrite, n_trees=n_trees, max_cells=max_cells, seed=seed, n_jobs=n_jobs,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(report.to_dict())
        return
    paragraphs = [f"Note: {text}" for text in report.notes], summary(report)
    before, after = ([*wrap(" ".join(texts), 80), ""] if texts else [] for texts in paragraphs)
    text = "\n".join([*before, *lines(report), "", *after])
    # Plain signs, since a terminal may lack those of the page.
    say(text.replace("\N{MINUS SIGN}", "-").replace("\N{EN DASH}", "-"))
    written = {"report": output, "scores": scores, "attached to": attach}
    facts({name: str(path) for name, path in written.items() if path}, as_json=False)


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Show the steps of an evaluation: as a bar on a terminal, as lines elsewhere."""
    if quiet:
        yield lambda step, share: None
    elif not sys.stderr.isatty():
        yield lambda step, share: note(f"{share:4.0%} {step}")
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TimeElapsedColumn

        percent, step = "{task.percentage:3.0f} %", "{task.description}"
        columns = (BarColumn(), percent, TimeElapsedColumn(), step)
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda step, share: bar.update(task, completed=share, description=step)
