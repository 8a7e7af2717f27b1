"""Verdicts in words that cannot flatter."""

from __future__ import annotations

import math

from vaexprs.evaluation.comparison.ranges import LEVEL, Score, Verdict
from vaexprs.evaluation.report.contents import Contents

__all__ = ["VERDICT_WORDS", "format_number", "lines", "summary"]

VERDICT_WORDS: dict[Verdict, str] = {
    "within": "within range",
    "worse": "worse than real",
    "off": "unlike real",
    "better": "beyond real",
    "none": "no range",
}


def format_number(value: float) -> str:
    """Return a number with three or four telling digits; a dash for none."""
    if math.isnan(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        text = f"{value:,.0f}"
    elif size >= 100:
        text = f"{value:.1f}"
    elif size >= 0.1:
        text = f"{value:.3f}"
    elif size >= 0.001:
        text = f"{value:.4f}"
    elif size >= 1e-5:
        text = f"{value:.{1 - math.floor(math.log10(size))}f}"
    else:
        text = f"{value:.1e}"
    return text.replace("-", "\N{MINUS SIGN}", 1) if value < 0 else text


def summary(report: Contents) -> list[str]:
    """Return the verdict as a few sentences, the most important first."""
    counts = report.counts()
    judged = sum(n for verdict, n in counts.items() if verdict != "none")
    outside = judged - counts["within"]
    sentences = []
    if judged:
        expected = judged * (1 - LEVEL)
        sentences.append(
            f"{counts['within']} of {judged} scores lie within the range of real cells; "
            f"{outside} do not ({counts['worse']} worse, {counts['off']} unlike real cells in "
            f"either direction, {counts['better']} beyond real cells). Real cells in the place of "
            f"generated ones would be outside about {expected:.0f} times by chance."
        )
    sentences += _classifier_sentence(report)
    outside_names = [
        _name(score)
        for score in sorted(report.scores, key=_severity, reverse=True)
        if score.verdict in ("worse", "off")
    ]
    if outside_names:
        sentences.append("Farthest outside: " + "; ".join(outside_names[:6]) + ".")
    copied = next((score for score in report.scores if score.kind.key == "exact_copies"), None)
    if copied is not None and copied.value > 0:
        sentences.append(
            f"{copied.value:,.0f} generated cells are exact copies of training cells. They must "
            "not be called generated."
        )
    if counts["none"]:
        sentences.append(f"{counts['none']} scores have no range to be judged by.")
    sentences.append(
        f"Within range means that {report.sizes['compared']:,} cells a side could not show a "
        "difference, not that there is none."
    )
    return sentences


def lines(report: Contents) -> list[str]:
    """Return the scores as an aligned table, each beside the range of real cells."""
    rows = [("score", "generated", "real", "range of real", "verdict")]
    for score in report.scores:
        title = score.kind.title + (f", {score.of}" if score.of else "")
        ends = (
            "\N{EN DASH}"
            if math.isnan(score.low + score.high)
            else f"{format_number(score.low)} to {format_number(score.high)}"
        )
        value, control = format_number(score.value), format_number(score.control)
        rows.append((title, value, control, ends, VERDICT_WORDS[score.verdict]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:<{widths[3]}}  {row[4]}"
        for row in rows
    ]


def _classifier_sentence(report: Contents) -> list[str]:
    forests = [score for score in report.scores if score.kind.key.startswith("forest_auc")]
    if not forests:
        return []
    worst = max(forests, key=lambda score: score.value)
    told = (
        f"A random forest tells generated from real cells with an AUC of {worst.value:.2f} "
        f"({worst.kind.title.removeprefix('Random forest, ').removesuffix(' (AUC)')}), where "
        f"real from real cells gives {worst.control:.2f}"
    )
    if worst.verdict == "within":
        return [f"{told}: it could not tell them apart."]
    if worst.value < 0.6:
        return [f"{told}: they can be told apart, though only just better than by chance."]
    if worst.value < 0.75:
        return [f"{told}: they can be told apart, not in every case."]
    if worst.value < 0.9:
        return [f"{told}: they are told apart in most cases."]
    return [f"{told}: they are told apart nearly always."]


def _severity(score: Score) -> float:
    gap = score.gap
    return -math.inf if math.isnan(gap) else gap


def _name(score: Score) -> str:
    of = f", {score.of}" if score.of else ""
    return (
        f"{score.kind.title.removesuffix(' (AUC)')}{of} "
        f"({format_number(score.value)} beside {format_number(score.control)})"
    )
