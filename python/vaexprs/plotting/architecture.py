"""`plot_vae`: the architecture of a model, drawn from the metadata of its artifact."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaexprs.artifact import Source, load_artifact
from vaexprs.errors import DataError
from vaexprs.spec import GeneratorSpec
from vaexprs.style import INK, MUTED, figure_of, new_figure, short, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vaexprs.generation.generator import Generator

_OUTPUTS = {"mean": "mean μ", "scale": "scale σ", "inverse_dispersion": "inverse\ndispersion θ"}
#: Entries of the architecture that the diagram draws in its own way.
_ENDS = {"genes", "z", "latent", "mean", "scale", "inverse_dispersion", "zero_logits", "logits"}
#: Fill and edge of boxes.
_INKS = {
    "data": ("#e8eaee", "#8a93a3"),
    "encoder": ("#bcd7ec", "#0072b2"),
    "latent": ("#fbe0b8", "#c77f00"),
    "decoder": ("#b9e2d5", "#00785a"),
    "condition": ("#f0d9e7", "#a8527f"),
    "library": ("#d9ecf9", "#3c8dc0"),
}
#: A file's metadata may hold anything: more layers on a side are folded, larger ones left out.
_MAX_LAYERS, _MAX_UNITS, _MAX_KEYS = 10, 10**9, 4
# Inches: width of a column and of its bar, height of bars, boxes below, margin of the page.
_STEP, _BAR, _TALLEST, _SMALLEST, _PILL, _GAP, _MARGIN = 1.18, 0.34, 2.5, 0.42, 0.5, 0.18, 0.3
_LIBRARY_WIDTH = 1.5


@dataclass(eq=False)
class _Column:
    """A layer, or another thing that stands beside the layers; lengths in inches."""

    kind: str
    name: str = ""
    units: int = 1
    width: float = _STEP
    vague: bool = False
    x: float = 0.0
    left: float = 0.0
    right: float = 0.0
    height: float = 0.0


@styled
def plot_vae(
    source: Source | Generator | GeneratorSpec,
    *,
    title: str | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the architecture of a fit or of an artifact.

    From left to right: expression, the encoder's layers, the latent space with its prior, the
    decoder's layers, the decoder's outputs, and generated expression; from below come the
    conditions, one block of a one-hot vector per key, and the library size. Heights grow with
    the logarithm of the number of units. Without a recorded encoder the diagram begins at z.

    Parameters
    ----------
    source
        Path of an artifact, name of a shipped one, bytes, a loaded `Artifact`, a `VAEFit`, a
        `Generator`, or a `GeneratorSpec`.
    title
        Title instead of "Conditional variational autoencoder".
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
        If the path or name leads to no valid artifact.
    DataError
        If ``source`` is neither a path nor anything with a spec.
    """
    diagram = _Diagram(_spec(source), title)
    if ax is None:
        figure = new_figure(*(figsize or (diagram.width, diagram.height)), layout=None)
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    diagram.draw(ax)
    return figure_of(ax)


def _spec(source: Any) -> GeneratorSpec:
    if isinstance(source, str | bytes | bytearray | memoryview | os.PathLike):
        return load_artifact(source).spec
    spec = source if isinstance(source, GeneratorSpec) else getattr(source, "spec", None)
    if not isinstance(spec, GeneratorSpec):
        raise DataError(
            "plot_vae draws a fit, an artifact or the path of one, got "
            f"{type(source).__name__}: pass what fit_vae returned or the .onnx that it exported."
        )
    return spec


def _layers(described: Any, kind: str) -> list[_Column]:
    """Return the layers between the ends of one side."""
    layers = [
        _Column(kind, f"{name}\n{activation}" if name != "scores" else "principal\ncomponents", n)
        for name, n, activation in _entries(described)
        if name not in _ENDS
    ]
    if len(layers) <= _MAX_LAYERS:
        return layers
    half = _MAX_LAYERS // 2
    folded = layers[half : 1 - half]
    most = max(layer.units for layer in folded)
    middle = _Column(kind, f"{len(folded):,} more\nlayers", most, vague=True)
    return [*layers[:half], middle, *layers[1 - half :]]


