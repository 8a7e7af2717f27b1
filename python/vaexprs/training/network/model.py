"""The VAE in reading order: encoder, reparameterisation, decoder, loss.

Shapes stand at line ends: n cells, G genes, d latents, p encoder inputs, C categories of all
condition keys together, h hidden units.

There are two layouts. In the default one the encoder reads principal-component scores, z starts
as these scores, and the decoder adds a linear path from z and the conditions to the genes, started
from the loadings. Given lists of layers instead, encoder and decoder are plain stacks of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaexprs.latent.hidden_groups import digits_of
from vaexprs.spec.likelihoods import FOLLOWED, LEAST_CHANGE
from vaexprs.training.network.affine import affine
from vaexprs.training.network.layers import Layer, Stack

__all__ = ["VAE", "Architecture", "Batch", "Decoder", "Head", "Losses", "kl_divergence", "wide"]

#: Bounds of the log-variance of a posterior: a standard deviation of 0.002 is exact beside a prior
#: of 1, one of 7 says nothing.
LOG_VARIANCE_BOUNDS = (-12.0, 4.0)
#: Log of about 1,000 counts, the library size at which the encoder's input for it is 0.
_USUAL_LOG_LIBRARY = 7.0
#: Standard deviation of the hidden layer's starting weights beside a linear path: the network
#: starts as a small correction to it.
_SMALL_START = 0.01

#: Log-probability of values ``(n, G)`` given heads and log library ``(n, 1)``, ``(n,)``.
LogProb = Callable[[Tensor, Mapping[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Architecture:
    """Sizes and layers of a model."""

    likelihood: str
    heads: Mapping[str, bool]  # by name, and whether each differs between cells
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
    hidden_groups: int = 0  # the last categories are such groups, in the end read from z
    typical_library: float = 1.0  # at which dispersions are given


@dataclass
class Batch:
    """Some cells, ready for the model."""

    x: Tensor  # (n, G): values on the scale of the likelihood
    inputs: Tensor  # (n, p)
    condition: Tensor  # (n, C)
    log_library: Tensor  # (n, 1), zeros where the likelihood has no library


@dataclass
class Losses:
    """Mean losses of a batch in nats per cell."""

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


class Encoder(nn.Module):
    """From the inputs of a cell to the posterior of its z."""

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
        if self.skip is not None:  # z starts as the scores
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
            seen.append(batch.log_library - _USUAL_LOG_LIBRARY)
        h = self.stack(torch.cat(seen, 1))  # (n, h)
        mean = self.mean(h)  # (n, d)
        if self.skip is not None:
            mean = mean + batch.inputs @ self.skip  # (n, d)
        log_variance = self.log_variance(h).clamp(*LOG_VARIANCE_BOUNDS)  # (n, d)
        return mean, log_variance


class Head(nn.Module):
    """An affine map from blocks of features to the genes, one weight per block."""

    bias: nn.Parameter
    weight: nn.ParameterDict

    def __init__(self, widths: Mapping[str, int], n_genes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_genes))
        self.weight = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(width, n_genes)) for name, width in widths.items()}
        )

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return ``(n, G)``, or ``(1, G)`` without weights."""
        out, read = self.bias[None, :], [name for name in self.weight if name != FOLLOWED]
        if read:
            weights = [self.weight[name] for name in read]
            out = affine([features[name] for name in read], weights, self.bias)  # (n, G)
        if FOLLOWED in self.weight:  # gene by gene
            change = features[FOLLOWED] * self.weight[FOLLOWED]  # (n, G)
            out = change.clamp_(min=LEAST_CHANGE).add_(out)
        return out  # (n, G)

    def add_block(self, name: str, weight: Tensor) -> None:
        """Read one more block of features, ``(width, G)``; not trained."""
        self.weight[name] = nn.Parameter(weight, requires_grad=False)


