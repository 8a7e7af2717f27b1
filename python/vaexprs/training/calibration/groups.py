"""Partitions of cells and of draws, and the blocks of weights that tell their groups apart.

What draws show is compared with what cells show group by group: all together, by the categories of
each key, by combinations of categories. Each partition knows the block of features through which
a head can be corrected for one group and no other.
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
from vaexprs.training.network.model import VAE, Head

__all__ = ["Grouping", "bias", "combinations", "correct", "correct_to", "partitions"]

Array = NDArray[np.float64]


@dataclass
class Grouping:
    """A partition of cells and draws, and the block of weights that tells its groups apart.

    Groups without a row in the block are measured with the others but not corrected.
    """

    cells: NDArray[np.int64]  # group of each cell
    draws: NDArray[np.int64]  # group of each combination
    weight: Array  # how many cells each draw of a combination stands for
    block: str | None  # None: the bias
    rows: NDArray[np.int64]  # row of each group in the block, or -1

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.rows)

    def moments(
        self,
        draws: Draws,
        names: tuple[str, ...],
        values: Callable[[dict[str, Tensor], Tensor], list[Tensor]],
    ) -> list[Array]:
        """Average functions of some heads over each group's draws, ``(n_groups, G)`` each."""
        out: list[Array] = []
        total = np.zeros(self.n_groups)
        for rows, heads, library in draws.heads(names):
            size = torch.from_numpy(library).to(heads[names[0]].device)[:, None]
            found = values(heads, size)
            if not out:
                out = [np.zeros((self.n_groups, value.shape[1])) for value in found]
            # draws are sorted: those of one combination lie side by side
            present, starts = np.unique(draws.group[rows], return_index=True)
            for combination, start, stop in zip(
                present, starts, [*starts[1:], len(library)], strict=True
            ):
                group, weight = self.draws[combination], self.weight[combination]
                for sums, value in zip(out, found, strict=True):
                    part = value[start:stop].sum(0, dtype=torch.float64)
                    sums[group] += weight * part.cpu().numpy()
                total[group] += weight * (stop - start)
        return [value / total[:, None] for value in out]


def partitions(vae: VAE, data: ExpressionData, draws: Draws) -> list[Grouping]:
    """List the partitions to correct, from the coarsest to the finest."""
    conditions = draws.spec.conditions
    # a draw stands for as many cells as its combination has, divided by its draws
    weight = conditions.n_cells / np.bincount(draws.group, minlength=draws.n_groups)
    if not conditions.keys or vae.shape.embedding:
        nothing = np.zeros(data.n_cells, np.int64)
        one = np.zeros(draws.n_groups, np.int64)
        return [Grouping(nothing, one, weight, None, np.zeros(1, np.int64))]
    found = []
    start = 0
    for key, size in enumerate(conditions.sizes):
        rows = start + np.arange(size)
        codes = data.codes[:, key].astype(np.int64)
        found.append(
            Grouping(
                codes, conditions.combinations[:, key].astype(np.int64), weight, "condition", rows
            )
        )
        start += int(size)
    if vae.shape.n_combinations:
        found.append(combinations(vae, data, draws, weight))
    return found


def combinations(vae: VAE, data: ExpressionData, draws: Draws, weight: Array) -> Grouping:
    """Return the finest partition; the block has rows for the combinations with cells enough."""
    conditions = draws.spec.conditions
    member = vae.decoder.member.cpu().numpy().T  # (m, C)
    place = {tuple(np.flatnonzero(row)): i for i, row in enumerate(member)}
    row = np.array([place.get(tuple(c + conditions.starts), -1) for c in conditions.combinations])
    return Grouping(data.group, np.arange(len(row)), weight, "membership", row)


def correct(vae: VAE, name: str, grouping: Grouping, correction: Array) -> None:
    """Add to a head what the groups of a grouping differ by."""
    head = vae.decoder.heads[name]
    assert isinstance(head, Head)
    values = torch.from_numpy(correction.astype(np.float32)).to(head.bias.device)
    with torch.no_grad():
        if grouping.block is None:
            head.bias.add_(values[0])
            return
        n_rows = vae.shape.n_conditions
        if grouping.block == "membership":
            n_rows = vae.shape.n_combinations
        if grouping.block not in head.weight:
            empty = torch.zeros(n_rows, len(head.bias), device=head.bias.device)
            vae.decoder.add_block(name, grouping.block, empty)
        kept = np.flatnonzero(grouping.rows >= 0)
        head.weight[grouping.block][grouping.rows[kept]] += values[kept]


def correct_to(vae: VAE, name: str, values: Array) -> None:
    """Set the gene-wise part of a head and forget what groups added."""
    head = vae.decoder.heads[name]
    assert isinstance(head, Head)
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(values.astype(np.float32)))
        for weight in head.weight.values():
            weight.zero_()


def bias(vae: VAE, name: str) -> Array:
    """Return the gene-wise part of a head, ``(G,)``."""
    head = vae.decoder.heads[name]
    assert isinstance(head, Head)
    return np.asarray(head.bias.detach().double().cpu().numpy())
