"""The architecture of a model, drawn from what its artifact says about it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaexprs.errors import DataError
from vaexprs.plotting import canvas
from vaexprs.spec import GeneratorSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_vae"]

_LIKELIHOODS = {
    "bernoulli": "Bernoulli",
    "gaussian": "Gaussian",
    "poisson": "Poisson",
    "nb": "negative binomial",
    "zinb": "zero-inflated negative binomial",
    "zigamma": "zero-inflated gamma",
}
_OUTPUTS = {
    "mean": "mean μ",
    "scale": "scale σ",
    "inverse_dispersion": "inverse\ndispersion θ",
    "zero_logits": "zero logits",
}
#: Fill and edge of what belongs together.
_DATA = ("#e8eaee", "#8a93a3")
_ENCODER = ("#bcd7ec", "#0072b2")
_LATENT = ("#fbe0b8", "#c77f00")
_DECODER = ("#b9e2d5", "#00785a")
_CONDITION = ("#f0d9e7", "#a8527f")
_LIBRARY = ("#d9ecf9", "#3c8dc0")

# Inches.
_BAR = 0.34
_STEP = 1.18
_TALLEST, _SMALLEST = 2.5, 0.42
_MAX_KEYS = 4


def plot_vae(
    fit_or_path: Any, *, figsize: tuple[float, float] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the architecture of a fit or of an artifact.

    From left to right: expression, the encoder's layers, the latent space with its prior, the
    decoder's layers, what the decoder returns, and the likelihood; from below come the
    conditions, one block of a one-hot vector for each key, and the library size. Heights grow
    with the logarithm of the number of units.

    Parameters
    ----------
    fit_or_path
        A `VAEFit`, an `Artifact`, a `Generator` (anything with a ``spec``), a `GeneratorSpec`,
        or the path of an artifact.
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
        If the path is no artifact.
    DataError
        If it is neither a path nor anything with a spec.
    """
    spec = _spec(fit_or_path)
    columns = _columns(spec)
    n_steps = sum(column.steps for column in columns)
    keys = _key_texts(spec)
    pills = sum(_pill_width(name, detail) + 0.18 for name, detail in keys)
    width = max(_STEP * n_steps + 0.9, pills + 1.2, 5.6)
    height = 5.5 if keys or spec.is_counts else 4.6
    if ax is None:
        size = figsize or (width, height)
        ax = canvas.new_figure(size, constrained=False).add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set_axis_off()
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.set_aspect("equal")
    _Drawing(ax, spec, width, height).draw(columns, keys)
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


@dataclass(frozen=True)
class _Column:
    """One thing on the way through the network."""

    kind: str  # "data", "encoder", "latent", "decoder", "unknown", "heads", "result"
    name: str = ""
    units: int = 1
    note: str = ""
    steps: float = 1.0


def _columns(spec: GeneratorSpec) -> list[_Column]:
    """Return the columns of the drawing; the encoder's only where the artifact tells of it."""
    encoder = _layers(spec, "encoder", {"z", "latent", "z_mean", "z_log_variance"})
    decoder = _layers(spec, "decoder", {*spec.outputs, "logits", "output", "outputs"})
    columns = []
    if encoder or spec.architecture.get("encoder"):
        columns.append(_Column("data", "expression", spec.n_genes))
        columns += [_Column("encoder", *layer) for layer in encoder]
    columns.append(_Column("latent", "z", spec.n_latent, steps=1.9 if columns else 1.3))
    columns += [_Column("decoder", *layer) for layer in decoder]
    if not decoder and not spec.architecture.get("decoder"):
        columns.append(_Column("unknown", "decoder", spec.n_genes, "layers not recorded"))
    columns.append(_Column("heads", steps=1.35))
    columns.append(_Column("result", "generated\nexpression", spec.n_genes))
    return columns


def _layers(spec: GeneratorSpec, side: str, drawn_anyway: set[str]) -> list[tuple[str, int, str]]:
    """Return the hidden layers of one side: name, units, activation.

    An artifact is free to say anything here, so that what cannot be read is left out.
    """
    layers = spec.architecture.get(side)
    found = []
    for number, layer in enumerate(layers if isinstance(layers, (list, tuple)) else ()):
        if not isinstance(layer, Mapping):
            continue
        units = layer.get("units")
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            continue
        name = str(layer.get("name") or f"layer {number + 1}")
        if name in drawn_anyway:
            continue
        found.append((name, units, str(layer.get("activation") or "linear")))
    return found


