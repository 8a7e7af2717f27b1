"""Every score that a report holds: its name, which way is good, and what it says.

The keys are those of the report's JSON. Where a score is computed for each condition key, its
key ends in a dot and the name of the condition: ``condition_agreement.cell_type``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["CATALOGUE", "FAMILIES", "Direction", "ScoreKind"]

#: ``"lower"``, ``"higher"``: that way is better. ``"match"``: as in the control is best, and
#: both ways off are worse.
Direction: TypeAlias = Literal["lower", "higher", "match"]

#: Families in the order of the report, with their titles.
FAMILIES: dict[str, str] = {
    "classifiers": "Can a classifier tell them apart?",
    "distances": "Distances between the clouds of cells",
    "manifold": "Do they lie where real cells lie, and reach everywhere?",
    "genes": "Each gene by itself",
    "cells": "Each cell by itself",
    "structure": "How genes go together",
    "conditions": "Do they obey their condition?",
    "utility": "Are they worth training on?",
    "privacy": "Do they give training cells away?",
    "whole": "Against all training cells",
}


@dataclass(frozen=True)
class ScoreKind:
    """What a score is.

    Attributes
    ----------
    key
        Name in the JSON.
    family
        Where it stands in the report.
    title
        Name for a reader.
    direction
        Which way is better.
    meaning
        One sentence: what it is and what a perfect value would be.
    bounds
        Least and largest value that the score can take.
    """

    key: str
    family: str
    title: str
    direction: Direction
    meaning: str
    bounds: tuple[float, float] = (-math.inf, math.inf)


#: Scores that are shares, areas, F1 or Kolmogorov-Smirnov statistics.
_SHARES = {
    "forest_auc_components", "forest_auc_genes", "logistic_auc_genes", "precision", "recall",
    "coverage", "zero_fraction_error", "mean_zero_trend", "library_ks", "genes_detected_ks",
    "condition_agreement", "markers_kept", "transfer_f1", "share_nearer_train", "membership_auc",
    "donor_membership_auc", "nearest_real_agreement", "whole_zero_fraction_error",
}  # fmt: skip
#: Scores of either sign; what is in neither set cannot be negative.
_SIGNED = {
    "mmd", "energy_distance", "gene_mean_correlation", "gene_variance_correlation",
    "correlation_agreement", "within_correlation_agreement", "fold_change_slope",
    "fold_change_correlation",
}  # fmt: skip


def _bounds(key: str) -> tuple[float, float]:
    if key in _SHARES:
        return (0.0, 1.0)
    if key == "mixing_lisi":
        return (1.0, 2.0)
    if key in _SIGNED:
        return (-1.0, 1.0) if "correlation" in key else (-math.inf, math.inf)
    return (0.0, math.inf)


def _kinds(*rows: tuple[str, str, str, Direction, str]) -> dict[str, ScoreKind]:
    return {row[0]: ScoreKind(*row, bounds=_bounds(row[0])) for row in rows}


CATALOGUE: dict[str, ScoreKind] = _kinds(
    (
        "forest_auc_components",
        "classifiers",
        "Random forest, 50 components (AUC)",
        "lower",
        "Random forest of full-grown trees on principal-component scores, generated against test "
        "cells, 5 stratified folds; 0.5 is a coin toss, 1 never errs.",
    ),
    (
        "forest_auc_genes",
        "classifiers",
        "Random forest, 500 genes (AUC)",
        "lower",
        "The same on the most variable genes.",
    ),
    (
        "logistic_auc_genes",
        "classifiers",
        "Logistic regression, 500 genes (AUC)",
        "lower",
        "Logistic regression on the most variable genes, standardised; sees shifts of means, not "
        "of spread.",
    ),
    (
        "mmd",
        "distances",
        "Maximum mean discrepancy (squared)",
        "lower",
        "Unbiased squared MMD on components, mean of Gaussian kernels at 1/4, 1/2, 1, 2 and 4 "
        "times the median distance of test cells; 0 in expectation for one law.",
    ),
    (
        "energy_distance",
        "distances",
        "Energy distance",
        "lower",
        "2 E|x-y| - E|x-x'| - E|y-y'| on components, unbiased; 0 in expectation for one law.",
    ),
    (
        "precision",
        "manifold",
        "Precision",
        "match",
        "Share of generated cells within the 5-nearest-neighbour ball of some test cell. Above "
        "the control: cells keep to the middle of the crowd.",
    ),
    (
        "recall",
        "manifold",
        "Recall",
        "higher",
        "Share of test cells within the 5-nearest-neighbour ball of some generated cell. Low: "
        "part of the real diversity is missing.",
    ),
    (
        "density",
        "manifold",
        "Density",
        "match",
        "Mean number of test balls a generated cell lies in, over 5. Above the control: cells "
        "crowd where real cells are densest.",
    ),
    (
        "coverage",
        "manifold",
        "Coverage",
        "higher",
        "Share of test cells whose 5-nearest-neighbour ball holds a generated cell.",
    ),
    (
        "mixing_lisi",
        "manifold",
        "Mixing (iLISI)",
        "higher",
        "Integration local inverse Simpson index of test and generated cells on components, from "
        "1 (apart) to 2 (perfectly mixed).",
    ),
    (
        "gene_mean_error",
        "genes",
        "Mean: absolute error",
        "lower",
        "Mean over genes of the absolute difference of mean expression.",
    ),
    (
        "gene_mean_correlation",
        "genes",
        "Mean: rank correlation",
        "higher",
        "Spearman correlation over genes of mean expression.",
    ),
    (
        "gene_variance_log_ratio",
        "genes",
        "Variance: absolute log2 ratio",
        "lower",
        "Mean over genes of |log2(generated variance / test variance)|.",
    ),
    (
        "gene_variance_ratio",
        "genes",
        "Variance: median ratio",
        "match",
        "Median over genes of generated over test variance. Below the control: cells are too much "
        "alike.",
    ),
    (
        "gene_variance_correlation",
        "genes",
        "Variance: rank correlation",
        "higher",
        "Spearman correlation over genes of the variance.",
    ),
    (
        "zero_fraction_error",
        "genes",
        "Zero fraction: absolute error",
        "lower",
        "Mean over genes of the absolute difference of the share of cells without the gene.",
    ),
    (
        "gene_maximum_log_ratio",
        "genes",
        "Maximum: absolute log2 ratio",
        "lower",
        "Mean over genes of the absolute log2 ratio of the largest value: tails too long or cut.",
    ),
    (
        "mean_variance_trend",
        "genes",
        "Mean-variance trend",
        "lower",
        "Mean absolute gap of the median log10 variance along log10 mean, values as given.",
    ),
    (
        "mean_zero_trend",
        "genes",
        "Mean-zero trend",
        "lower",
        "Mean absolute gap of the median zero fraction along log10 mean, values as given.",
    ),
    (
        "library_ks",
        "cells",
        "Library size (KS)",
        "lower",
        "Kolmogorov-Smirnov statistic of the total of each cell's values, as given.",
    ),
    (
        "genes_detected_ks",
        "cells",
        "Genes detected (KS)",
        "lower",
        "Kolmogorov-Smirnov statistic of the number of genes that are not zero in each cell.",
    ),
    (
        "correlation_agreement",
        "structure",
        "Gene-gene correlation: agreement",
        "higher",
        "Pearson correlation, over gene pairs, of the Spearman correlations among the 100 most "
        "variable genes.",
    ),
    (
        "correlation_difference",
        "structure",
        "Gene-gene correlation: difference",
        "lower",
        "Mean absolute difference of these correlations.",
    ),
    (
        "within_correlation_agreement",
        "structure",
        "Within conditions: agreement",
        "higher",
        "The same inside each combination of conditions with at least 20 cells on both sides, "
        "averaged.",
    ),
    (
        "within_correlation_difference",
        "structure",
        "Within conditions: difference",
        "lower",
        "Mean absolute difference of the correlations inside each combination.",
    ),
    (
        "component_spread_error",
        "structure",
        "Spread along components",
        "lower",
        "Mean over components of |log2(generated / test standard deviation)|: weak programs that "
        "collapse show here.",
    ),
    (
        "condition_agreement",
        "conditions",
        "Agreement with the condition",
        "match",
        "Share of generated cells that a classifier trained on training cells puts in the "
        "requested category, categories weighted as in the test cells; the control is its accuracy "
        "on test cells. Above the control: cells are more clear-cut than real ones.",
    ),
    (
        "fold_change_slope",
        "conditions",
        "Fold changes: slope",
        "match",
        "Slope through the origin of generated on test log2 fold changes, category against rest, "
        "mean over categories. Noise in the test cells pulls it below 1, in the control too.",
    ),
    (
        "fold_change_correlation",
        "conditions",
        "Fold changes: correlation",
        "higher",
        "Pearson correlation over genes of these fold changes, mean over categories.",
    ),
    (
        "markers_kept",
        "conditions",
        "Top 100 markers kept",
        "higher",
        "Share of the 100 strongest markers (Welch's t) in test cells that are so in generated "
        "cells, mean over categories.",
    ),
    (
        "transfer_f1",
        "utility",
        "Train on generated, test on real (F1)",
        "higher",
        "Macro F1 on test cells of a classifier trained on generated cells; the control is trained "
        "on as many real cells.",
    ),
    (
        "exact_copies",
        "privacy",
        "Exact copies of training cells",
        "lower",
        "Generated cells equal to a training cell in every value; must be 0.",
    ),
    (
        "share_nearer_train",
        "privacy",
        "Share nearer to training than test cells",
        "match",
        "Share of generated cells nearer to a training cell than to any of as many test cells; 0.5 "
        "when nothing is memorised. The control: real cells that are neither.",
    ),
    (
        "membership_auc",
        "privacy",
        "Membership inference (AUC)",
        "match",
        "How well the distance to the nearest generated cell tells training from test cells; 0.5 "
        "when nothing is given away.",
    ),
    (
        "train_distance_ratio",
        "privacy",
        "Distance to the nearest training cell",
        "match",
        "Median distance of generated cells to the nearest training cell over that of test cells; "
        "1 is as far as test cells. Below: too near, memorised or too smooth.",
    ),
    (
        "train_distance_ratio_low",
        "privacy",
        "Distance to the nearest training cell, nearest 5 %",
        "match",
        "Ratio of the 5th percentiles of these distances: where copies would show first.",
    ),
    (
        "donor_membership_auc",
        "privacy",
        "Membership inference within donor (AUC)",
        "match",
        "Membership inference on the cells of one donor.",
    ),
    (
        "nearest_real_agreement",
        "whole",
        "Nearest training cell has the condition",
        "match",
        "Share of generated cells whose nearest training cell (2,000 genes) is of the requested "
        "category; the control is each training cell's nearest other training cell.",
    ),
    (
        "leave_one_out_ratio",
        "whole",
        "Distance to the nearest training cell",
        "match",
        "Median distance of generated cells to the nearest training cell over the median distance "
        "of a training cell to its nearest other; the control puts test cells in the place of "
        "generated ones, or, without any, training cells left out one by one.",
    ),
    (
        "whole_variance_ratio",
        "whole",
        "Variance: median ratio",
        "match",
        "Median over genes of the variance in all generated cells over that in all training "
        "cells; the control draws training cells with return for both sides.",
    ),
    (
        "whole_zero_fraction_error",
        "whole",
        "Zero fraction: absolute error",
        "lower",
        "Mean over genes of the absolute difference of the share of cells without the gene, all "
        "generated against all training cells; the control draws training cells with return for "
        "both sides.",
    ),
)
