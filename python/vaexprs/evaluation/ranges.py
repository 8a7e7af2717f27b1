"""The range in which a score of real cells would fall, and the verdict on a generated one.

Let c_1 ... c_R be the scores of the control in R rounds. Each round draws m of the n training
cells, so two rounds share a part ρ of them and their scores are correlated: if one score has
variance σ², the sample variance s² of the rounds estimates σ² (1 - ρ), and the mean of the rounds
has variance σ² (ρ + (1 - ρ) / R). The generated score is a mean over rounds too, of generated
cells that share a part ρ'. If generated cells had the law of real cells, the difference of the
two means would have variance

    σ² (ρ + (1 - ρ) / R + ρ' + (1 - ρ') / R),    σ² = s² / (1 - ρ),

given the test cells, which both are compared with. The range is the control's mean plus and minus
the 97.5 % point of Student's t with R - 1 degrees of freedom times the root of this: 19 times out
of 20 the score of real cells lies inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from scipy.stats import norm, t

from vaexprs.evaluation.catalogue import Direction, ScoreKind

__all__ = ["LEVEL", "Score", "Verdict", "half_width", "judge", "overlap_factor", "score_rounds"]

#: How often the score of real cells lies inside the range.
LEVEL = 0.95

#: ``"within"`` the control's range; ``"worse"`` or ``"better"`` than it; ``"off"``: outside it
#: where both ways are worse; ``"none"``: there is no control or no range.
Verdict: TypeAlias = Literal["within", "worse", "better", "off", "none"]


@dataclass(frozen=True)
class Score:
    """A score of generated cells beside that of real cells.

    Attributes
    ----------
    kind
        What the score is.
    key
        Its key in the JSON: that of the kind, and where it has one the condition key or donor.
    value
        Score of the generated cells, mean over rounds.
    control
        Score of real cells in their place, mean over rounds; nan where there is no control.
    low, high
        Range in which the score of real cells would fall 19 times out of 20; nan without one.
    verdict
        Where the value lies.
    of
        The condition key, or donor, that the score is for.
    """

    kind: ScoreKind
    key: str
    value: float
    control: float = math.nan
    low: float = math.nan
    high: float = math.nan
    verdict: Verdict = "none"
    of: str = ""

    def judged(self) -> Score:
        """Return the score with its verdict."""
        return replace(self, verdict=judge(self.value, self.low, self.high, self.kind.direction))

    @property
    def gap(self) -> float:
        """Distance from the control in half widths of the range, positive where worse."""
        width = (self.high - self.low) / 2
        if not width > 0:
            return math.nan
        gap = (self.value - self.control) / width
        if self.kind.direction == "match":
            return abs(gap)
        return -gap if self.kind.direction == "higher" else gap


def judge(value: float, low: float, high: float, direction: Direction) -> Verdict:
    """Say where a value lies; a value that could not be computed has no verdict."""
    if math.isnan(value) or math.isnan(low) or math.isnan(high):
        return "none"
    if low <= value <= high:
        return "within"
    if direction == "match":
        return "off"
    return "better" if (value < low) == (direction == "lower") else "worse"


def overlap_factor(n_rounds: int, control_overlap: float, generated_overlap: float) -> float:
    """Variance of the difference of two means over rounds, in units of one score's variance."""
    return sum(
        overlap + (1.0 - overlap) / n_rounds for overlap in (control_overlap, generated_overlap)
    )


def half_width(
    control: Sequence[float], *, control_overlap: float, generated_overlap: float
) -> float:
    """Half the width of the range from the control's rounds; nan for fewer than three rounds."""
    n_rounds = len(control)
    if n_rounds < 3:
        return math.nan
    one = float(np.var(control, ddof=1)) / (1.0 - control_overlap)
    factor = overlap_factor(n_rounds, control_overlap, generated_overlap)
    return float(t.ppf((1 + LEVEL) / 2, n_rounds - 1)) * math.sqrt(one * factor)


def score_rounds(
    kind: ScoreKind,
    generated: Sequence[float],
    control: Sequence[float],
    *,
    control_overlap: float,
    generated_overlap: float,
    standard_errors: Sequence[float] | None = None,
    of: str = "",
) -> Score:
    """Make a score from its values in rounds.

    Parameters
    ----------
    kind
        What the score is.
    generated, control
        Values of each round.
    control_overlap, generated_overlap
        ρ and ρ' above.
    standard_errors
        For scores that come with a standard error in each round (areas under ROC curves, of
        which few rounds can be afforded): one half of its square is due to the control's cells
        and takes the place of σ², the other half is due to the test cells.
    of
        The condition key or donor that the score is for.
    """
    key = f"{kind.key}.{of}" if of else kind.key
    ours = np.asarray(generated, dtype=np.float64)
    theirs = np.asarray(control, dtype=np.float64)
    value = float(ours[~np.isnan(ours)].mean()) if (~np.isnan(ours)).any() else math.nan
    usable = theirs[~np.isnan(theirs)]
    if not usable.size:
        return Score(kind, key, value, of=of)
    mean = float(usable.mean())
    if standard_errors is not None:
        one = float(np.mean(np.square(standard_errors))) / 2
        factor = overlap_factor(len(usable), control_overlap, generated_overlap)
        width = float(norm.ppf((1 + LEVEL) / 2)) * math.sqrt(one * factor)
    else:
        width = half_width(
            usable.tolist(),
            control_overlap=control_overlap,
            generated_overlap=generated_overlap,
        )
    return Score(kind, key, value, mean, mean - width, mean + width, of=of).judged()
