"""The contents of a report: scores with controls and verdicts, and how they were computed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vaexprs.evaluation.comparison.ranges import Score, Verdict
from vaexprs.evaluation.metrics.conditions import CategoryRow
from vaexprs.evaluation.scores.augmentation import AugmentationRow
from vaexprs.evaluation.scores.giveaway import GiveawayGene


@dataclass(frozen=True, repr=False)
class Contents:
    """Scores of generated cells beside those of real cells, and the settings of the run.

    Attributes
    ----------
    scores
        Every score with its control and verdict, in the order of the registry.
    categories
        Agreement with each category of each condition key.
    augmentation
        F1 of classes that were made rare, by method.
    giveaways
        Genes by which a forest recognises generated cells, most important first.
    sizes
        Numbers of cells and genes.
    settings
        Options, names of files and the date, to repeat the run.
    notes
        Sentences to read before the scores.
    pictures
        Data of the figures of the page.
    """

    scores: tuple[Score, ...]
    categories: tuple[CategoryRow, ...]
    augmentation: tuple[AugmentationRow, ...]
    giveaways: tuple[GiveawayGene, ...]
    sizes: Mapping[str, int]
    settings: Mapping[str, Any]
    notes: tuple[str, ...]
    pictures: Any = field(repr=False)

    @property
    def held_out(self) -> bool:
        """Whether held-out test cells were given."""
        return self.sizes["test"] > 0

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {verdict}" for verdict, n in self.counts().items() if n)
        sizes = ", ".join(f"{name} {n:,}" for name, n in self.sizes.items())
        return f"{type(self).__name__}({len(self.scores)} scores: {counts}; {sizes})"

    def __getitem__(self, key: str) -> Score:
        """Return a score by its key."""
        for score in self.scores:
            if score.key == key:
                return score
        raise KeyError(key)

    def counts(self) -> dict[Verdict, int]:
        """Return the number of scores with each verdict."""
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
                                                        the registry, with the condition key
                                                        or donor behind a dot where it has one
        ``KEY.control``                                 score of real cells in their place
        ``KEY.low``, ``KEY.high``                       range of the control
        ``KEY.verdict``                                 ``within``, ``worse``, ``off``,
                                                        ``better`` or ``none``
        ``agreement.CONDITION.CATEGORY``                agreement with one category; also
                                                        ``.control``, ``.n``, ``.control_n``
        ``augmentation.CONDITION.CATEGORY.N.METHOD``    mean F1 over draws
        ``telling.RANK``                                name of a giveaway gene, rank from 1
        ``n.WHAT``                                      numbers of cells and genes
        ``settings.NAME``                               options, files, date
        ``notes``                                       plain sentences, one per line
        ==============================================  ====================================

        Values that could not be computed are null. Condition keys, categories and donors whose
        name holds a dot or a quote stand in double quotes, as JSON writes them:
        ``agreement.dose."0.5".n``.
        """
        flat: dict[str, Any] = {}
        for score in self.scores:
            key = _joined(score.kind.key, score.of) if score.of else score.kind.key
            flat[key] = _number(score.value)
            for name in ("control", "low", "high"):
                flat[f"{key}.{name}"] = _number(getattr(score, name))
            flat[f"{key}.verdict"] = score.verdict
        for row in self.categories:
            name = _joined("agreement", row.key, row.category)
            flat[name] = _number(row.generated)
            flat[f"{name}.control"] = _number(row.real)
            flat[f"{name}.n"], flat[f"{name}.control_n"] = row.n_generated, row.n_real
        for made in self.augmentation:
            name = _joined("augmentation", made.key, made.category)
            name = f"{name}.{made.n_real}.{made.method}"
            flat[name] = _number(sum(made.f1) / len(made.f1))
        for rank, gene in enumerate(self.giveaways, start=1):
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


def _joined(first: str, *names: str) -> str:
    """Join names by dots; a name that holds a dot or a quote is quoted as in JSON."""
    return ".".join((first, *map(_quoted, names)))


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) if "." in name or '"' in name else name


def _number(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else float(value)
