"""``vaexprs fit``: from an .h5ad of real cells to an artifact."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from vaexprs.cli.console import facts, next_command, note
from vaexprs.cli.options import AsJson, ConditionKeys, Layer, Overwrite, Quiet, Seed

#: For the final name of each file, a function that writes it to a given path.
_Files: TypeAlias = dict[Path, Callable[[Path], object]]


def _likelihoods(incomplete: str) -> list[str]:
    from vaexprs.spec import LIKELIHOODS

    return [name for name in ("auto", *LIKELIHOODS) if name.startswith(incomplete)]


def fit(
    data: Annotated[Path, typer.Argument(metavar="DATA.h5ad", help="Real cells to learn from.")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Artifact to write (.onnx).")],
    condition_key: ConditionKeys = None,
    layer: Layer = None,
    raw: Annotated[bool, typer.Option("--raw", help="Read raw of the AnnData.")] = False,
    missing: Annotated[
        str | None, typer.Option(metavar="NAME", help="Category of cells without a label.")
    ] = None,
    drop_empty: Annotated[
        bool, typer.Option("--drop-empty", help="Leave out cells without any counts.")
    ] = False,
    in_memory: Annotated[
        bool | None,
        typer.Option(
            "--in-memory/--from-disk",
            help="Read the file as a whole, or chunk by chunk; by default by its size.",
        ),
    ] = None,
    likelihood: Annotated[
        str,
        typer.Option(
            help="Law of the values, such as nb or zigamma; auto looks at the data.",
            autocompletion=_likelihoods,
        ),
    ] = "auto",
    n_latent: Annotated[
        int | None, typer.Option(help="Size of the latent space; by default from the data.")
    ] = None,
    hidden: Annotated[
        str, typer.Option(help="Widths of the hidden layers, separated by commas.")
    ] = "128",
    kl_weight: Annotated[float, typer.Option(help="Weight of the KL divergence.")] = 1.0,
    kl_warmup: Annotated[int, typer.Option(help="Epochs over which that weight rises.")] = 10,
    epochs: Annotated[int, typer.Option(help="Passes over the cells, at most.")] = 200,
    batch_size: Annotated[int, typer.Option(help="Cells in a training step.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Step size of Adam.")] = 1e-3,
    validation_split: Annotated[
        float, typer.Option(help="Share of the cells held out for early stopping.")
    ] = 0.1,
    patience: Annotated[
        int, typer.Option(min=0, help="Epochs without improvement before stopping; 0 never stops.")
    ] = 15,
    seed: Seed = 0,
    device: Annotated[
        str, typer.Option(help="Where to train: auto, cpu, cuda, cuda:0 or mps.")
    ] = "auto",
    precision: Annotated[
        Literal["float32", "int8"],
        typer.Option(help="Weights of the artifact; int8 is smaller, faster and less exact."),
    ] = "float32",
    save: Annotated[
        Path | None,
        typer.Option(metavar="FIT.safetensors", help="Also save the whole fit, encoder and all."),
    ] = None,
    history: Annotated[
        Path | None, typer.Option(metavar="HISTORY.json", help="Also save the losses by epoch.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Train on DATA.h5ad and export a generator as one .onnx file.

    Ctrl-C ends the training early: the best weights so far are exported, and the exit code
    is 130.
    """
    from vaexprs.export.quantization import NARROW
    from vaexprs.files import check_output
    from vaexprs.training import fit_vae
    from vaexprs.training.progress import Report

    for path, suffix in ((output, ".onnx"), (save, ".safetensors"), (history, ".json")):
        if path is not None:
            check_output(path, suffixes=[suffix], overwrite=overwrite)
    widths = _widths(hidden)
    if precision == "int8" and max(widths[:1], default=0) < NARROW:
        raise typer.BadParameter(
            f"--precision int8 needs a first --hidden width of at least {NARROW}, got {hidden!r}."
        )
    started = time.perf_counter()
    vae = fit_vae(
        data, condition_keys=condition_key, layer=layer, raw=raw, missing=missing,
        drop_empty=drop_empty, in_memory=in_memory, likelihood=likelihood, n_latent=n_latent,
        hidden=widths, kl_weight=kl_weight, kl_warmup=kl_warmup, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, validation_split=validation_split,
        patience=patience or None, seed=seed, device=device, progress=not quiet,
    )  # fmt: skip
    learned: _Files = {}
    if save is not None:
        learned[save] = vae.save
    if history is not None:
        losses = json.dumps(vae.history, indent=1)
        learned[history] = lambda partial: partial.write_text(losses, encoding="utf-8")
    with Report(not quiet) as report, report.phase("writing"):
        try:
            artifact = vae.artifact_bytes(precision=precision)
        except Exception:  # training is not lost where the export fails
            _write(learned, overwrite)
            raise
        _write({output: lambda partial: partial.write_bytes(artifact), **learned}, overwrite)
    spec = vae.spec
    training: Any = spec.provenance["training"]
    facts(
        {
            "output": str(output),
            "likelihood": spec.likelihood,
            "reason": training.get("likelihood_reason", "asked for"),
            "n_cells": int(spec.conditions.n_cells.sum()),
            "n_genes": spec.n_genes,
            "n_latent": spec.n_latent,
            "conditions": {key.name: len(key.categories) for key in spec.conditions.keys},
            "precision": precision,
            "epochs": len(vae.history["loss"]),
            "best_epoch": training.get("best_epoch"),
            "interrupted": vae.interrupted,
            "seconds": round(time.perf_counter() - started, 1),
        },
        as_json=as_json,
    )
    if vae.interrupted:
        note("training ended early; the artifact holds the best weights until then.")
    if not quiet:
        next_command("vaexprs", "generate", output, "-n", 1000, "-o", "generated.h5ad")
    return 130 if vae.interrupted else 0


def _write(files: _Files, overwrite: bool) -> None:
    """Write files, which appear together."""
    from vaexprs.files import whole_files

    with whole_files(list(files), overwrite=overwrite) as partials:
        for write, partial in zip(files.values(), partials, strict=True):
            write(partial)


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(
            f"--hidden {text!r} is not widths such as 128 or 256,128."
        ) from None
