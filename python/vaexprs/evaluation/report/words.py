"""Text of a report: verdict, advice on use, table of scores."""

from __future__ import annotations

import math
from textwrap import wrap

from vaexprs.evaluation.comparison.ranges import LEVEL, Score, Verdict
from vaexprs.evaluation.registry import FAMILIES
from vaexprs.evaluation.report.contents import Contents

#: On the page, and short enough for a terminal.
VERDICT_WORDS: dict[Verdict, tuple[str, str]] = {
    "within": ("within range", "within"),
    "worse": ("worse than real", "WORSE"),
    "off": ("unlike real", "UNLIKE"),
    "better": ("beyond real", "beyond"),
    "none": ("no range", "-"),
}
#: AUC below which a classifier separates cells so well: only just, partly, mostly.
_AUC_WORDS = (
    (0.6, "they can be told apart, though only just better than by chance"),
    (0.75, "they can be told apart, not in every case"),
    (0.9, "they are told apart in most cases"),
    (math.inf, "they are told apart nearly always"),
)

#: AUC below which generated cells are too near to the test cells to be independent of them.
_LEAKED_AUC = 0.35


def format_number(value: float) -> str:
    """Return a number with three or four significant digits; a dash for none."""
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
    if not report.held_out:
        sentences.append(
            "No verdict: without held-out test cells the scores compare generated cells with "
            "cells that the generator may have seen, and are better than they should be."
        )
    elif judged:
        sentences.append(
            f"{counts['within']} of {judged} scores lie within the range of real cells; "
            f"{outside} do not ({counts['worse']} worse, {counts['off']} unlike real cells in "
            f"either direction, {counts['better']} beyond real cells). Real cells in place of "
            f"generated ones would be outside about {judged * (1 - LEVEL):.0f} times by chance."
        )
    sentences += _classifier_sentence(report)
    far = sorted(report.scores, key=lambda score: -score.gap if score.gap > 0 else 0.0)
    names = [
        f"{_title(score)} ({format_number(score.value)} beside {format_number(score.control)})"
        for score in far
        if score.verdict in ("worse", "off")
    ]
    if names:
        sentences.append("Farthest outside: " + "; ".join(names[:6]) + ".")
    if n_copies := _copies(report):
        sentences.append(
            f"{n_copies:,.0f} generated cells are exact copies of training or test cells. They "
            "must not be called generated."
        )
    if counts["none"]:
        sentences.append(f"{counts['none']} scores have no range to be judged by.")
    if report.held_out:
        sentences.append(
            f"Within range means that {report.sizes['compared']:,} cells a side could not show a "
            "difference, not that there is none."
        )
    return sentences


def _classifier_sentence(report: Contents) -> list[str]:
    """Report the classifier that separates generated from real cells best."""
    found = [score for score in report.scores if score.kind.family == "classifiers"]
    if not found:
        return []
    # of those that exceed real cells, if any do: the sentence ends with a verdict on it
    beyond = [score for score in found if score.verdict in ("worse", "off")]
    worst = max(beyond or found, key=lambda score: score.value)
    sentence = (
        "The best of the classifiers separates generated from real cells with an AUC of "
        f"{worst.value:.2f} ({_title(worst)}), where real from real "
        f"cells gives {worst.control:.2f}"
    )
    if not report.held_out:
        return [sentence + "."]
    least = min(found, key=lambda score: score.value)
    if least.verdict == "better" and least.value < _LEAKED_AUC:
        return [
            f"A classifier takes generated cells for test cells, with an AUC of {least.value:.2f} "
            f"({_title(least)}), far below the {least.control:.2f} of real cells: they lie nearer "
            "to the test cells than other real cells do. Either they were made from these, or the "
            "generator has seen them; the scores say nothing of new cells."
        ]
    if all(score.verdict in ("within", "better") for score in found):
        return [f"{sentence}: none could tell them apart."]
    return [f"{sentence}: {next(words for most, words in _AUC_WORDS if worst.value < most)}."]


def _copies(report: Contents) -> float:
    return next((s.value for s in report.scores if s.kind.key == "exact_copies"), 0.0)


def _title(score: Score) -> str:
    return score.kind.title.removesuffix(" (AUC)") + (f", {score.of}" if score.of else "")


