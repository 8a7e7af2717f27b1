"""The base class of laws of counts, whose mean is a share of the library size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.data.matrices.chunked import by_chunk
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import Grouping, add_to_groups, gene_wise
from vaexprs.training.calibration.shrinkage import MANY_CELLS, limited, shrinkage
from vaexprs.training.inputs.features import FeatureKind, Features
from vaexprs.training.inputs.moments import group_sums, largest_values, square
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.base import DISPERSION_BOUNDS, Array, Start, TrainingLaw
from vaexprs.training.likelihoods.shares import Shares

#: Log share of genes that were never seen: one count in 1e13.
_NEVER = -30.0
#: Counts at which the loadings of a gene are half trusted.
_EVIDENCE = 50.0
#: A share may reach twice the largest mean of a combination, or the mean of the largest three: one
#: cell's share is mostly noise, and to publish it would leak that cell.
_ABOVE_LARGEST, _TOP_CELLS = 2.0, 3
#: Counts of the pseudo-gene, of average overdispersion, that shrinks the starting dispersions.
_PSEUDO_COUNTS = 3
#: Starting logit of extra zeros: 5 %, few enough that counts decide.
_FEW_ZEROS = -3.0
#: Genes are pooled by expression into at most 20 levels of at least 50 genes. The variance of a
#: level's log ratio of real to simulated counts: about 20 % either way.
_LEVELS, _GENES_OF_LEVEL, _LEVEL_VARIANCE = 20, 50, 0.05
#: Inverse dispersion of a law without one: that of Poisson's, nearly.
_POISSON_LIKE = 1e3
_TINY = 1e-12


class CountLaw(TrainingLaw):
    """Counts with mean ``library * softmax(logits)``; a subclass gives `log_prob_of_mean`."""

    def log_prob(self, x: Tensor, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        """Return the log-probability of each cell."""
        return self.log_prob_of_mean(x, self.log_mean(heads, log_library), heads)

    def log_mean(self, heads: Mapping[str, Tensor], log_library: Tensor) -> Tensor:
        """Return the log of the share of the library size."""
        return torch.log_softmax(heads["logits"], -1) + log_library

    @abstractmethod
    def log_prob_of_mean(self, x: Tensor, log_mean: Tensor, heads: Mapping[str, Tensor]) -> Tensor:
        """Return the log-probability of counts with a log mean, summed over genes."""

    def feature_kind(self, data: ExpressionData) -> FeatureKind:
        """Return log1p of counts per 10,000."""
        return "log_normalised"

    def start(self, data: ExpressionData, features: Features, scaling: Scaling | None) -> Start:
        """Return shares of all counts, and inverse dispersions by moments within combinations."""
        X, library, group = data.X, data.library, data.group
        total = np.asarray(X.sum(axis=0, dtype=np.float64)).ravel()
        share = total / library.sum()
        log_share = np.where(total > 0, np.log(np.maximum(share, 1e-300)), _NEVER)

        # within groups: sum (x - mu)^2 - sum mu = sum mu^2 / theta, with mu = library * group share
        rate = group_sums(X, group) / np.bincount(group, library)[:, None]  # (groups, G)
        squares = np.asarray(square(X).sum(axis=0)).ravel()
        cross = (rate * group_sums(X, group, weights=library)).sum(0)
        mean_square = (rate**2 * np.bincount(group, library**2)[:, None]).sum(0)
        excess = squares - 2 * cross + mean_square - total
        ratio = np.maximum(excess, 0) + 0.5 * _PSEUDO_COUNTS
        theta = np.clip((mean_square + _PSEUDO_COUNTS) / ratio, *DISPERSION_BOUNDS)

        level = np.asarray(features.transform(X).mean(axis=0), np.float64).ravel()
        slope = np.maximum(1 - np.exp(-level), 1e-6)  # of log1p(counts per 10,000) by log mean
        heads = {
            "logits": log_share,
            "log_inverse_dispersion": np.log(theta),
            "zero_logits": np.full(data.n_genes, _FEW_ZEROS),
        }
        return Start(heads, slope, total / (total + _EVIDENCE))

    def ceiling(self, data: ExpressionData) -> Array:
        """Return the largest share of each gene.

        A path that is linear in the logarithm overshoots in cells with a program if it has to
        fall steeply towards cells without.
        """
        top = largest_values(by_chunk(_shares, data.X), _TOP_CELLS).sum(axis=0) / _TOP_CELLS
        library = np.bincount(data.group, data.library)
        means = (group_sums(data.X, data.group) / np.maximum(library, 1)[:, None]).max(axis=0)
        return np.maximum(np.maximum(top, _ABOVE_LARGEST * means), np.exp(_NEVER))

    def correct_means(
        self, data: ExpressionData, draws: Draws, groupings: Sequence[Grouping]
    ) -> None:
        """Correct each gene's share in each group, shrunk towards genes of like level."""
        theta: Any = _POISSON_LIKE
        if "log_inverse_dispersion" in draws.decoder.heads:
            theta = np.exp(gene_wise(draws.decoder, "log_inverse_dispersion"))
        # Given layers learn means less well than the linear path: their errors are to be corrected.
        n_cells = data.n_cells if draws.decoder.shape.linear_path else MANY_CELLS
        finest = groupings[-1]
        shares = Shares.of(draws, finest) if finest.block == "membership" else None
        for grouping in groupings:
            made = Shares.of(draws, grouping) if shares is None else shares.over(grouping)
            step = _step(data, grouping, made, theta, n_cells)
            add_to_groups(draws.decoder, "logits", grouping, step)
            if shares is not None and grouping is not finest:
                shares = shares.moved(grouping, step)


