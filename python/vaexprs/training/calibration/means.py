"""After training: make generated cells agree with the training cells, gene by gene.

The prior is a fit to the posteriors and the decoder a fit by stochastic gradients: what is drawn
from the one through the other is a little off in the mean of each gene, and more so in its
dispersion. Here cells are drawn as generation will draw them, and the heads of the decoder are
corrected where the training cells say so with enough evidence: first for the categories of each
key, then for the combinations of categories that have cells enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.spec import COUNT_LIKELIHOODS
from vaexprs.training.calibration.dispersion import marginal_dispersion
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.gamma_dispersion import gamma_dispersion
from vaexprs.training.calibration.groups import (
    Grouping,
    bias,
    combinations,
    correct,
    correct_to,
    partitions,
)
from vaexprs.training.network.model import VAE
from vaexprs.training.network.start import group_sums, square

__all__ = ["calibrate"]

#: Largest correction of a log mean or a logit in one step, and steps for the last grouping.
_LARGEST, _ROUNDS = 3.0, 3
#: Cells that a zero share expected by the model counts for, against those observed.
_ZERO_EVIDENCE = 2.0
#: Genes are compared together in so many levels of expression, of at least so many genes; the
#: variance of what they are off by together.
_LEVELS, _GENES_OF_LEVEL, _COMMON_VARIANCE = 20, 50, 0.05
_TINY = 1e-12

Array = NDArray[np.float64]


def calibrate(vae: VAE, data: ExpressionData, draws: Draws) -> None:
    """Correct the decoder's heads in place so that its draws have the training cells' moments.

    Parameters
    ----------
    vae
        The model.
    data
        The cells that it was trained on.
    draws
        Draws from its prior.
    """
    groupings = partitions(vae, data, draws)
    likelihood = vae.shape.likelihood
    for grouping in groupings:
        last = grouping is groupings[-1]
        for _ in range(_ROUNDS if last else 1):
            if likelihood in COUNT_LIKELIHOODS:
                _count_means(vae, data, draws, grouping)
            elif likelihood == "zigamma":
                _zero_shares(vae, data, draws, grouping)
                _positive_means(vae, data, draws, grouping)
            else:
                _plain_means(vae, data, draws, grouping)
    if likelihood == "nb":
        _count_dispersions(vae, data, draws, groupings)
    elif likelihood == "zigamma":
        _gamma_dispersions(vae, data, draws, groupings[-1])
    elif likelihood == "gaussian":
        _scales(vae, data, draws, groupings[-1])


# ---- counts


def _share(heads: dict[str, Tensor]) -> Tensor:
    share = torch.softmax(heads["logits"], -1)
    if "zero_logits" in heads:
        share = share * torch.sigmoid(-heads["zero_logits"])
    return share


def _count_shares(draws: Draws, grouping: Grouping) -> tuple[Array, Array]:
    """Mean share of each gene in the counts, and its squared coefficient of variation."""
    names = ("logits", "zero_logits") if "zero_logits" in draws.vae.decoder.heads else ("logits",)
    size, weighted, first, second = grouping.moments(
        draws,
        names,
        lambda heads, library: [
            library,
            (share := _share(heads)) * library,
            share,
            share.square(),
        ],
    )
    variation = second / np.maximum(first**2, _TINY**2) - 1
    return weighted / size, np.clip(variation, 0, 50)


def _count_means(vae: VAE, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
    group, library = grouping.cells, data.library
    made, variation = _count_shares(draws, grouping)
    expected = made * np.bincount(group, library, minlength=grouping.n_groups)[:, None]
    real = group_sums(data.X, group, n_groups=grouping.n_groups)
    theta: Any = 1e3
    if "log_inverse_dispersion" in vae.decoder.heads:
        theta = np.exp(bias(vae, "log_inverse_dispersion"))
    n_cells = np.bincount(group, minlength=grouping.n_groups)[:, None]
    scatter = (1 / theta + variation) / n_cells
    common = _common_ratio(real, expected, scatter)
    expected = expected * np.exp(common)
    ratio = np.log((real + 0.5) / (expected + 0.5))
    step = common + ratio * _trust(ratio, 1 / (expected + 0.5) + scatter)
    correct(vae, "logits", grouping, np.where(real.sum(0) > 0, _limit(step), 0))


def _common_ratio(real: Array, expected: Array, scatter: Array) -> Array:
    """Return the log ratio of real to expected counts that genes of like level share.

    A weak gene of few cells tells nothing by itself, but a thousand of them may all be a tenth
    too low: what each is pulled to is what they are off by together.
    """
    level = np.log(np.maximum(real.sum(0), 0.5))
    order = np.argsort(level, kind="stable")
    parts = np.array_split(order, max(1, min(_LEVELS, len(order) // _GENES_OF_LEVEL)))
    centres, found = [], []
    for genes in parts:
        observed, wanted = real[:, genes].sum(1), expected[:, genes].sum(1)
        noise = 1 / (wanted + 1) + (expected[:, genes] ** 2 * scatter[:, genes]).sum(1) / (
            wanted**2 + _TINY
        )
        trust = _COMMON_VARIANCE / (_COMMON_VARIANCE + noise)
        centres.append(level[genes].mean())
        found.append(trust * np.log((observed + 1) / (wanted + 1)))
    at = np.stack(found, 1)  # (n_groups, n_levels)
    return np.stack([np.interp(level, centres, row) for row in at])


def _count_dispersions(
    vae: VAE, data: ExpressionData, draws: Draws, groupings: list[Grouping]
) -> None:
    finest, keys = groupings[-1], [each for each in groupings if each.block == "condition"]
    if finest.block == "condition":  # likelihoods are of combinations, corrected or not
        finest = combinations(vae, data, draws, finest.weight)
    made, variation = _count_shares(draws, finest)
    categories = np.zeros((finest.n_groups, len(keys)), np.int64)
    for column, key in enumerate(keys):
        categories[:, column] = key.draws
    found = marginal_dispersion(
        sparse.csr_matrix(data.X),
        data.library,
        finest.cells,
        np.maximum(made, _TINY),
        variation,
        vae.shape.typical_library,
        categories,
        (finest.rows >= 0) & (len(keys) > 1),
    )
    name = "log_inverse_dispersion"
    correct_to(vae, name, found.gene)
    if found.key is not None and found.category is not None:
        correct(vae, name, keys[found.key], found.category)
    if found.deviation.any():
        correct(vae, name, finest, found.deviation)
    if found.exponent:
        slope = torch.full((1, data.n_genes), found.exponent, device=vae.decoder.member.device)
        vae.decoder.add_block(name, "depth", slope)


# ---- continuous values with exact zeros


def _zero_shares(vae: VAE, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
    (expected,) = grouping.moments(
        draws, ("zero_logits",), lambda heads, _: [torch.sigmoid(heads["zero_logits"])]
    )
    n_cells = np.bincount(grouping.cells, minlength=grouping.n_groups)[:, None]
    positive = group_sums((data.X > 0).astype(np.float64), grouping.cells, grouping.n_groups)
    target = (n_cells - positive + _ZERO_EVIDENCE * expected) / (n_cells + _ZERO_EVIDENCE)
    step = _logit(target) - _logit(expected)
    correct(vae, "zero_logits", grouping, _limit(step))


def _positive_means(vae: VAE, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
    kept, mean, second = grouping.moments(
        draws,
        ("logits", "zero_logits"),
        lambda heads, _: [
            (keep := torch.sigmoid(-heads["zero_logits"])),
            keep * (value := heads["logits"].clamp(max=60).exp()),
            keep * value.square(),
        ],
    )
    expected = mean / np.maximum(kept, _TINY)
    variation = np.clip(second * kept / np.maximum(mean**2, _TINY**2) - 1, 0, 50)
    positive = group_sums((data.X > 0).astype(np.float64), grouping.cells, grouping.n_groups)
    real = group_sums(data.X, grouping.cells, grouping.n_groups) / np.maximum(positive, 1)
    ratio = np.where(positive > 0, np.log(np.maximum(real, 1e-30) / np.maximum(expected, 1e-30)), 0)
    theta = np.exp(bias(vae, "log_inverse_dispersion"))
    error = (1 / theta + variation) / np.maximum(positive, 0.1)
    correct(vae, "logits", grouping, _limit(ratio * _trust(ratio, error)))


def _gamma_dispersions(vae: VAE, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
    mean, second = grouping.moments(
        draws,
        ("logits",),
        lambda heads, _: [(value := heads["logits"].clamp(max=60).exp()), value.square()],
    )
    variation = np.clip(second / np.maximum(mean**2, _TINY**2) - 1, 0, 50)
    gene = gamma_dispersion(data.X, grouping.cells, grouping.n_groups, variation)
    correct_to(vae, "log_inverse_dispersion", gene)


# ---- values without zeros of their own


def _plain_means(vae: VAE, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
    bernoulli = vae.shape.likelihood == "bernoulli"
    link = torch.sigmoid if bernoulli else (lambda x: x)
    expected, second = grouping.moments(
        draws, ("logits",), lambda heads, _: [(value := link(heads["logits"])), value.square()]
    )
    assert draws.scaling is not None
    shift, stretch = draws.scaling.shift, draws.scaling.stretch
    n_cells = np.bincount(grouping.cells, minlength=grouping.n_groups)[:, None]
    real = group_sums(data.X, grouping.cells, grouping.n_groups) / n_cells
    real = np.where(stretch > 0, (real - shift) / np.where(stretch > 0, stretch, 1), expected)
    if bernoulli:
        target = (n_cells * real + expected) / (n_cells + 1)
        step = _logit(target) - _logit(expected)
    else:
        noise = np.exp(2 * bias(vae, "log_scale")) + second - expected**2
        difference = real - expected
        step = difference * _trust(difference, noise / n_cells)
    correct(vae, "logits", grouping, np.where(stretch > 0, _limit(step), 0))


def _scales(vae: VAE, data: ExpressionData, draws: Draws, grouping: Grouping) -> None:
    first, second = grouping.moments(
        draws, ("logits",), lambda heads, _: [heads["logits"], heads["logits"].square()]
    )
    assert draws.scaling is not None
    stretch = np.where(draws.scaling.stretch > 0, draws.scaling.stretch, 1)
    n_cells = np.bincount(grouping.cells, minlength=grouping.n_groups)[:, None]
    sums = group_sums(data.X, grouping.cells, grouping.n_groups)
    squares = group_sums(square(data.X), grouping.cells, grouping.n_groups)
    within = (squares - sums**2 / np.maximum(n_cells, 1)).sum(0)
    freedom = max(data.n_cells - grouping.n_groups, 1)
    latent = (n_cells * (second - first**2)).sum(0) / n_cells.sum()
    variance = within / freedom / stretch**2
    left = np.maximum(variance - latent, 0.05 * variance + 1e-8)
    correct_to(vae, "log_scale", 0.5 * np.log(left))


# ---- small tools


def _limit(step: Array) -> Array:
    return np.clip(step, -_LARGEST, _LARGEST)


def _logit(p: Array) -> Array:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)))


def _trust(ratio: Array, error: Array) -> Array:
    """Share of a difference to believe: empirical Bayes with one spread for each group."""
    spread = np.empty((len(ratio), 1))
    for g in range(len(ratio)):
        known = error[g] < 0.5
        if known.sum() < 20:
            spread[g] = 0.05
            continue
        excess = ratio[g, known] ** 2 - error[g, known]
        weight = 1 / (error[g, known] + 0.05) ** 2
        spread[g] = np.clip((weight * excess).sum() / weight.sum(), 0.005, 1.0)
    return np.asarray(spread / (spread + error))
