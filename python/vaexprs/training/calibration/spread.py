"""Match the variance of each gene's log counts to that of the training cells.

Dispersions are fitted to counts by likelihood, and a negative binomial law is an approximation:
cells of low quality scatter more, which shows in the logarithms and hardly in the counts. So cells
are simulated twice, with dispersions as they are and with all of them moved. The response gives
the correction that makes the variance within combinations of log1p of counts per 10,000 that of
the training cells. Genes of like level share a correction; a single gene departs from it by
empirical Bayes.
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
from vaexprs.training.inputs.moments import group_sums, square
from vaexprs.training.likelihoods.base import DISPERSION_BOUNDS
from vaexprs.training.network.model import Head

Array = NDArray[np.float64]

#: Corrections one after the other, each with fresh draws: the second one mends what the first left
#: of a response that is not linear.
_ROUNDS = 2
#: Log of the factor of the trial move of inverse dispersions, and of the largest correction.
_TRIAL, _LARGEST = -0.5, 0.5
#: Genes of the strongest bin, and growth from bin to bin: weak genes are many and alike.
_FIRST_BIN, _GROWTH = 50, 1.5
#: Least mean count of a gene to correct: the logarithm of weaker ones is 0 or not, which the
#: likelihood covers.
_LEAST_MEAN = 1.0
#: Response of the log variance that is half believed.
_LEAST_RESPONSE = 0.1


def match_spread(features: Features, data: ExpressionData, draws: Draws) -> None:
    """Correct the inverse dispersions of a negative binomial decoder in place."""
    n_cells = draws.spec.conditions.n_cells
    values = features.transform(data.X)
    real = _variance(values, data.group, n_cells)
    level = np.asarray(values.mean(axis=0), np.float64).ravel()
    counts = np.asarray(data.X.mean(axis=0), np.float64).ravel()
    strong = np.flatnonzero((counts >= _LEAST_MEAN) & (real > 0))
    if not strong.size:
        return
    bins = list(_bins(strong[np.argsort(-level[strong], kind="stable")]))
    head = draws.decoder.head("log_inverse_dispersion")

    def made(seed: int) -> Array:
        return _variance(features.transform(draws.observe(seed)), draws.group, n_cells)

    now = made(0)
    with _moved(head, _TRIAL):
        tried = made(0)
    responses = [_response(now[genes], tried[genes]) for genes in bins]
    for seed in range(_ROUNDS):
        now = made(seed) if seed else now
        step = np.zeros(len(level))
        for genes, response in zip(bins, responses, strict=True):
            step[genes] = _step(real[genes], now[genes], response, data.n_cells)
        with torch.no_grad():
            head.bias.add_(torch.from_numpy(step.astype(np.float32)).to(head.bias.device))
            head.bias.clamp_(*np.log(DISPERSION_BOUNDS))


def _response(now: Array, tried: Array) -> float:
    """Return the change of log variances by a change of log inverse dispersions."""
    known = (now > 0) & (tried > 0)
    if not known.any():
        return 0.0
    return float(np.median(np.log(tried[known] / now[known]))) / _TRIAL


def _step(real: Array, now: Array, response: float, n_cells: int) -> Array:
    """Return the corrections of the log inverse dispersions of genes of like level."""
    known = now > 0
    if not known.any():
        return np.zeros(len(real))
    lack = np.where(known, np.log(real / np.where(known, now, 1)), 0)
    common = float(np.median(lack[known]))
    # two log variances of n values: 2 / n each if normal, about twice that with long tails
    noise = 8 / n_cells
    spread = max(float(np.mean((lack[known] - common) ** 2)) - noise, 0.0)
    wanted = common + spread / (spread + noise) * (lack - common)
    trust = response**2 / (response**2 + _LEAST_RESPONSE**2)
    step = trust * wanted / min(response, -1e-3)
    return np.clip(np.where(known, step, 0), -_LARGEST, _LARGEST)


def _variance(values: Any, group: NDArray[np.int64], n_cells: NDArray[np.integer[Any]]) -> Array:
    """Return the variance of each gene within combinations, weighted by their cells."""
    n = np.bincount(group, minlength=len(n_cells))[:, None].astype(np.float64)
    mean = group_sums(values, group, len(n)) / np.maximum(n, 1)
    scatter = group_sums(square(values), group, len(n)) - n * mean**2
    kept = n[:, 0] > 1
    weight = n_cells[kept] - 1.0
    return weight @ (scatter[kept] / (n[kept] - 1)) / max(weight.sum(), 1)


def _bins(genes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut genes, the strongest first, into bins that grow."""
    start, size = 0, float(_FIRST_BIN)
    while start < len(genes):
        yield genes[start : start + int(size)]
        start += int(size)
        size *= _GROWTH


@contextmanager
def _moved(head: Head, by: float) -> Iterator[None]:
    """Move the bias of a head within a context."""
    before = head.bias.detach().clone()
    with torch.no_grad():
        head.bias.add_(by)
    try:
        yield
    finally:
        with torch.no_grad():
            head.bias.copy_(before)
