"""The whole VAE, in reading order: encoder, reparameterisation, decoder, loss.

Shapes stand at line ends: n cells, G genes, d latents, p encoder inputs, C categories of all
condition keys together, h hidden units.

Two layouts share this file. The default leans on what a few hundred cells can hold: the encoder
reads principal-component scores of the cells, z starts as these scores, and the decoder adds to
its network a straight linear path from z (and from the conditions) to the genes, started from the
loadings. Given lists of layers instead, encoder and decoder are plain stacks of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaexprs.spec import COUNT_LIKELIHOODS, OUTPUTS
from vaexprs.training.likelihoods import log_prob as likelihoods
from vaexprs.training.network.layers import Layer, Stack

__all__ = ["VAE", "Architecture", "Batch", "Losses"]

#: Bounds of the log-variance of a cell's posterior: beyond them lies rounding, not meaning.
LOG_VARIANCE_BOUNDS = (-12.0, 4.0)


@dataclass(frozen=True)
class Architecture:
    """What a model is built from, besides its weights."""

    likelihood: str
    n_genes: int
    n_latent: int
    n_inputs: int
    n_keys: int
    n_conditions: int
    n_combinations: int
    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    linear_path: bool
    embedding: int = 0
    reads_library: bool = False
    typical_library: float = 1.0  # where the dispersions of counts are given

    @property
    def head_names(self) -> tuple[str, ...]:
        """Heads of the decoder: what its likelihood needs."""
        needs = OUTPUTS[self.likelihood]
        names = ["logits"]
        if "zero_logits" in needs:
            names.append("zero_logits")
        if "inverse_dispersion" in needs:
            names.append("log_inverse_dispersion")
        if "scale" in needs:
            names.append("log_scale")
        return tuple(names)


@dataclass
class Batch:
    """Some cells, ready for the model."""

    x: Tensor  # (n, G): counts, values, or values scaled as the likelihood wants them
    inputs: Tensor  # (n, p): what the encoder reads
    condition: Tensor  # (n, C)
    log_library: Tensor  # (n, 1), zeros where the likelihood has no library


@dataclass
class Losses:
    """Mean losses of a batch in nats per cell."""

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


class Encoder(nn.Module):
    """From what is seen of a cell to the posterior of its z."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        n_inputs = shape.n_inputs + shape.n_conditions + shape.reads_library
        self.reads_library = shape.reads_library
        self.stack = Stack(n_inputs, shape.encoder)
        self.mean = nn.Linear(self.stack.n_outputs, shape.n_latent)
        self.log_variance = nn.Linear(self.stack.n_outputs, shape.n_latent)
        self.skip = (
            nn.Parameter(torch.eye(shape.n_inputs, shape.n_latent)) if shape.linear_path else None
        )
        if self.skip is not None:
            # z starts as the scores themselves, a little blurred
            nn.init.zeros_(self.mean.weight)
            nn.init.zeros_(self.log_variance.weight)
            nn.init.constant_(self.log_variance.bias, -2.0)
        else:
            nn.init.normal_(self.mean.weight, std=self.stack.n_outputs**-0.5)
            nn.init.zeros_(self.log_variance.weight)
            nn.init.zeros_(self.log_variance.bias)
        nn.init.zeros_(self.mean.bias)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        seen = [batch.inputs, batch.condition]
        if self.reads_library:
            seen.append(batch.log_library - 7.0)  # about 1,000 counts: keeps the input near 0
        h = self.stack(torch.cat(seen, 1))  # (n, h)
        mean = self.mean(h)  # (n, d)
        if self.skip is not None:
            mean = mean + batch.inputs @ self.skip  # (n, d)
        log_variance = self.log_variance(h).clamp(*LOG_VARIANCE_BOUNDS)  # (n, d)
        return mean, log_variance


class Head(nn.Module):
    """An affine map from blocks of features to the genes, one weight per block."""

    def __init__(self, widths: Mapping[str, int], n_genes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_genes))
        self.weight = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(width, n_genes)) for name, width in widths.items()}
        )

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        if not self.weight:
            return self.bias[None, :]  # (1, G)
        # one product of all blocks: each of its own would go through (n, G) once more
        blocks = torch.cat([features[name] for name in self.weight], 1)  # (n, sum of widths)
        return torch.addmm(self.bias, blocks, torch.cat(list(self.weight.values())))  # (n, G)


