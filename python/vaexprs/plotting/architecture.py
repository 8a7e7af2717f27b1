"""The architecture of a model, drawn from what its artifact says about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vaexprs.errors import DataError
from vaexprs.plotting.diagram import Column, Diagram
from vaexprs.plotting.style import canvas
from vaexprs.spec import GeneratorSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_vae"]

#: Entries of the architecture that the diagram draws in its own way.
_ENDS = frozenset(
    {"genes", "z", "latent", "mean", "scale", "inverse_dispersion", "zero_logits", "logits"}
)
_NAMES = {"scores": "principal\ncomponents"}
#: More layers than this on one side are folded; wider ones are no layers. A file says anything.
_MAX_LAYERS = 10
_MAX_UNITS = 10**9


def plot_vae(
    fit_or_path: Any, *, figsize: tuple[float, float] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the architecture of a fit or of an artifact.

    From left to right: expression, the encoder's layers, the latent space with its prior, the
    decoder's layers, what the decoder returns, and generated expression; from below come the
    conditions, one block of a one-hot vector for each key, and the library size. Heights grow
    with the logarithm of the number of units. An artifact that tells nothing of its encoder is
    drawn without one.

    Parameters
    ----------
    fit_or_path
        A `VAEFit`, an `Artifact`, a `Generator` (anything with a ``spec``), a `GeneratorSpec`,
        the path of an artifact or the name of a shipped one.
    figsize
        Width and height in inches; by default the width follows the number of layers.
    ax
        Axes to draw on instead of a new figure; their limits and aspect are set.

    Returns
    -------
    matplotlib.figure.Figure
        Never shown, and unknown to ``pyplot``.

    Raises
    ------
    ArtifactError
        If it names no artifact.
    DataError
        If it is neither a path nor anything with a spec.
    """
    spec = _spec(fit_or_path)
    diagram = Diagram(spec, _columns(spec), linear_path=_says(spec, "layout") == "linear path")
    if ax is None:
        size = figsize or (diagram.width, diagram.height)
        ax = canvas.new_figure(size, constrained=False).add_axes((0.0, 0.0, 1.0, 1.0))
    diagram.draw(ax)
    return canvas.figure_of(ax)


def _spec(given: Any) -> GeneratorSpec:
    if isinstance(given, (str, os.PathLike)):
        from vaexprs.artifact import load_artifact

        return load_artifact(given).spec
    spec = given if isinstance(given, GeneratorSpec) else getattr(given, "spec", None)
    if not isinstance(spec, GeneratorSpec):
        raise DataError(
            "plot_vae draws a fit, an artifact or the path of one, got "
            f"{type(given).__name__}: pass what fit_vae returned or the .onnx that it exported."
        )
    return spec


def _says(spec: GeneratorSpec, entry: str) -> Any:
    """Return an entry of the architecture, which may hold anything."""
    return spec.architecture.get(entry) if isinstance(spec.architecture, Mapping) else None


def _columns(spec: GeneratorSpec) -> list[Column]:
    """Return what stands in the diagram from left to right."""
    columns = []
    encoder, decoder = _says(spec, "encoder"), _says(spec, "decoder")
    if encoder:
        columns.append(Column("data", "expression", spec.n_genes))
        columns += _layers(encoder, "encoder")
    columns.append(Column("latent", "z", spec.n_latent, steps=1.9 if columns else 1.3))
    if decoder:
        columns += _layers(decoder, "decoder")
    else:
        columns.append(Column("unknown", "decoder", spec.n_genes, "layers not recorded"))
    link = next((note for name, _, note in _entries(decoder) if name == "mean"), "")
    columns.append(Column("heads", note=link if link != "linear" else "", steps=1.35))
    columns.append(Column("result", "generated\nexpression", spec.n_genes))
    return columns


def _layers(described: Any, kind: str) -> list[Column]:
    """Return the layers between the ends of one side."""
    layers = [
        Column(kind, _NAMES.get(name, name), units, "" if name == "scores" else activation)
        for name, units, activation in _entries(described)
        if name not in _ENDS
    ]
    if len(layers) <= _MAX_LAYERS:
        return layers
    half = _MAX_LAYERS // 2
    folded = layers[half : 1 - half]
    middle = Column(
        kind, f"{len(folded):,} more\nlayers", max(layer.units for layer in folded), folded=True
    )
    return [*layers[:half], middle, *layers[1 - half :]]


def _entries(described: Any) -> list[tuple[str, int, str]]:
    """Return name, units and activation of each layer that can be read."""
    found = []
    for number, layer in enumerate(described if isinstance(described, (list, tuple)) else ()):
        units = layer.get("units") if isinstance(layer, Mapping) else None
        if type(units) is not int or not 1 <= units <= _MAX_UNITS:
            continue
        name = str(layer.get("name") or f"layer {number + 1}")
        found.append((name, units, str(layer.get("activation") or "linear")))
    return found