def _key_texts(spec: GeneratorSpec) -> list[tuple[str, str]]:
    """Return what the pill of each condition key says."""
    keys = spec.conditions.keys
    shown = keys if len(keys) <= _MAX_KEYS else keys[: _MAX_KEYS - 1]
    texts = [(_short(key.name, 26), _number(len(key.categories), "category")) for key in shown]
    if len(keys) > len(shown):
        rest = keys[len(shown) :]
        n_categories = sum(len(key.categories) for key in rest)
        texts.append((f"{len(rest)} more keys", _number(n_categories, "category")))
    return texts


def _number(n: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{n:,} {noun if n == 1 else plural}"


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _pill_width(name: str, detail: str) -> float:
    return 0.28 + 0.085 * max(len(name), 0.9 * len(detail))


class _Drawing:
    """Draws columns on axes whose unit is the inch."""

    def __init__(self, ax: Axes, spec: GeneratorSpec, width: float, height: float) -> None:
        self.ax, self.spec = ax, spec
        self.width, self.top = width, height
        self.middle = height - 2.66
        units = [spec.n_genes, spec.n_latent]
        for side in ("encoder", "decoder"):
            units += [layer[1] for layer in _layers(spec, side, set())]
        self.most = max(max(units), 2)

    def draw(self, columns: list[_Column], keys: list[tuple[str, str]]) -> None:
        """Draw everything."""
        self._headline()
        total = sum(column.steps for column in columns) * _STEP
        left = (self.width - total) / 2
        centres: list[float] = []
        for column in columns:
            centres.append(left + column.steps * _STEP / 2)
            left += column.steps * _STEP
        sides: list[tuple[float, float, float]] = []  # left edge, right edge, height
        for column, x in zip(columns, centres, strict=True):
            sides.append(getattr(self, f"_draw_{column.kind}")(column, x))
        for before, after, column in zip(sides[:-1], sides[1:], columns[1:], strict=True):
            self._funnel(before, after, column.kind)
        self._brackets(columns, centres)
        # A condition joins what the encoder reads, and z.
        entries = []
        for before, after, column in zip(sides[:-1], sides[1:], columns[:-1], strict=True):
            if column.kind in ("data", "latent"):
                half = (before[2] + after[2]) / 4
                entries.append(((before[1] + after[0]) / 2, self.middle - half))
        self._inputs(keys, entries, centres[-2])

    # -- the parts -------------------------------------------------------------------------

    def _headline(self) -> None:
        spec = self.spec
        kind = (
            "Conditional variational autoencoder"
            if spec.conditions.keys
            else ("Variational autoencoder")
        )
        parts = [
            f"{spec.n_genes:,} genes",
            f"{spec.n_latent} latent dimensions",
            f"{_LIKELIHOODS[spec.likelihood]} likelihood",
        ]
        self._text(0.3, self.top - 0.3, kind, size=12, weight="bold", ha="left")
        self._text(
            0.3, self.top - 0.53, " · ".join(parts), size=8.5, colour=canvas.MUTED, ha="left"
        )

    def _draw_data(self, column: _Column, x: float) -> tuple[float, float, float]:
        return self._bar(x, column, _DATA)

    def _draw_encoder(self, column: _Column, x: float) -> tuple[float, float, float]:
        return self._bar(x, column, _ENCODER)

    def _draw_decoder(self, column: _Column, x: float) -> tuple[float, float, float]:
        return self._bar(x, column, _DECODER)

    def _draw_unknown(self, column: _Column, x: float) -> tuple[float, float, float]:
        return self._bar(x, column, _DECODER, dashed=True)

    def _draw_result(self, column: _Column, x: float) -> tuple[float, float, float]:
        return self._bar(x, column, _DATA)

    def _draw_latent(self, column: _Column, x: float) -> tuple[float, float, float]:
        """Draw z; where there is an encoder, with the mean and log-variance that it comes from."""
        from matplotlib.patches import Circle

        encoded = column.steps > 1.5
        radius = 0.3
        centre = x + 0.42 if encoded else x
        left = centre - radius
        if encoded:
            left = x - 0.86
            for sign, label in ((1, "mean"), (-1, "log-\nvariance")):
                y = self.middle + sign * 0.31
                self._box(left, y - 0.23, 0.78, 0.46, _LATENT, zorder=3)
                self._text(left + 0.39, y, label, size=7.5)
                self._arrow((left + 0.8, y), (centre - radius * 0.92, self.middle + sign * 0.1))
        self.ax.add_patch(
            Circle((centre, self.middle), radius, fc=_LATENT[0], ec=_LATENT[1], lw=1.3, zorder=3)
        )
        self._text(centre, self.middle, "z", size=13, style="italic", weight="bold")
        self._text(
            centre, self.middle + radius + 0.14, f"{column.units:,}", size=8.5, weight="bold"
        )
        prior = self.spec.prior
        if prior.kind == "standard_normal":
            law = "standard normal"
        else:
            law = "Gaussian mixture\n" + _number(len(prior.weights), "component")
        self._text(
            (left + centre + radius) / 2,
            self.middle - (0.66 if encoded else radius + 0.12),
            f"prior: {law}",
            size=7.5,
            colour=canvas.MUTED,
            va="top",
        )
        return left, centre + radius, 2 * radius

    def _draw_heads(self, column: _Column, x: float) -> tuple[float, float, float]:
        """Draw what the decoder returns, one box for each output of the graph."""
        outputs = self.spec.outputs
        size, gap = 0.46, 0.14
        height = len(outputs) * size + (len(outputs) - 1) * gap
        y = self.middle + height / 2
        for name in outputs:
            self._box(x - 0.5, y - size, 1.0, size, _DECODER, zorder=3)
            self._text(x, y - size / 2, _OUTPUTS[name], size=7.5)
            y -= size + gap
        return x - 0.5, x + 0.5, height + 0.1

    def _brackets(self, columns: list[_Column], centres: list[float]) -> None:
        """Name the parts of the network over a line as long as they are."""
        y = self.top - 1.02
        parts = (
            ("encoder", ("data", "encoder"), _ENCODER, "training only"),
            ("latent space", ("latent",), _LATENT, ""),
            (
                "decoder",
                ("decoder", "unknown", "heads", "result"),
                _DECODER,
                "the artifact's graph",
            ),
        )
        for name, kinds, (_, ink), note in parts:
            inside = [
                (x - 0.5 * column.steps * _STEP, x + 0.5 * column.steps * _STEP)
                for column, x in zip(columns, centres, strict=True)
                if column.kind in kinds
            ]
            if not inside:
                continue
            left, right = inside[0][0] + 0.12, inside[-1][1] - 0.12
            self.ax.plot([left, right], [y, y], color=ink, lw=2, solid_capstyle="round")
            self._text(left, y + 0.12, name, size=8.5, weight="bold", colour=ink, ha="left")
            if note and right - left > 2.4:
                self._text(right, y + 0.12, note, size=7.5, colour=canvas.MUTED, ha="right")

    def _inputs(
        self, keys: list[tuple[str, str]], entries: list[tuple[float, float]], heads: float
    ) -> None:
        """Draw the conditions and the library size below, and where they enter."""
        y, size = 0.28, 0.5
        bus = y + size + 0.2
        library = 1.5 if self.spec.is_counts else 0.0
        if keys:
            widths = [_pill_width(*key) for key in keys]
            total = sum(widths) + 0.18 * (len(widths) - 1)
            right_end = heads - library / 2 - 0.25 if library else self.width - 0.3
            x = max(0.3, min((entries[0][0] + entries[-1][0]) / 2 - total / 2, right_end - total))
            first, last = x + widths[0] / 2, x + total - widths[-1] / 2
            for (name, detail), width in zip(keys, widths, strict=True):
                self._box(x, y, width, size, _CONDITION, zorder=3)
                self._text(x + width / 2, y + 0.33, name, size=8.5, weight="bold")
                self._text(x + width / 2, y + 0.15, detail, size=7.5, colour=canvas.MUTED)
                self._line([(x + width / 2, y + size), (x + width / 2, bus)], _CONDITION[1])
                x += width + 0.18
            leftmost = min(first, entries[0][0])
            self._line([(leftmost, bus), (max(last, entries[-1][0]), bus)], _CONDITION[1])
            for entry, foot in entries:
                self._arrow((entry, bus), (entry, foot), _CONDITION[1])
            self._text(
                leftmost + 0.06,
                bus + 0.1,
                f"one-hot, {self.spec.conditions.n_conditions:,} wide",
                size=7.5,
                colour=_CONDITION[1],
                ha="left",
            )
        if self.spec.library is not None:
            law = "joint with z" if self.spec.library.kind == "joint" else "log-normal"
            self._box(heads - library / 2, y, library, size, _LIBRARY, zorder=3)
            self._text(heads, y + 0.33, "library size", size=8.5, weight="bold")
            self._text(heads, y + 0.15, law, size=7.5, colour=canvas.MUTED)
            n_outputs = len(self.spec.outputs)
            foot = self.middle - (n_outputs * 0.46 + (n_outputs - 1) * 0.14) / 2
            self._arrow((heads, y + size), (heads, foot - 0.05), _LIBRARY[1])

    # -- the strokes -----------------------------------------------------------------------

    def _height(self, units: int) -> float:
        return _SMALLEST + (_TALLEST - _SMALLEST) * math.log(units) / math.log(self.most)

    def _bar(
        self, x: float, column: _Column, colours: tuple[str, str], *, dashed: bool = False
    ) -> tuple[float, float, float]:
        height = self._height(column.units)
        self._box(
            x - _BAR / 2, self.middle - height / 2, _BAR, height, colours, dashed=dashed, zorder=3
        )
        if not dashed:
            self._text(
                x, self.middle + height / 2 + 0.14, f"{column.units:,}", size=8.5, weight="bold"
            )
        label = "\n".join(part for part in (_short(column.name, 22), column.note) if part)
        self._text(
            x, self.middle - height / 2 - 0.08, label, size=7.5, colour=canvas.MUTED, va="top"
        )
        return x - _BAR / 2, x + _BAR / 2, height

    def _funnel(
        self, before: tuple[float, float, float], after: tuple[float, float, float], kind: str
    ) -> None:
        """Fill the space between two columns, which stands for all connections between them."""
        from matplotlib.patches import Polygon

        inks = {"encoder": _ENCODER, "latent": _ENCODER, "result": _DATA}
        colour = inks.get(kind, _DECODER)[1]
        x0, x1 = before[1] + 0.04, after[0] - 0.04
        h0, h1 = before[2] / 2 - 0.06, after[2] / 2 - 0.06
        corners = [
            (x0, self.middle - h0), (x0, self.middle + h0),
            (x1, self.middle + h1), (x1, self.middle - h1),
        ]  # fmt: skip
        self.ax.add_patch(Polygon(corners, fc=colour, alpha=0.13, lw=0, zorder=1))

    def _box(
        self, x: float, y: float, width: float, height: float, colours: tuple[str, str],
        *, dashed: bool = False, zorder: float = 2,
    ) -> None:  # fmt: skip
        from matplotlib.patches import FancyBboxPatch

        rounding = min(0.08, width / 3, height / 3)
        self.ax.add_patch(
            FancyBboxPatch(
                (x, y),
                width,
                height,
                boxstyle=f"round,pad=0,rounding_size={rounding}",
                fc=colours[0],
                ec=colours[1],
                lw=1.1,
                ls="--" if dashed else "-",
                zorder=zorder,
            )
        )

    def _text(
        self, x: float, y: float, text: str, *, size: float, colour: str = canvas.INK,
        ha: str = "center", va: str = "center", weight: str = "normal", style: str = "normal",
    ) -> None:  # fmt: skip
        self.ax.text(
            x, y, text, fontsize=size, color=colour, ha=ha, va=va, fontweight=weight,
            fontstyle=style, linespacing=1.25, zorder=5, parse_math=False,
        )  # fmt: skip

    def _line(self, points: list[tuple[float, float]], colour: str) -> None:
        self.ax.plot(*zip(*points, strict=True), color=colour, lw=1.1, zorder=2)

    def _arrow(
        self, start: tuple[float, float], end: tuple[float, float], colour: str = canvas.MUTED
    ) -> None:
        self.ax.annotate(
            "", end, start, zorder=4,
            arrowprops={
                "arrowstyle": "-|>,head_width=0.18,head_length=0.32",
                "color": colour, "lw": 1.1, "shrinkA": 0, "shrinkB": 0,
            },
        )  # fmt: skip
