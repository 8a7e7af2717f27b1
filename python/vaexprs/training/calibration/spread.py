"""After training: make genes vary as much as in the training cells, on the scale of the logarithm.

Dispersions are fitted to counts by their likelihood, and a negative binomial law is an
approximation: cells of low quality scatter more than others, which counts hardly tell and their
logarithms do. So cells are drawn as generation will draw them, once more with all dispersions
moved to learn what that does, and dispersions are corrected until the variance within combinations
of log1p of counts per 10,000 is that of the training cells: for genes of like level together, and
for single genes as far as their own cells tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaexprs.data import ExpressionData
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.inputs.features import Features
from vaexprs.training.network.model import VAE, Head
from vaexprs.training.network.start import DISPERSION_BOUNDS, group_sums, square

__all__ = ["match_spread"]

Array = NDArray[np.float64]

_ROUNDS = 2
#: Log of the factor of the trial move of inverse dispersions, and the largest correction.
_TRIAL, _LARGEST = -0.5, 0.5
#: Genes in the first bins of like level, growing from there.
_FIRST_BIN, _GROWTH = 50, 1.5
#: Least mean count of a gene that is corrected: of weaker ones the logarithm tells little but
#: whether there was a count, which the likelihood knows better.
_LEAST_MEAN = 1.0
#: Least response of the log variance that is told from noise.
_LEAST_RESPONSE = 0.1


def match_spread(vae: VAE, features: Features, data: ExpressionData, draws: Draws) -> None:
    """Correct the inverse dispersions of a negative binomial decoder in place.

    Parameters
    ----------
    vae
        The model.
    features
        Their transformation is the scale of the comparison.
    data
        The cells that it was trained on.
    draws
        Draws from its prior.
    """
    values = features.transform(data.X)
    real = _variance(values, data.group, draws.spec.conditions.n_cells)
    level = np.asarray(values.mean(axis=0), np.float64).ravel()
    counts = np.asarray(data.X.mean(axis=0), np.float64).ravel()
    told = np.flatnonzero((counts >= _LEAST_MEAN) & (real > 0))
    if not told.size:
        return
    bins = list(_bins(told[np.argsort(-level[told], kind="stable")]))
    head = vae.decoder.heads["log_inverse_dispersion"]
    assert isinstance(head, Head)

    def made(seed: int) -> Array:
        return _variance(
            features.transform(draws.observe(seed)), draws.group, draws.spec.conditions.n_cells
        )

    for seed in range(_ROUNDS):
        now = made(seed)
        with _moved(head, _TRIAL):
            tried = made(seed)
        step = np.zeros(len(level))
        for genes in bins:
            step[genes] = _step(real[genes], now[genes], tried[genes], data.n_cells)
        with torch.no_grad():
            device = head.bias.device
            head.bias.add_(torch.from_numpy(step.astype(np.float32)).to(device))
            head.bias.clamp_(*np.log(DISPERSION_BOUNDS))


def _step(real: Array, now: Array, tried: Array, n_cells: int) -> Array:
    """Return by how much to move the log inverse dispersions of genes of like level."""
    known = (now > 0) & (tried > 0)
    if not known.any():
        return np.zeros(len(real))
    response = float(np.median(np.log(tried[known] / now[known]))) / _TRIAL
    lack = np.where(known, np.log(real / np.where(known, now, 1)), 0)
    together = float(np.median(lack[known]))
    # variances of two samples of long-tailed values: about four squared standard errors of normal
    noise = 8 / n_cells
    spread = max(float(np.mean((lack[known] - together) ** 2)) - noise, 0.0)
    wanted = together + spread / (spread + noise) * (lack - together)
    sure = response**2 / (response**2 + _LEAST_RESPONSE**2)
    step = sure * wanted / min(response, -1e-3)
    return np.asarray(np.clip(np.where(known, step, 0), -_LARGEST, _LARGEST))


def _variance(
    values: NDArray[np.float32], group: NDArray[np.int64], n_cells: NDArray[np.integer[Any]]
) -> Array:
    """Return the variance of each gene within combinations, weighted by their cells."""
    n = np.bincount(group, minlength=len(n_cells))[:, None].astype(np.float64)
    mean = group_sums(values, group, len(n)) / np.maximum(n, 1)
    scatter = group_sums(square(values), group, len(n)) - n * mean**2
    kept = n[:, 0] > 1
    weight = n_cells[kept] - 1.0
    unbiased = scatter[kept] / (n[kept] - 1)
    return np.asarray(weight @ unbiased / max(weight.sum(), 1))


def _bins(genes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut genes, the strongest first, into bins that grow."""
    start, size = 0, float(_FIRST_BIN)
    while start < len(genes):
        yield genes[start : start + int(size)]
        start += int(size)
        size *= _GROWTH


@contextmanager
def _moved(head: Head, by: float) -> Iterator[None]:
    """Move a head within a context."""
    before = head.bias.detach().clone()
    with torch.no_grad():
        head.bias.add_(by)
    try:
        yield
    finally:
        with torch.no_grad():
            head.bias.copy_(before)
