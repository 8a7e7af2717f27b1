"""``vaexprs web``: a page that generates cells in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaexprs.cli.console import facts, note
from vaexprs.cli.options import MODEL, AsJson, Overwrite, Quiet, complete_model


def web(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help=MODEL, autocompletion=complete_model)
    ],
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder of the page.")
    ],
    title: Annotated[
        str | None, typer.Option(help="Name of the model on the page; by default its file's.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a static page that generates cells of MODEL in the browser.

    It needs no server but one of files, and sends nothing anywhere.
    """
    from vaexprs.files import bytes_at
    from vaexprs.web import write_site

    folder = write_site(model, output, title=title, overwrite=overwrite)
    page = bytes_at(folder) - bytes_at(folder / "model.onnx")
    facts(
        {"output": str(folder), "bytes": bytes_at(folder), "bytes_without_model": page},
        as_json=as_json,
    )
    if not quiet:
        note(f"next: python -m http.server --directory {folder}, and open http://localhost:8000")
