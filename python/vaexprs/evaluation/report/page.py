"""The page: one self-contained HTML file that reads without a network."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from vaexprs.errors import require
from vaexprs.evaluation.comparison.ranges import Score
from vaexprs.evaluation.registry import FAMILIES
from vaexprs.evaluation.report.contents import Contents
from vaexprs.evaluation.report.figures import cells, genes, scores
from vaexprs.evaluation.report.words import VERDICT_WORDS, format_number, summary, uses
from vaexprs.style import styled


@styled
def render(report: Contents) -> str:
    """Return the page of a report."""
    jinja2 = require("jinja2", extra="evaluate", purpose="Writing a report")
    template = (
        files("vaexprs.evaluation.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    pictures = _pictures(report)
    families = dict.fromkeys([*FAMILIES, *(score.kind.family for score in report.scores)])
    sections = [
        {
            "name": family,
            "title": FAMILIES.get(family, family),
            "scores": [_row(score) for score in report.scores if score.kind.family == family],
            "pictures": pictures.get(family, []),
        }
        for family in families
    ]
    text: str = environment.from_string(template).render(
        report=report,
        summary=summary(report),
        uses=uses(report),
        sections=[s for s in sections if s["scores"] or s["pictures"]],
        pictures=pictures,
    )
    return text


def _row(score: Score) -> dict[str, Any]:
    has_range = not math.isnan(score.low) and score.low != score.high
    ends = f"{format_number(score.low)} to {format_number(score.high)}"
    return {
        "kind": score.kind,
        "of": score.of,
        "value": format_number(score.value),
        "control": format_number(score.control),
        "range": ends if has_range else "–",
        "verdict": score.verdict,
        "words": VERDICT_WORDS[score.verdict][0],
    }


def _embed(figure: Any) -> str:
    """Return a figure as a data URI: an SVG, in which many points are one picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=170, metadata={"Date": None, "Creator": "vaexprs"})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _pictures(report: Contents) -> dict[str, list[dict[str, str]]]:
    """Draw the figures of each section, as data URIs; those without data are left out."""
    found: dict[str, list[dict[str, str]]] = {"overview": [], "planes": [], "giveaways": []}
    data = report.pictures

    def add(where: str, draw: Callable[..., Any], given: Any, caption: str, alt: str) -> None:
        figure = draw(*given) if given else None
        if figure is not None:
            picture = {"source": _embed(figure), "caption": caption, "alt": alt}
            found.setdefault(where, []).append(picture)

    if any(not math.isnan(score.gap) for score in report.scores):
        add(
            "overview", scores.draw_overview, (report.scores,),
            "Every score that has a control, in half widths of the control's range. Inside the "
            "band (blue) real cells would score 19 times out of 20. Outside it, orange is worse "
            "than real cells or unlike them, green goes beyond them. Beyond the band the axis is "
            "logarithmic.",
            "Dot plot of all scores relative to the range of their control",
        )  # fmt: skip
    for name in reversed(list(data.planes)):
        how = (
            "UMAP of real test cells and generated cells together, on principal components of "
            "training cells."
            if name == "UMAP"
            else "The first two principal components of training cells."
        )
        add(
            "planes", cells.draw_plane, (data, name),
            f"{how} Equally many cells of each kind and condition.",
            f"{name} of real and generated cells",
        )  # fmt: skip
    add(
        "classifiers", scores.draw_roc, (data,) if data.curves else (),
        "ROC curves on held-out folds, mean over folds and rounds. The shaded area is the "
        "classifier's success on generated cells beyond that on the control.",
        "ROC curves of the classifiers for generated and control cells",
    )  # fmt: skip
    add(
        "genes", genes.draw_genes, (data,),
        "Each point is a gene: generated cells (above) and equally many other real cells (below) "
        "against the same test cells, on the scale of the scores. The lower row shows how much "
        "scatter real cells have. Genes that only one side shows lie along the axes.",
        "Scatter plots of mean, variance, zero fraction and maximum per gene",
    )  # fmt: skip
    add(
        "genes", genes.draw_trends, (data,), "Genes and their median trend, values as given.",
        "Variance and zero fraction along the mean",
    )  # fmt: skip
    add(
        "cells", cells.draw_cells, (data,), "Violins with quartiles and median.",
        "Violin plots of library size and genes detected",
    )  # fmt: skip
    add(
        "structure", genes.draw_correlations, (data,),
        "Spearman correlations of the most variable genes, the same order in all three.",
        "Correlation heat maps of control, test and generated cells",
    )  # fmt: skip
    add(
        "structure", cells.draw_spread, (data,),
        "Below 1, generated cells do not reach as far as real ones along this axis of variation.",
        "Ratio of standard deviations along principal components",
    )  # fmt: skip
    add(
        "conditions", scores.draw_agreement, (report.categories,) if report.categories else (),
        "A classifier trained on real training cells. Generated to the left of real: cells do "
        "not match their condition. To the right: they are more clear-cut than real cells.",
        "Agreement with the requested category, generated and real",
    )  # fmt: skip
    add(
        "conditions", genes.draw_folds, (data,),
        f"Fold changes of the largest categories of {data.key} against the rest.",
        "Scatter plots of fold changes, generated against real",
    )  # fmt: skip
    add(
        "utility", scores.draw_augmentation, (report.augmentation,) if report.augmentation else (),
        augmentation_caption(report),
        "F1 of rare classes with real cells alone and topped up by each method",
    )  # fmt: skip
    add(
        "privacy", cells.draw_distances, (data,) if report.held_out else (),
        "Distance of each cell to the nearest of the same training cells.",
        "Cumulative distances to the nearest training cell",
    )  # fmt: skip
    add(
        "giveaways", genes.draw_giveaways, (data,) if report.giveaways else (),
        "Left: share of each gene in the forest's decisions, and its share where real cells are "
        "separated from real cells. Right: values of the first genes on the scale of the scores, "
        "share of cells.",
        "Importance of the giveaway genes and histograms of their values",
    )  # fmt: skip
    return found


def augmentation_caption(report: Contents) -> str:
    """Describe how classes were made rare, and which cells of them the generator had seen."""
    flattering = "has seen all real cells of the class, not only the kept ones: this flatters it."
    seen = {
        "refit": "The generator was trained anew on the kept cells alone.",
        "augment": f"The generator {flattering}",
        "generated": f"Cells were taken from those given; their generator {flattering}",
    }
    return (
        "Classes were made rare by keeping few of their real cells, and topped up to the median "
        "size of the others. Points are means over draws, bars their range. "
        + seen[str(report.settings["augmentation"])]
    )
