"""How real generated cells are, on real cells that the model never saw.

    python -m benchmarks.realism.quality ../shared/data/pbmc_ifnb.h5ad:cell_type,condition \
        ../shared/data/pbmc_facs.h5ad:cell_type ../shared/data/yan.h5ad:cell_type --seeds 0 1 2

Each file is followed by the columns of ``obs`` that condition the model. Cells are split 70/30
within each combination; `fit_vae` trains on the 70 % with its defaults, the fit is exported, as
many cells are generated from the artifact alone, and `vaexprs.evaluation.evaluate` scores them
against the 30 %. Beside each score stands that of real cells in the place of generated ones.
Medians over the seeds; a seed makes the split, the fit, the draws and the scores. Sets of fewer
than 300 cells are not split.

``--rare N ...`` adds the F1 of rare classes, of which N real cells are kept, that are topped up by
generated cells. It fits again for each class and draw: 15 times for each N. ``--scvi-python`` names
an interpreter with scvi-tools to compare with (`scvi_quality.py`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anndata

from benchmarks.cells import read, split
from benchmarks.realism.few_cells import span_of, told
from benchmarks.timing import machine
from vaexprs import fit_vae, gen_exprs
from vaexprs.evaluation import evaluate
from vaexprs.evaluation.scores import augmentation

#: Scores that the tables show, by their key in the report.
SPLIT_SCORES = (
    "forest_auc_components", "forest_auc_genes", "boosting_auc", "logistic_auc_genes",
    "correlation_difference", "within_correlation_kept", "span_auc", "zero_fraction_error",
    "library_ks", "genes_detected_ks", "condition_agreement", "transfer_f1", "exact_copies",
)  # fmt: skip
WHOLE_SCORES = (
    "nearest_real_agreement", "whole_zero_fraction_error", "whole_variance_ratio", "exact_copies",
)  # fmt: skip
#: Fewest cells that are split: of fewer, too few are left to test with.
LEAST_TO_SPLIT = 300


def fitted(
    train: anndata.AnnData, test: anndata.AnnData | None, keys: list[str], seed: int
) -> tuple[anndata.AnnData, dict[str, Any]]:
    """Fit, export, generate one cell per training cell; return the cells and facts of the fit.

    The facts are its CPU seconds, and the success of the span attack with the artifact against the
    test cells (see `few_cells.py`).
    """
    started = time.process_time()
    fit = fit_vae(train, condition_keys=keys, seed=seed, progress=False)
    facts: dict[str, Any] = {"seconds": time.process_time() - started}
    if test is not None:
        real, new = (fit.features.transform(side.X).toarray() for side in (train, test))
        facts["artifact_span_auc"] = told(span_of(fit), real.mean(axis=0), real, new)
    with tempfile.TemporaryDirectory() as folder:
        path = fit.export(Path(folder) / "model.onnx")
        return gen_exprs(path, train.n_obs, seed=seed), facts


def scvi_cells(
    python: str, train: anndata.AnnData, keys: list[str], seed: int
) -> dict[str, anndata.AnnData]:
    """Have the other environment train SCVI and sample from it both ways."""
    worker = Path(__file__).with_name("scvi_quality.py")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "train.h5ad"
        train.write_h5ad(source)
        subprocess.run(
            [python, str(worker), str(source), folder, str(seed), *keys],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        kinds = ("SCVI from N(0, I)", "SCVI posterior")
        return {kind: anndata.read_h5ad(Path(folder) / f"{kind}.h5ad") for kind in kinds}


def measure(
    path: Path,
    keys: list[str],
    seed: int,
    *,
    rare: tuple[int, ...] = (),
    scvi_python: str | None = None,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Return the scores of one set with one seed: a flat report for each kind of cells."""
    cells = read(path, keys)
    train, test = (cells, None) if cells.n_obs < LEAST_TO_SPLIT else split(cells, keys, seed=seed)
    made, facts = fitted(train, test, keys, seed)
    if kept is not None and test is not None:
        kept.mkdir(parents=True, exist_ok=True)
        for name, side in (("train", train), ("test", test), ("generated", made)):
            side.write_h5ad(kept / f"{name}.h5ad")

    def refit(kept: anndata.AnnData) -> Any:
        fit = fit_vae(kept, condition_keys=keys, seed=seed, progress=False)
        return lambda category, n: gen_exprs(fit, n, conditions={keys[0]: category}, seed=seed)

    def scores(generated: anndata.AnnData, **options: Any) -> dict[str, Any]:
        with patch.object(augmentation, "N_REAL", rare or augmentation.N_REAL):
            report = evaluate(
                train, generated, real_test=test, condition_keys=keys, seed=seed, **options
            )
        return report.to_dict()

    found = {"vaexprs": scores(made, refit=refit if rare else None)}
    if scvi_python and test is not None:
        for kind, others in scvi_cells(scvi_python, train, keys, seed).items():
            found[kind] = scores(others)
    return {"scores": found, "seed": seed, "cells": train.n_obs, "genes": train.n_vars, **facts}


