"""``vaexprs evaluate``: how real generated cells are, beside real-vs-real controls."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer

from vaexprs.cli.console import facts, note

__all__ = ["evaluate"]


def evaluate(
    real_train: Annotated[
        Path, typer.Argument(metavar="REAL_TRAIN", help="Real cells it learned from (.h5ad).")
    ],
    generated: Annotated[
        Path, typer.Argument(metavar="GENERATED", help="Generated cells (.h5ad).")
    ],
    *,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="REAL_TEST",
            help="Real cells it has not seen; without them the training cells are cut in two.",
        ),
    ] = None,
    condition_key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="obs column the cells were made for; repeat for more."),
    ] = None,
    donor_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="obs column of donors, for privacy by donor.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Layer to read; X by default.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Report to write (.html).")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="SCORES.json", help="Scores to write.")
    ] = None,
    attach: Annotated[
        Path | None,
        typer.Option(metavar="MODEL.onnx", help="Artifact whose metadata gets the scores."),
    ] = None,
    trees: Annotated[int, typer.Option(min=1, help="Trees of the random forests.")] = 300,
    max_cells: Annotated[int, typer.Option(min=2, help="Most cells on a side.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Workers of the random forests.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing meanwhile.")] = False,
) -> None:
    """Score GENERATED beside real-vs-real controls; write a report and its numbers."""
    from vaexprs.errors import require

    require("sklearn", extra="evaluate", purpose="Evaluation")
    from vaexprs.evaluation.report.words import lines, summary
    from vaexprs.evaluation.run import run_report

    report = run_report(
        real_train,
        generated,
        real_test=test,
        condition_keys=condition_key or (),
        donor_key=donor_key,
        layer=layer,
        output=output,
        json=json,
        attach=attach,
        overwrite=overwrite,
        n_trees=trees,
        max_cells=max_cells,
        seed=seed,
        n_jobs=jobs,
        progress=None if quiet else note,
    )
    written = {"report": output, "scores": json, "attached to": attach}
    told = [*lines(report), "", *wrap(" ".join(summary(report)), 90), ""]
    # a terminal need not know the signs of the page
    print("\n".join(told).replace("\N{MINUS SIGN}", "-").replace("\N{EN DASH}", "-"))
    facts(
        {name: str(path) for name, path in written.items() if path is not None},
        as_json=False,
    )
