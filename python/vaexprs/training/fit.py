"""`fit_vae`: from expression data to a `VAEFit`, which encodes, reconstructs, saves and exports."""

from __future__ import annotations

import datetime
import logging
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from vaexprs._version import __version__
from vaexprs.data import ExpressionData, concatenate, read_expression
from vaexprs.errors import near_matches, require
from vaexprs.spec import COUNT_LIKELIHOODS, Conditions, GeneratorSpec, Likelihood, Prior
from vaexprs.training import storage
from vaexprs.training.calibration import calibrate as calibrate_decoder
from vaexprs.training.cells import Cells, Scaling, split_cells
from vaexprs.training.drawing import Draws
from vaexprs.training.matching import match_scores
from vaexprs.training.choices import choose_device, choose_latent, choose_likelihood
from vaexprs.training.export import Precision, export_bytes, torch_outputs, write_atomically
from vaexprs.training.features import Components, Features, cross_fit, feature_kind
from vaexprs.training.initial import set_initial_weights
from vaexprs.training.layers import Layer, parse_layers
from vaexprs.training.loop import History, Schedule, train
from vaexprs.training.model import VAE, Architecture
from vaexprs.training.priors import fit_library, fit_prior

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["VAEFit", "fit_vae"]

_log = logging.getLogger("vaexprs")
#: Cells encoded or decoded together outside training.
_ROWS_PER_STEP = 512
#: Combinations of categories with so many cells have corrections of their own, at most so many.
_CELLS_OF_OWN, _MOST_COMBINATIONS = 20, 64
_MATCHING_STEPS = 3
#: More categories than this share vectors of this width in the linear path.
_MOST_CATEGORIES, _EMBEDDING = 256, 64