def table(name: str, runs: list[dict[str, Any]]) -> str:
    """Return the medians of a set as a Markdown table."""
    kinds = list(runs[0]["scores"])

    def median(kind: str, key: str) -> str:
        values = [run["scores"][kind].get(key) for run in runs]
        known = [value for value in values if value is not None]
        return f"{statistics.median(known):.3f}" if known else "-"

    shown = SPLIT_SCORES if "forest_auc_genes" in runs[0]["scores"]["vaexprs"] else WHOLE_SCORES
    keys = [
        key
        for key in runs[0]["scores"]["vaexprs"]
        if key.split(".")[0] in shown and f"{key}.control" in runs[0]["scores"]["vaexprs"]
    ]
    lines = [
        f"### {name}, {runs[0]['cells']:,} x {runs[0]['genes']:,}", "",
        f"| score | {' | '.join(kinds)} | real cells | seeds |", "| --- " * (len(kinds) + 3) + "|",
    ]  # fmt: skip
    for key in keys:
        values = " | ".join(median(kind, key) for kind in kinds)
        seeds = ", ".join(f"{run['scores']['vaexprs'][key] or 0:.3f}" for run in runs)
        lines.append(f"| {key} | {values} | {median('vaexprs', f'{key}.control')} | {seeds} |")
    rare = [key for key in runs[0]["scores"]["vaexprs"] if key.startswith("augmentation.")]
    if rare:
        lines += ["", "| rare class, real cells, method | F1 |", "| --- | --- |"]
        lines += [f"| {key.removeprefix('augmentation.')} | {median('vaexprs', key)} |"
                  for key in rare]  # fmt: skip
    seconds = ", ".join(f"{run['seconds']:.0f}" for run in runs)
    lines += ["", f"CPU seconds of the fit: {seconds}."]
    attacks = [f"{run['artifact_span_auc']:.3f}" for run in runs if "artifact_span_auc" in run]
    if attacks:
        lines += [f"Span attack with the artifact against test cells: {', '.join(attacks)}."]
    return "\n".join(lines)


def main() -> None:
    """Measure the files that are named and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE.h5ad:KEY[,KEY]")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--rare", nargs="+", type=int, default=(), metavar="N",
        help="score rare classes, too, with N real cells of each",
    )  # fmt: skip
    parser.add_argument("--scvi-python", help="interpreter of an environment with scvi-tools")
    parser.add_argument(
        "--json", type=Path, help="write every figure here as it comes; seeds it has are not rerun"
    )
    parser.add_argument("--cells", type=Path, help="write the cells of the last fit to this folder")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    if options.json and options.json.exists():
        found |= json.loads(options.json.read_text())
    print(", ".join(f"{key} {value}" for key, value in found["machine"].items()), "\n")
    for file in options.files:
        path, _, keys = file.rpartition(":")
        runs = found.setdefault(Path(path).stem, [])
        for seed in options.seeds:
            if seed not in {run["seed"] for run in runs}:
                runs += [
                    measure(
                        Path(path), keys.split(","), seed, rare=tuple(options.rare),
                        scvi_python=options.scvi_python, kept=options.cells,
                    )
                ]  # fmt: skip
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))
        print(table(Path(path).stem, runs), "\n", flush=True)


if __name__ == "__main__":
    main()
