"""Generated cells as a data set of torch, shared out among workers and ranks."""

from __future__ import annotations

import atexit
import os
import pickle
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, distributed
from torch.utils.data import IterableDataset, get_worker_info

from vaexprs.errors import ArgumentError


class _Streams(Protocol):
    def stream(self, batch_size: int, **options: Any) -> Iterator[tuple[Any, Any, Any]]: ...


class GeneratedCells(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless batches ``(X, codes)`` of generated cells.

    ``X (batch_size, n_genes)`` is dense float32; ``codes (batch_size, n_keys)`` int64 are the
    categories of the condition keys. Every worker of every rank takes its own share: no two make
    the same cell, and all together make the stream of one.

    Parameters
    ----------
    generator
        An open `vaexprs.Generator`; each worker process opens it once for itself.
    batch_size, options
        As in `vaexprs.Generator.stream`, but for ``dense`` and ``shard``.

    Raises
    ------
    ArgumentError
        If `generator` is no open generator.

    Examples
    --------
    >>> cells = GeneratedCells(Generator("model.onnx", n_threads=1), 256)  # doctest: +SKIP
    >>> loader = DataLoader(cells, batch_size=None, num_workers=2)  # doctest: +SKIP
    """

    def __init__(self, generator: _Streams, batch_size: int = 256, **options: Any) -> None:
        if not hasattr(generator, "stream"):
            raise ArgumentError(
                f"generator must be an open vaexprs.Generator, got {type(generator).__name__}: "
                "pass Generator(...) of it."
            )
        generator.stream(batch_size, **options)  # a wrong request is answered here
        self._generator, self._batch_size, self._options = generator, batch_size, options
        self._home = os.getpid()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of this worker of this rank."""
        generator = self._generator
        if os.getpid() != self._home:  # sessions of the runtime do not outlive a fork
            generator = pickle.loads(pickle.dumps(generator))
        worker = get_worker_info()
        own, n = (0, 1) if worker is None else (worker.id, worker.num_workers)
        if worker is not None:
            # A worker ends without Python's finalization, as a forked one always does. There, a
            # thread that sends a batch and waits for the interpreter would abort the process.
            atexit.register(os._exit, 0)
        if distributed.is_available() and distributed.is_initialized():
            own, n = own + n * distributed.get_rank(), n * distributed.get_world_size()
        share = {"dense": True, "shard": (own + 1, n)}
        for x, codes, _ in generator.stream(self._batch_size, **self._options, **share):
            yield torch.from_numpy(x), torch.from_numpy(codes).long()
