"""Expression data on its way into the model: scaling, batches, the validation split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.spec import COUNT_LIKELIHOODS
from vaexprs.training.inputs.features import Features
from vaexprs.training.network.model import Batch

__all__ = ["Cells", "Scaling", "split_cells"]

_ROWS_PER_STEP = 1024


@dataclass(frozen=True)
class Scaling:
    """Affine scaling of each gene, learned from the training cells alone: ``(n_genes,)`` each.

    The model sees ``(x - shift) / stretch``; genes that are constant in training have stretch 0
    and are seen as 0.
    """

    shift: NDArray[np.float32]
    stretch: NDArray[np.float32]

    @classmethod
    def of(cls, data: ExpressionData, likelihood: str) -> Scaling | None:
        """Find minimum and range (``bernoulli``) or mean and deviation (``gaussian``)."""
        if likelihood not in ("bernoulli", "gaussian"):
            return None
        X: Any = data.X
        if likelihood == "bernoulli":
            dense = isinstance(X, np.ndarray)
            low = X.min(axis=0) if dense else X.min(axis=0).toarray().ravel()
            high = X.max(axis=0) if dense else X.max(axis=0).toarray().ravel()
            return cls(low.astype(np.float32), (high - low).astype(np.float32))
        mean = np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
        square = X.astype(np.float64)
        square = square**2 if isinstance(X, np.ndarray) else square.multiply(square)
        variance = np.asarray(square.mean(axis=0)).ravel() - mean**2
        varies = variance > 1e-10 * np.maximum(mean**2, 1e-10)
        deviation = np.sqrt(np.where(varies, variance, 0))
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale dense values."""
        safe = np.where(self.stretch > 0, self.stretch, 1)
        return np.where(self.stretch > 0, (x - self.shift) / safe, np.float32(0))


class Cells:
    """Cells that a model can be trained on or applied to, made dense batch by batch."""

    def __init__(
        self,
        data: ExpressionData,
        features: Features,
        scaling: Scaling | None,
        likelihood: str,
        device: torch.device,
        inputs: NDArray[np.float32] | None = None,
    ) -> None:
        self.data, self.features, self.scaling = data, features, scaling
        self.likelihood, self.device = likelihood, device
        self.condition = torch.from_numpy(data.one_hot()).to(device)
        library = data.library if likelihood in COUNT_LIKELIHOODS else np.ones(data.n_cells)
        self.log_library = torch.from_numpy(np.log(library).astype(np.float32)[:, None]).to(device)
        self._inputs: Tensor | None = None
        if inputs is not None:  # cross-fitted scores of the training cells
            self._inputs = torch.from_numpy(inputs).to(device)
        elif features.components is not None:  # few numbers per cell: computed once
            steps = range(0, data.n_cells, _ROWS_PER_STEP)
            parts = [features.inputs(data.X[start : start + _ROWS_PER_STEP]) for start in steps]
            self._inputs = torch.from_numpy(np.concatenate(parts)).to(device)

    @property
    def inputs(self) -> NDArray[np.float32]:
        """Scores that the encoder reads, where it reads scores, ``(n_cells, n_inputs)``."""
        assert self._inputs is not None
        return self._inputs.cpu().numpy()

    def __len__(self) -> int:
        return self.data.n_cells

    def batch(self, index: NDArray[np.int64]) -> Batch:
        """Make some cells dense and move them to the device."""
        values = self.data.rows(index)
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
        self, size: int, order: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """Go through the cells, in order unless told otherwise."""
        order = np.arange(len(self)) if order is None else order
        for start in range(0, len(order), size):
            index = order[start : start + size]
            yield index, self.batch(index)


def split_cells(
    group: NDArray[np.int64], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split cells into training and validation, stratified by group.

    Groups give ``share`` of their cells, rounded at random so that small groups, taken together,
    give their part too; a group always keeps at least two thirds of its cells for training.
    """
    validation: list[NDArray[np.int64]] = []
    for g in np.unique(group):
        members = rng.permutation(np.flatnonzero(group == g))
        n = int(np.floor(len(members) * share + rng.random()))
        validation.append(members[: min(n, len(members) // 3)])
    held_out = np.sort(np.concatenate(validation))
    return np.setdiff1d(np.arange(len(group)), held_out), held_out