class Decoder(nn.Module):
    """From z and the conditions of a cell to the heads of its likelihood.

    Buffers: ``member (C, m)``, which categories make up each combination; ``embedding (C, e)``,
    vectors in place of one-hot where there are very many categories; ``centres (k, d)``,
    effects of hidden groups on z, and ``digits (k, b)``, the extra latents of each;
    ``ceiling (G,)``, the largest logit of each gene.
    """

    member: Tensor
    embedding: Tensor
    centres: Tensor
    digits: Tensor
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
        self.heads = nn.ModuleDict(
            {
                name: Head(widths if per_cell else {}, shape.n_genes)
                for name, per_cell in shape.heads.items()
            }
        )
        for name in shape.heads:
            if "hidden" in self.head(name).weight:
                std = _SMALL_START if shape.linear_path else self.stack.n_outputs**-0.5
                nn.init.normal_(self.head(name).weight["hidden"], std=std)
        self.register_buffer("member", torch.zeros(shape.n_conditions, shape.n_combinations))
        self.register_buffer("embedding", torch.zeros(shape.n_conditions, shape.embedding))
        self.register_buffer("centres", torch.zeros(shape.hidden_groups, shape.n_latent))
        digits = torch.from_numpy(digits_of(shape.hidden_groups))
        self.register_buffer("digits", digits, persistent=False)
        self.register_buffer("ceiling", torch.full((shape.n_genes,), torch.inf))

    def head(self, name: str) -> Head:
        """Return a head by name."""
        head = self.heads[name]
        assert isinstance(head, Head)
        return head

    def features(self, z: Tensor, condition: Tensor, log_library: Tensor) -> dict[str, Tensor]:
        """Return the blocks of features that heads read."""
        if condition.shape[1] < self.shape.n_conditions:  # the last latents hold the hidden group
            z, told = z[:, : self.shape.n_latent], z[:, self.shape.n_latent :]
            group = torch.softmax(told @ self.digits.T, 1)  # (n, k)
            z = z + group @ self.centres  # (n, d)
            condition = torch.cat([condition, group], 1)  # (n, C)
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
        """Return all heads, or some by name: ``(n, G)``, or ``(1, G)`` if gene-wise."""
        features = self.features(z, condition, log_library)
        wanted = list(names or self.heads)
        heads: dict[str, Tensor] = {}
        if any(FOLLOWED in self.head(name).weight for name in wanted):
            heads["logits"] = self.heads["logits"](features)
            features[FOLLOWED] = heads["logits"] - self.head("logits").bias  # (n, G)
        heads |= {name: self.heads[name](features) for name in wanted if name not in heads}
        if "logits" in wanted:
            heads["logits"].clamp_(max=self.ceiling)
        return {name: heads[name] for name in wanted}


class VAE(nn.Module):
    """Encoder and decoder with the loss that trains them."""

    def __init__(self, shape: Architecture, log_prob: LogProb) -> None:
        super().__init__()
        self.shape = shape
        self.log_prob = log_prob
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)

    def losses(self, batch: Batch, noise: Tensor, kl_weight: float) -> Losses:
        """Return ``J = L + kl_weight * R``, summed over genes and latents, averaged over cells.

        Parameters
        ----------
        batch
            The cells.
        noise
            Standard normal draws, ``(n, d)``: one per cell and latent.
        kl_weight
            Weight of the regularisation R.
        """
        mean, log_variance = self.encoder(batch)  # (n, d) each
        z = mean + (0.5 * log_variance).exp() * noise  # (n, d)
        heads = self.decoder(z, batch.condition, batch.log_library)
        reconstruction = -self.log_prob(batch.x, heads, batch.log_library).mean()
        kl = kl_divergence(mean, log_variance).mean()
        return Losses(reconstruction + kl_weight * kl, reconstruction, kl)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Return the Kullback-Leibler divergence of ``N(mean, exp(log_variance))`` from ``N(0, I)``.

    .. math:: \tfrac12 \sum_k (\mu_k^2 + \sigma_k^2 - 1 - \log \sigma_k^2)

    (Kingma and Welling 2014, appendix B), summed over the latents: ``(n_cells,)``, nats.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(-1)


def wide(x: Tensor) -> Tensor:
    """Return a tensor in float64, on the CPU if its device has no float64, as Apple's MPS."""
    return (x.cpu() if x.device.type == "mps" else x).double()
