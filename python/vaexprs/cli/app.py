"""The commands, each with an example, and the options of ``vaexprs`` itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vaexprs._version import __version__
from vaexprs.cli.demo import demo
from vaexprs.cli.evaluate import evaluate
from vaexprs.cli.fit import fit
from vaexprs.cli.generate import generate, merge
from vaexprs.cli.inspect import inspect, models
from vaexprs.cli.plot import plot
from vaexprs.cli.split import split
from vaexprs.cli.web import web
from vaexprs.errors import ArgumentError, near_matches

EXAMPLES: dict[Callable[..., object], str] = {
    split: "vaexprs split pbmc_small --test 0.3 --by cell_type",
    fit: "vaexprs fit train.h5ad -o model.onnx --condition-key cell_type",
    generate: "vaexprs generate pbmc_ifnb -n 99 --condition cell_type=NK -o nk.h5ad",
    merge: "vaexprs merge run.parts -o all.h5ad",
    inspect: "vaexprs inspect pbmc_ifnb",
    evaluate: "vaexprs evaluate train.h5ad made.h5ad --test test.h5ad -o page.html",
    plot: "vaexprs plot made.h5ad --real train.h5ad --method UMAP -o umap.png",
    web: "vaexprs web pbmc_ifnb -o site",
    models: "vaexprs models --json",
    demo: "vaexprs demo demo-folder",
}


class _Commands(TyperGroup):
    """The group of commands, which answers an unknown one with near matches."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            hint = near_matches(args[0], self.list_commands(ctx))
            raise ArgumentError(f"unknown command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="vaexprs",
    cls=_Commands,
    invoke_without_command=True,
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
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[  # read before the commands are, by `vaexprs.cli.main`
        bool, typer.Option("--debug", help="Print the traceback of an error.")
    ] = False,
) -> None:
    """Learn the distribution of single-cell expression; generate realistic cells.

    Train on an .h5ad, get one .onnx file, generate labelled cells from that file alone.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: {example}")(command)
