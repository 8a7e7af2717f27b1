"""A normalising flow of the latent variables given the combination, as a lever to compare.

Affine couplings: L. Dinh, J. Sohl-Dickstein, S. Bengio, Density Estimation using Real NVP, ICLR
2017. It starts as N(0, I) of whitened cells and stops where held-out cells do.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["flow_draws"]

_COUPLINGS, _HIDDEN = 6, 64
_EPOCHS, _BATCH, _PATIENCE, _HELD_OUT = 300, 128, 20, 0.2
#: The largest log scale of one coupling.
_REACH = 1.0


class Coupling(nn.Module):
    """Move and stretch half of the coordinates by what the other half and the condition say."""

    def __init__(self, order: Tensor, n_groups: int) -> None:
        super().__init__()
        half = len(order) // 2
        self.given, self.moved = order[:half], order[half:]
        self.network = nn.Sequential(
            nn.Linear(half + n_groups, _HIDDEN),
            nn.SiLU(),
            nn.Linear(_HIDDEN, 2 * len(self.moved)),
        )
        nn.init.zeros_(self.network[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.network[-1].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, condition: Tensor, *, back: bool) -> tuple[Tensor, Tensor]:
        """Return moved cells ``(n, d)`` and the log determinant ``(n,)``; `back` undoes it."""
        seen = torch.cat([x[:, self.given], condition], 1)
        shift, scale = self.network(seen).chunk(2, 1)
        scale = _REACH * torch.tanh(scale / _REACH)
        part = x[:, self.moved]
        out = x.clone()
        out[:, self.moved] = (part - shift) * (-scale).exp() if back else part * scale.exp() + shift
        return out, scale.sum(1) * (-1 if back else 1)


class Flow(nn.Module):
    """A stack of couplings over N(0, I)."""

    def __init__(self, n_dim: int, n_groups: int) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(
            Coupling(torch.randperm(n_dim), n_groups) for _ in range(_COUPLINGS)
        )

    def log_prob(self, x: Tensor, condition: Tensor) -> Tensor:
        """Log-density of cells up to a constant, ``(n,)``."""
        total = torch.zeros(len(x))
        for coupling in reversed(self.couplings):
            x, log_determinant = coupling(x, condition, back=True)
            total = total + log_determinant
        return total - 0.5 * x.square().sum(1)

    def sample(self, condition: Tensor, n_dim: int) -> Tensor:
        """Draw a cell for each condition, ``(n, d)``."""
        x = torch.randn(len(condition), n_dim)
        for coupling in self.couplings:
            x, _ = coupling(x, condition, back=False)
        return x


def flow_draws(
    cells: NDArray[np.float64],
    group: NDArray[np.int64],
    wanted: NDArray[np.int64],
    n_groups: int,
    seed: int,
) -> NDArray[np.float64]:
    """Train a flow on whitened cells of given combinations, and draw cells of wanted ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.tensor(cells, dtype=torch.float32)
        condition = torch.eye(n_groups)
        order = torch.randperm(len(x))
        n_held = int(_HELD_OUT * len(x))
        held, kept = order[:n_held], order[n_held:]
        of = torch.from_numpy(group)
        flow = Flow(x.shape[1], n_groups)
        optimiser = torch.optim.AdamW(flow.parameters(), lr=1e-3, weight_decay=1e-2)
        best, best_epoch = -np.inf, 0
        weights = copy.deepcopy(flow.state_dict())
        for epoch in range(_EPOCHS):
            for rows in kept[torch.randperm(len(kept))].split(_BATCH):
                loss = -flow.log_prob(x[rows], condition[of[rows]]).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                score = float(flow.log_prob(x[held], condition[of[held]]).mean())
            if score > best:
                best, best_epoch, weights = score, epoch, copy.deepcopy(flow.state_dict())
            if epoch - best_epoch >= _PATIENCE:
                break
        flow.load_state_dict(weights)
        with torch.no_grad():
            return flow.sample(condition[torch.from_numpy(wanted)], x.shape[1]).double().numpy()