class Decoder(nn.Module):
    """From z and the conditions of a cell to the law of its genes."""

    member: Tensor
    embedding: Tensor
    bound: Tensor
    ceiling: Tensor

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.stack = Stack(shape.n_latent + shape.n_conditions, shape.decoder)
        widths: dict[str, int] = {}
        if shape.linear_path:
            widths["z"] = shape.n_latent
            if shape.n_conditions:
                widths["embedded" if shape.embedding else "condition"] = (
                    shape.embedding or shape.n_conditions
                )
        if shape.decoder:
            widths["hidden"] = self.stack.n_outputs
        per_cell = ("logits", "zero_logits")
        self.heads = nn.ModuleDict(
            {
                name: Head(widths if name in per_cell else {}, shape.n_genes)
                for name in shape.head_names
            }
        )
        for head in self.heads.values():
            assert isinstance(head, Head)
            if "hidden" in head.weight:
                std = 0.01 if shape.linear_path else self.stack.n_outputs**-0.5
                nn.init.normal_(head.weight["hidden"], std=std)
        self.register_buffer("member", torch.zeros(shape.n_conditions, shape.n_combinations))
        self.register_buffer("embedding", torch.zeros(shape.n_conditions, shape.embedding))
        self.register_buffer("bound", torch.full((shape.n_latent,), torch.inf))
        self.register_buffer("ceiling", torch.full((shape.n_genes,), torch.inf))

    def add_block(self, name: str, block: str, weight: Tensor) -> None:
        """Let a head read one more block of features, ``(width, G)``; not trained."""
        head = self.heads[name]
        assert isinstance(head, Head)
        head.weight[block] = nn.Parameter(weight, requires_grad=False)

    def features(self, z: Tensor, condition: Tensor, log_library: Tensor) -> dict[str, Tensor]:
        """Compute the blocks of features that heads read."""
        if torch.isfinite(self.bound).all():
            z = self.bound * torch.tanh(z / self.bound)  # (n, d)
        features = {"z": z, "condition": condition}
        features["depth"] = log_library - math.log(self.shape.typical_library)  # (n, 1)
        if self.shape.n_combinations:
            missed = self.shape.n_keys - 1
            features["membership"] = torch.relu(condition @ self.member - missed)  # (n, m)
        if self.shape.embedding:
            features["embedded"] = condition @ self.embedding  # (n, e)
        if self.shape.decoder:
            features["hidden"] = self.stack(torch.cat([z, condition], 1))  # (n, h)
        return features

    def forward(
        self,
        z: Tensor,
        condition: Tensor,
        log_library: Tensor,
        names: Iterable[str] | None = None,
    ) -> dict[str, Tensor]:
        """Return the heads, or those that are named.

        Each is ``(n, G)``, or ``(1, G)`` for what belongs to the gene alone.
        """
        features = self.features(z, condition, log_library)
        heads = {name: self.heads[name](features) for name in names or self.heads}
        if "logits" in heads:
            heads["logits"] = torch.minimum(heads["logits"], self.ceiling)
        return heads


class VAE(nn.Module):
    """Encoder and decoder with the loss that trains them."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Log-probability of each cell's values given the decoder's heads, ``(n,)``."""
        logits, likelihood = heads["logits"], self.shape.likelihood
        if likelihood in COUNT_LIKELIHOODS:
            log_mean = torch.log_softmax(logits, -1) + batch.log_library  # (n, G)
            if likelihood == "poisson":
                return likelihoods.poisson_log_prob(batch.x, log_mean)
            log_theta = heads["log_inverse_dispersion"]
            if likelihood == "nb":
                return likelihoods.nb_log_prob(batch.x, log_mean, log_theta)
            return likelihoods.zinb_log_prob(batch.x, log_mean, log_theta, heads["zero_logits"])
        if likelihood == "zigamma":
            return likelihoods.zigamma_log_prob(
                batch.x, logits, heads["log_inverse_dispersion"], heads["zero_logits"]
            )
        if likelihood == "gaussian":
            return likelihoods.gaussian_log_prob(batch.x, logits, heads["log_scale"])
        return likelihoods.bernoulli_log_prob(batch.x, logits)

    def losses(self, batch: Batch, noise: Tensor, kl_weight: float) -> Losses:
        """Compute ``J = L + kl_weight * R``, summed over genes and latents, mean over cells.

        Parameters
        ----------
        batch
            The cells.
        noise
            Standard normal draws, ``(n, d)``: one per cell and latent.
        kl_weight
            Weight of the regularisation.
        """
        mean, log_variance = self.encoder(batch)  # (n, d) each
        z = mean + (0.5 * log_variance).exp() * noise  # (n, d)
        heads = self.decoder(z, batch.condition, batch.log_library)
        reconstruction = -self.log_prob(batch, heads).mean()
        kl = likelihoods.kl_divergence(mean, log_variance).mean()
        return Losses(reconstruction + kl_weight * kl, reconstruction, kl)
