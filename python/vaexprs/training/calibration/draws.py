"""Simulated cells: drawn from the prior, decoded and observed as generation does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from vaexprs.errors import ArgumentError
from vaexprs.latent.draws import draw_inputs, fitting_seed
from vaexprs.spec import GeneratorSpec
from vaexprs.training.inputs.batches import ROWS_PER_STEP
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.network.model import Decoder
from vaexprs.training.network.outputs import decoder_outputs

#: Draws of a combination: twice its cells, at least 100 for a mean, at most 400. In all 3,000 to
#: 12,000, for a response and to bound the time, and never below 20 of one. Draws for covariances
#: are in proportion to the cells, six for each: few cells hardly move covariances.
_PER_CELL, _FEWEST, _MOST, _ALWAYS = 2, 100, 400, 20
_FEWEST_IN_ALL, _IN_ALL, _PER_CELL_IN_ALL = 3_000, 12_000, 6


@dataclass(frozen=True)
class Draws:
    """Latents and library sizes drawn from the prior, sorted by combination."""

    decoder: Decoder
    scaling: Scaling | None
    spec: GeneratorSpec
    group: NDArray[np.int64]  # combination of each draw
    z: NDArray[np.float32]  # (n_draws, n_latent)
    library: NDArray[np.float32]  # (n_draws,); ones where the likelihood has no library size
    condition: NDArray[np.float32]  # (n_draws, n_conditions)

    @classmethod
    def of(
        cls,
        decoder: Decoder,
        scaling: Scaling | None,
        spec: GeneratorSpec,
        seed: int,
        *,
        most: int = _MOST,
        in_proportion: bool = False,
    ) -> Draws:
        """Draw from the prior of a spec, more for combinations with more cells.

        With `in_proportion`, of each combination as its share of the cells is, at least 20.
        """
        sizes = spec.conditions.n_cells
        if in_proportion:
            in_all = np.clip(_PER_CELL_IN_ALL * sizes.sum(), _FEWEST_IN_ALL, _IN_ALL)
            wanted = np.maximum(in_all * sizes // sizes.sum(), _ALWAYS)
        else:
            fewest = max(_FEWEST, _FEWEST_IN_ALL // len(sizes))
            wanted = np.clip(
                max(_PER_CELL, _PER_CELL * most // _MOST) * sizes, fewest, max(most, fewest)
            )
            wanted = np.maximum(np.minimum(wanted, _IN_ALL // len(sizes)), _ALWAYS)
        group = np.repeat(np.arange(len(sizes)), wanted)
        inputs = draw_inputs(spec, group, fitting_seed(seed))
        library = inputs.get("library", np.ones((len(group), 1), np.float32))[:, 0]
        condition = inputs.get("condition", np.zeros((len(group), 0), np.float32))
        return cls(decoder, scaling, spec, group, inputs["z"], library, condition)

    @property
    def n_groups(self) -> int:
        """Number of combinations."""
        return len(self.spec.conditions.n_cells)

    @property
    def y(self) -> NDArray[np.float64]:
        """Coordinates of the prior: z and, for counts, the log library size."""
        if not self.spec.is_counts:
            return self.z.astype(np.float64)
        return np.column_stack([self.z, np.log(self.library)]).astype(np.float64)

    def moved_to(self, y: NDArray[np.float64]) -> Draws:
        """Return the draws at other coordinates, given as `y` gives them."""
        if self.spec.library is None:
            return replace(self, z=y.astype(np.float32))
        low, high = self.spec.library.minimum[self.group], self.spec.library.maximum[self.group]
        library = np.clip(np.exp(y[:, -1]), low, high).astype(np.float32)
        return replace(self, z=y[:, :-1].astype(np.float32), library=library)

    @torch.no_grad()
    def heads(
        self, names: Iterable[str]
    ) -> Iterator[tuple[slice, dict[str, Tensor], NDArray[np.float32]]]:
        """Yield rows, some heads by name, and library sizes of draws decoded together."""
        device = self.decoder.member.device
        for start in range(0, len(self.group), ROWS_PER_STEP):
            rows = slice(start, start + ROWS_PER_STEP)
            z = torch.from_numpy(self.z[rows]).to(device)
            condition = torch.from_numpy(self.condition[rows]).to(device)
            log_library = torch.from_numpy(np.log(self.library[rows, None])).to(device)
            yield rows, self.decoder(z, condition, log_library, names), self.library[rows]

    def observe(self, seed: int) -> Any:
        """Return drawn values, ``(n_draws, n_genes)``: CSR for laws with exact zeros.

        Raises
        ------
        ArgumentError
            If the decoder gives a parameter outside its support.
        """
        return self.observed([seed])[0]

    def observed(self, seeds: Sequence[int]) -> list[Any]:
        """Return the values of `observe` for each of several seeds; draws are decoded once."""
        spec = self.spec
        blocks: list[list[Any]] = [[] for _ in seeds]
        for start in range(0, len(self.group), ROWS_PER_STEP):
            rows = slice(start, start + ROWS_PER_STEP)
            outputs = decoder_outputs(
                self.decoder, spec.law, self.scaling,
                z=self.z[rows], condition=self.condition[rows], library=self.library[rows, None],
            )  # fmt: skip
            for seed, made in zip(seeds, blocks, strict=True):
                try:
                    data, indices, indptr = spec.value_law.draw(
                        spec.parameters(outputs),
                        seed=fitting_seed(seed),
                        first_cell=start,
                        rounded=spec.observation == "rounded",
                    )
                except ValueError as error:  # a parameter outside its support
                    raise ArgumentError(
                        "no cells can be drawn from what was trained "
                        f"({error.args[0].rstrip('.')}): training went astray; "
                        "try a smaller learning_rate, or a smaller n_latent."
                    ) from error
                block = sparse.csr_matrix((data, indices, indptr), shape=outputs["mean"].shape)
                made.append(block if spec.value_law.sparse else block.toarray())
        return [
            np.concatenate(made)
            if isinstance(made[0], np.ndarray)
            else sparse.vstack(made, format="csr")
            for made in blocks
        ]