def _entries(described: Any) -> list[tuple[str, int, str]]:
    """Return name, units and activation of each layer that can be read."""
    found = []
    for number, layer in enumerate(described if isinstance(described, (list, tuple)) else ()):
        units = layer.get("units") if isinstance(layer, Mapping) else None
        if type(units) is int and 1 <= units <= _MAX_UNITS:
            name = str(layer.get("name") or f"layer {number + 1}")
            found.append((name, units, str(layer.get("activation") or "linear")))
    return found


class _Diagram:
    """Place columns on a page of `width` by `height` inches, and draw them."""

    def __init__(self, spec: GeneratorSpec, title: str | None) -> None:
        self.spec = spec
        kind = "Conditional variational" if spec.conditions.keys else "Variational"
        self.title = title or f"{kind} autoencoder"
        says = spec.architecture if isinstance(spec.architecture, Mapping) else {}
        encoder, decoder = says.get("encoder"), says.get("decoder")
        self.link = next((note for name, _, note in _entries(decoder) if name == "mean"), "linear")
        encoding = [_Column("data", "expression", spec.n_genes), *_layers(encoder, "encoder")]
        unknown = _Column("decoder", "decoder\nlayers not recorded", spec.n_genes, vague=True)
        layers = _layers(decoder, "decoder")
        self.encoded = bool(encoder)
        self.latent = _Column("latent", "z", spec.n_latent, (1.9 if encoder else 1.3) * _STEP)
        self.heads = _Column("heads", width=1.35 * _STEP)
        result = _Column("data", "generated\nexpression", spec.n_genes)
        self.before = encoding if encoder else []
        self.after = [*(layers if decoder else [unknown]), self.heads, result]
        self.columns = [*self.before, self.latent, *self.after]
        self.most = max(2, spec.n_latent, *(column.units for column in self.columns))
        self.linear_path = says.get("layout") == "linear path" and bool(layers)

        self.pills = self._pills()
        pills = sum(width + _GAP for _, _, width in self.pills)
        length = sum(column.width for column in self.columns)
        self.width = max(length + 3 * _MARGIN, pills + 2 * _MARGIN, 5.8)
        x = (self.width - length) / 2
        if spec.library is not None:  # it stands under the outputs, right of the conditions
            outputs = x + length - result.width - self.heads.width / 2
            lacking = max(0.0, _MARGIN + pills + 0.1 + _LIBRARY_WIDTH / 2 - outputs)
            x, self.width = x + lacking, self.width + lacking
        for column in self.columns:
            column.x = x + column.width / 2
            x += column.width
        self.height = 5.5 if self.pills or spec.library is not None else 4.6
        self.height += 0.22 * self.linear_path
        self.middle = self.height - 2.66 - 0.22 * self.linear_path

    def _pills(self) -> list[tuple[str, str, float]]:
        """Return name, detail and width of the box of each condition key."""
        keys = self.spec.conditions.keys
        shown = keys if len(keys) <= _MAX_KEYS else keys[: _MAX_KEYS - 1]
        texts = [(short(key.name, 26), len(key.categories)) for key in shown]
        if rest := keys[len(shown) :]:
            texts.append((f"{len(rest):,} more keys", sum(len(key.categories) for key in rest)))
        named = [(name, _number(n, "category", "categories")) for name, n in texts]
        return [(a, b, 0.28 + 0.085 * max(len(a), 0.9 * len(b))) for a, b in named]

    def draw(self, ax: Axes) -> None:
        """Draw the diagram on axes, whose unit becomes the inch."""
        self.ax = ax
        ax.set_axis_off()
        ax.set(xlim=(0, self.width), ylim=(0, self.height), aspect="equal")
        self._headline()
        for column in self.columns:
            {"latent": self._latent, "heads": self._heads}.get(column.kind, self._bar)(column)
        for column, following in zip(self.columns, self.columns[1:], strict=False):
            self._funnel(column, following)
        if self.linear_path:
            ink, x, heads = _INKS["decoder"][1], self.latent.right - 0.3, self.heads
            crest = self.middle + max(column.height for column in self.after[:-1]) / 2 + 0.36
            beside = heads.right + 0.18  # past the other outputs, to the mean from the right
            path = [(x, self.middle + 0.53), (x, crest), (beside, crest), (beside, self.mean_at)]
            self._line(path, ink)
            self._arrow(path[-1], (heads.right + 0.02, self.mean_at), ink)
            self._text((x + heads.x) / 2, crest + 0.1, "linear path", colour=ink)
        if self.pills:
            self._conditions()
        if self.spec.library is not None:
            law = "joint with z" if self.spec.library.kind == "joint" else "log-normal"
            left = self.heads.x - _LIBRARY_WIDTH / 2
            self._pill(left, _LIBRARY_WIDTH, "library size", law, "library")
            foot = (self.heads.x, self.middle - self.heads.height / 2)
            self._arrow((self.heads.x, _MARGIN + _PILL), foot, _INKS["library"][1])

    def _headline(self) -> None:
        spec, top = self.spec, self.height
        genes = _number(spec.n_genes, "gene", "genes")
        latents = _number(spec.n_latent, "latent dimension", "latent dimensions")
        facts = f"{genes} · {latents} · {spec.law.title} likelihood"
        self._text(_MARGIN, top - 0.3, self.title, 12, ha="left", weight="bold", colour=INK)
        self._text(_MARGIN, top - 0.53, facts, 8.5, ha="left")
        y = top - 1.02
        for name, kind, columns, note in (
            ("encoder", "encoder", self.before, "training only"),
            ("latent space", "latent", [self.latent], ""),
            ("decoder", "decoder", self.after, "the artifact's graph"),
        ):
            if not columns:
                continue
            left = columns[0].x - columns[0].width / 2 + 0.12
            right = columns[-1].x + columns[-1].width / 2 - 0.12
            ink = _INKS[kind][1]
            self._line([(left, y), (right, y)], ink, width=2)
            self._text(left, y + 0.08, name, 8.5, "left", "baseline", weight="bold", colour=ink)
            if note and right - left > 2.2:
                self._text(right, y + 0.08, note, ha="right", va="baseline")

    def _bar(self, column: _Column) -> None:
        share = math.log(column.units) / math.log(self.most)
        height = _SMALLEST + (_TALLEST - _SMALLEST) * share
        column.left, column.right, column.height = column.x - _BAR / 2, column.x + _BAR / 2, height
        foot = self.middle - height / 2
        self._box(column.left, foot, _BAR, height, column.kind, dashed=column.vague)
        if not column.vague:
            self._count(column.x, foot + height + 0.14, column.units)
        name = "\n".join(short(line, 20) for line in column.name.split("\n"))
        self._text(column.x, foot - 0.08, name, va="top")

    def _latent(self, column: _Column) -> None:
        """Draw z; beside an encoder, with the mean and the log-variance that it comes from."""
        from matplotlib.patches import Circle

        radius, x = 0.3, column.x + 0.42 * self.encoded
        column.left = column.x - 0.86 if self.encoded else x - radius
        column.right, column.height = x + radius, 2 * radius
        if self.encoded:
            for sign, label in ((1, "mean"), (-1, "log-\nvariance")):
                y = self.middle + sign * 0.31
                self._box(column.left, y - 0.23, 0.78, 0.46, "latent")
                self._text(column.left + 0.39, y, label, colour=INK)
                self._arrow((column.left + 0.8, y), (x - radius * 0.92, self.middle + sign * 0.1))
        fill, edge = _INKS["latent"]
        self.ax.add_patch(Circle((x, self.middle), radius, fc=fill, ec=edge, lw=1.3, zorder=3))
        self._text(x, self.middle, "z", 13, style="italic", weight="bold", colour=INK)
        self._count(x, self.middle + radius + 0.14, column.units)
        prior, law = self.spec.prior, "standard normal"
        if prior.kind == "gaussian_mixture":
            law = f"Gaussian mixture\n{_number(len(prior.weights), 'component', 'components')}"
        law = f"prior: {law}\nKL to N(0, I) in training" if self.encoded else f"prior:\n{law}"
        below = self.middle - (0.64 if self.encoded else radius + 0.12)
        self._text((column.left + column.right) / 2, below, law, va="top")

    def _heads(self, column: _Column) -> None:
        """Draw one box for each output of the graph."""
        outputs = self.spec.outputs
        column.left, column.right = column.x - 0.5, column.x + 0.5
        column.height = 0.6 * len(outputs) - 0.04
        y = self.middle + column.height / 2 - 0.05
        for name in reversed(outputs):  # the mean lowest, above the library size
            label = _OUTPUTS.get(name, name.replace("_", " "))
            if name == "mean" and self.link != "linear":
                label += f"\n{short(self.link, 14)}"
            self._box(column.left, y - 0.46, 1.0, 0.46, "decoder")
            self._text(column.x, y - 0.23, label, colour=INK)
            if name == "mean":
                self.mean_at = y - 0.23
            y -= 0.6

    def _funnel(self, column: _Column, following: _Column) -> None:
        """Fill the space between two columns: all connections between them."""
        kind = following.kind
        if following in (*self.before, self.latent):
            kind = "encoder"
        elif kind == "heads":
            kind = "decoder"
        ends = ((column.right + 0.04, column), (following.left - 0.04, following))
        xs, heights = zip(*((x, end.height / 2 - 0.06) for x, end in ends), strict=True)
        low, high = ([self.middle + sign * height for height in heights] for sign in (-1, 1))
        self.ax.fill_between(xs, low, high, color=_INKS[kind][1], alpha=0.13, lw=0, zorder=1)

    def _conditions(self) -> None:
        """Draw a box for each key; their one-hot vector enters before the encoder and after z."""
        entries = []
        for index, column in enumerate(self.columns[:-1]):
            if column is self.latent or column.name == "expression":
                following = self.columns[index + 1]
                foot = self.middle - (column.height + following.height) / 4
                entries.append(((column.right + following.left) / 2, foot))
        bus, ink = _MARGIN + _PILL + 0.2, _INKS["condition"][1]
        total = sum(width + _GAP for _, _, width in self.pills) - _GAP
        end = self.width - _MARGIN
        if self.spec.library is not None:
            end = self.heads.x - _LIBRARY_WIDTH / 2 - 0.25
        x = max(_MARGIN, min((entries[0][0] + entries[-1][0] - total) / 2, end - total))
        ends = [entry for entry, _ in entries]
        for name, detail, width in self.pills:
            self._pill(x, width, name, detail, "condition")
            ends.append(x + width / 2)
            self._line([(ends[-1], _MARGIN + _PILL), (ends[-1], bus)], ink)
            x += width + _GAP
        self._line([(min(ends), bus), (max(ends), bus)], ink)
        for entry, foot in entries:
            self._arrow((entry, bus), (entry, foot), ink)
        wide = f"one-hot, {self.spec.conditions.n_conditions:,} wide"
        self._text(min(ends) + 0.06, bus + 0.1, wide, ha="left", colour=ink)

    def _pill(self, left: float, width: float, name: str, detail: str, kind: str) -> None:
        self._box(left, _MARGIN, width, _PILL, kind)
        x = left + width / 2
        self._text(x, _MARGIN + 0.28, name, 8.5, va="baseline", weight="bold", colour=INK)
        self._text(x, _MARGIN + 0.1, detail, va="baseline")

    def _count(self, x: float, y: float, n: int) -> None:
        self._text(x, y, f"{n:,}", 8.5, weight="bold", colour=INK)

    def _text(
        self, x: float, y: float, text: str, size: float = 7.5, ha: str = "center",
        va: str = "center", *, colour: str = MUTED, **style: Any,
    ) -> None:  # fmt: skip
        self.ax.text(
            x, y, text, fontsize=size, ha=ha, va=va, color=colour, linespacing=1.25, zorder=5,
            **style,
        )  # fmt: skip

    def _box(
        self, left: float, foot: float, width: float, height: float, kind: str,
        *, dashed: bool = False,
    ) -> None:  # fmt: skip
        from matplotlib.patches import FancyBboxPatch

        fill, edge = _INKS[kind]
        style = f"round,pad=0,rounding_size={min(0.08, width / 3, height / 3)}"
        self.ax.add_patch(
            FancyBboxPatch(
                (left, foot), width, height, boxstyle=style, fc=fill, ec=edge, lw=1.1,
                ls="--" if dashed else "-", zorder=3,
            )
        )  # fmt: skip

    def _line(self, points: list[tuple[float, float]], ink: str, *, width: float = 1.1) -> None:
        xs, ys = zip(*points, strict=True)
        self.ax.plot(xs, ys, color=ink, lw=width, zorder=2)

    def _arrow(
        self, start: tuple[float, float], end: tuple[float, float], ink: str = MUTED
    ) -> None:
        style = "-|>,head_width=0.18,head_length=0.32"
        self.ax.annotate(
            "", end, start, zorder=4,
            arrowprops={"arrowstyle": style, "color": ink, "lw": 1.1, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip


def _number(n: int, one: str, more: str) -> str:
    return f"{n:,} {one if n == 1 else more}"
