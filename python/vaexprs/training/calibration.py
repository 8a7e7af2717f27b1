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

from vaexprs.data import ExpressionData
from vaexprs.spec import COUNT_LIKELIHOODS, LibraryLaw, Prior
from vaexprs.training.cells import Scaling
from vaexprs.training.initial import DISPERSION_BOUNDS, group_sums, square
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
    trust = (conditions.n_cells / (conditions.n_cells + _EVIDENCE))[:, None]
    if vae.shape.likelihood in COUNT_LIKELIHOODS:
        _calibrate_counts(vae, data, draws, trust)


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


def _calibrate_counts(vae: VAE, data: ExpressionData, draws: _Draws, trust: Array) -> None:
    X, group, library = data.X, data.group, data.library
    n_groups, n_genes = draws.n_groups, data.n_genes
    group_library = np.bincount(group, library)
    real = group_sums(X, group)  # (groups, G) counts
    # half a count spread as the gene is spread over all cells: rare genes stay finite
    overall = real.sum(0) / library.sum()
    seen = real.sum(0) > 0
    correction = np.zeros((n_groups, n_genes))
    for _ in range(_ROUNDS):
        made = np.zeros((n_groups, n_genes))
        second = np.zeros((n_groups, n_genes))
        spread = np.zeros((n_groups, n_genes))
        for g, heads, drawn in draws.heads():
            share = torch.softmax(heads["logits"], -1).double().cpu().numpy()
            mean = share * drawn[:, None]
            if "zero_logits" in heads:
                kept = torch.sigmoid(-heads["zero_logits"]).double().cpu().numpy()
            else:
                kept = 1.0
            made[g] = (mean * kept).sum(0) / drawn.sum()
            second[g] = (mean**2 * kept).mean(0)
            spread[g] = ((mean * kept - drawn[:, None] * made[g]) ** 2).mean(0)
        expected = made * group_library[:, None]
        prior_counts = 0.5 * np.maximum(overall, 1e-12) / np.maximum(overall.mean(), 1e-12)
        prior_counts = np.minimum(prior_counts, 0.5) + 1e-9
        ratio = np.log((real + prior_counts) / (expected + prior_counts))
        correction += np.where(seen, np.clip(ratio * trust, -_LARGEST, _LARGEST), 0)
        _set(vae, "logits", correction)
    if "log_inverse_dispersion" not in vae.decoder.heads:
        return
    # sum (x - mu)^2 - sum x = n * (variance of the means + mean square / theta)
    rate = real / group_library[:, None]
    squares = group_sums(square(X), group)
    cross = rate * group_sums(X, group, library)
    mean_square = rate**2 * np.bincount(group, library**2)[:, None]
    n = np.bincount(group)[:, None]
    excess = (squares - 2 * cross + mean_square - real - n * spread).sum(0)
    weight = (n * second).sum(0)
    theta = np.clip((weight + 3) / (np.maximum(excess, 0) + 1.5), *DISPERSION_BOUNDS)
    head = vae.decoder.heads["log_inverse_dispersion"]
    assert isinstance(head, Head)
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(np.log(theta).astype(np.float32)))


def _set(vae: VAE, name: str, correction: Array) -> None:
    head = vae.decoder.heads[name]
    assert isinstance(head, Head)
    values = torch.from_numpy(correction.astype(np.float32)).to(head.bias.device)
    if not vae.shape.n_combinations:
        return
    vae.decoder.add_membership(name, values)
