"""`fit_vae`: from expression data to a `VAEFit`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from vaexprs.checks import real, whole
from vaexprs.data import ExpressionData, read_expression
from vaexprs.errors import near_matches
from vaexprs.latent.fit import fit_library
from vaexprs.spec import COUNT_LIKELIHOODS, LIKELIHOODS, GeneratorSpec, Observation, Prior
from vaexprs.training.assembly import (
    describe,
    features_of,
    members_of,
    provenance,
    set_embedding,
)
from vaexprs.training.calibration.steps import fit_generator
from vaexprs.training.defaults import MOST_LATENTS, choose_device, choose_latent, choose_likelihood
from vaexprs.training.inputs.batches import Cells, Scaling, split_cells
from vaexprs.training.network.layers import Layer, parse_layers
from vaexprs.training.network.loop import Schedule, train
from vaexprs.training.network.model import VAE, Architecture
from vaexprs.training.network.start import set_ceiling, set_initial_weights
from vaexprs.training.result import VAEFit

__all__ = ["VAEFit", "fit_vae"]

_log = logging.getLogger("vaexprs")
#: More categories than this share vectors of this width in the linear path.
_MOST_CATEGORIES, _EMBEDDING = 256, 64


def fit_vae(
    adata: Any,
    *,
    condition_keys: str | Sequence[str] | None = None,
    labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
    layer: str | None = None,
    likelihood: str = "auto",
    n_latent: int | None = None,
    hidden: Any = (128,),
    encoder: Any = None,
    decoder: Any = None,
    kl_weight: float = 1.0,
    kl_warmup: int = 10,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    validation_split: float = 0.1,
    validation_data: Any = None,
    patience: int | None = 15,
    calibrate: bool = True,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> VAEFit:
    """Train a variational autoencoder on expression data.

    Parameters
    ----------
    adata
        An AnnData, or cells x genes values (array, sparse matrix, data frame). It is not changed.
    condition_keys
        Columns of ``obs`` that the model is told about, such as ``["cell_type", "batch"]``, and
        that can be asked for at generation.
    labels
        In place of ``obs`` for arrays: one label per cell, or a mapping from names to labels.
    layer
        Layer of the AnnData to read instead of ``X``.
    likelihood
        Law of the values: ``"bernoulli"`` (the cross-entropy of values scaled to 0..1 by each
        gene's extremes), ``"gaussian"``, ``"poisson"``, ``"nb"``, ``"zinb"``, ``"zigamma"``
        (non-negative with exact zeros: RPKM, TPM, log-normalised; counts of reads, whose draws are
        rounded to whole numbers), or ``"auto"``, which looks at the values, chooses, and says so.
    n_latent
        Size of the latent space; by default as many as so many cells can tell apart, at most 30, or
        up to 64 where principal components beyond 30 are signal rather than noise.
    hidden
        Hidden layers of encoder and decoder in the default layout, such as ``(128,)`` or
        ``[(256, "elu"), (128, "relu")]``; the decoder has them in reverse. There the encoder
        reads principal-component scores, and a linear path leads from z to the genes.
    encoder, decoder
        Plain stacks instead of the default layout: layers as ``[(512, "relu")]``. The encoder
        reads all genes. The decoder may name its output layer, as wide as there are genes.
    kl_weight
        Weight of the regularisation R in the loss ``L + kl_weight * R``.
    kl_warmup
        Epochs over which the weight rises from 0.
    epochs, batch_size, learning_rate
        At most so many passes over the cells; cells per step; step size of Adam.
    validation_split
        Share of the cells, stratified by condition, that is held out for early stopping.
    validation_data
        Cells to validate on instead, of the same kind as `adata`; scaled with the extremes of
        the training cells.
    patience
        Epochs without a better validation loss after which training stops, or None. The best
        weights are restored.
    calibrate
        Whether gene means and dispersions are corrected after training so that generated cells
        agree with the training cells.
    seed
        The same seed gives the same fit on the same kind of CPU with the same number of threads.
        Torch's global generator is left as it was.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    progress
        Whether to show a progress bar with losses on stderr.

    Returns
    -------
    VAEFit

    Raises
    ------
    DataError
        If the values cannot be used as asked; the message says where and why.
    ConditionError
        If a condition key is not a column of ``obs``.
    DeviceError
        If the device is not available.
    KeyboardInterrupt
        If Ctrl-C came before one epoch was finished. Later it ends the training: the best
        weights so far are kept and the result has ``interrupted`` set.
    """
    epochs, batch_size = whole("epochs", epochs, 1), whole("batch_size", batch_size, 1)
    kl_weight = real("kl_weight", kl_weight, 0, inclusive=True)
    kl_warmup = whole("kl_warmup", kl_warmup, 0)
    learning_rate = real("learning_rate", learning_rate, 0, inclusive=False)
    validation_split = real("validation_split", validation_split, 0, inclusive=True)
    if validation_split >= 1:
        raise ValueError(f"validation_split must be in [0, 1), got {validation_split}.")
    patience = None if patience is None else whole("patience", patience, 1)
    seed = whole("seed", seed, 0)
    if n_latent is not None:
        n_latent = whole("n_latent", n_latent, 1)
    where = choose_device(device)
    data = read_expression(adata, condition_keys=condition_keys, labels=labels, layer=layer)
    law, reason = _likelihood(data, likelihood)
    data.check_for(law)
    if likelihood == "auto":
        _log.info("likelihood %r: %s", law, reason)

    rng = np.random.default_rng(seed)
    if validation_data is not None:
        given = _validation(validation_data, data, layer)
        given.check_for(law)
        training: ExpressionData = data
        validation: ExpressionData | None = given
    else:
        kept, held_out = split_cells(data.group, validation_split, rng)
        training = data.take(kept) if held_out.size else data
        validation = data.take(held_out) if held_out.size else None

    automatic = n_latent is None
    n_latent = choose_latent(training.n_cells, data.n_genes) if n_latent is None else n_latent
    plain = encoder is not None or decoder is not None
    encoder_layers, decoder_layers = _layers(hidden, encoder, decoder, data.n_genes, law)
    scaling = Scaling.of(training, law)
    most = choose_latent(training.n_cells, data.n_genes, MOST_LATENTS) if automatic else None
    features, components = features_of(
        training, law, scaling, None if plain else n_latent, seed, at_most=most
    )
    if not plain and automatic:
        n_latent = features.n_inputs
    members = members_of(data)
    n_conditions = int(data.sizes.sum())
    shape = Architecture(
        likelihood=law,
        n_genes=data.n_genes,
        n_latent=n_latent,
        n_inputs=features.n_inputs,
        n_keys=len(data.keys),
        n_conditions=n_conditions,
        n_combinations=members.shape[1],
        encoder=encoder_layers,
        decoder=decoder_layers,
        linear_path=not plain,
        embedding=_EMBEDDING if n_conditions > _MOST_CATEGORIES else 0,
        reads_library=law in COUNT_LIKELIHOODS,
        typical_library=_typical_library(data, law),
    )
    settings = {
        "likelihood": likelihood, "n_latent": n_latent, "kl_weight": kl_weight,
        "kl_warmup": kl_warmup, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate, "validation_split": validation_split,
        "patience": patience, "calibrate": calibrate, "seed": seed,
        "layout": "plain" if plain else "linear path",
    }  # fmt: skip

    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        torch.manual_seed(seed)
        vae = VAE(shape).to(where)
        vae.decoder.member.copy_(torch.from_numpy(members))
        set_embedding(vae)
        set_initial_weights(vae, training, features, scaling, components)
        set_ceiling(vae, data)
    schedule = Schedule(epochs, batch_size, learning_rate, kl_weight, kl_warmup, patience, seed)

    own = None
    if components is not None:
        own = (components.scores / np.sqrt(components.total)).astype(np.float32)
    cells = Cells(training, features, scaling, law, where, inputs=own)
    others = Cells(validation, features, scaling, law, where) if validation else None
    trained = train(vae, cells, others, schedule, progress=progress)
    if trained.interrupted:
        warnings.warn(
            f"training was interrupted after {len(trained.history['loss'])} epochs; the best "
            "weights so far are kept.",
            stacklevel=2,
        )

    fit = VAEFit(
        GeneratorSpec(
            likelihood=law,
            observation=_observation(data, law),
            n_latent=n_latent,
            var_names=data.var_names,
            conditions=data.conditions,
            prior=Prior(),
            library=_placeholder_library(data, law),
            provenance=provenance(data, layer, settings, reason, trained.best_epoch),
            architecture=describe(shape),
        ),
        trained.history,
        trained.interrupted,
        vae,
        features,
        scaling,
        where,
    )
    known = [cells] if validation_data is not None or others is None else [cells, others]
    fit_generator(fit, known, data.conditions, calibrate, seed)
    return fit


def _placeholder_library(data: ExpressionData, law: str) -> Any:
    if law not in COUNT_LIKELIHOODS:
        return None
    fitted = fit_library(data.library, data.group, len(data.conditions.n_cells))
    return replace(fitted, kind="lognormal")


def _typical_library(data: ExpressionData, law: str) -> float:
    return float(np.exp(np.log(data.library).mean())) if law in COUNT_LIKELIHOODS else 1.0


def _likelihood(data: ExpressionData, likelihood: str) -> tuple[str, str]:
    if likelihood == "auto":
        return choose_likelihood(data)
    known = LIKELIHOODS
    if likelihood not in known:
        raise ValueError(
            f"unknown likelihood {likelihood!r}: " + near_matches(likelihood, [*known, "auto"])
        )
    return likelihood, "as asked"


def _layers(
    hidden: Any, encoder: Any, decoder: Any, n_genes: int, likelihood: str
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    if encoder is None and decoder is None:
        layers = parse_layers(hidden, name="hidden")
        return layers, layers[::-1]
    encoder_layers = parse_layers(encoder if encoder is not None else hidden, name="encoder")
    decoder_layers = parse_layers(
        decoder if decoder is not None else tuple(encoder_layers[::-1]), name="decoder"
    )
    if decoder is not None and len(decoder_layers) and decoder_layers[-1].units == n_genes:
        wanted = {"bernoulli": "sigmoid", "gaussian": "linear", "zigamma": "exp"}.get(
            likelihood, "softmax"
        )
        given = decoder_layers[-1].activation
        if given not in (wanted, "linear"):
            raise ValueError(
                f"the decoder's output layer has the activation {given!r}, but likelihood "
                f"{likelihood!r} links its mean by {wanted!r}: leave the output layer out, or use "
                f"likelihood={'bernoulli' if given == 'sigmoid' else 'auto'!r}."
            )
        decoder_layers = decoder_layers[:-1]
    if not decoder_layers or not encoder_layers:
        raise ValueError("encoder and decoder need at least one hidden layer each.")
    return encoder_layers, decoder_layers


def _validation(validation_data: Any, data: ExpressionData, layer: str | None) -> ExpressionData:
    labels = None
    if isinstance(validation_data, tuple):  # an array with its labels
        validation_data, labels = validation_data
    return read_expression(
        validation_data, labels=labels, layer=layer, known_keys=data.keys,
        condition_keys=[key.name for key in data.keys], genes=data.var_names,
    )  # fmt: skip


def _observation(data: ExpressionData, law: str) -> Observation:
    """Say how a value follows from its law: reads stay whole numbers."""
    if law == "bernoulli" and not _is_binary(data):
        return "mean"
    return "rounded" if law == "zigamma" and data.is_integer else "draw"


def _is_binary(data: ExpressionData) -> bool:
    return data.is_integer and data.minimum >= 0 and data.maximum <= 1
