"""The contents of a report: scores with controls and verdicts, and how they were computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vaexprs.evaluation.comparison.ranges import Score, Verdict
from vaexprs.evaluation.scores.augmentation import AugmentationRow
from vaexprs.evaluation.scores.telling import TellingGene
from vaexprs.evaluation.scores.whole import CategoryRow

__all__ = ["Contents"]


@dataclass(frozen=True)
class Contents:
    """How real generated cells are, beside how real real cells are.

    Attributes
    ----------
    scores
        Every score with its control and verdict, in the order of the catalogue.
    categories
        Agreement with each category of each condition key.
    augmentation
        F1 of classes that were made rare, by method.
    telling
        Genes that give generated cells away, most telling first.
    sizes
        Numbers of cells and genes.
    settings
        How the scores were computed, so that another run can repeat them.
    notes
        What was found and done on the way, in plain sentences.
    pictures
        What the figures of the page show.
    """

    scores: tuple[Score, ...]
    categories: tuple[CategoryRow, ...]
    augmentation: tuple[AugmentationRow, ...]
    telling: tuple[TellingGene, ...]
    sizes: Mapping[str, int]
    settings: Mapping[str, Any]
    notes: tuple[str, ...]
    pictures: Any = field(repr=False)

    def __getitem__(self, key: str) -> Score:
        """Return a score by its key."""
        for score in self.scores:
            if score.key == key:
                return score
        raise KeyError(key)

    def counts(self) -> dict[Verdict, int]:
        """Return how many scores got each verdict."""
        verdicts: tuple[Verdict, ...] = ("within", "worse", "off", "better", "none")
        return {
            verdict: sum(score.verdict == verdict for score in self.scores) for verdict in verdicts
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything that was measured as one flat mapping to numbers, strings and null.

        ==============================================  ====================================
        key                                             value
        ==============================================  ====================================
        ``KEY``                                         score of the generated cells; KEY as in
                                                        the catalogue, with the condition key
                                                        or donor behind a dot where it has one
        ``KEY.control``                                 score of real cells in their place
        ``KEY.low``, ``KEY.high``                       range of the control
        ``KEY.verdict``                                 ``within``, ``worse``, ``off``,
                                                        ``better`` or ``none``
        ``agreement.CONDITION.CATEGORY``                agreement with one category; also
                                                        ``.control``, ``.n``, ``.control_n``
        ``augmentation.CONDITION.CATEGORY.N.METHOD``    mean F1 over draws
        ``telling.RANK``                                name of a telling gene, rank from 1
        ``n.WHAT``                                      numbers of cells and genes
        ``settings.NAME``                               how it was computed
        ``notes``                                       plain sentences, one per line
        ==============================================  ====================================

        What could not be computed is null.
        """
        flat: dict[str, Any] = {}
        for score in self.scores:
            flat[score.key] = _number(score.value)
            for name in ("control", "low", "high"):
                flat[f"{score.key}.{name}"] = _number(getattr(score, name))
            flat[f"{score.key}.verdict"] = score.verdict
        for row in self.categories:
            name = f"agreement.{row.key}.{row.category}"
            flat[name] = _number(row.generated)
            flat[f"{name}.control"] = _number(row.real)
            flat[f"{name}.n"], flat[f"{name}.control_n"] = row.n_generated, row.n_real
        for made in self.augmentation:
            name = f"augmentation.{made.key}.{made.category}.{made.n_real}.{made.method}"
            flat[name] = _number(sum(made.f1) / len(made.f1))
        for rank, gene in enumerate(self.telling, start=1):
            flat[f"telling.{rank}"] = gene.gene
        flat.update({f"n.{name}": value for name, value in self.sizes.items()})
        flat.update({f"settings.{name}": value for name, value in self.settings.items()})
        flat["notes"] = "\n".join(self.notes)
        return flat

    def quality(self) -> dict[str, Any]:
        """Return what goes into an artifact: scores with controls and verdicts, and sizes."""
        scores = {
            score.key: {
                "value": _number(score.value),
                "control": _number(score.control),
                "low": _number(score.low),
                "high": _number(score.high),
                "verdict": score.verdict,
            }
            for score in self.scores
        }
        return {"scores": scores, "n": dict(self.sizes), "settings": dict(self.settings)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else float(value)
