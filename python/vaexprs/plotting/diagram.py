"""Boxes, funnels and arrows: the drawing of a network, on axes whose unit is the inch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from vaexprs.plotting.style import canvas
from vaexprs.plotting.style.pen import Pen
from vaexprs.spec import GeneratorSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Column", "Diagram"]

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
_BARS = {"data": _DATA, "result": _DATA, "encoder": _ENCODER, "decoder": _DECODER}

_STEP, _BAR = 1.18, 0.34
_TALLEST, _SMALLEST = 2.5, 0.42
_HEAD, _HEAD_GAP = 0.46, 0.14
_PILL, _PILL_GAP, _LIBRARY_PILL = 0.5, 0.18, 1.5
_MARGIN = 0.3
_MAX_KEYS = 4


@dataclass(frozen=True)
class Column:
    """One thing on the way through the network.

    Attributes
    ----------
    kind
        ``"data"``, ``"encoder"``, ``"latent"``, ``"decoder"``, ``"unknown"``, ``"heads"`` or
        ``"result"``.
    name, note
        What stands below it: the name of a layer and its activation.
    units
        What its height stands for.
    steps
        Its width, in the width of a layer.
    folded
        Whether it stands for several layers.
    """

    kind: str
    name: str = ""
    units: int = 1
    note: str = ""
    steps: float = 1.0
    folded: bool = False


class _Side(NamedTuple):
    """Where a drawn column begins and ends, and how tall a funnel meets it."""

    left: float
    right: float
    height: float


class Diagram:
    """The diagram of a network: `width` and `height` in inches, and how to draw it."""

    def __init__(self, spec: GeneratorSpec, columns: list[Column], *, linear_path: bool) -> None:
        self.spec, self.columns = spec, columns
        self.keys = _key_texts(spec)
        # A path around no layers is the funnel from z that stands there anyway.
        self.linear_path = linear_path and any(c.kind == "decoder" for c in columns)
        self.most = max(2, spec.n_latent, *(column.units for column in columns))

        pills = sum(_pill_width(*key) + _PILL_GAP for key in self.keys)
        length = _STEP * sum(column.steps for column in columns)
        self.width = max(length + 3 * _MARGIN, pills + 2 * _MARGIN, 5.8)
        left = (self.width - length) / 2
        if spec.is_counts:
            # The library size stands under the outputs, right of the conditions.
            outputs = left + length - _STEP * (columns[-1].steps + columns[-2].steps / 2)
            lacking = max(0.0, _MARGIN + pills + 0.1 + _LIBRARY_PILL / 2 - outputs)
            left, self.width = left + lacking, self.width + lacking
        self.spans = []
        for column in columns:
            self.spans.append((left, left + column.steps * _STEP))
            left += column.steps * _STEP
        self.height = 5.5 if self.keys or spec.is_counts else 4.6
        self.height += 0.22 * self.linear_path
        self.middle = self.height - 2.66 - 0.22 * self.linear_path

    def draw(self, ax: Axes) -> None:
        """Draw the diagram on axes."""
        self.ax, self.pen = ax, Pen(ax)
        ax.set_axis_off()
        ax.set_xlim(0, self.width)
        ax.set_ylim(0, self.height)
        ax.set_aspect("equal")
        self._headline()
        self._brackets()
        sides = []
        for column, (left, right) in zip(self.columns, self.spans, strict=True):
            x = (left + right) / 2
            if column.kind == "latent":
                sides.append(self._latent(column, x))
            elif column.kind == "heads":
                sides.append(self._heads(column, x))
            else:
                sides.append(self._bar(column, x))
        for index, column in enumerate(self.columns[1:], start=1):
            self._funnel(sides[index - 1], sides[index], column.kind)
        if self.linear_path:
            self._path(sides)
        if self.keys:
            self._conditions(sides)
        if self.spec.library is not None:
            self._library(sides[-2])

    # -- over the network ------------------------------------------------------------------

    def _headline(self) -> None:
        spec = self.spec
        kind = "Variational autoencoder"
        if spec.conditions.keys:
            kind = "Conditional variational autoencoder"
        facts = " · ".join(
            (
                _number(spec.n_genes, "gene"),
                _number(spec.n_latent, "latent dimension"),
                f"{_LIKELIHOODS[spec.likelihood]} likelihood",
            )
        )
        top = self.height
        self.pen.text(_MARGIN, top - 0.3, kind, size=12, weight="bold", ha="left")
        self.pen.text(_MARGIN, top - 0.53, facts, size=8.5, colour=canvas.MUTED, ha="left")

    def _brackets(self) -> None:
        """Name the parts of the network over lines as long as they are."""
        y = self.height - 1.02
        for name, kinds, (_, ink), note in (
            ("encoder", ("data", "encoder"), _ENCODER, "training only"),
            ("latent space", ("latent",), _LATENT, ""),
            (
                "decoder",
                ("decoder", "unknown", "heads", "result"),
                _DECODER,
                "the artifact's graph",
            ),
        ):
            inside = [
                span for c, span in zip(self.columns, self.spans, strict=True) if c.kind in kinds
            ]
            if not inside:
                continue
            left, right = inside[0][0] + 0.12, inside[-1][1] - 0.12
            self.ax.plot([left, right], [y, y], color=ink, lw=2, solid_capstyle="round")
            style: dict[str, Any] = {"va": "baseline"}
            self.pen.text(
                left, y + 0.08, name, size=8.5, weight="bold", colour=ink, ha="left", **style
            )
            if note and right - left > 2.2:
                self.pen.text(
                    right, y + 0.08, note, size=7.5, colour=canvas.MUTED, ha="right", **style
                )

    # -- the network -----------------------------------------------------------------------

    def _bar(self, column: Column, x: float) -> _Side:
        share = math.log(column.units) / math.log(self.most)
        height = _SMALLEST + (_TALLEST - _SMALLEST) * share
        top, foot = self.middle + height / 2, self.middle - height / 2
        vague = column.folded or column.kind == "unknown"
        self.pen.box(
            (x - _BAR / 2, foot), (_BAR, height), _BARS.get(column.kind, _DECODER), dashed=vague
        )
        if not vague:
            self.pen.text(x, top + 0.14, f"{column.units:,}", size=8.5, weight="bold")
        label = "\n".join(_short(part, 20) for part in (*column.name.split("\n"), column.note))
        self.pen.text(x, foot - 0.08, label.strip(), size=7.5, colour=canvas.MUTED, va="top")
        return _Side(x - _BAR / 2, x + _BAR / 2, height)

    def _latent(self, column: Column, x: float) -> _Side:
        """Draw z; beside an encoder, with the mean and the log-variance that it comes from."""
        from matplotlib.patches import Circle

        encoded = column is not self.columns[0]
        radius = 0.3
        centre = x + 0.42 if encoded else x
        left = x - 0.86 if encoded else centre - radius
        if encoded:
            for sign, label in ((1, "mean"), (-1, "log-\nvariance")):
                y = self.middle + sign * 0.31
                self.pen.box((left, y - 0.23), (0.78, 0.46), _LATENT)
                self.pen.text(left + 0.39, y, label, size=7.5)
                self.pen.arrow((left + 0.8, y), (centre - radius * 0.92, self.middle + sign * 0.1))
        fill, edge = _LATENT
        self.ax.add_patch(Circle((centre, self.middle), radius, fc=fill, ec=edge, lw=1.3, zorder=3))
        self.pen.text(centre, self.middle, "z", size=13, style="italic", weight="bold")
        above = self.middle + radius + 0.14
        self.pen.text(centre, above, f"{column.units:,}", size=8.5, weight="bold")
        prior = self.spec.prior
        law = "standard normal"
        if prior.kind == "gaussian_mixture":
            law = f"Gaussian mixture\n{_number(len(prior.weights), 'component')}"
        law = f"prior: {law}\nKL to N(0, I) in training" if encoded else f"prior:\n{law}"
        below = self.middle - (0.64 if encoded else radius + 0.12)
        middle = (left + centre + radius) / 2
        self.pen.text(middle, below, law, size=7.5, colour=canvas.MUTED, va="top")
        return _Side(left, centre + radius, 2 * radius)

    def _heads(self, column: Column, x: float) -> _Side:
        """Draw what the decoder returns, one box for each output of the graph."""
        outputs = self.spec.outputs
        height = len(outputs) * (_HEAD + _HEAD_GAP) - _HEAD_GAP
        y = self.middle + height / 2
        for name in reversed(outputs):  # the mean lowest, where the library size comes in
            label = _OUTPUTS[name]
            if name == "mean" and column.note:
                label += f"\n{_short(column.note, 14)}"
            self.pen.box((x - 0.5, y - _HEAD), (1.0, _HEAD), _DECODER)
            self.pen.text(x, y - _HEAD / 2, label, size=7.5)
            y -= _HEAD + _HEAD_GAP
        return _Side(x - 0.5, x + 0.5, height + 0.1)

    def _funnel(self, before: _Side, after: _Side, kind: str) -> None:
        """Fill the space between two columns, which stands for all connections between them."""
        from matplotlib.patches import Polygon

        colour = {"encoder": _ENCODER, "latent": _ENCODER, "result": _DATA}.get(kind, _DECODER)[1]
        left, right = before.right + 0.04, after.left - 0.04
        high, low = before.height / 2 - 0.06, after.height / 2 - 0.06
        corners = [(left, -high), (left, high), (right, low), (right, -low)]
        self.ax.add_patch(
            Polygon(
                [(x, self.middle + y) for x, y in corners], fc=colour, alpha=0.13, lw=0, zorder=1
            )
        )

    def _path(self, sides: list[_Side]) -> None:
        """Draw the straight way from z to the outputs, over the layers."""
        start = next(i for i, column in enumerate(self.columns) if column.kind == "latent")
        heads = sides[-2]
        crest = self.middle + max(side.height for side in sides[start:-1]) / 2 + 0.36
        x0 = sides[start].right - 0.3
        x1 = (heads.left + heads.right) / 2
        ink = _DECODER[1]
        self.pen.line([(x0, self.middle + 0.53), (x0, crest), (x1, crest)], ink)
        self.pen.arrow((x1, crest), (x1, self.middle + heads.height / 2), ink)
        self.pen.text((x0 + x1) / 2, crest + 0.1, "linear path", size=7.5, colour=ink)

    # -- from below ------------------------------------------------------------------------

    def _conditions(self, sides: list[_Side]) -> None:
        """Draw a pill for each key, and where the one-hot vector enters: the encoder and z."""
        entries = []
        for index, column in enumerate(self.columns[:-1]):
            if column.kind in ("data", "latent"):
                before, after = sides[index], sides[index + 1]
                edge = self.middle - (before.height + after.height) / 4
                entries.append(((before.right + after.left) / 2, edge))
        bus = _MARGIN + _PILL + 0.2
        ink = _CONDITION[1]

        widths = [_pill_width(*key) for key in self.keys]
        total = sum(widths) + _PILL_GAP * (len(widths) - 1)
        end = self.width - _MARGIN
        if self.spec.is_counts:
            end = (sides[-2].left + sides[-2].right - _LIBRARY_PILL) / 2 - 0.25
        x = (entries[0][0] + entries[-1][0] - total) / 2
        x = max(_MARGIN, min(x, end - total))
        ends = [entry for entry, _ in entries]
        for (name, detail), width in zip(self.keys, widths, strict=True):
            self._pill((x, width), name, detail, _CONDITION)
            self.pen.line([(x + width / 2, _MARGIN + _PILL), (x + width / 2, bus)], ink)
            ends.append(x + width / 2)
            x += width + _PILL_GAP
        self.pen.line([(min(ends), bus), (max(ends), bus)], ink)
        for entry, edge in entries:
            self.pen.arrow((entry, bus), (entry, edge), ink)
        wide = f"one-hot, {self.spec.conditions.n_conditions:,} wide"
        self.pen.text(min(ends) + 0.06, bus + 0.1, wide, size=7.5, colour=ink, ha="left")

    def _library(self, heads: _Side) -> None:
        assert self.spec.library is not None
        law = "joint with z" if self.spec.library.kind == "joint" else "log-normal"
        x = (heads.left + heads.right) / 2
        self._pill((x - _LIBRARY_PILL / 2, _LIBRARY_PILL), "library size", law, _LIBRARY)
        foot = self.middle - heads.height / 2
        self.pen.arrow((x, _MARGIN + _PILL), (x, foot), _LIBRARY[1])

    # -- strokes ---------------------------------------------------------------------------

    def _pill(
        self, place: tuple[float, float], name: str, detail: str, colours: tuple[str, str]
    ) -> None:
        left, width = place
        self.pen.box((left, _MARGIN), (width, _PILL), colours)
        x = left + width / 2
        self.pen.text(x, _MARGIN + 0.28, name, size=8.5, weight="bold", va="baseline")
        self.pen.text(x, _MARGIN + 0.1, detail, size=7.5, colour=canvas.MUTED, va="baseline")


def _key_texts(spec: GeneratorSpec) -> list[tuple[str, str]]:
    """Return what the pill of each condition key says."""
    keys = spec.conditions.keys
    shown = keys if len(keys) <= _MAX_KEYS else keys[: _MAX_KEYS - 1]
    texts = [(_short(key.name, 26), _number(len(key.categories), "category")) for key in shown]
    if len(keys) > len(shown):
        rest = keys[len(shown) :]
        n_categories = sum(len(key.categories) for key in rest)
        texts.append((f"{len(rest):,} more keys", _number(n_categories, "category")))
    return texts


def _number(n: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{n:,} {noun if n == 1 else plural}"


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _pill_width(name: str, detail: str) -> float:
    return 0.28 + 0.085 * max(len(name), 0.9 * len(detail))
