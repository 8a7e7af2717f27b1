"""The commands and what they have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from vaexprs._version import __version__
from vaexprs.cli.demo import demo
from vaexprs.cli.evaluate import evaluate
from vaexprs.cli.fit import fit
from vaexprs.cli.generate import generate
from vaexprs.cli.inspect import inspect
from vaexprs.cli.plot import plot

__all__ = ["app"]

app = typer.Typer(
    name="vaexprs",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vaexprs {__version__}")
        raise typer.Exit()


@app.callback()
def vaexprs(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Learn the distribution of single-cell expression; generate realistic cells.

    Train on an .h5ad, get one .onnx file, generate labelled cells from that file alone.
    """


for command in (fit, generate, inspect, evaluate, plot, demo):
    app.command()(command)
