"""How a range of cells is cut among workers: nothing is lost, and nobody is waited for."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vaexprs.generation.blocks import pieces

_SIZES = st.integers(1, 40)


@given(st.integers(0, 2**40), st.integers(0, 3000), _SIZES, _SIZES, _SIZES)
def test_pieces_are_the_blocks_of_the_range_in_order(
    start: int, n_cells: int, block_size: int, n_workers: int, n_at_most: int
) -> None:
    stop = start + n_cells
    found = list(pieces(start, stop, block_size, n_workers, n_at_most))
    blocks = list(itertools.chain.from_iterable(found))
    starts = range(start, stop, block_size)
    assert blocks == [(at, min(at + block_size, stop)) for at in starts]
    assert all(1 <= len(piece) <= n_at_most for piece in found)


@given(st.integers(1, 3000), _SIZES, _SIZES)
def test_no_worker_takes_more_than_half_of_its_share_of_what_is_left(
    n_blocks: int, n_workers: int, n_at_most: int
) -> None:
    left = n_blocks
    for piece in pieces(0, n_blocks, 1, n_workers, n_at_most):
        assert len(piece) == 1 or len(piece) * 2 * n_workers <= left
        left -= len(piece)
    assert left == 0


def test_pieces_are_as_large_as_they_may_be_while_much_is_left() -> None:
    sizes = [len(piece) for piece in pieces(0, 40, 1, 2, 8)]
    assert sizes == [8, 8, 6, 4, 3, 2, 2] + 7 * [1]
