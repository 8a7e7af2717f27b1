"""``vaexprs split``: cells to learn from and cells to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaexprs.cli.console import facts, next_command
from vaexprs.cli.options import AsJson, Overwrite, Quiet, Seed, complete_column


def split(
    data: Annotated[
        str, typer.Argument(metavar="CELLS.h5ad", help="Cells, or the name of shipped ones.")
    ],
    *,
    test: Annotated[float, typer.Option(help="Share of the cells to hold out.")] = 0.3,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            autocompletion=complete_column,
            help="obs column whose labels keep their proportions; repeat for more.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of both files.")] = Path(),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Split CELLS into train.h5ad and test.h5ad, so that a model is tested on unseen cells."""
    from vaexprs.data.open import open_cells
    from vaexprs.data.split import held_out_rows
    from vaexprs.files import check_output, whole_files

    paths = {name: output / f"{name}.h5ad" for name in ("train", "test")}
    for path in paths.values():
        check_output(path, overwrite=overwrite)
    cells = open_cells(data)
    held_out = held_out_rows(cells, test, by or (), seed)
    adata = cells.anndata()
    with whole_files(list(paths.values()), overwrite=overwrite) as partials:
        for partial, rows in zip(partials, (~held_out, held_out), strict=True):
            adata[rows].copy().write_h5ad(partial, compression="gzip")
    facts(
        {name: str(path) for name, path in paths.items()}
        | {"train_cells": int((~held_out).sum()), "test_cells": int(held_out.sum())},
        as_json=as_json,
    )
    if not quiet:
        keys = [word for key in by or () for word in ("--condition-key", key)]
        next_command("vaexprs", "fit", paths["train"], *keys, "-o", "model.onnx")
