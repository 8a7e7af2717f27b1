"""Options and arguments that several commands share, and what a shell completes for them."""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import Annotated, Literal

import typer


def complete_model(incomplete: str) -> list[str]:
    """Return the names of shipped artifacts; a shell adds files itself where none fits."""
    from vaexprs.artifact.shipped import shipped_artifacts

    return [name for name in shipped_artifacts() if name.startswith(incomplete)]


def complete_category(incomplete: str) -> list[str]:
    """Return ``KEY=VALUE`` for the condition keys and categories of the model on the line."""
    from vaexprs.artifact import load_artifact

    for word in _words():
        with contextlib.suppress(ValueError):  # not the model
            keys = load_artifact(word).spec.conditions.keys
            pairs = (f"{key.name}={category}" for key in keys for category in key.categories)
            return [pair for pair in pairs if pair.startswith(incomplete)]
    return []


def complete_column(incomplete: str) -> list[str]:
    """Return the columns of ``obs`` of the first .h5ad file on the line."""
    import h5py

    for word in _words():
        with contextlib.suppress(OSError, KeyError), h5py.File(word) as file:
            obs = file["obs"]
            names = [name for name in obs if name != obs.attrs.get("_index")]
            return [name for name in names if name.startswith(incomplete)]
    return []


def _words() -> list[str]:
    """Return the words of the line that a shell completes: bash and zsh pass them so."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    try:
        return shlex.split(line)
    except ValueError:  # an open quote
        return line.split()


def whole_number(text: str) -> int:
    """Return a whole number, which may be written as 1_000_000 or 1e6.

    Raises
    ------
    typer.BadParameter
        If the text is not a whole number.
    """
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if (number := float(text)).is_integer():
            return int(number)
    raise typer.BadParameter(f"expected a whole number, such as 1000000 or 1e6, got {text!r}.")


MODEL = "Artifact (.onnx), or the name of a shipped one."
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
ConditionKeys = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY", help="obs column of conditions; repeat for more.",
        autocompletion=complete_column,
    ),
]  # fmt: skip
Device = Annotated[
    str, typer.Option(help="Where the decoder runs: auto, cpu, cuda or cuda:0 by number.")
]
Runtime = Annotated[
    Literal["onnxruntime", "portable"] | None,
    typer.Option(
        help="What runs the decoder: onnxruntime (fast; the default), or portable (the same cells "
        "on every machine)."
    ),
]
Layer = Annotated[str | None, typer.Option(metavar="NAME", help="Layer to read; X by default.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an unfinished .h5ad, .zarr or .parts.")
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]

#: Kinds of figures: the methods of `vaexprs.plot_aug`, and ``heatmap``.
METHODS = ("PCA", "MDS", "TSNE", "UMAP", "NMF", "DiffusionMap", "heatmap")


def complete_method(incomplete: str) -> list[str]:
    """Return the methods of ``vaexprs plot``."""
    return [name for name in METHODS if name.startswith(incomplete)]