@dataclass(eq=False)
class VAEFit:
    """A trained model, ready to encode, reconstruct, be saved, and be exported.

    Attributes
    ----------
    spec
        What the exported artifact promises: genes, conditions, prior, provenance.
    history
        Losses of each epoch, in nats per cell: ``"loss"``, ``"reconstruction"``, ``"kl"``, with
        validation cells also ``"val_loss"`` and so on, and ``"kl_weight"``.
    interrupted
        Whether Ctrl-C ended the training before its time.
    """

    spec: GeneratorSpec
    history: History
    interrupted: bool
    vae: VAE = field(repr=False)
    features: Features = field(repr=False)
    scaling: Scaling | None = field(repr=False)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __repr__(self) -> str:
        spec, keys = self.spec, ", ".join(self.spec.conditions.names) or "none"
        epochs = len(self.history.get("loss", ()))
        return (
            f"VAEFit(likelihood={spec.likelihood!r}, n_genes={spec.n_genes}, "
            f"n_latent={spec.n_latent}, conditions: {keys}, epochs={epochs}"
            f"{', interrupted' if self.interrupted else ''})"
        )

    def encode(
        self, data: Any, *, labels: Any = None, layer: str | None = None
    ) -> NDArray[np.float32]:
        """Return the posterior means of cells' latent variables.

        Parameters
        ----------
        data
            An AnnData or matrix with the genes and, for conditional models, the condition
            columns that the model was trained with; genes are matched by name.
        labels
            Labels of an array's cells, as in `fit_vae`.
        layer
            Layer to read instead of ``X``.

        Returns
        -------
        z : array, ``(n_cells, n_latent)``, float32
        """
        return self._posterior(self._cells(data, labels, layer))[0]

    def reconstruct(self, data: Any, *, labels: Any = None, layer: str | None = None) -> AnnData:
        """Encode cells, take the posterior mean, decode to expected expression.

        Returns
        -------
        AnnData
            Expected values in data units with the condition columns in ``obs``,
            ``obs["source"] == "reconstruction"`` and the posterior means in ``obsm["z"]``.
        """
        anndata = require("anndata", extra="train", purpose="reconstruct")
        pandas = require("pandas", extra="train", purpose="reconstruct")
        cells = self._cells(data, labels, layer)
        z, _ = self._posterior(cells)
        blocks = []
        for start in range(0, len(cells), _ROWS_PER_STEP):
            rows = slice(start, start + _ROWS_PER_STEP)
            inputs = {"z": z[rows], "condition": cells.condition[rows].cpu().numpy()}
            inputs["library"] = cells.log_library[rows].exp().cpu().numpy()
            outputs = torch_outputs(self.vae, self.scaling, inputs)
            mean = outputs["mean"]
            if "zero_logits" in outputs:
                mean = mean / (1 + np.exp(outputs["zero_logits"]))
            blocks.append(mean.astype(np.float32))
        columns: dict[str, Any] = {
            key.name: pandas.Categorical.from_codes(
                cells.data.codes[:, index], list(key.categories), ordered=key.ordered
            )
            for index, key in enumerate(cells.data.keys)
        }
        columns["source"] = pandas.Categorical(["reconstruction"] * len(cells))
        obs = pandas.DataFrame(columns, index=list(cells.data.obs_names))
        var = pandas.DataFrame(index=list(self.spec.var_names))
        return anndata.AnnData(np.concatenate(blocks), obs=obs, var=var, obsm={"z": z})

    def artifact_bytes(self, *, precision: Precision = "float32") -> bytes:
        """Return the artifact: one self-contained ONNX model. The same fit, the same bytes."""
        return export_bytes(self.vae, self.scaling, self.spec, precision)

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        precision: Precision = "float32",
        overwrite: bool = False,
    ) -> Path:
        """Write the artifact, after a check that it computes what the trained model does.

        Parameters
        ----------
        path
            File to write.
        precision
            ``"float32"``, or ``"int8"`` for smaller files and faster generation where genes and
            hidden units are many: the last layer's weights are rounded to 8 bits. The error that
            makes in the means is measured and stored in the artifact, as ``spec.precision``.
        overwrite
            Replace an existing file.

        Raises
        ------
        OutputError
            If the file exists and `overwrite` is false, or it cannot be written; nothing is
            left behind.
        VaexprsError
            If ``"int8"`` is asked of a decoder without a hidden layer of at least 64 units.
        """
        content = self.artifact_bytes(precision=precision)
        return write_atomically(path, content, overwrite=overwrite)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the whole fit, encoder included, to one ``.safetensors`` file (no pickle)."""
        content = storage.to_bytes(
            self.vae, self.features, self.scaling, self.spec, self.history, self.interrupted
        )
        return write_atomically(path, content, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> VAEFit:
        """Read a fit that `save` wrote.

        Raises
        ------
        ArtifactError
            If the file is no saved fit.
        """
        where = choose_device(device)
        parts = storage.read(path)
        parts.vae.to(where).eval()
        return cls(
            parts.spec, parts.history, parts.interrupted, parts.vae, parts.features,
            parts.scaling, where,
        )  # fmt: skip

    def _cells(self, data: Any, labels: Any, layer: str | None) -> Cells:
        known = self.spec.conditions.keys
        expression = read_expression(
            data,
            labels=labels,
            condition_keys=[key.name for key in known],
            layer=layer if layer is not None else self._layer_of(data),
            known_keys=known,
            genes=self.spec.var_names,
        )
        expression.check_for(self.spec.likelihood)
        return Cells(expression, self.features, self.scaling, self.spec.likelihood, self.device)

    def _layer_of(self, data: Any) -> str | None:
        """Name the layer that the model was trained on, where the data have it."""
        layer: str | None = self.spec.provenance.get("data", {}).get("layer")
        return layer if layer is not None and layer in getattr(data, "layers", ()) else None

    @torch.no_grad()
    def _posterior(self, cells: Cells) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.vae.eval()
        parts = [self.vae.encoder(batch) for _, batch in cells.batches(_ROWS_PER_STEP)]
        mean = torch.cat([mean for mean, _ in parts]).cpu().numpy()
        log_variance = torch.cat([log_variance for _, log_variance in parts]).cpu().numpy()
        return mean, log_variance


def fit_vae(
    adata: Any,
    *,
    condition_keys: str | Sequence[str] | None = None,
    labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
    layer: str | None = None,
    likelihood: Likelihood | str = "auto",
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
        (continuous, non-negative, with exact zeros: RPKM, TPM, log-normalised), or ``"auto"``,
        which looks at the values, chooses, and says so.
    n_latent
        Size of the latent space; by default as many as so many cells can tell apart, at most 30.
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
    _check_numbers(
        kl_weight=(kl_weight, 0, True), kl_warmup=(kl_warmup, 0, True), epochs=(epochs, 1, True),
        batch_size=(batch_size, 1, True), learning_rate=(learning_rate, 0, False),
    )  # fmt: skip
    where = choose_device(device)
    data = read_expression(adata, condition_keys=condition_keys, labels=labels, layer=layer)
    law, reason = _likelihood(data, likelihood)
    data.check_for(law)
    if likelihood == "auto":
        _log.info("likelihood %r: %s", law, reason)

    rng = np.random.default_rng(seed)
    if validation_data is not None:
        training, validation = data, _validation(validation_data, data, layer)
        validation.check_for(law)
    elif not 0 <= validation_split < 1:
        raise ValueError(f"validation_split must be in [0, 1), got {validation_split}.")
    else:
        kept, held_out = split_cells(data.group, validation_split, rng)
        training = data.take(kept) if held_out.size else data
        validation = data.take(held_out) if held_out.size else None

    automatic = n_latent is None
    n_latent = choose_latent(training.n_cells, data.n_genes) if n_latent is None else n_latent
    _check_numbers(n_latent=(n_latent, 1, True))
    plain = encoder is not None or decoder is not None
    encoder_layers, decoder_layers = _layers(hidden, encoder, decoder, data.n_genes, law)
    scaling = Scaling.of(training, law)
    features, components = _features(training, law, scaling, None if plain else n_latent, seed)
    if not plain and automatic:
        n_latent = features.n_inputs
    members = _members(data)
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
        _set_embedding(vae)
        set_initial_weights(vae, training, features, scaling, components)
    schedule = Schedule(epochs, batch_size, learning_rate, kl_weight, kl_warmup, patience, seed)

    own = None
    if components is not None:
        own = (components.scores / np.sqrt(components.total)).astype(np.float32)
    cells = Cells(training, features, scaling, law, where, inputs=own)
    others = Cells(validation, features, scaling, law, where) if validation else None
    trained = train(
        vae, cells, others, schedule,
        progress=progress,
    )  # fmt: skip
    if trained.interrupted:
        warnings.warn(
            f"training was interrupted after {len(trained.history['loss'])} epochs; the best "
            "weights so far are kept.",
            stacklevel=2,
        )

    fit = VAEFit(
        GeneratorSpec(
            likelihood=law,
            observation="mean" if law == "bernoulli" and not _is_binary(data) else "draw",
            n_latent=n_latent,
            var_names=data.var_names,
            conditions=data.conditions,
            prior=Prior(),
            library=_placeholder_library(data, law),
            provenance=_provenance(data, layer, settings, reason, trained.best_epoch),
            architecture=_describe(shape),
        ),
        trained.history,
        trained.interrupted,
        vae,
        features,
        scaling,
        where,
    )
    known = [cells] if validation_data is not None or others is None else [cells, others]
    _fit_generator(fit, known, data.conditions, calibrate, seed)
    return fit


def _fit_generator(
    fit: VAEFit, parts: list[Cells], conditions: Conditions, calibrate: bool, seed: int
) -> None:
    """Fit the prior and the law of library sizes, then correct the decoder on their draws."""
    data = concatenate([part.data for part in parts])
    posteriors = [fit._posterior(part) for part in parts]
    mean = np.concatenate([mean for mean, _ in posteriors])
    log_variance = np.concatenate([log_variance for _, log_variance in posteriors])
    rng = np.random.default_rng([seed, 1])
    noise = rng.standard_normal(mean.shape)
    z = mean + np.exp(0.5 * log_variance) * noise
    n_groups = len(conditions.n_cells)
    law = fit_library(data.library, data.group, n_groups) if fit.spec.is_counts else None
    log_library = np.log(data.library) if fit.spec.is_counts else None
    prior = fit_prior(z, log_library, data.group, n_groups, seed)
    fit.spec = replace(fit.spec, prior=prior, library=law)
    if not calibrate:
        return
    calibrate_decoder(fit.vae, data, Draws.of(fit.vae, fit.scaling, fit.spec, seed))
    if fit.features.components is None:
        return
    scores = np.concatenate([part.inputs for part in parts])
    known = scores if log_library is None else np.column_stack([scores, log_library])
    for step in range(_MATCHING_STEPS):
        draws = Draws.of(fit.vae, fit.scaling, fit.spec, seed + step)
        views = []
        for view in range(2):
            seen = fit.features.inputs(draws.observe(seed=2 * step + view))
            views.append(
                seen if log_library is None else np.column_stack([seen, np.log(draws.library)])
            )
        prior = match_scores(prior, draws.y, *views, draws.group, known, data.group)
        fit.spec = replace(fit.spec, prior=prior)
    calibrate_decoder(fit.vae, data, Draws.of(fit.vae, fit.scaling, fit.spec, seed))


def _placeholder_library(data: ExpressionData, law: Likelihood) -> Any:
    if law not in COUNT_LIKELIHOODS:
        return None
    fitted = fit_library(data.library, data.group, len(data.conditions.n_cells))
    return replace(fitted, kind="lognormal")


def _likelihood(data: ExpressionData, likelihood: str) -> tuple[Likelihood, str]:
    if likelihood == "auto":
        return choose_likelihood(data)
    known = get_args(Likelihood)
    if likelihood not in known:
        raise ValueError(
            f"unknown likelihood {likelihood!r}: " + near_matches(likelihood, [*known, "auto"])
        )
    return likelihood, "as asked"  # type: ignore[return-value]


def _layers(
    hidden: Any, encoder: Any, decoder: Any, n_genes: int, likelihood: Likelihood
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


def _features(
    data: ExpressionData, likelihood: Likelihood, scaling: Scaling | None, n_components: int | None,
    seed: int,
) -> tuple[Features, Components | None]:  # fmt: skip
    kind = feature_kind(data, likelihood)
    shift = np.zeros(data.n_genes, np.float32)
    scale = np.ones(data.n_genes, np.float32)
    if scaling is not None:
        varies = scaling.stretch > 0
        shift = np.where(varies, scaling.shift, 0).astype(np.float32)
        scale = np.where(varies, 1 / np.where(varies, scaling.stretch, 1), 0).astype(np.float32)
    features = Features(kind, shift, scale)
    if n_components is None:
        return features, None
    values = features.transform(data.X)
    scaled = values * scale if isinstance(values, np.ndarray) else values.multiply(scale).tocsr()
    most = max(1, min(n_components, data.n_cells - 1, data.n_genes))
    components = cross_fit(scaled, most, seed)
    return replace(
        features,
        components=components.vectors.astype(np.float32),
        offset=(components.centre @ components.vectors).astype(np.float32),
        score_scale=np.sqrt(components.total).astype(np.float32),
    ), components


def _members(data: ExpressionData) -> NDArray[np.float32]:
    """Say which categories make up the combinations that get corrections of their own."""
    conditions = data.conditions
    kept = np.argsort(-conditions.n_cells, kind="stable")[:_MOST_COMBINATIONS]
    kept = np.sort(kept[conditions.n_cells[kept] >= _CELLS_OF_OWN])
    if len(data.keys) < 2:  # one key: its categories are the combinations
        kept = kept[:0]
    starts = np.concatenate([[0], np.cumsum(data.sizes)[:-1]]).astype(np.int64)
    member = np.zeros((int(data.sizes.sum()), len(kept)), np.float32)
    for column, codes in enumerate(conditions.combinations[kept]):
        member[codes + starts, column] = 1.0
    return member


def _set_embedding(vae: VAE) -> None:
    shape = vae.shape
    if shape.embedding:
        vae.decoder.embedding.copy_(
            torch.randn(shape.n_conditions, shape.embedding) / shape.embedding**0.5
        )


def _validation(validation_data: Any, data: ExpressionData, layer: str | None) -> ExpressionData:
    labels = None
    if isinstance(validation_data, tuple):  # an array with its labels
        validation_data, labels = validation_data
    return read_expression(
        validation_data, labels=labels, layer=layer, known_keys=data.keys,
        condition_keys=[key.name for key in data.keys], genes=data.var_names,
    )  # fmt: skip


def _is_binary(data: ExpressionData) -> bool:
    return data.is_integer and data.minimum >= 0 and data.maximum <= 1


def _describe(shape: Architecture) -> dict[str, Any]:
    """Describe the layers for people and plots."""

    def layer(name: str, units: int, activation: str) -> dict[str, Any]:
        return {"name": name, "units": units, "activation": activation}

    encoder = [layer("scores" if shape.linear_path else "genes", shape.n_inputs, "linear")]
    encoder += [
        layer(f"hidden {i}", x.units, x.activation) for i, x in enumerate(shape.encoder, start=1)
    ]
    encoder.append(layer("z", shape.n_latent, "linear"))
    link = {"bernoulli": "sigmoid", "gaussian": "linear", "zigamma": "exp"}
    decoder = [layer("z", shape.n_latent, "linear")]
    decoder += [
        layer(f"hidden {i}", x.units, x.activation) for i, x in enumerate(shape.decoder, start=1)
    ]
    decoder.append(layer("mean", shape.n_genes, link.get(shape.likelihood, "softmax")))
    return {
        "layout": "linear path" if shape.linear_path else "plain",
        "encoder": encoder,
        "decoder": decoder,
    }


def _provenance(
    data: ExpressionData, layer: str | None, settings: dict[str, Any], reason: str, best: int
) -> dict[str, Any]:
    # reproducible builds set the date: https://reproducible-builds.org/specs/source-date-epoch
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = (
        datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
        if epoch
        else datetime.datetime.now(datetime.UTC)
    )
    return {
        "vaexprs": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": now.isoformat(timespec="seconds"),
        "data": {
            "n_cells": data.n_cells,
            "n_genes": data.n_genes,
            "layer": layer,
            "sha256": data.fingerprint(),
        },
        "training": {**settings, "likelihood_reason": reason, "best_epoch": best + 1},
    }


def _check_numbers(**limits: tuple[float, float, bool]) -> None:
    for name, (value, low, inclusive) in limits.items():
        bad = isinstance(value, bool) or not np.isreal(value) or not np.isfinite(value)
        if bad or value < low or (value == low and not inclusive):
            sign = ">=" if inclusive else ">"
            raise ValueError(f"{name} must be a number {sign} {low}, got {value!r}.")
