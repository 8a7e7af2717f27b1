"""Cells as generation will make them: drawn from the prior, decoded, observed.

Used after training to compare what a fit would generate with the cells it was trained on. The
counts are drawn by the kernels that generation uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from vaexprs import _core
from vaexprs.latent.fit import sample_prior
from vaexprs.spec import GeneratorSpec
from vaexprs.training.export import torch_outputs
from vaexprs.training.inputs.batches import Scaling
from vaexprs.training.network.model import VAE

__all__ = ["Draws"]

_ROWS_PER_STEP = 512
#: Draws for each combination: twice its cells, within these bounds, fewer of each where many.
_FEWEST, _MOST, _IN_ALL = 100, 400, 12_000


@dataclass
class Draws:
    """Latents (and library sizes) drawn from the prior, sorted by combination."""

    vae: VAE
    scaling: Scaling | None
    spec: GeneratorSpec
    group: NDArray[np.int64]
    z: NDArray[np.float32]
    library: NDArray[np.float32]
    condition: NDArray[np.float32]

    @classmethod
    def of(
        cls, vae: VAE, scaling: Scaling | None, spec: GeneratorSpec, seed: int, most: int = _MOST
    ) -> Draws:
        """Draw from the prior of a spec, more for combinations with more cells."""
        sizes = spec.conditions.n_cells
        wanted = np.clip(max(2, most // 200) * sizes, _FEWEST, most)
        wanted = np.maximum(np.minimum(wanted, _IN_ALL // len(sizes)), 20)
        group = np.repeat(np.arange(len(sizes)), wanted)
        rng = np.random.default_rng(seed)
        z, library = sample_prior(spec.prior, spec.library, group, rng)
        if library is None:
            library = np.ones(len(group), np.float32)
        condition = spec.conditions.one_hot(spec.conditions.combinations[group])
        return cls(vae, scaling, spec, group, z, library, condition)

    @property
    def n_groups(self) -> int:
        """Number of combinations."""
        return len(self.spec.conditions.n_cells)

    @property
    def y(self) -> NDArray[np.float64]:
        """What the prior drew: z and, for counts, the log library size."""
        if not self.spec.is_counts:
            return self.z.astype(np.float64)
        return np.column_stack([self.z, np.log(self.library)]).astype(np.float64)

    def moved_to(self, y: NDArray[np.float64]) -> Draws:
        """Return the same draws with other latents and library sizes, given as `y` gives them."""
        if not self.spec.is_counts:
            return replace(self, z=y.astype(np.float32))
        law = self.spec.library
        assert law is not None
        library = np.clip(np.exp(y[:, -1]), law.minimum[self.group], law.maximum[self.group])
        return replace(self, z=y[:, :-1].astype(np.float32), library=library.astype(np.float32))

    @torch.no_grad()
    def heads(
        self, names: Iterable[str]
    ) -> Iterator[tuple[slice, dict[str, Tensor], NDArray[np.float32]]]:
        """Decode the draws some at a time: which, the heads that are named, library sizes."""
        device = self.vae.decoder.member.device
        for start in range(0, len(self.group), _ROWS_PER_STEP):
            rows = slice(start, start + _ROWS_PER_STEP)
            z = torch.from_numpy(self.z[rows]).to(device)
            condition = torch.from_numpy(self.condition[rows]).to(device)
            log_library = torch.from_numpy(np.log(self.library[rows, None])).to(device)
            yield rows, self.vae.decoder(z, condition, log_library, names), self.library[rows]

    def observe(self, seed: int) -> Any:
        """Draw expression values, a CSR matrix for likelihoods with zeros."""
        blocks = []
        for start in range(0, len(self.group), _ROWS_PER_STEP):
            rows = slice(start, start + _ROWS_PER_STEP)
            inputs = {
                "z": self.z[rows],
                "condition": self.condition[rows],
                "library": self.library[rows, None],
            }
            outputs = torch_outputs(self.vae, self.scaling, inputs)
            blocks.append(_observe(self.spec, outputs, seed, start))
        if isinstance(blocks[0], np.ndarray):
            return np.concatenate(blocks)
        return sparse.vstack(blocks, format="csr")


def _observe(
    spec: GeneratorSpec, outputs: dict[str, NDArray[np.float32]], seed: int, first_cell: int
) -> Any:
    parameters = [np.ascontiguousarray(outputs[name]) for name in spec.outputs]
    if spec.observation == "mean":
        return parameters[0]
    if spec.likelihood in ("gaussian", "bernoulli"):
        sample = getattr(_core, f"sample_{spec.likelihood}")
        return sample(*parameters, seed=seed, first_cell=first_cell)
    sample = getattr(_core, f"sample_{spec.likelihood}_csr")
    data, indices, indptr = sample(*parameters, seed=seed, first_cell=first_cell)
    if spec.observation == "rounded":
        data = np.maximum(np.rint(data), 1)
    return sparse.csr_matrix((data, indices, indptr), shape=parameters[0].shape)
