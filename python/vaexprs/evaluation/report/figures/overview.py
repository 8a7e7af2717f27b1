"""All scores at one glance, in units of the control's range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaexprs.evaluation.comparison.ranges import Score
from vaexprs.evaluation.report.figures.style import COLORS, INK, MUTED, figure
from vaexprs.evaluation.scores.catalogue import FAMILIES

__all__ = ["draw_overview", "squeeze"]

FARTHEST = 64.0
_MARKS = {"within": "#0072B2", "better": "#009E73", "worse": "#D55E00", "off": "#D55E00"}


def squeeze(gap: float) -> float:
    """Put a gap in half widths on an axis that is linear to 1, logarithmic to 64, and ends."""
    gap = min(max(gap, -FARTHEST), FARTHEST)
    return gap if abs(gap) <= 1 else math.copysign(1 + math.log2(abs(gap)), gap)


def draw_overview(scores: Sequence[Score]) -> Any:
    """Draw how far each score lies outside the range of real cells; worse is right."""
    shown = [score for score in scores if not math.isnan(score.gap)]
    places: list[float] = []
    place, family = 0.0, ""
    headings: list[tuple[float, str]] = []
    for score in shown:
        if score.kind.family != family:
            family = score.kind.family
            place += 0.9 if places else 0.4
            headings.append((place - 0.05, FAMILIES[family]))
            place += 1.0
        places.append(place)
        place += 0.9
    drawn = figure(10.8, 0.205 * place + 0.9)
    axis = drawn.subplots()
    values = np.array([squeeze(score.gap) for score in shown])
    axis.axvspan(-1, 1, color="#E7F1F8", lw=0)
    axis.axvline(0, color="#9DB7C9", lw=1)
    for score, where, value in zip(shown, places, values, strict=True):
        color = _MARKS[score.verdict]
        axis.plot([0, value], [where, where], color=color, lw=1.4, alpha=0.55)
        axis.plot(value, where, "o", ms=6, color=color)
    names = [f"{score.kind.title}{f' · {score.of}' if score.of else ''}" for score in shown]
    axis.set_yticks(places, names)
    axis.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8.5)
    limit = max(3.0, float(values.max(initial=0)) + 0.4)
    low = min(-1.6, float(values.min(initial=0)) - 0.3)
    axis.set(xlim=(low, limit), ylim=(place, -1.2))
    for where, title in headings:
        axis.text(
            -0.005, where, title, transform=axis.get_yaxis_transform(), ha="right", va="center",
            fontweight="bold", size=8.5, color=COLORS["control"],
        )  # fmt: skip
    steps = [2**power for power in range(int(limit))]
    ticks = [-1, 0, *[squeeze(step) for step in steps]]
    labels = [
        "1",
        "control",
        *[f"{step:g}" + (" and more" if step == FARTHEST else "") for step in steps],
    ]
    axis.set_xticks(ticks, labels)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("distance from the control in half widths of its range; right is worse")
    axis.text(0, -0.55, "range of real cells", ha="center", size=8, color=MUTED)
    return drawn
