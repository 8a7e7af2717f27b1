"""What a decoder's weights of the categories start with: the log ratios that the data show.

With several keys, effects are found by backfitting, one key after the other on what is expected
with the others' (Friedman and Stuetzle 1981): a batch of mostly one cell type is not given that
type's genes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from vaexprs.data import ExpressionData
from vaexprs.spec import COUNT_LIKELIHOODS, Likelihood
from vaexprs.training.cells import Scaling
from vaexprs.training.effects import Effects
from vaexprs.training.sums import group_sums

__all__ = ["category_weights"]

Array = NDArray[np.float64]
#: From what is added to each combination, ``(n_groups, n_genes)``, and the combinations of each
#: category, ``(n_categories, n_groups)``, to what each category lacks, ``(n_categories, n_genes)``.
_Lack = Callable[[Array, Array], Array]

_ROUNDS = 3
#: Counts, and cells, of no effect in each category.
_PRIOR_COUNTS, _PRIOR_CELLS = 5.0, 2.0
_TINY = 1e-9


def category_weights(
    data: ExpressionData,
    likelihood: Likelihood,
    scaling: Scaling | None,
    start: dict[str, Array],
    slope: Array,
) -> dict[str, Array]:
    """Find what each category adds to the heads of a decoder.

    Parameters
    ----------
    data
        The training cells.
    likelihood
        Law of the values.
    scaling
        How values are scaled for the model, where they are.
    start
        Where the heads' biases start, ``(n_genes,)`` each.
    slope
        How scaled values follow from the first head, ``(n_genes,)``.

    Returns
    -------
    dict
        By head, ``(n_categories, n_genes)``.
    """
    if likelihood in COUNT_LIKELIHOODS:
        return {"logits": _of_counts(data, start["logits"])}
    if likelihood == "zigamma":
        return _of_positive_values(data, start)
    assert scaling is not None
    added = Effects.of(data.X, data.one_hot().astype(np.float64)).slopes
    stretch = np.where(scaling.stretch > 0, scaling.stretch, np.inf)
    return {"logits": added / stretch / slope}


def _of_counts(data: ExpressionData, log_share: Array) -> Array:
    real = group_sums(data.X, data.group)
    library, share = np.bincount(data.group, data.library), np.exp(log_share)

    def lack(added: Array, members: Array) -> Array:
        expected = members @ (library[:, None] * share * np.exp(added))
        return np.asarray(np.log((members @ real + _PRIOR_COUNTS) / (expected + _PRIOR_COUNTS)))

    return _backfit(data, lack)


def _of_positive_values(data: ExpressionData, start: dict[str, Array]) -> dict[str, Array]:
    n_cells = np.bincount(data.group)[:, None].astype(np.float64)
    n_positive = group_sums((data.X > 0).astype(np.float64), data.group)
    real, mean = group_sums(data.X, data.group), np.exp(start["logits"])
    zeros = 1 / (1 + np.exp(-start["zero_logits"]))

    def lack_of_mean(added: Array, members: Array) -> Array:
        expected = members @ (n_positive * mean * np.exp(added)) + _PRIOR_CELLS * mean
        return np.asarray(np.log((members @ real + _PRIOR_CELLS * mean) / expected))

    def lack_of_zeros(added: Array, members: Array) -> Array:
        expected = members @ (n_cells / (1 + np.exp(-start["zero_logits"] - added)))
        n = members @ n_cells

        def logit(n_zero: Array) -> Array:
            share = (n_zero + _PRIOR_CELLS * zeros + _TINY) / (n + _PRIOR_CELLS + 2 * _TINY)
            return np.asarray(np.log(share / (1 - share)))

        return logit(members @ (n_cells - n_positive)) - logit(expected)

    return {
        "logits": _backfit(data, lack_of_mean),
        "zero_logits": _backfit(data, lack_of_zeros),
    }


def _backfit(data: ExpressionData, lack: _Lack) -> Array:
    """Add up what categories lack, key by key."""
    of_group = np.zeros((int(data.group.max()) + 1, int(data.sizes.sum())))
    of_group[data.group] = data.one_hot()  # categories of each combination
    total = np.zeros((of_group.shape[1], data.n_genes))
    for _ in range(_ROUNDS if len(data.keys) > 1 else 1):
        for block in _blocks(data):
            total[block] += lack(of_group @ total, of_group[:, block].T)
    return total


def _blocks(data: ExpressionData) -> Iterator[slice]:
    """Yield the columns of the categories of each key."""
    stops = np.cumsum(data.sizes)
    for stop, size in zip(stops.tolist(), data.sizes.tolist(), strict=True):
        yield slice(stop - size, stop)
