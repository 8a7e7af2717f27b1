"""Partitions of cells, and corrections of a head for each group.

Draws are compared with cells group by group: by the categories of each key, then by combinations
of categories, or all together. Each partition has a block of features with one column a group,
so that a head can be corrected for one group alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.network.model import Decoder

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Grouping:
    """A partition of cells and draws, with its block of features."""

    cells: NDArray[np.int64]  # group of each cell
    draws: NDArray[np.int64]  # group of each combination
    weight: Array  # number of cells that a draw of each combination stands for
    block: str | None  # name of the block, or None for the bias
    rows: NDArray[np.int64]  # row of each group in the block; -1: measured, not corrected

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.rows)

    @property
    def n_cells(self) -> NDArray[np.int64]:
        """Cells of each group, ``(n_groups, 1)``."""
        return np.bincount(self.cells, minlength=self.n_groups)[:, None]

    @torch.no_grad()
    def moments(
        self,
        draws: Draws,
        names: tuple[str, ...],
        values: Callable[[dict[str, Tensor], Tensor], list[Tensor]],
    ) -> list[Array]:
        """Return averages of functions of some heads over each group's draws.

        `values` takes heads and library sizes ``(n, 1)`` and returns tensors ``(n, width)``; their
        averages are ``(n_groups, width)``.
        """
        out: list[Array] = []
        total = np.zeros(self.n_groups)
        for rows, heads, library in draws.heads(names):
            size = torch.from_numpy(library).to(heads[names[0]].device)[:, None]
            found = [value.cpu().numpy() for value in values(heads, size)]
            if not out:
                out = [np.zeros((self.n_groups, value.shape[1])) for value in found]
            # draws are sorted: those of one combination lie side by side
            present, starts = np.unique(draws.group[rows], return_index=True)
            for combination, start, stop in zip(
                present, starts, [*starts[1:], len(library)], strict=True
            ):
                group, weight = self.draws[combination], self.weight[combination]
                for sums, value in zip(out, found, strict=True):
                    sums[group] += weight * value[start:stop].sum(axis=0, dtype=np.float64)
                total[group] += weight * (stop - start)
        return [value / total[:, None] for value in out]


def partitions(data: ExpressionData, draws: Draws) -> list[Grouping]:
    """Return the partitions to correct, from the coarsest to the finest."""
    conditions, shape = draws.spec.conditions, draws.decoder.shape
    weight = conditions.n_cells / np.bincount(draws.group, minlength=draws.n_groups)
    if not conditions.keys or shape.embedding:
        nothing = np.zeros(data.n_cells, np.int64)
        one = np.zeros(draws.n_groups, np.int64)
        return [Grouping(nothing, one, weight, None, np.zeros(1, np.int64))]
    found = [
        Grouping(
            data.codes[:, key].astype(np.int64),
            conditions.combinations[:, key].astype(np.int64),
            weight,
            "condition",
            start + np.arange(size),
        )
        for key, (start, size) in enumerate(zip(conditions.starts, conditions.sizes, strict=True))
    ]
    if shape.n_combinations:
        found.append(combinations(data, draws, weight))
    return found


def combinations(data: ExpressionData, draws: Draws, weight: Array) -> Grouping:
    """Return the finest partition. Its block has rows for combinations with enough cells."""
    conditions = draws.spec.conditions
    member = draws.decoder.member.cpu().numpy().T  # (m, C)
    place = {tuple(np.flatnonzero(row)): i for i, row in enumerate(member)}
    columns = conditions.combinations + conditions.starts
    row = np.array([place.get(tuple(own), -1) for own in columns])
    return Grouping(data.group, np.arange(len(row)), weight, "membership", row)


def add_to_groups(decoder: Decoder, name: str, grouping: Grouping, correction: Array) -> None:
    """Add a correction of each group, ``(n_groups, n_genes)``, to a head."""
    head = decoder.head(name)
    values = torch.from_numpy(correction.astype(np.float32)).to(head.bias.device)
    with torch.no_grad():
        if grouping.block is None:
            head.bias.add_(values[0])
            return
        n_rows = decoder.shape.n_conditions
        if grouping.block == "membership":
            n_rows = decoder.shape.n_combinations
        if grouping.block not in head.weight:
            head.add_block(grouping.block, torch.zeros(n_rows, values.shape[1]).to(values))
        kept = np.flatnonzero(grouping.rows >= 0)
        head.weight[grouping.block][grouping.rows[kept]] += values[kept]


def gene_wise(decoder: Decoder, name: str) -> Array:
    """Return the bias of a head, ``(n_genes,)``."""
    return decoder.head(name).bias.detach().cpu().double().numpy()


def set_gene_wise(decoder: Decoder, name: str, values: Array) -> None:
    """Set the bias of a head, ``(n_genes,)``, and its weights to zero."""
    head = decoder.head(name)
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(values.astype(np.float32)))
        for weight in head.weight.values():
            weight.zero_()
