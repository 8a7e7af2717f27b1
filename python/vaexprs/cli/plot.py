"""``vaexprs plot``: the architecture of an artifact, or generated beside real cells."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from vaexprs.cli.console import facts
from vaexprs.cli.options import (
    METHODS,
    AsJson,
    Layer,
    Overwrite,
    Seed,
    complete_column,
    complete_method,
    complete_model,
)

#: Options that change nothing of some pictures, by the picture.
_WITHOUT_EFFECT = {
    "an architecture": ("method", "color", "layer", "layout", "n_top_genes", "seed"),
    "a heatmap": ("layout",),
}


def plot(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|GENERATED",
            help="An artifact (.onnx or shipped), or generated cells (.h5ad, .zarr).",
            autocompletion=complete_model,
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Figure to write: .png, .pdf or .svg.")
    ],
    real: Annotated[
        Path | None, typer.Option(help="Real cells to draw the generated ones with.")
    ] = None,
    method: Annotated[
        str, typer.Option(help=", ".join(METHODS) + ".", autocompletion=complete_method)
    ] = "PCA",
    color: Annotated[
        str | None,
        typer.Option(
            help="obs column to colour by; by default the first shared one.",
            autocompletion=complete_column,
        ),
    ] = None,
    layer: Layer = None,
    layout: Annotated[
        str, typer.Option(help="overlay, or side: real and generated cells in two panels.")
    ] = "overlay",
    n_top_genes: Annotated[
        int | None,
        typer.Option(min=2, help="Genes of the largest variance to use; markers of a heatmap."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the figure.")] = None,
    figsize: Annotated[
        tuple[float, float] | None, typer.Option(help="Width and height in inches: 8 6.")
    ] = None,
    seed: Seed = 0,
    dpi: Annotated[int, typer.Option(min=20, max=1200, help="Resolution of a .png.")] = 150,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw the architecture of an artifact, or generated cells beside real ones."""
    from vaexprs.errors import ArgumentError, DataError, require
    from vaexprs.files import check_output, whole_file

    check_output(output, suffixes=[".png", ".pdf", ".svg"], overwrite=overwrite)
    require("matplotlib", extra="plot", purpose="Drawing a figure")
    from vaexprs.plotting import plot_aug, plot_heatmap, plot_vae

    look: dict[str, Any] = {"title": title, "figsize": figsize}
    of_model = Path(source).suffix not in (".h5ad", ".zarr")
    if of_model or method.casefold() == "heatmap":
        _refuse_given(context, "an architecture" if of_model else "a heatmap")
    if of_model:
        if real is not None:
            raise DataError(
                f"--real is drawn beside generated cells, and {source!r} is a model: generate "
                "cells from it first."
            )
        figure = plot_vae(source, **look)
    elif real is None:
        raise DataError(
            "generated cells are drawn beside real ones: name the real cells with --real."
        )
    elif method.casefold() == "heatmap":
        sides = {"real": str(real), "generated": source}
        look |= {"groupby": color or "auto", "n_genes": n_top_genes, "layer": layer, "seed": seed}
        figure = plot_heatmap(sides, **look)
    else:
        look |= {"color": color, "layout": layout, "layer": layer, "seed": seed}
        look["n_top_genes"] = n_top_genes or 2000
        figure = plot_aug(source, method, real=str(real), **look)
    with whole_file(output, overwrite=overwrite) as partial, warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied")
        try:
            figure.savefig(partial, dpi=dpi)
        except UserWarning as warning:
            width, height = figure.get_size_inches()
            raise ArgumentError(
                f"{width:g} x {height:g} inches are too few: legend and labels leave no room for "
                "the cells. Ask for more with --figsize."
            ) from warning
    facts({"output": str(output)}, as_json=as_json)


def _refuse_given(context: typer.Context, picture: str) -> None:
    """Raise `ArgumentError` if an option was given that has no effect on a picture."""
    from vaexprs.errors import ArgumentError

    given = [
        "--" + name.replace("_", "-")
        for name in _WITHOUT_EFFECT[picture]
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if given:
        have, them = ("has", "it") if len(given) == 1 else ("have", "them")
        raise ArgumentError(f"{', '.join(given)} {have} no effect on {picture}: leave {them} out.")
