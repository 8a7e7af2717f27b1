"""Changes to the model that `fit_vae` has no option for, each as a context to fit in.

They reach into the package by name, so that what was tried and dropped can be measured again
without staying in it. Those of the prior and of dispersions act after training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow import flow_draws
from vaexprs import VAEFit
from vaexprs.latent import fit as priors
from vaexprs.spec import GeneratorSpec, Prior
from vaexprs.training.calibration import dispersion
from vaexprs.training.likelihoods import log_prob as likelihoods
from vaexprs.training.network.loop import train
from vaexprs.training.network.model import VAE, Batch, Decoder, Encoder
from vaexprs.training.network.start import set_ceiling

__all__ = [
    "blind_decoder",
    "blind_encoder",
    "flow_prior",
    "free_bits",
    "library_alone",
    "library_in_decoder",
    "nothing_shared",
    "one_normal",
    "plainer_dispersions",
    "standard_normal",
    "vamp_prior",
]

#: Points of a flow: what follows gives each a covariance of its own, and metadata have a limit.
_POINTS_PER_CELL, _LEAST_POINTS = 2, 50

# ---- of a finished fit: another law of z


def standard_normal(spec: GeneratorSpec) -> GeneratorSpec:
    """Draw z from N(0, I), and library sizes from a log-normal law of each combination."""
    library = spec.library and replace(spec.library, kind="lognormal")
    return replace(spec, prior=Prior(), library=library)


def one_normal(spec: GeneratorSpec) -> GeneratorSpec:
    """Give each combination one normal law of the mean and covariance of its mixture."""
    prior = spec.prior
    starts, n_dim = prior.offsets[:-1], prior.means.shape[1]
    factors = prior.tril[prior.factor].astype(np.float64)
    means, weight = prior.means.astype(np.float64), prior.weights[:, None]
    mean = np.add.reduceat(weight * means, starts)
    apart = means - np.repeat(mean, np.diff(prior.offsets), axis=0)
    scatter = factors @ factors.transpose(0, 2, 1) + apart[:, :, None] * apart[:, None, :]
    covariance = np.add.reduceat(weight[:, :, None] * scatter, starts)
    law = replace(
        prior,
        offsets=np.arange(len(mean) + 1),
        weights=np.ones(len(mean)),
        means=mean.astype(np.float32),
        tril=np.linalg.cholesky(covariance + 1e-9 * np.eye(n_dim)).astype(np.float32),
        factor=np.arange(len(mean), dtype=np.int32),
    )
    return replace(spec, prior=law)


def library_alone(spec: GeneratorSpec) -> GeneratorSpec:
    """Draw library sizes without a look at z, from a log-normal law of each combination."""
    assert spec.library is not None
    prior = replace(
        spec.prior,
        with_log_library=False,
        means=np.ascontiguousarray(spec.prior.means[:, :-1]),
        tril=np.ascontiguousarray(spec.prior.tril[:, :-1, :-1]),
    )
    return replace(spec, prior=prior, library=replace(spec.library, kind="lognormal"))


# ---- while it trains


@contextmanager
def free_bits(nats: float = 0.5) -> Iterator[None]:
    """Let each latent tell so much of a cell, on average over a batch, at no price.

    D. P. Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, NeurIPS
    2016, appendix C.8.
    """

    def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
        each = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)  # (n, d)
        return each.mean(0).clamp(min=nats).sum().expand(len(mean))

    with mock.patch.object(likelihoods, "kl_divergence", divergence):
        yield


@contextmanager
def blind_encoder() -> Iterator[None]:
    """Hide the conditions from the encoder."""
    forward = Encoder.forward

    def blind(encoder: Encoder, batch: Batch) -> tuple[Tensor, Tensor]:
        return forward(encoder, replace(batch, condition=torch.zeros_like(batch.condition)))

    with mock.patch.object(Encoder, "forward", blind):
        yield


@contextmanager
def blind_decoder() -> Iterator[None]:
    """Hide the conditions from the decoder while it trains; calibration still corrects by them."""
    features = Decoder.features

    def blind(
        decoder: Decoder, z: Tensor, condition: Tensor, log_library: Tensor
    ) -> dict[str, Tensor]:
        return features(decoder, z, torch.zeros_like(condition), log_library)

    def train_blind(*arguments: Any, **options: Any) -> Any:
        with mock.patch.object(Decoder, "features", blind):
            return train(*arguments, **options)

    with mock.patch("vaexprs.training.fit.train", train_blind):
        yield


@contextmanager
def library_in_decoder() -> Iterator[None]:
    """Let shares of genes follow the log library size, beside z; a slope for each gene."""

    def with_slopes(vae: VAE, data: Any) -> None:
        set_ceiling(vae, data)
        vae.decoder.add_block("logits", "depth", torch.zeros(1, vae.shape.n_genes))
        vae.decoder.heads["logits"].requires_grad_(True)

    with mock.patch("vaexprs.training.fit.set_ceiling", with_slopes):
        yield


# ---- after training: the prior and the dispersions


@contextmanager
def nothing_shared() -> Iterator[None]:
    """Give each combination the mean of its own cells and a mixture of its own, however few."""
    shrunk = priors._shrunk_means

    def own_means(y: Any, group: Any, n_groups: int, *rest: Any) -> tuple[Any, Any]:
        _, parent = shrunk(y, group, n_groups, *rest)
        return np.stack([y[group == g].mean(0) for g in range(n_groups)]), parent

    with (
        mock.patch.object(priors, "_shrunk_means", own_means),
        mock.patch.object(priors, "_CELLS_OF_OWN", 0),
    ):
        yield


@contextmanager
def vamp_prior(cells_per_component: int) -> Iterator[None]:
    """Make the posteriors of training cells the components of the prior, one of so many each.

    The VampPrior on data: J. M. Tomczak and M. Welling, VAE with a VampPrior, AISTATS 2018. The
    log library size has a kernel by Silverman's rule.
    """
    posterior = VAEFit.posterior
    seen: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []

    def noted(fit: VAEFit, cells: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        seen.append(posterior(fit, cells))
        return seen[-1]

    def of_posteriors(
        z: Any, log_library: Any, group: NDArray[np.int64], n_groups: int, *_: Any
    ) -> Prior:
        mean = np.concatenate([mean for mean, _ in seen])
        spread = np.exp(0.5 * np.concatenate([log_variance for _, log_variance in seen]))
        of_group = [np.flatnonzero(group == g) for g in range(n_groups)]
        kept = [
            cells[np.linspace(0, len(cells) - 1, n).astype(np.int64)]
            for cells in of_group
            for n in [min(len(cells), max(8, len(cells) // cells_per_component))]
        ]
        rows = np.concatenate(kept)
        means, spreads = mean[rows], spread[rows]
        if log_library is not None:
            widths = [1.06 * log_library[cells].std() * len(cells) ** -0.2 for cells in of_group]
            width = np.repeat(np.maximum(widths, 0.02), [len(cells) for cells in kept])
            means = np.column_stack([means, log_library[rows]])
            spreads = np.column_stack([spreads, width])
        tril = spreads[:, :, None] * np.eye(spreads.shape[1])
        return _table(kept, means, tril, np.arange(len(rows)), log_library is not None)

    with (
        mock.patch.object(VAEFit, "posterior", noted),
        mock.patch("vaexprs.training.calibration.steps.fit_prior", of_posteriors),
    ):
        yield


@contextmanager
def flow_prior() -> Iterator[None]:
    """Take a normalising flow for the law of z, see `flow`: its draws, as a table of points."""

    def of_flow(
        z: Any, log_library: Any, group: NDArray[np.int64], n_groups: int, seed: int,
        design: Any = None, sizes: Any = None, importance: Any = None,
    ) -> Prior:  # fmt: skip
        y = np.asarray(z, np.float64)
        y = y if log_library is None else np.column_stack([y, log_library])
        pooled = priors._pooled_covariance(y, group, n_groups)
        centres, _ = priors._shrunk_means(y, group, n_groups, np.diag(pooled), design, sizes)
        root = np.linalg.cholesky(pooled)
        white = np.linalg.solve(root, (y - centres[group]).T).T
        n_cells = np.bincount(group, minlength=n_groups)
        wanted = np.repeat(
            np.arange(n_groups), np.maximum(_POINTS_PER_CELL * n_cells, _LEAST_POINTS)
        )
        points = flow_draws(white, group, wanted, n_groups, seed) @ root.T + centres[wanted]
        kept = [np.flatnonzero(wanted == g) for g in range(n_groups)]
        tril = np.broadcast_to(1e-3 * root, (1, *root.shape))
        return _table(kept, points, tril, np.zeros(len(points)), log_library is not None)

    with mock.patch("vaexprs.training.calibration.steps.fit_prior", of_flow):
        yield


def _table(kept: list[Any], means: Any, tril: Any, factor: Any, with_log_library: bool) -> Prior:
    """Make a prior of components of equal weight in each combination."""
    sizes = [len(rows) for rows in kept]
    return Prior(
        "gaussian_mixture",
        with_log_library,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([np.full(size, 1 / size) for size in sizes]),
        np.ascontiguousarray(means, np.float32),
        np.ascontiguousarray(tril, np.float32),
        np.asarray(factor, np.int32),
    )


def plainer_dispersions(*, of_conditions: bool, of_library: bool) -> Callable[[], Any]:
    """Give dispersions to genes, with or without what conditions and library sizes add."""
    choose, marginal = dispersion._choose, dispersion.marginal_dispersion

    def chosen(*arguments: Any) -> tuple[float, int | None]:
        exponent, key = choose(*arguments)
        return exponent if of_library else 0.0, key if of_conditions else None

    def fitted(*arguments: Any) -> dispersion.Dispersion:
        *known, asked = arguments
        return marginal(*known, asked & of_conditions)

    @contextmanager
    def plainer() -> Iterator[None]:
        with (
            mock.patch.object(dispersion, "_choose", chosen),
            mock.patch("vaexprs.training.calibration.means.marginal_dispersion", fitted),
        ):
            yield

    return plainer
