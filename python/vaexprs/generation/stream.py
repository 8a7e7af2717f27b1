"""Endless batches of cells: cut from blocks, shared out among workers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ArgumentError
from vaexprs.generation.blocks import Block
from vaexprs.generation.obs import obs_frame
from vaexprs.generation.observation import CSR
from vaexprs.spec import GeneratorSpec

if TYPE_CHECKING:
    from pandas import DataFrame
    from scipy.sparse import csr_matrix

#: Cells that one share makes in a row: some tiles of the decoder, the same on every machine.
_STRETCH = 4096


class Batch(NamedTuple):
    """Some generated cells.

    Attributes
    ----------
    X
        Values, ``(n_cells, n_genes)``, float32: CSR, or a dense array where that was asked for.
    codes
        Category codes of the condition keys, ``(n_cells, n_keys)``, int32.
    obs
        The columns that `vaexprs.gen_exprs` gives, with the global index of each cell.
    """

    X: csr_matrix | NDArray[np.float32]
    codes: NDArray[np.int32]
    obs: DataFrame


def batches(
    spec: GeneratorSpec,
    blocks: Callable[[int, int], Iterator[Block]],
    batch_size: int,
    share: tuple[int, int],
    last_cell: int,
    dense: bool,
) -> Iterator[Batch]:
    """Yield the batches of one share of an endless run.

    `blocks` makes the cells ``first`` to ``last``. The run is cut into stretches of whole batches;
    share k of n takes the stretches k, k + n, k + 2 n, and so on.
    """
    own, n_shares = share
    stretch = batch_size * max(1, _STRETCH // batch_size)
    if n_shares == 1:  # one stretch without end: the workers of the generator never pause
        stretch = last_cell // batch_size * batch_size
    for first in count(own * stretch, n_shares * stretch):
        if first + stretch > last_cell:
            return
        held: list[Block] = []
        start = first
        for block in blocks(first, first + stretch):
            end = block.first_cell + block.n_cells
            at = block.first_cell
            while at < end:
                stop = min(start + batch_size, end)
                held.append(block.part(at, stop))
                at = stop
                if stop == start + batch_size:
                    yield _batch(spec, Block.joined(held), dense)
                    held, start = [], stop


def _batch(spec: GeneratorSpec, block: Block, dense: bool) -> Batch:
    x: Any = block.X
    if isinstance(x, CSR):
        x = x.to_dense() if dense else x.to_scipy()
    names = np.arange(block.first_cell, block.first_cell + block.n_cells)
    return Batch(x, block.codes, obs_frame(spec, [block], names))


def share_of(shard: Any) -> tuple[int, int]:
    """Return which share of how many, counted from 0, after a check of ``(k, n)`` from 1."""
    try:
        k, n = map(operator.index, shard)
    except (TypeError, ValueError):
        k, n = 0, 0
    if not 1 <= k <= n:
        raise ArgumentError(
            f"shard must be (k, n) with 1 <= k <= n, such as (3, 16), not {shard!r}."
        )
    return k - 1, n
