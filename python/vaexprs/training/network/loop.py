"""The training loop: epochs, early stopping, and Ctrl-C."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaexprs.errors import ArgumentError
from vaexprs.interrupts import remembered_interrupts
from vaexprs.training.inputs.batches import Cells
from vaexprs.training.network.model import VAE
from vaexprs.training.progress import Show

History = dict[str, list[float]]
Bounds = Mapping[str, tuple[float, float]]

#: Largest norm of a gradient in nats per unit: a guard against a single wild batch.
_LARGEST_GRADIENT = 1000.0
#: Adam's epsilon for the weights of heads beside a linear path, in nats per unit of a weight: those
#: of weak genes, whose gradients are noise, hardly move.
_LAST_EPSILON = 0.3
#: Devices on which torch updates a weight in one pass.
_FUSED = ("cpu", "cuda")


@dataclass(frozen=True)
class Schedule:
    """Length and pace of a training."""

    epochs: int
    batch_size: int
    learning_rate: float
    kl_weight: float
    kl_warmup: int
    patience: int | None
    seed: int
    weight_decay: float = 1e-4  # of the network's weights, in units of the learning rate (AdamW)
    dispersion_rate: float = 10.0  # times the learning rate: dispersions go far in few steps


@dataclass
class Trained:
    """Outcome of a training besides the model's weights."""

    history: History = field(default_factory=dict)
    best_epoch: int = 0
    interrupted: bool = False

    def __str__(self) -> str:
        n = len(self.history["loss"])
        how = "interrupted" if self.interrupted else "stopped"
        return f"{how} after {n} epoch{'s' if n != 1 else ''}, best {self.best_epoch + 1}"


def train(
    vae: VAE,
    cells: Cells,
    validation: Cells | None,
    schedule: Schedule,
    bounds: Bounds,
    show: Show,
) -> Trained:
    """Train a model in place, show each epoch, and leave the model with its best weights."""
    # a generator on the CPU gives the same order and noise on every device
    generator = torch.Generator().manual_seed(schedule.seed)
    optimiser = torch.optim.AdamW(
        _parameter_groups(vae, schedule),
        lr=schedule.learning_rate,
        fused=cells.device.type in _FUSED,
    )
    done, best_loss, best_weights = Trained(), np.inf, None
    names = ["loss", "reconstruction", "kl"]
    names += ["val_" + name for name in names] if validation is not None else []
    done.history = {name: [] for name in [*names, "kl_weight"]}
    noise = torch.zeros(0)
    if validation is not None:  # the same in every epoch
        noise = torch.randn(len(validation), vae.shape.n_latent, generator=generator)
    try:
        with remembered_interrupts() as raise_lost:
            for epoch in range(schedule.epochs):
                warm = min(1.0, (epoch + 1) / max(schedule.kl_warmup, 1))
                kl_weight = schedule.kl_weight * warm
                losses = _run_epoch(
                    vae, cells, schedule, bounds, kl_weight, optimiser, generator, raise_lost
                )
                if validation is not None:
                    found = _evaluate(vae, validation, schedule, noise)
                    losses |= {"val_" + name: value for name, value in found.items()}
                for name, value in {**losses, "kl_weight": kl_weight}.items():
                    done.history[name].append(value)
                watched = losses.get("val_loss", losses["loss"])
                if not np.isfinite(watched):
                    raise ArgumentError(
                        f"the loss is no longer finite in epoch {epoch + 1}: "
                        "try a smaller learning_rate."
                    )
                # without validation cells the last epoch is the best; while the weight of the KL
                # rises, losses of two epochs cannot be compared
                early = epoch + 1 < min(schedule.kl_warmup, schedule.epochs)
                if validation is None or early or watched < best_loss:
                    best_loss, done.best_epoch = np.inf if early else watched, epoch
                    best_weights = copy.deepcopy(vae.state_dict()) if validation else None
                stale = epoch - done.best_epoch
                stops = validation is not None and schedule.patience is not None
                text = _described(epoch, losses, done.best_epoch, schedule)
                show(text, stale if stops else epoch + 1)
                if schedule.patience is not None and stale >= schedule.patience:
                    break
    except KeyboardInterrupt:
        if not done.history["loss"]:
            raise
        done.interrupted = True
        # an epoch cut in the middle leaves its columns uneven
        shortest = min(map(len, done.history.values()))
        done.history = {name: values[:shortest] for name, values in done.history.items()}
    if best_weights is not None:
        vae.load_state_dict(best_weights)
    vae.eval()
    return done


def _described(epoch: int, losses: Mapping[str, float], best: int, schedule: Schedule) -> str:
    watched = losses.get("val_loss", losses["loss"])
    if schedule.patience is None or "val_loss" not in losses:
        return f"epoch {epoch + 1}/{schedule.epochs}  loss {watched:,.1f}"
    patience = f"{epoch - best}/{schedule.patience}"
    return f"epoch {epoch + 1}  loss {watched:,.1f}  best {best + 1}  patience {patience}"


def _parameter_groups(vae: VAE, schedule: Schedule) -> list[dict[str, Any]]:
    """Return parameters by their decay and learning rate."""
    decayed, free, dispersions, last = [], [], [], []
    gene_wise = [f"heads.{name}." for name, per_cell in vae.shape.heads.items() if not per_cell]
    for name, parameter in vae.named_parameters():
        if any(head in name for head in gene_wise):
            dispersions.append(parameter)
        elif parameter.ndim > 1 and "heads" not in name:
            decayed.append(parameter)
        elif parameter.ndim > 1 and vae.shape.linear_path:
            last.append(parameter)
        else:
            free.append(parameter)
    rate = schedule.learning_rate * schedule.dispersion_rate
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": schedule.weight_decay},
        {"params": free, "weight_decay": 0.0},
        {"params": last, "weight_decay": 0.0, "eps": _LAST_EPSILON},
        {"params": dispersions, "weight_decay": 0.0, "lr": rate},
    ]
    return [group for group in groups if group["params"]]


def _run_epoch(
    vae: VAE,
    cells: Cells,
    schedule: Schedule,
    bounds: Bounds,
    kl_weight: float,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    raise_lost: Callable[[], None],
) -> dict[str, float]:
    vae.train()
    order = cells.shuffled(schedule.batch_size, generator)
    total = np.zeros(3)
    for index, batch in cells.batches(schedule.batch_size, order):
        raise_lost()
        noise = torch.randn(len(index), vae.shape.n_latent, generator=generator)
        losses = vae.losses(batch, noise.to(cells.device), kl_weight)
        optimiser.zero_grad(set_to_none=True)
        losses.loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(vae.parameters(), _LARGEST_GRADIENT)
        optimiser.step()
        with torch.no_grad():
            for name, (low, high) in bounds.items():
                vae.decoder.head(name).bias.clamp_(np.log(low), np.log(high))
        total += len(index) * _numbers([losses.loss, losses.reconstruction, losses.kl])
    return dict(zip(("loss", "reconstruction", "kl"), (total / len(cells)).tolist(), strict=True))


@torch.no_grad()
def _evaluate(vae: VAE, cells: Cells, schedule: Schedule, noise: Tensor) -> dict[str, float]:
    vae.eval()
    total = np.zeros(3)
    for index, batch in cells.batches(schedule.batch_size):
        losses = vae.losses(batch, noise[index].to(cells.device), schedule.kl_weight)
        total += len(index) * _numbers([losses.loss, losses.reconstruction, losses.kl])
    return dict(zip(("loss", "reconstruction", "kl"), (total / len(cells)).tolist(), strict=True))


def _numbers(values: Iterable[Tensor]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(value.detach()) for value in values])
