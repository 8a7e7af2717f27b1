"""``vaexprs plot``: the architecture of an artifact, or generated beside real cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaexprs.cli.console import facts

__all__ = ["plot"]


def plot(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL.onnx|GENERATED.h5ad", help="An artifact, or generated cells."
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Figure to write: .png, .pdf or .svg.")
    ],
    real: Annotated[
        Path | None, typer.Option(help="Real cells (.h5ad) to draw the generated ones with.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="PCA, MDS, TSNE, UMAP, NMF, DiffusionMap or heatmap.")
    ] = "PCA",
    color: Annotated[
        str | None, typer.Option(help="obs column to colour by; by default the first shared one.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Layer to read where cells have it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the embedding.")] = 0,
    dpi: Annotated[int, typer.Option(min=20, max=1200, help="Resolution of a .png.")] = 150,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the figure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Draw the architecture of an artifact, or generated cells beside real ones."""
    from vaexprs.errors import DataError, require
    from vaexprs.files import check_output, whole_file

    check_output(output, overwrite=overwrite)
    if output.suffix not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(
            f"the figure's suffix must be .png, .pdf or .svg, not {output.suffix!r}."
        )
    require("matplotlib", extra="plot", purpose="Drawing a figure")
    from vaexprs.plotting import plot_aug, plot_heatmap, plot_vae

    if Path(what).suffix in (".h5ad", ".zarr"):
        if real is None:
            raise DataError(
                "generated cells are drawn beside real ones: name the real cells with --real."
            )
        if method.casefold() == "heatmap":
            figure = plot_heatmap(
                {"real": str(real), "generated": what}, groupby=color, layer=layer, seed=seed
            )
        else:
            figure = plot_aug(what, method, real=str(real), color=color, layer=layer, seed=seed)
    else:
        figure = plot_vae(what)
    with whole_file(output, overwrite=overwrite) as partial:
        figure.savefig(partial, dpi=dpi)
    facts({"output": str(output)}, as_json=as_json)