def uses(report: Contents) -> list[tuple[str, str, str]]:
    """Return what the cells may be used for: use, answer (yes, with care, no, unknown), reason."""
    return [
        (
            "Trying out and timing software, teaching, examples",
            "yes",
            "Nothing depends on how real the cells are. Say that they are generated.",
        ),
        ("More cells of a rare class, or training data for a classifier", *_training(report)),
        ("Benchmarking methods in place of real cells", *_benchmarking(report)),
        (
            "New findings, p-values, more statistical power",
            "no",
            "Generated cells hold no information beyond the training cells; counting them as "
            "observations makes every test too sure.",
        ),
        ("Sharing them where the real cells may not be shared", *_sharing(report)),
    ]


_UNKNOWN = ("unknown", "It takes held-out test cells to say.")


def _outside(report: Contents, *families: str) -> list[str]:
    """Return the scores of some families that are worse than, or unlike, those of real cells."""
    return [
        score.kind.title + (f" ({score.of})" if score.of else "")
        for score in report.scores
        if score.kind.family in families and score.verdict in ("worse", "off")
    ]


def _training(report: Contents) -> tuple[str, str]:
    if not any(score.kind.family == "utility" for score in report.scores):
        return "unknown", "No condition key was given to measure it by."
    if not report.held_out:
        return _UNKNOWN
    if problems := _outside(report, "utility", "conditions"):
        return "with care", f"Outside the range of real cells: {', '.join(problems)}."
    return (
        "yes",
        "A classifier trained on them does as well on real cells as one trained on equally many "
        "real cells. Test yours on real cells all the same.",
    )


def _benchmarking(report: Contents) -> tuple[str, str]:
    if not report.held_out:
        return _UNKNOWN
    families = ("classifiers", "distances", "manifold", "genes", "cells", "structure")
    if problems := _outside(report, *families):
        return (
            "with care",
            f"{len(problems)} scores lie outside the range of real cells; a method that depends "
            "on one of these properties may rank differently.",
        )
    return "yes", "No score of their distribution lies outside the range of real cells."


def _sharing(report: Contents) -> tuple[str, str]:
    if n_copies := _copies(report):
        return "no", f"{n_copies:,.0f} are exact copies of training or test cells."
    if not report.held_out:
        return _UNKNOWN
    found = [score for score in report.scores if score.kind.family == "privacy"]
    if attacks := [score.kind.title for score in found if _reveals(score)]:
        return "no", f"An attack succeeds beyond chance: {', '.join(attacks)}."
    return (
        "with care",
        "No attack of this report succeeds, which proves nothing about others. Ask the person "
        "responsible for the data.",
    )


def _reveals(score: Score) -> bool:
    """Return whether a score of privacy lies outside its range on the side of a leak."""
    near = "distance" in score.kind.key  # elsewhere more is worse
    return score.value < score.low if near else score.value > score.high


def lines(report: Contents) -> list[str]:
    """Return the scores as a table of 80 columns, each beside the range of real cells."""
    head = ("score", "generated", "real", "range of real", "verdict")
    rows: list[tuple[str, ...]] = []
    family = ""
    for score in report.scores:
        if score.kind.family != family:
            family = score.kind.family
            rows.append((FAMILIES.get(family, family),))
        ends = "–"
        if not math.isnan(score.low + score.high):
            ends = f"{format_number(score.low)} to {format_number(score.high)}"
        numbers = (format_number(score.value), format_number(score.control), ends)
        rows.append((_title(score), *numbers, VERDICT_WORDS[score.verdict][1]))
    table = [head, *(row for row in rows if len(row) > 1)]
    widths = [max(len(row[column]) for row in table) for column in range(1, 5)]
    first = 80 - sum(widths) - 2 * len(widths)
    found = []
    for row in (head, *rows):
        if len(row) == 1:
            found += ["", f"-- {row[0]}"]
            continue
        *above, last = wrap(row[0], first, subsequent_indent="  ") or [""]
        cells = [f"{cell:>{wide}}" for cell, wide in zip(row[1:4], widths[:3], strict=True)]
        found += [*above, "  ".join([f"{last:<{first}}", *cells, row[4]]).rstrip()]
    return found
