"""The page: one self-contained HTML file that reads without a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from vaexprs.errors import require
from vaexprs.evaluation.comparison.ranges import Score
from vaexprs.evaluation.report import figures
from vaexprs.evaluation.report.contents import Contents
from vaexprs.evaluation.report.figures.style import embed, style
from vaexprs.evaluation.report.words import VERDICT_WORDS, format_number, summary
from vaexprs.evaluation.scores.catalogue import FAMILIES

__all__ = ["augmentation_caption", "render"]


@dataclass(frozen=True)
class Picture:
    """A figure on the page."""

    source: str
    caption: str
    alt: str


def render(report: Contents) -> str:
    """Return the page of a report."""
    jinja2 = require("jinja2", extra="evaluate", purpose="Writing a report")
    template = (
        files("vaexprs.evaluation.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = format_number
    with style():
        pictures = _pictures(report)
    sections = [
        {
            "name": family,
            "title": title,
            "scores": [_row(score) for score in report.scores if score.kind.family == family],
            "pictures": pictures.get(family, []),
        }
        for family, title in FAMILIES.items()
    ]
    text: str = environment.from_string(template).render(
        report=report,
        summary=summary(report),
        sections=[s for s in sections if s["scores"] or s["pictures"]],
        overview=pictures["overview"],
        clouds=pictures["clouds"],
        telling=pictures["telling"],
        words=VERDICT_WORDS,
        isnan=math.isnan,
    )
    return text


def _row(score: Score) -> dict[str, Any]:
    return {
        "score": score,
        "title": score.kind.title,
        "of": score.of,
        "value": format_number(score.value),
        "control": format_number(score.control),
        "range": ""
        if math.isnan(score.low) or score.low == score.high
        else f"{format_number(score.low)} to {format_number(score.high)}",
        "verdict": VERDICT_WORDS[score.verdict],
        "meaning": score.kind.meaning,
    }


def _pictures(report: Contents) -> dict[str, list[Picture]]:
    """Draw what there is something to draw for."""
    found: dict[str, list[Picture]] = {"overview": [], "clouds": [], "telling": []}
    data = report.pictures

    def add(where: str, draw: Callable[[], Any], caption: str, alt: str) -> None:
        found.setdefault(where, []).append(Picture(embed(draw()), caption, alt))

    if any(not math.isnan(score.gap) for score in report.scores):
        add(
            "overview",
            lambda: figures.draw_overview(report.scores),
            "Every score that has a control, in half widths of the control's range. Inside the "
            "band (blue) real cells would score so 19 times out of 20. Outside it, orange is worse "
            "than real cells or unlike them, green goes beyond them. Beyond the band the axis is "
            "logarithmic.",
            "Dot plot of all scores relative to the range of their control",
        )
    for name in reversed(list(data.embeddings)):
        how = (
            "UMAP of real test cells and generated cells together, on principal components of "
            "training cells."
            if name == "UMAP"
            else "The first two principal components of training cells."
        )
        add(
            "clouds",
            lambda name=name: figures.draw_embedding(data, name),  # type: ignore[misc]
            f"{how} As many cells of each kind and condition.",
            f"{name} of real and generated cells",
        )
    if data.curves:
        add(
            "classifiers",
            lambda: figures.draw_roc(data),
            "ROC curves on held-out folds, mean over folds and rounds. The shaded area is what "
            "the discriminator finds in generated cells beyond the control.",
            "ROC curves of three classifiers for generated and control cells",
        )
    add(
        "genes",
        lambda: figures.draw_genes(data),
        "Each point is a gene: generated cells (above) and as many other real cells (below) "
        "against the same test cells, on the scale of the scores. The lower row shows how much "
        "scatter real cells have. Genes that only one side shows lie along the axes.",
        "Scatter plots of mean, variance, zero fraction and maximum per gene",
    )
    add(
        "genes",
        lambda: figures.draw_trends(data),
        "Genes and their median trend, values as given.",
        "Variance and zero fraction along the mean",
    )
    add(
        "cells",
        lambda: figures.draw_cells(data),
        "Violins with quartiles and median.",
        "Violin plots of library size and genes detected",
    )
    add(
        "structure",
        lambda: figures.draw_correlations(data),
        "Spearman correlations of the most variable genes, the same order in all three.",
        "Correlation heat maps of control, test and generated cells",
    )
    add(
        "structure",
        lambda: figures.draw_spread(data),
        "Below 1, generated cells do not reach as far as real ones along this axis of variation.",
        "Ratio of standard deviations along principal components",
    )
    if report.categories:
        add(
            "conditions",
            lambda: figures.draw_agreement(report.categories),
            "A classifier trained on real training cells. Generated to the left of real: cells do "
            "not obey. To the right: they are more clear-cut than real cells.",
            "Agreement with the requested category, generated and real",
        )
    if data.fold_changes:
        add(
            "conditions",
            lambda: figures.draw_folds(data),
            f"Fold changes of the largest categories of {data.key} against the rest.",
            "Scatter plots of fold changes, generated against real",
        )
    if report.augmentation:
        add(
            "utility",
            lambda: figures.draw_augmentation(report.augmentation),
            augmentation_caption(report),
            "F1 of rare classes with real cells alone and topped up by four methods",
        )
    add(
        "privacy",
        lambda: figures.draw_distances(data),
        "Distance of each cell to the nearest of the same training cells.",
        "Cumulative distances to the nearest training cell",
    )
    if report.telling:
        add(
            "telling",
            lambda: figures.draw_telling(list(report.telling), data),
            "Left: what each gene contributes to the forest's decisions, and what it contributes "
            "where real are told from real cells. Right: values of the most telling genes on the "
            "scale of the scores, share of cells.",
            "Importance of the most telling genes and histograms of their values",
        )
    return found


def augmentation_caption(report: Contents) -> str:
    """Say how classes were made rare, and what the generator had seen of them."""
    caption = (
        "Classes were made rare by keeping few of their real cells, and topped up to the median "
        "size of the others. Points are means over draws, bars their range. "
    )
    flattering = "has seen all real cells of the class, not only the kept ones: this flatters it."
    return (
        caption
        + {
            "refit": "The generator was trained anew on the kept cells alone.",
            "augment": f"The generator {flattering}",
            "generated": f"Cells were lent from those given; their generator {flattering}",
        }[str(report.settings["augmentation"])]
    )
