"""`GeneratedCells`: workers and ranks share out one stream."""

from __future__ import annotations

import threading
from itertools import islice

import numpy as np
import pytest

from vaexprs import ArgumentError, ConditionError, Generator

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def generator(tiny_artifact):
    return Generator(tiny_artifact(), n_threads=1)


def test_batches_are_those_of_the_stream(generator):
    from vaexprs.training import GeneratedCells

    for (x, codes), batch in zip(GeneratedCells(generator, 64), generator.stream(64), strict=False):
        assert x.dtype == torch.float32
        assert codes.dtype == torch.int64
        assert np.array_equal(x.numpy(), batch.X.toarray())
        assert np.array_equal(codes.numpy(), batch.codes)
        if batch.obs.index[0] >= 640:
            break


def test_what_is_no_generator_is_refused():
    from vaexprs.training import GeneratedCells

    with pytest.raises(ArgumentError, match=r"got str: pass Generator\(\.\.\.\)"):
        GeneratedCells("pbmc_ifnb")


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_no_two_workers_make_the_same_cell(generator, start):
    from vaexprs.training import GeneratedCells

    next(generator.blocks(n_cells=1))  # the parent's session is in use
    cells = GeneratedCells(generator, 4096, seed=2)
    loader = torch.utils.data.DataLoader(
        cells, batch_size=None, num_workers=2, multiprocessing_context=start
    )
    found = [x.numpy() for x, _ in islice(loader, 4)]
    whole = [batch.X.toarray() for batch in islice(generator.stream(4096, seed=2), 4)]
    for batch in whole:
        assert sum(np.array_equal(batch, x) for x in found) == 1


def test_workers_end_amid_a_batch(generator, capfd):
    from vaexprs.training import GeneratedCells

    cells = GeneratedCells(generator, 100_000)  # long to copy
    loader = torch.utils.data.DataLoader(
        cells, batch_size=None, num_workers=2, multiprocessing_context="spawn"
    )
    for _ in range(2):
        next(iter(loader))
    assert "terminate" not in capfd.readouterr().err


def _copy_for_ever():
    while True:
        torch.zeros(1 << 16).share_memory_()


def _start_copying(worker):
    threading.Thread(target=_copy_for_ever, daemon=True).start()


def test_a_worker_ends_while_a_thread_is_in_the_library(generator, capfd):
    from vaexprs.training import GeneratedCells

    loader = torch.utils.data.DataLoader(
        GeneratedCells(generator, 64),
        batch_size=None,
        num_workers=1,
        multiprocessing_context="spawn",
        worker_init_fn=_start_copying,
    )
    next(iter(loader))
    assert "terminate" not in capfd.readouterr().err


def test_ranks_share_out_the_stream(generator, monkeypatch):
    from vaexprs.training import GeneratedCells, stream

    whole = [batch.X.toarray() for batch in islice(generator.stream(4096), 3)]
    monkeypatch.setattr(stream.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(stream.distributed, "get_world_size", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(stream.distributed, "get_rank", lambda rank=rank: rank)
        x, _ = next(iter(GeneratedCells(generator, 4096)))
        assert np.array_equal(x.numpy(), whole[rank])


def test_a_wrong_request_is_answered_at_once(generator):
    from vaexprs.training import GeneratedCells

    with pytest.raises(ConditionError):
        GeneratedCells(generator, conditions={"no such key": "x"})
