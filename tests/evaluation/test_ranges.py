"""Ranges and verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vaexprs.evaluation import metrics  # noqa: F401 - declares the scores
from vaexprs.evaluation.comparison.ranges import Overlap, Score, half_width, judge, score_rounds
from vaexprs.evaluation.registry import kinds

CATALOGUE = {kind.key: kind for kind in kinds()}


@pytest.mark.parametrize(
    ("value", "direction", "verdict"),
    [
        (0.5, "lower", "within"),
        (0.8, "lower", "worse"),
        (0.2, "lower", "better"),
        (0.8, "higher", "better"),
        (0.2, "higher", "worse"),
        (0.2, "match", "off"),
        (0.8, "match", "off"),
        (math.nan, "lower", "none"),
    ],
)
def test_judge(value, direction, verdict):
    assert judge(value, 0.4, 0.6, direction) == verdict
    assert judge(value, math.nan, 0.6, direction) == "none"


def test_kappa_is_one_where_draws_are_disjoint():
    assert Overlap(0.5, 0.5).kappa == pytest.approx(1.0)
    assert Overlap(0.3, 0.2).kappa == pytest.approx(1.0)
    assert Overlap(0.5, 1.0, 1.0).kappa == pytest.approx(3.0)  # the same cells in both rounds


@pytest.mark.parametrize(("n_generated", "m"), [(120, 60), (60, 60), (90, 60), (400, 60)])
def test_the_range_of_a_mean_holds_95_percent(n_generated, m):
    """400 draws of a mean, whose linear part is everything: outside in 2 to 9 % (5 +- 4 sd)."""
    rng = np.random.default_rng(n_generated)
    n_train, n_pairs, outside = 120, 5, 0
    for _ in range(400):
        train, made = rng.normal(size=n_train), rng.normal(size=n_generated)
        differences = []
        for _ in range(n_pairs):
            cells, generated = rng.permutation(train), rng.permutation(made)
            second = generated[-m:] if n_generated >= m else generated
            differences += [generated[:m].mean() - cells[:m].mean(), second.mean()
                            - cells[-m:].mean()]  # fmt: skip
        repeated = max(0.0, 2 - n_generated / m)
        width = half_width(differences, Overlap(m / n_train, m / n_generated, repeated))
        outside += abs(np.mean(differences)) > width
    assert 0.005 < outside / 400 < 0.1


def test_half_width_needs_two_pairs():
    assert math.isnan(half_width([0.1, 0.2, 0.3], Overlap(0.5, 0.5)))
    assert half_width([0.0] * 4, Overlap(0.5, 0.5)) == 0.0


def test_scores_from_rounds():
    kind = CATALOGUE["recall"]
    rng = np.random.default_rng(0)
    control = 0.9 + 0.01 * rng.normal(size=10)
    low = score_rounds(kind, list(zip(control - 0.2, control, strict=True)), Overlap(0.5, 0.5))
    assert low.key == "recall"
    assert low.verdict == "worse"
    same = score_rounds(
        kind, list(zip(control[::-1], control, strict=True)), Overlap(0.5, 0.5), of="x"
    )
    assert same.key == "recall.x"
    assert same.verdict == "within"
    assert low.low <= low.control <= low.high <= 1.0
    nothing = score_rounds(kind, [(0.5, math.nan), (math.nan, math.nan)], Overlap(0.5, 0.5))
    assert nothing.value == 0.5
    assert nothing.verdict == "none"


def test_standard_errors_make_the_usual_interval():
    score = score_rounds(
        CATALOGUE["forest_auc_genes"], [(0.6, 0.5), (0.6, 0.5)], Overlap(0.5, 0.5), [0.02, 0.02]
    )
    assert score.width == pytest.approx(1.96 * 0.02, rel=1e-3)
    assert score.verdict == "worse"


def test_the_gap_points_to_the_worse_side():
    def gap(direction_of, value):
        return Score(CATALOGUE[direction_of], "", value, control=0.5, width=0.1).gap

    assert gap("mmd", 0.7) == pytest.approx(2)
    assert gap("recall", 0.7) == pytest.approx(-2)
    assert gap("density", 0.3) == pytest.approx(2)
    assert math.isnan(Score(CATALOGUE["mmd"], "", 0.1).gap)
    assert Score(CATALOGUE["exact_copies"], "", 3.0, 0.0, 0.0).gap == math.inf
    assert Score(CATALOGUE["exact_copies"], "", 0.0, 0.0, 0.0).gap == 0


def test_bounds_hold():
    score = Score(CATALOGUE["transfer_f1"], "", 0.9, control=0.95, width=0.2)
    assert score.high == 1.0
    assert score.low == pytest.approx(0.75)
