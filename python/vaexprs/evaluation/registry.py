"""The registry of metrics: each is declared by a decorator on the function that computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

#: ``"lower"``, ``"higher"``: that way is better. ``"match"``: as in the control is best, and
#: both ways off are worse.
Direction: TypeAlias = Literal["lower", "higher", "match"]

#: ``"round"``: computed in every round of draws, for generated cells and for the control.
#: ``"whole"``: once, on all cells. ``"small"``: once, only where training cells are few.
Stage: TypeAlias = Literal["round", "whole", "small"]

#: Families in the order of the report, with their titles; others follow by their own name.
FAMILIES: dict[str, str] = {
    "classifiers": "Can a classifier tell them apart?",
    "distances": "Distances between the clouds of cells",
    "manifold": "Do they lie where real cells lie, and reach everywhere?",
    "genes": "Each gene by itself",
    "cells": "Each cell by itself",
    "structure": "How genes go together",
    "conditions": "Do they match their condition?",
    "utility": "Are they worth training on?",
    "privacy": "Do they reveal training cells?",
    "whole": "Against all training cells",
}

#: Least and largest value of a score.
SHARE, SIGNED = (0.0, 1.0), (-1.0, 1.0)
POSITIVE, ANY = (0.0, math.inf), (-math.inf, math.inf)


@dataclass(frozen=True)
class ScoreKind:
    """Declaration of a score."""

    key: str  # Name in the JSON. A score of a condition key or donor appends a dot and its name.
    family: str  # Section of the report: one of `FAMILIES`, or a new one
    title: str  # Name for a reader
    direction: Direction  # Which way is better
    meaning: str  # One sentence: its definition, and the value of perfect cells
    bounds: tuple[float, float] = ANY  # Least and largest value of the score


@dataclass(frozen=True)
class Computation:
    """A function that computes one or several scores; see `metric` for the attributes."""

    kinds: tuple[ScoreKind, ...]
    compute: Callable[..., Any]
    stage: Stage
    view: Callable[[Any], Any] | None
    few_rounds: bool
    needs_test: bool

    def __call__(self, given: Any) -> dict[str, Any]:
        """Return values by key, for a `Comparison` or a `Split`."""
        if self.view is None:
            found = self.compute(given)
        else:
            found = self.compute(given.test.once(self.view), given.side.once(self.view))
        return found if isinstance(found, dict) else {self.kinds[0].key: found}


#: All declared computations, in the order of their declaration.
COMPUTATIONS: list[Computation] = []

F = TypeVar("F", bound=Callable[..., Any])


def metric(
    *kinds: ScoreKind,
    stage: Stage = "round",
    view: Callable[[Any], Any] | None = None,
    few_rounds: bool = False,
    needs_test: bool = False,
) -> Callable[[F], F]:
    """Declare a function as the computation of one or several scores.

    A function of stage ``"round"`` takes a `Comparison` and returns a number (or a
    `Discrimination`); with ``view`` it takes that view of the test cells and of the cells
    compared with them, each computed once. A function of the other stages takes a `Split` and
    returns `Measured`. A function of several scores, or of one for each condition key, returns
    them by key in a dictionary; scores that it leaves out are not reported.

    Parameters
    ----------
    *kinds
        Declarations of the scores.
    stage
        When it is computed.
    view
        Function of a `Side`, such as its components or the statistics of its genes.
    few_rounds
        Whether it is too slow for every round; its range then comes from its standard error.
    needs_test
        Whether it says nothing without held-out test cells.
    """

    def declare(compute: F) -> F:
        COMPUTATIONS.append(Computation(kinds, compute, stage, view, few_rounds, needs_test))
        return compute

    return declare


def kinds() -> Iterator[ScoreKind]:
    """Yield all declared scores in the order of the report."""
    declared = [kind for computation in COMPUTATIONS for kind in computation.kinds]
    order = [*FAMILIES, *(kind.family for kind in declared)]
    yield from sorted(declared, key=lambda kind: order.index(kind.family))
