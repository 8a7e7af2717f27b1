"""Cells as batches of tensors, and the validation split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.data.expression import as_dense
from vaexprs.data.matrices.chunked import Chunked
from vaexprs.latent.hidden_groups import HIDDEN
from vaexprs.training.inputs.features import Features
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.network.model import VAE, Batch

#: Cells that are encoded or transformed together, to bound memory.
ROWS_PER_STEP = 512


class Cells:
    """Cells that a model is trained on or applied to, made dense batch by batch.

    `scores` are cross-fitted scores of training cells, in place of their own.
    """

    def __init__(
        self,
        data: ExpressionData,
        features: Features,
        scaling: Scaling | None,
        reads_library: bool,
        device: torch.device,
        scores: NDArray[np.float32] | None = None,
    ) -> None:
        self.data, self.features, self.scaling, self.device = data, features, scaling, device
        self.reads_library = reads_library
        library = data.library if reads_library else np.ones(data.n_cells)
        self.log_library = torch.from_numpy(np.log(library).astype(np.float32)[:, None]).to(device)
        if scores is None:  # few numbers a cell: kept
            parts = [features.scores(rows) for _, rows in data.blocks(ROWS_PER_STEP)]
            scores = np.concatenate(parts)
        self.scores = scores
        self._inputs = None if features.reads_genes else torch.from_numpy(scores).to(device)
        one_hot = data.one_hot()
        #: Hidden group of each cell, where the model has some and the data do not name them.
        self.hidden = None
        if features.n_groups and HIDDEN not in data.conditions.names:
            self.hidden = features.groups(scores, data.conditions.flat(data.codes))
            groups = np.eye(features.n_groups, dtype=np.float32)[self.hidden]
            one_hot = np.concatenate([one_hot, groups], axis=1)
        self.condition = torch.from_numpy(one_hot).to(device)

    def __len__(self) -> int:
        return self.data.n_cells

    def shuffled(self, size: int, generator: torch.Generator) -> NDArray[np.int64]:
        """Return a random order for batches of `size` cells."""

        def permutation(n: int) -> NDArray[np.int64]:
            return torch.randperm(n, generator=generator).numpy()

        X = self.data.X
        if isinstance(X, Chunked):
            return X.shuffled(permutation, _read_together(X, size))
        return permutation(len(self))

    def batch(self, index: NDArray[np.int64], rows: Any) -> Batch:
        """Return some cells with their values, dense, on the device."""
        values = as_dense(rows)
        x = values if self.scaling is None else self.scaling.apply(values)
        where = torch.from_numpy(index).to(self.device)
        inputs = (
            torch.from_numpy(self.features.inputs(values)).to(self.device)
            if self._inputs is None
            else self._inputs[where]
        )
        return Batch(
            torch.from_numpy(np.asarray(x, np.float32)).to(self.device),
            inputs,
            self.condition[where],
            self.log_library[where],
        )

    def batches(
        self, size: int = ROWS_PER_STEP, order: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """Yield indices and batches of all cells, in a given order or their own."""
        if order is None:
            for start, rows in self.data.blocks(size):
                index = np.arange(start, start + rows.shape[0])
                yield index, self.batch(index, rows)
            return
        X = self.data.X
        step = _read_together(X, size) if isinstance(X, Chunked) else max(len(order), 1)
        for first in range(0, len(order), step):
            some = order[first : first + step]
            held, places = X, some
            if isinstance(X, Chunked):  # read in rising order, once for many batches
                rising = np.sort(some)
                held, places = X[rising], np.searchsorted(rising, some)
            for start in range(0, len(some), size):
                part = slice(start, start + size)
                yield some[part], self.batch(some[part], held[places[part]])


def _read_together(X: Chunked, size: int) -> int:
    """Return how many cells are read together for batches of `size` cells."""
    return max(1, X.chunk // size) * size


@torch.no_grad()
def posterior(vae: VAE, cells: Cells) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and log-variance of each cell's posterior, ``(n_cells, n_latent)`` each."""
    vae.eval()
    parts: list[tuple[Tensor, Tensor]] = [vae.encoder(batch) for _, batch in cells.batches()]
    mean, log_variance = (torch.cat(both).cpu().numpy() for both in zip(*parts, strict=True))
    return mean, log_variance


def split_cells(
    group: NDArray[np.int64], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return indices of training and of validation cells, stratified by group.

    Each group gives a share of its cells, rounded at random so that small groups give theirs on
    average, and at most a third.
    """
    validation: list[NDArray[np.int64]] = []
    for g in np.unique(group):
        members = rng.permutation(np.flatnonzero(group == g))
        n = int(np.floor(len(members) * share + rng.random()))
        validation.append(members[: min(n, len(members) // 3)])
    held_out = np.sort(np.concatenate(validation))
    return np.setdiff1d(np.arange(len(group)), held_out), held_out
