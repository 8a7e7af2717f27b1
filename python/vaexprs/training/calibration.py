"""After training: make generated cells agree with the training cells, gene by gene.

The prior is a fit to the posteriors and the decoder a fit by stochastic gradients: what is drawn
from the one through the other is a little off in the mean of each gene. Here cells are drawn as
generation will draw them, and gene means, zero shares and dispersions of each combination of
categories are corrected where the training cells say so with enough evidence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from vaexprs.data import ExpressionData
from vaexprs.spec import COUNT_LIKELIHOODS, LibraryLaw, Prior
from vaexprs.training.cells import Scaling
from vaexprs.training.dispersion import marginal_dispersion
from vaexprs.training.initial import group_sums
from vaexprs.training.model import VAE, Head
from vaexprs.training.priors import sample_prior

__all__ = ["calibrate"]

#: Cells at which a combination's correction is half trusted.
_EVIDENCE = 20.0
#: Largest correction of a log mean or a logit.
_LARGEST = 3.0
_ROUNDS = 3
_DRAWS = 400
_ROWS_PER_STEP = 512

Array = NDArray[np.float64]


def calibrate(
    vae: VAE,
    data: ExpressionData,
    prior: Prior,
    law: LibraryLaw | None,
    scaling: Scaling | None,
    seed: int,
) -> None:
    """Correct the decoder's heads in place so that its draws have the training cells' moments."""
    conditions = data.conditions
    n_groups = len(conditions.n_cells)
    rng = np.random.default_rng(seed)
    per_group = int(max(50, min(_DRAWS, 20_000 // n_groups)))
    group = np.repeat(np.arange(n_groups), per_group)
    z, library = sample_prior(prior, law, group, rng)
    if library is None:
        library = np.ones(len(group), np.float32)
    draws = _Draws(vae, z, conditions.combinations[group], library, group, per_group)
    if vae.shape.likelihood in COUNT_LIKELIHOODS:
        _calibrate_counts(vae, data, draws)


class _Draws:
    """Latents drawn from the prior, the same number for each combination."""

    def __init__(
        self,
        vae: VAE,
        z: NDArray[np.float32],
        codes: NDArray[np.int32],
        library: NDArray[np.float32],
        group: NDArray[np.int64],
        per_group: int,
    ) -> None:
        device = vae.decoder.member.device
        self.vae, self.group, self.per_group = vae, group, per_group
        self.n_groups = int(group.max()) + 1
        self.z = torch.from_numpy(z).to(device)
        one_hot = np.zeros((len(group), vae.shape.n_conditions), np.float32)
        # the one-hot blocks stand side by side; member says where each category's column is
        member = vae.decoder.member.cpu().numpy()
        if vae.shape.n_combinations:
            one_hot = member.T[group]
        self.condition = torch.from_numpy(one_hot).to(device)
        self.library = library

    @torch.no_grad()
    def heads(self) -> Iterator[tuple[int, dict[str, Array], NDArray[np.float32]]]:
        """Decode combination by combination."""
        for g in range(self.n_groups):
            rows = slice(g * self.per_group, (g + 1) * self.per_group)
            heads = self.vae.decoder(self.z[rows], self.condition[rows])
            yield g, heads, self.library[rows]


def _calibrate_counts(vae: VAE, data: ExpressionData, draws: _Draws) -> None:
    X, group, library = data.X, data.group, data.library
    X = sparse.csr_matrix(X)
    n_groups, n_genes = draws.n_groups, data.n_genes
    group_library = np.bincount(group, library)
    real = group_sums(X, group)  # (groups, G) counts
    total = real.sum(0)
    n_cells = np.bincount(group)[:, None]
    # what the dispersion of counts adds to the error of a mean, from a first look
    theta = np.exp(_bias(vae, "log_inverse_dispersion")) if _has(vae) else np.full(n_genes, 1e3)
    correction = np.zeros((n_groups, n_genes))
    for round_ in range(_ROUNDS):
        made, variation, kept = _shares(draws, n_genes)
        expected = made * group_library[:, None]
        if round_ == 0:
            ratio = np.log((real + 0.5) / (expected + 0.5))
            error = 1 / (expected + 0.5) + (1 / theta + variation) / n_cells
            trust = _trust(ratio, error)
            goal = np.log(expected + 1e-12) + np.clip(ratio * trust, -_LARGEST, _LARGEST)
        step = goal - np.log(expected + 1e-12)
        correction += np.where(total > 0, np.clip(step, -_LARGEST, _LARGEST), 0)
        _set(vae, "logits", correction)
    if not _has(vae):
        return
    made, variation, kept = _shares(draws, n_genes)
    rate = np.maximum(np.exp(goal) / group_library[:, None], 1e-12)
    gene, deviation = marginal_dispersion(X, library, group, rate, variation)
    head = _head(vae, "log_inverse_dispersion")
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(gene.astype(np.float32)))
    _set(vae, "log_inverse_dispersion", deviation)


def _has(vae: VAE) -> bool:
    return "log_inverse_dispersion" in vae.decoder.heads


def _head(vae: VAE, name: str) -> Head:
    head = vae.decoder.heads[name]
    assert isinstance(head, Head)
    return head


def _bias(vae: VAE, name: str) -> Array:
    return _head(vae, name).bias.detach().double().cpu().numpy()


def _shares(draws: _Draws, n_genes: int) -> tuple[Array, Array, Array]:
    """Mean and squared coefficient of variation of each gene's share, and what inflation keeps."""
    mean = np.zeros((draws.n_groups, n_genes))
    variation, kept = np.zeros_like(mean), np.ones_like(mean)
    for g, heads, drawn in draws.heads():
        share = torch.softmax(heads["logits"], -1).double()
        if "zero_logits" in heads:
            share = share * torch.sigmoid(-heads["zero_logits"])
        weight = torch.from_numpy(drawn / drawn.sum()).double().to(share.device)[:, None]
        first = (weight * share).sum(0)
        mean[g] = first.cpu().numpy()
        spread = ((share / first - 1) ** 2).mean(0)
        variation[g] = spread.clamp(max=50.0).cpu().numpy()
    return mean, variation, kept


def _trust(ratio: Array, error: Array) -> Array:
    """Share of a log ratio to believe: empirical Bayes, one spread for each combination."""
    spread = np.empty((len(ratio), 1))
    for g in range(len(ratio)):
        known = error[g] < 0.5
        if known.sum() < 20:
            spread[g] = 0.05
            continue
        excess = ratio[g, known] ** 2 - error[g, known]
        weight = 1 / (error[g, known] + 0.05) ** 2
        spread[g] = np.clip((weight * excess).sum() / weight.sum(), 0.005, 1.0)
    return spread / (spread + error)


def _set(vae: VAE, name: str, correction: Array) -> None:
    head = vae.decoder.heads[name]
    assert isinstance(head, Head)
    values = torch.from_numpy(correction.astype(np.float32)).to(head.bias.device)
    if not vae.shape.n_combinations:
        return
    vae.decoder.add_membership(name, values)