def _step(
    data: ExpressionData, grouping: Grouping, made: Shares, theta: Any, n_cells: int
) -> Array:
    """Return a correction of the logits of each group, ``(n_groups, n_genes)``."""
    library = np.bincount(grouping.cells, data.library, minlength=grouping.n_groups)
    expected = made.by_library * library[:, None]
    real = group_sums(data.X, grouping.cells, grouping.n_groups)
    scatter = (1 / theta + made.variation) / grouping.n_cells
    common = _level_ratio(real, expected, scatter)
    expected = expected * np.exp(common)
    ratio = np.log((real + 0.5) / (expected + 0.5))
    step = common + ratio * shrinkage(ratio, 1 / (expected + 0.5) + scatter, n_cells)
    return np.where(real.sum(0) > 0, limited(step), 0)


def _shares(X: Any) -> Any:
    """Return each value as a share of its cell's total, CSR."""
    shares = sparse.csr_matrix(X, dtype=np.float64, copy=True)
    total = np.asarray(shares.sum(axis=1)).ravel()
    shares.data /= np.repeat(total, np.diff(shares.indptr))
    return shares


def add_up(terms: Tensor, row: Tensor, x: Tensor) -> Tensor:
    """Sum float64 terms by their row of `x`, in the type of `x`, ``(n_cells,)``."""
    out = terms.new_zeros(len(x)).index_add(0, row.to(terms.device), terms)
    return out.to(dtype=x.dtype).to(x.device)


def _level_ratio(real: Array, expected: Array, scatter: Array) -> Array:
    """Return the log ratio of real to expected counts that genes of like level share.

    A weak gene of few cells says nothing by itself, but a thousand of them may all be a tenth too
    low. Each gene is shrunk towards this ratio.
    """
    level = np.log(np.maximum(real.sum(0), 0.5))
    order = np.argsort(level, kind="stable")
    parts: list[NDArray[Any]] = np.array_split(
        order, max(1, min(_LEVELS, len(order) // _GENES_OF_LEVEL))
    )
    centres, found = [], []
    for genes in parts:
        observed, wanted = real[:, genes].sum(1), expected[:, genes].sum(1)
        noise = 1 / (wanted + 1) + (expected[:, genes] ** 2 * scatter[:, genes]).sum(1) / (
            wanted**2 + _TINY
        )
        trust = _LEVEL_VARIANCE / (_LEVEL_VARIANCE + noise)
        centres.append(level[genes].mean())
        found.append(trust * np.log((observed + 1) / (wanted + 1)))
    at = np.stack(found, 1)  # (n_groups, n_levels)
    return np.stack([np.interp(level, centres, row) for row in at])
