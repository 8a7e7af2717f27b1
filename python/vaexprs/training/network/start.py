"""Where the weights start: moments of the data, and the loadings of its principal components.

A few hundred cells carry a fit only a few hundred steps, and what starts far off never arrives:
ribosomal genes want an inverse dispersion of 20 to 100 and chemokines 0.1, rare genes a log mean
of -15. So gene means, dispersions, zero fractions and the linear path start where the data are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from vaexprs.data import ExpressionData
from vaexprs.spec import COUNT_LIKELIHOODS
from vaexprs.training.inputs.batches import Scaling
from vaexprs.training.inputs.cross_fitting import Components
from vaexprs.training.inputs.features import Features
from vaexprs.training.network.model import VAE, Head

__all__ = ["DISPERSION_BOUNDS", "set_ceiling", "set_initial_weights"]

#: Bounds of the inverse dispersion: from wilder than any gene to as good as Poisson.
DISPERSION_BOUNDS = (0.02, 1000.0)
#: Log share of genes that were never seen: less than one count in all cells ever generated.
_NEVER = -30.0
#: Counts of evidence (or cells) at which a gene's loadings are half trusted.
_EVIDENCE = 50.0
#: Largest mean of a gene, in units of its largest value or largest mean of a combination; number
#: of cells that a largest share is the mean of.
_ABOVE_LARGEST, _TOP_CELLS = 2.0, 3

Array = NDArray[np.float64]


def set_initial_weights(
    vae: VAE,
    data: ExpressionData,
    features: Features,
    scaling: Scaling | None,
    components: Components | None,
) -> None:
    """Start biases, dispersions and the linear path of a decoder from the training cells."""
    likelihood = vae.shape.likelihood
    if likelihood in COUNT_LIKELIHOODS:
        start, slope, trust = _counts(data, features)
    elif likelihood == "zigamma":
        start, slope, trust = _zigamma(data, features)
    elif likelihood == "gaussian":
        assert scaling is not None
        start, slope, trust = _gaussian(data, scaling)
    else:
        assert scaling is not None
        start, slope, trust = _bernoulli(data, scaling)
    with torch.no_grad():
        for name, values in start.items():
            if name in vae.decoder.heads:
                _head(vae, name).bias.copy_(torch.from_numpy(np.asarray(values, np.float32)))
        if components is not None:
            # z starts as what the scores tell of their signal, and moves the genes by it
            share = components.signal / components.total
            weight = components.loadings / slope[:, None] * trust[:, None]
            d = min(vae.shape.n_latent, weight.shape[1])
            encoder = vae.encoder
            assert encoder.skip is not None
            encoder.skip.zero_()
            for j in range(d):
                encoder.skip[j, j] = float(np.sqrt(share[j]))
                encoder.log_variance.bias[j] = float(np.log(1 - share[j]))
                _head(vae, "logits").weight["z"][j] = torch.from_numpy(
                    weight[:, j].astype(np.float32)
                ).to(vae.decoder.member.device)


def set_ceiling(vae: VAE, data: ExpressionData) -> None:
    """Bound the mean of each gene where it goes through an exponential function.

    A path that is straight in the logarithm has to fall steeply towards cells without a program,
    and overshoots in those with it; draws from the prior reach further still. So no share of
    counts goes beyond the largest seen, and no other mean beyond a few times the largest value.
    """
    if vae.shape.likelihood in COUNT_LIKELIHOODS:
        largest = _largest_shares(data)
    elif vae.shape.likelihood == "zigamma":
        X = data.X
        seen = X.max(axis=0) if isinstance(X, np.ndarray) else X.max(axis=0).toarray().ravel()
        largest = _ABOVE_LARGEST * np.where(seen > 0, seen, seen.max()).astype(np.float64)
    else:
        return
    vae.decoder.ceiling.copy_(torch.from_numpy(np.log(largest).astype(np.float32)))


def _largest_shares(data: ExpressionData) -> Array:
    """Return the largest shares of each gene in the counts, ``(n_genes,)``.

    The mean of the largest three, since one cell's is noise and nobody else's business, or a few
    times the largest mean of a combination of categories, for programs of very few cells.
    """
    shares = sparse.csr_matrix(data.X, dtype=np.float64, copy=True)
    shares.data /= np.repeat(data.library, np.diff(shares.indptr))
    by_gene = shares.tocsc()
    top = np.zeros(data.n_genes)
    for gene in np.flatnonzero(np.diff(by_gene.indptr)):
        values = by_gene.data[by_gene.indptr[gene] : by_gene.indptr[gene + 1]]
        top[gene] = np.sort(values)[-_TOP_CELLS:].sum() / _TOP_CELLS
    library = np.bincount(data.group, data.library)
    means = (group_sums(data.X, data.group) / np.maximum(library, 1)[:, None]).max(axis=0)
    return np.asarray(np.maximum(np.maximum(top, _ABOVE_LARGEST * means), np.exp(_NEVER)))


def _head(vae: VAE, name: str) -> Head:
    head = vae.decoder.heads[name]
    assert isinstance(head, Head)
    return head


def group_sums(
    X: Any, group: NDArray[np.int64], n_groups: int | None = None, weights: Array | None = None
) -> Array:
    """Sum the rows of each group, weighted, without making a sparse matrix dense."""
    n_groups = int(group.max()) + 1 if n_groups is None else n_groups
    values = np.ones(len(group)) if weights is None else weights
    indicator = sparse.csr_matrix(
        (values, (group, np.arange(len(group)))), shape=(n_groups, len(group))
    )
    total = indicator @ X
    return np.asarray(total if isinstance(total, np.ndarray) else total.toarray(), np.float64)


def square(X: Any) -> Any:
    """Square each value of a dense or sparse matrix, in float64."""
    wide = X.astype(np.float64)
    return wide**2 if isinstance(wide, np.ndarray) else wide.multiply(wide).tocsr()


def _counts(data: ExpressionData, features: Features) -> tuple[dict[str, Array], Array, Array]:
    X, library, group = data.X, data.library, data.group
    total = np.asarray(X.sum(axis=0, dtype=np.float64)).ravel()
    share = total / library.sum()
    log_share = np.where(total > 0, np.log(np.maximum(share, 1e-300)), _NEVER)

    # within groups: sum (x - mu)^2 - sum mu = sum mu^2 / theta, with mu = library * group share
    group_library = np.bincount(group, library)
    by_group = group_sums(X, group)  # (groups, G)
    rate = by_group / group_library[:, None]
    squares = np.asarray(square(X).sum(axis=0)).ravel()
    cross = (rate * group_sums(X, group, weights=library)).sum(0)
    mean_square = (rate**2 * np.bincount(group, library**2)[:, None]).sum(0)
    excess = squares - 2 * cross + mean_square - total
    # one gene of average overdispersion is worth as much as the data of a gene of 3 counts
    ratio = np.maximum(excess, 0) + 0.5 * 3
    theta = np.clip((mean_square + 3) / ratio, *DISPERSION_BOUNDS)

    level = np.asarray(features.transform(X).mean(axis=0), np.float64).ravel()
    slope = np.maximum(1 - np.exp(-level), 1e-6)  # of log1p(counts per 10,000) by log mean
    start = {
        "logits": log_share,
        "log_inverse_dispersion": np.log(theta),
        "zero_logits": np.full(data.n_genes, -3.0),
    }
    return start, slope, total / (total + _EVIDENCE)


def _zigamma(data: ExpressionData, features: Features) -> tuple[dict[str, Array], Array, Array]:
    X, n = data.X, data.n_cells
    positive = (X > 0).astype(np.float64)
    n_positive = np.asarray(positive.sum(axis=0)).ravel()
    total = np.asarray(X.sum(axis=0, dtype=np.float64)).ravel()
    overall = total.sum() / max(n_positive.sum(), 1)
    mean = (total + 0.1 * overall) / (n_positive + 0.1)
    mean = np.where(n_positive > 0, total / np.maximum(n_positive, 1), mean)

    group = data.group
    sums, sizes = group_sums(X, group), group_sums(positive, group)
    mu = np.where(sizes > 0, sums / np.maximum(sizes, 1), 0)
    squares = np.asarray(square(X).sum(axis=0)).ravel()
    within = squares - (sizes * mu**2).sum(0)
    spread = (np.maximum(within, 0) + 1.0 * mean**2) / ((sizes * mu**2).sum(0) + 1.0 * mean**2)
    theta = np.clip(1 / np.maximum(spread, 1e-6), *DISPERSION_BOUNDS)

    n_zero = n - n_positive
    zero_logits = np.log((n_zero + 0.5) / (n_positive + 0.5))
    zero_logits = np.where(n_positive == 0, 15.0, zero_logits)
    zero_logits = np.where(n_zero == 0, np.minimum(zero_logits, -np.log(2 * n + 1)), zero_logits)
    slope = np.ones(data.n_genes) if features.kind == "log1p" else np.maximum(mean, 1e-6)
    start = {
        "logits": np.log(np.maximum(mean, 1e-30)),
        "log_inverse_dispersion": np.log(theta),
        "zero_logits": zero_logits,
    }
    return start, slope, n_positive / (n_positive + 5.0)


def _gaussian(data: ExpressionData, scaling: Scaling) -> tuple[dict[str, Array], Array, Array]:
    ones = np.ones(data.n_genes)
    group = data.group
    sizes = np.bincount(group)
    means = group_sums(data.X, group) / sizes[:, None]
    within = np.asarray(square(data.X).sum(axis=0)).ravel() - (sizes[:, None] * means**2).sum(0)
    variance = np.maximum(within, 0) / np.maximum(data.n_cells - len(sizes), 1)
    stretch = np.where(scaling.stretch > 0, scaling.stretch, 1)
    log_scale = 0.5 * np.log(np.clip(variance / stretch**2, 1e-4, 1.0))
    return {"logits": 0 * ones, "log_scale": log_scale}, ones, ones


def _bernoulli(data: ExpressionData, scaling: Scaling) -> tuple[dict[str, Array], Array, Array]:
    mean = np.asarray(data.X.mean(axis=0, dtype=np.float64)).ravel()
    stretch = np.where(scaling.stretch > 0, scaling.stretch, 1)
    p = np.clip((mean - scaling.shift) / stretch, 1e-3, 1 - 1e-3)
    return {"logits": np.log(p / (1 - p))}, p * (1 - p), np.ones(data.n_genes)
