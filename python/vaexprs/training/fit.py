"""`fit_vae`: from expression data to a `VAEFit`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from vaexprs.checks import known_arguments, real, whole
from vaexprs.data import ExpressionData, read_expression
from vaexprs.data.labels import key_names
from vaexprs.data.open import CellsLike
from vaexprs.data.recovery import common_sum, counts_of, with_counts
from vaexprs.errors import ArgumentError
from vaexprs.spec import GeneratorSpec, Normalisation
from vaexprs.training.calibration.following import slopes
from vaexprs.training.calibration.latent import fit_latent_law, with_groups_in_z
from vaexprs.training.calibration.leak import span_attack
from vaexprs.training.calibration.steps import State, calibrated
from vaexprs.training.defaults import choose_device, choose_likelihood
from vaexprs.training.inputs.cautions import cautions
from vaexprs.training.inputs.prepare import prepare, read_validation, together
from vaexprs.training.likelihoods.base import TrainingLaw
from vaexprs.training.likelihoods.registry import training_law
from vaexprs.training.network.build import build, describe
from vaexprs.training.network.layers import LayersLike, layers_of
from vaexprs.training.network.loop import Schedule, train
from vaexprs.training.progress import Report
from vaexprs.training.provenance import provenance
from vaexprs.training.result import VAEFit

__all__ = ["VAEFit", "fit_vae"]

#: Success of the span attack from which a fit warns; 0.5 tells nothing.
_LEAK = 0.6
#: Largest size of the latent space that may be asked for; memory grows with its square.
_LARGEST_LATENT = 1024
_log = logging.getLogger("vaexprs")


#: Names of the R package VAExprs and of others, and ours.
_ELSEWHERE = {
    "object": "adata", "x_train": "adata", "data": "adata", "y_train": "labels",
    "x_val": "validation_data", "y_val": "validation_data", "encoder_layers": "encoder",
    "decoder_layers": "decoder", "latent_dim": "n_latent", "latent_size": "n_latent",
    "regularization": "kl_weight", "beta": "kl_weight", "lr": "learning_rate",
    "optimizer": "learning_rate", "max_epochs": "epochs", "batch_key": "condition_keys",
    "labels_key": "condition_keys", "gene_likelihood": "likelihood", "loss": "likelihood",
    "n_hidden": "hidden", "n_layers": "hidden", "early_stopping": "patience",
    "random_state": "seed", "verbose": "progress",
}  # fmt: skip


@known_arguments(_ELSEWHERE)
def fit_vae(
    adata: CellsLike,
    *,
    condition_keys: str | Sequence[str] | None = None,
    labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
    layer: str | None = None,
    raw: bool = False,
    missing: str | None = None,
    drop_empty: bool = False,
    in_memory: bool | None = None,
    likelihood: str = "auto",
    n_latent: int | None = None,
    hidden: LayersLike = (128,),
    encoder: LayersLike | None = None,
    decoder: LayersLike | None = None,
    kl_weight: float = 1.0,
    kl_warmup: int = 10,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    validation_split: float = 0.1,
    validation_data: CellsLike | tuple[CellsLike, Any] | None = None,
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
        An AnnData, the path of a file of cells (``.h5ad``, ``.zarr``, 10x ``.h5`` or folder), or
        cells x genes values (array, sparse matrix, data frame). It is not changed.
    condition_keys
        Columns of ``obs`` to condition on, such as ``["cell_type", "batch"]``; generation can ask
        for their categories. Kinds of cells that lie apart and have no label are found, too.
    labels
        In place of ``obs`` for arrays: one label per cell, or a mapping from names to labels.
    layer
        Layer of the AnnData to read instead of ``X``.
    raw
        Read ``raw`` of the AnnData, and its genes, instead of ``X``.
    missing
        Category of the cells without a label; they are refused where it is None.
    drop_empty
        Leave out cells whose values are all zero, which count likelihoods refuse.
    in_memory
        Whether a file is read as a whole, or chunk by chunk in each pass, in bounded memory. By
        default a path is read as a whole up to 2^27 stored values (1 GB as CSR), and a backed
        AnnData in chunks. The fit is the same.
    likelihood
        Law of the values: ``"bernoulli"`` (the cross-entropy of values scaled to 0..1 by each
        gene's extremes; values that are not binary then scatter about its mean by normal noise of
        the data's size), ``"gaussian"``, ``"rectified_gaussian"`` (a normal law censored at 0),
        ``"poisson"``, ``"nb"``, ``"zinb"``, ``"zigamma"``
        (non-negative with exact zeros: RPKM, TPM, log-normalised; counts of reads, whose draws are
        rounded to whole numbers), or ``"auto"``, which chooses by the values. Values
        that were made from counts (scaled to a sum per cell, perhaps logged) are fitted as counts,
        and generated cells are on the scale of the data. The reason is
        logged and kept in ``spec.provenance["training"]["likelihood_reason"]``.
    n_latent
        Size of the latent space, at most 1024. By default one for 8 cells, at most 30, or up to 64
        where principal components beyond 30 are signal rather than noise; fewer where new cells
        would not show them. Where hidden groups are found, the artifact has a few more, which
        hold the number of a cell's group.
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
        Most passes over the cells; cells per step; step size of Adam.
    validation_split
        Share of the cells, stratified by condition, that is held out for early stopping; at most
        a third of those of each condition.
    validation_data
        Cells to validate on instead, of the same kind as `adata`, or an array with its labels.
    patience
        Epochs without a better validation loss after which training stops, or None. The best
        weights are restored.
    calibrate
        Whether the latent law and the decoder are corrected after training so that generated
        cells agree with the training cells.
    seed
        Integer in [0, 2**64). The same seed gives the same fit on the same kind of CPU with the
        same number of threads. Torch's global generator is left as it was.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:0"`` or ``"mps"``.
    progress
        Whether to show progress on stderr.

    Returns
    -------
    VAEFit

    Raises
    ------
    ArgumentError
        If an argument is out of its range or has no use beside the others.
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
    schedule = Schedule(
        epochs=whole("epochs", epochs, 1),
        batch_size=whole("batch_size", batch_size, 1),
        learning_rate=real("learning_rate", learning_rate, 0, inclusive=False),
        kl_weight=real("kl_weight", kl_weight, 0, inclusive=True),
        kl_warmup=whole("kl_warmup", kl_warmup, 0),
        patience=None if patience is None else whole("patience", patience, 1),
        seed=whole("seed", seed, 0, 2**64 - 1),
    )
    validation_split = real("validation_split", validation_split, 0, inclusive=True)
    if validation_split >= 1:
        raise ArgumentError(f"validation_split must be in [0, 1), got {validation_split}.")
    n_latent = None if n_latent is None else whole("n_latent", n_latent, 1, _LARGEST_LATENT)
    seed, where = schedule.seed, choose_device(device)
    if missing is not None and labels is None and not key_names(condition_keys):
        raise ArgumentError(
            f"missing={missing!r} names the category of cells without a label, but no labels are "
            "asked for: name their column by condition_keys (vaexprs fit --condition-key), or "
            "leave missing out."
        )
    if likelihood != "auto":
        training_law(likelihood)  # a wrong name is answered before anything is read

    plain = encoder is not None or decoder is not None
    reading: dict[str, Any] = {
        "layer": layer, "raw": raw, "missing": missing, "drop_empty": drop_empty,
        "in_memory": in_memory, "chunked": True,
    }  # fmt: skip

    with Report(progress) as report:
        with report.phase("reading"):
            data = read_expression(adata, condition_keys=condition_keys, labels=labels, **reading)
            data, recovered = _counts_behind(data, likelihood)
            law, reason = _law(data, likelihood)
            normalisation = recovered
            if recovered is None and law.row.support == "nonnegative":
                normalisation = common_sum(data)
            validation = read_validation(validation_data, data, **reading)
            if validation is not None:
                validation = counts_of(validation, recovered)
                validation.check_for(law.name)
            layers = layers_of(hidden, encoder, decoder, data.n_genes, law.row)
            for sentence in cautions(data):
                _log.warning(sentence)

        with report.phase("components"):
            prepared = prepare(
                data, law, n_latent=n_latent, plain=plain, validation=validation,
                validation_split=validation_split, seed=seed,
            )  # fmt: skip
            vae = build(prepared, law, layers, where, seed)
            cells, others = prepared.batches(law, where)

        stops = others is not None and schedule.patience is not None
        with report.phase("training", schedule.patience if stops else schedule.epochs) as show:
            trained = train(vae, cells, others, schedule, law.bounds, show)
        report.line(str(trained))
        if trained.interrupted:
            _log.warning("training %s: the best weights so far are kept.", trained)

        with report.phase("latent law"):
            known = [cells, others] if others is not None and prepared.from_data else [cells]
            everything, scores = together(known)
            prior, library, z = fit_latent_law(vae, known, everything, seed)
        settings = {
            **vars(schedule), "likelihood": likelihood, "n_latent": prepared.n_latent,
            "validation_split": validation_split, "calibrate": calibrate,
            "layout": "plain" if plain else "linear path",
            "likelihood_reason": reason, "best_epoch": trained.best_epoch + 1,
        }  # fmt: skip
        spec = GeneratorSpec(
            likelihood=law.name,
            observation=law.observation(data),
            residual=law.residual(prepared.data),
            normalisation=normalisation,
            n_latent=prepared.n_latent,
            var_names=data.var_names,
            var=data.var,
            conditions=prepared.data.conditions,
            prior=prior,
            library=library,
            provenance=provenance(data, settings),
            architecture=describe(vae.shape, law.row.outputs["mean"].function),
        )
        given = prepared.features, prepared.scaling
        if calibrate:
            slope = slopes(law, vae.decoder, everything, z, seed)
            state = State(vae.decoder, law, *given, spec, everything, scores, seed, slope)
            spec = calibrated(state, report).spec
        if vae.shape.hidden_groups:
            spec = with_groups_in_z(spec, vae.decoder, data.conditions)
        leak = span_attack(vae.decoder, cells, others)
        if leak is not None:
            spec = replace(spec, quality={"fit": {"span_attack_auc": round(leak, 3)}})
            if leak > _LEAK:
                _log.warning(
                    "the artifact tells training cells from the %d validation cells with an area "
                    "under the ROC curve of %.2f (0.5 is chance): where nobody may know whose "
                    "cells it was trained on, do not publish it, or fit with a smaller n_latent.",
                    len(others or ()), leak,
                )  # fmt: skip
    return VAEFit(spec, trained.history, trained.interrupted, vae, *given, where)


def _counts_behind(
    data: ExpressionData, likelihood: str
) -> tuple[ExpressionData, Normalisation | None]:
    """Return the counts behind normalised values, and the normalisation, for laws of counts."""
    found = None
    if likelihood == "auto" or training_law(likelihood).row.reads_library:
        found = with_counts(data)
    if found is None:
        return data, None
    _log.info("%s holds %s: the counts are fitted", data.source, found[1].describe())
    return found


def _law(data: ExpressionData, likelihood: str) -> tuple[TrainingLaw, str]:
    """Return the law of the values, as asked or chosen, and the reason."""
    reason = "as asked"
    if likelihood == "auto":
        likelihood, reason = choose_likelihood(data)
        _log.info("likelihood %r: %s", likelihood, reason)
        if data.advice is not None:
            _log.warning(data.advice)
    law = training_law(likelihood)
    data.check_for(law.name)
    return law, reason
