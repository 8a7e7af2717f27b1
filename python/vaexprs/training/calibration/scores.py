"""Match the covariance of principal-component scores of draws to that of real cells.

Each z gives two simulated cells. The covariance between the two is due to z, the rest is counting
noise. The covariance of the prior is then moved, combination by combination, until the scores of
draws have the covariance of the training cells' cross-fitted scores, which is that of new cells.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaexprs.spec import Prior
from vaexprs.training.calibration.covariances import shrunk_covariances
from vaexprs.training.inputs.moments import group_centred

Array = NDArray[np.float64]

#: Factors by which the variance along a direction may move in one round.
_LIMITS = (0.1, 2.0)
#: Variance of a coordinate that does not vary.
_TINY = 1e-12


def match_scores(
    prior: Prior,
    y: Array,
    first: Array,
    second: Array,
    made: NDArray[np.int64],
    scores: Array,
    group: NDArray[np.int64],
) -> Prior:
    """Return the prior with covariances moved so that draws have the covariance of the scores.

    Parameters
    ----------
    prior
        Mixtures, one for each combination.
    y
        Draws from `prior`: z and, for counts, the log library size.
    first, second
        Scores (and log library size) of two cells made from each of them.
    made
        Combination of each draw.
    scores
        Cross-fitted scores of real cells (and their log library size).
    group
        Combination of each real cell.
    """
    n_groups = len(prior.offsets) - 1
    y, first, second = (group_centred(values, made) for values in (y, first, second))
    real = group_centred(scores, group)
    parts = [_covariances(first[made == g], second[made == g]) for g in range(n_groups)]
    noise = np.average([np.diag(noise) for _, noise in parts], axis=0, weights=np.bincount(made))
    back = _inverse_response(y, (first + second) / 2, np.sqrt(np.maximum(noise, _TINY) / 2))
    targets = shrunk_covariances(
        [shared + noise for shared, noise in parts],
        np.bincount(made, minlength=n_groups),
        [real[group == g] for g in range(n_groups)],
    )
    means = prior.means.astype(np.float64)
    tril: list[Array] = []
    factor = np.empty_like(prior.factor)
    for g in range(n_groups):
        own = slice(int(prior.offsets[g]), int(prior.offsets[g + 1]))
        shared, noise = parts[g]
        covariance = _mixture_covariance(prior, own)
        wanted = covariance + back.T @ (targets[g] - noise - shared) @ back
        move = _map(covariance, wanted)
        centre = prior.weights[own] @ means[own]
        means[own] = centre + (means[own] - centre) @ move.T
        for c in range(own.start, own.stop):
            moved = move @ prior.tril[prior.factor[c]].astype(np.float64)
            factor[c] = len(tril)
            tril.append(np.linalg.cholesky(moved @ moved.T + 1e-9 * np.eye(len(moved))))
    return replace(
        prior, means=means.astype(np.float32), tril=np.stack(tril).astype(np.float32), factor=factor
    )


def _inverse_response(y: Array, scores: Array, noise: Array) -> Array:
    """Return the change of y for a change of scores, ``(dim scores, dim y)``.

    Only responses beyond noise are inverted. `noise` is the standard deviation of each score given
    y, ``(dim scores,)``. Of responses that are noise alone, on orthonormal coordinates and in units
    of it, no singular value exceeds the sum of the roots of both numbers of dimensions (Davidson
    and Szarek 2001).
    """
    basis, triangle = np.linalg.qr(y)
    left, size, right = np.linalg.svd(basis.T @ scores / noise, full_matrices=False)
    known = size > np.sqrt(len(left)) + np.sqrt(len(noise))
    inverse = (right[known].T / size[known]) @ left[:, known].T @ triangle
    return inverse / noise[:, None]


def _covariances(first: Array, second: Array) -> tuple[Array, Array]:
    """Return the covariance that two views share, and the noise of each."""
    n = max(len(first) - 1, 1)
    cross = first.T @ second / n
    shared = (cross + cross.T) / 2
    total = (first.T @ first + second.T @ second) / (2 * n)
    return shared, total - shared


def _mixture_covariance(prior: Prior, own: slice) -> Array:
    weights, means = prior.weights[own], prior.means[own].astype(np.float64)
    centred = means - weights @ means
    out = (weights[:, None] * centred).T @ centred
    for weight, c in zip(weights, range(own.start, own.stop), strict=True):
        tril = prior.tril[prior.factor[c]].astype(np.float64)
        out += weight * tril @ tril.T
    return out


def _map(old: Array, new: Array) -> Array:
    """Return a linear map that takes one covariance to another, within limits."""
    if not np.trace(old) > 0:  # all cells alike
        return np.eye(len(old))
    floor = 1e-9 * np.trace(old) / len(old)
    root = np.linalg.cholesky(old + floor * np.eye(len(old)))
    inverse = np.linalg.inv(root)
    relative = inverse @ new @ inverse.T
    values, vectors = np.linalg.eigh((relative + relative.T) / 2)
    scale = np.sqrt(np.clip(values, *_LIMITS))
    return root @ (vectors * scale) @ vectors.T @ inverse
