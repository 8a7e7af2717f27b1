"""Hidden groups: kinds of cells that lie apart, found without labels.

Programs that some cells of a kind have on part it further (`programs`).

Between kinds of cells lie no cells, and labels tell them in part or not at all. So cells are
grouped by a Gaussian mixture of their scores, in which components that overlap are one group. The
group is one more condition while the model is trained and calibrated. At the end extra latents hold
its number, one for each binary digit, and the decoder reads it there.

A combination that training never saw borrows components of others and moves them by the effects of
its categories. The extra latents do not vary within a component, and so the core does not move
them. The other latents lack the effect of their group: a batch with more cells of one group would
otherwise look like a batch in which all cells are moved. Their shares follow the effects, too.
So kinds may be confounded with one key: each may be a cell type. Kinds that are confounded with two
keys, one kind in each type and batch, would hold the effects of both, and an unseen combination
would borrow a wrong one with the kind (`n_confounded_keys`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.expression import evenly
from vaexprs.latent.mixtures import MOST_CELLS, choose_whole_mixture
from vaexprs.spec import Conditions, LibraryLaw, Prior

Array = NDArray[np.floating[Any]]

#: Name of the condition key that holds the groups during a fit.
HIDDEN = "hidden group"
#: Share of a component's cells that may as well belong to another: above, the two are one group.
_OVERLAP = 0.05
#: Fewest cells of a group: with fewer, its means would be those of single cells.
_FEWEST_CELLS = 20
#: A category lacks a group if it has less than this share of the cells of it that are expected, and
#: at least this number is expected.
_LACKING, _EXPECTED = 0.1, 10.0
#: A latent that holds a digit is this or its negative. The softmax by which the decoder reads the
#: group is then 0 or 1 in float32.
_FAR = 10.0


@dataclass(frozen=True)
class HiddenGroups:
    """A linear rule: the group of a cell is the largest of ``scores @ weight + bias``."""

    weight: NDArray[np.float32]  # (n_scores, n_groups)
    bias: NDArray[np.float32]  # (n_groups,)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.bias)

    def of(self, scores: Array) -> NDArray[np.int32]:
        """Return the group of each cell, ``(n_cells,)``."""
        return np.asarray((scores @ self.weight + self.bias).argmax(axis=1), np.int32)


def find_groups(scores: Array, seed: int) -> HiddenGroups | None:
    """Return the groups of cells by their scores ``(n_cells, n_scores)``, or None if one is all."""
    if len(scores) > MOST_CELLS:
        scores = scores[evenly(np.zeros(len(scores), np.int64), MOST_CELLS)]
    y = scores.astype(np.float64)
    if len(y) < 2 * _FEWEST_CELLS:
        return None
    mixture = choose_whole_mixture(y, np.random.default_rng(seed))
    log_prob = mixture.log_prob(y)
    share = np.exp(log_prob - np.logaddexp.reduce(log_prob, axis=1)[:, None])  # (n, k)
    while share.shape[1] > 1:
        size = share.sum(0)
        both = share.T @ share / np.maximum(np.minimum.outer(size, size), 1e-9)
        np.fill_diagonal(both, -1)
        one, other = divmod(int(both.argmax()), len(both))
        if both[one, other] < _OVERLAP:
            one = int(size.argmin())
            if size[one] >= _FEWEST_CELLS:
                break
            other = int(both[one].argmax())
        share[:, one] += share[:, other]
        share = np.delete(share, other, axis=1)
    return _linear_rule(y, share.argmax(axis=1).astype(np.int64))


def _linear_rule(y: Array, group: NDArray[np.int64]) -> HiddenGroups | None:
    """Return linear discriminant analysis of groups, without those that it leaves few cells."""
    while True:
        _, group, n = np.unique(group, return_inverse=True, return_counts=True)
        if len(n) == 1:
            return None
        means = np.stack([np.bincount(group, column) / n for column in y.T], axis=1)
        within = (y - means[group]).T @ (y - means[group]) / len(y)
        within += 1e-3 * np.trace(within) / len(within) * np.eye(len(within))
        weight = np.linalg.solve(within, means.T)
        bias = np.log(n / len(y)) - 0.5 * (means.T * weight).sum(0)
        group = (y @ weight + bias).argmax(axis=1)
        n = np.bincount(group, minlength=len(n))
        kept = n >= min(_FEWEST_CELLS, n.max())
        if kept.all():
            return HiddenGroups(weight.astype(np.float32), bias.astype(np.float32))
        group = (y @ weight + np.where(kept, bias, -np.inf)).argmax(axis=1)


def n_confounded_keys(group: NDArray[Any], codes: NDArray[Any]) -> int:
    """Return with how many keys groups are confounded: some category of the key lacks a group.

    Categories are compared among cells that agree in the other keys, or, where no such cells are of
    two categories, among all cells.

    Parameters
    ----------
    group
        Group of each cell, ``(n_cells,)``.
    codes
        Category of each cell under each key, ``(n_cells, n_keys)``.
    """
    confounded = 0
    for key, of_key in enumerate(codes.T):
        others = np.delete(codes, key, axis=1)
        alike = np.unique(others, axis=0, return_inverse=True)[1].ravel()
        n = np.zeros((alike.max() + 1, of_key.max() + 1, group.max() + 1))
        np.add.at(n, (alike, of_key, group), 1)
        several = (n.sum(axis=2) > 0).sum(axis=1) > 1
        n = n[several] if several.any() else n.sum(axis=0, keepdims=True)
        total = n.sum(axis=(1, 2), keepdims=True)
        expected = (n.sum(axis=2, keepdims=True) * n.sum(axis=1, keepdims=True) / total).sum(axis=0)
        n = n.sum(axis=0)
        confounded += bool(((expected >= _EXPECTED) & (n < _LACKING * expected)).any())
    return confounded


def digits_of(n_groups: int) -> NDArray[np.float32]:
    """Return the extra latents of each group, ``(n_groups, n_digits)``: its binary digits."""
    digits = np.arange(n_groups)[:, None] >> np.arange((n_groups - 1).bit_length()) & 1
    return np.where(digits, _FAR, -_FAR).astype(np.float32)


def gather(
    prior: Prior, library: LibraryLaw | None, told: Conditions, conditions: Conditions
) -> tuple[NDArray[np.float32], Prior, LibraryLaw | None]:
    """Return effects of hidden groups, ``(n_groups, n_latent)``, and laws without that key.

    `told` are the conditions of the laws, the hidden group last, and `conditions` those without it;
    combinations are in the order of their codes. Components keep their shape, lose the effect of
    their group, and gain the latents of `digits_of`.
    """
    n_latent, n_groups = prior.means.shape[1] - prior.with_log_library, int(told.sizes[-1])
    n_components = np.diff(prior.offsets)
    group = np.repeat(told.combinations[:, -1], n_components)
    labels = told.combinations[:, :-1]
    first = np.flatnonzero(np.append(True, (labels[1:] != labels[:-1]).any(axis=1)))
    if not labels.shape[1]:
        first = first[:1]
    owner = np.searchsorted(first, np.arange(len(labels)), side="right") - 1
    share = told.n_cells / conditions.n_cells[owner]
    weighted = prior.weights[:, None] * prior.means[:, :n_latent].astype(np.float64)
    centre = _effects(
        np.add.reduceat(weighted, prior.offsets[:-1]), told.n_cells, owner,
        told.combinations[:, -1], n_groups,
    ).astype(np.float32)  # fmt: skip
    digits = digits_of(n_groups)[group]
    means = np.insert(prior.means, [n_latent] * digits.shape[1], digits, axis=1)
    means[:, :n_latent] -= centre[group]
    kept = np.delete(np.arange(means.shape[1]), n_latent + np.arange(digits.shape[1]))
    tril = np.zeros((len(prior.tril), means.shape[1], means.shape[1]), np.float32)
    tril[:, kept[:, None], kept] = prior.tril
    together = replace(
        prior,
        offsets=np.append(prior.offsets[first], prior.offsets[-1]),
        weights=prior.weights * np.repeat(share, n_components),
        means=means,
        tril=tril,
    )
    if library is None:
        return centre, together, None
    location = np.add.reduceat(share * library.location, first)
    apart = library.scale**2 + (library.location - location[owner]) ** 2
    single = np.float32
    return centre, together, replace(
        library,
        minimum=np.minimum.reduceat(library.minimum, first),
        maximum=np.maximum.reduceat(library.maximum, first),
        location=location.astype(single),
        scale=np.sqrt(np.add.reduceat(share * apart, first)).astype(single),
    )  # fmt: skip


def _effects(
    means: Array, n: NDArray[Any], owner: NDArray[Any], group: NDArray[Any], n_groups: int
) -> Array:
    """Return the effect of each group on the latents, ``(n_groups, d)``.

    Each row of `means`, ``(n_rows, d)``, is the mean of `n` cells of one combination (`owner`) and
    one `group`, ``(n_rows,)`` each; owners rise. Effects of combinations and groups add up, and are
    fitted by least squares, weighted by cells. Where two combinations share no group, what they
    differ in is not an effect of groups.
    """
    cells = np.zeros((owner[-1] + 1, n_groups))
    cells[owner, group] = n
    own = cells / cells.sum(axis=1, keepdims=True)
    sums = np.zeros((n_groups, means.shape[1]))
    np.add.at(sums, group, n[:, None] * means)
    of_owner = np.add.reduceat(n[:, None] * means, np.searchsorted(owner, np.arange(len(own))))
    within = np.diag(cells.sum(axis=0)) - cells.T @ own
    effects: Array = np.linalg.lstsq(within, sums - own.T @ of_owner, rcond=1e-9)[0]
    return effects
