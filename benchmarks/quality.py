"""The table of quality: bars against scores, on real cells that the model never saw.

Each set of cells is split 70/30 by cell type; `fit_vae` trains on the 70 % with its defaults, the
fit is exported, as many cells as were trained on are generated from the artifact alone, and scored
against the 30 %. Medians over seeds; each seed makes the split, the fit and the draws. ``yan`` has
too few cells for a split: all are trained on, and nearest neighbours leave the cell itself out.

    python benchmarks/quality.py --data ../shared/data --seeds 0 1 2 --json quality.json

About an hour for everything on two cores; ``--without augmentation`` saves half of it. SCVI is
compared where ``--scvi-python`` names an interpreter that has scvi-tools (`scvi_quality.py`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np

from bars import Labelled, control_scores, generated_scores, split_rows, whole_scores
from rare_classes import augmentation
from timing import machine
from vaexprs import fit_vae, gen_exprs

KEYS = {
    "pbmc_ifnb": ["cell_type", "condition"], "pbmc_facs": ["cell_type"], "yan": ["cell_type"],
}  # fmt: skip
#: What is shown, and the bar as a function of the control.
Bar = Callable[[float], float]
BARS: dict[str, dict[str, tuple[str, Bar, bool]]] = {
    "split": {  # key: (what, bar, whether less is better)
        "forest_components": ("forest AUC, 50 components", lambda _: 0.65, True),
        "forest_genes": ("forest AUC, 500 genes", lambda _: 0.66, True),
        "logistic_genes": ("logistic AUC, 500 genes", lambda _: 0.57, True),
        "correlation": ("gene-gene correlation difference", lambda c: 1.4 * c, True),
        "zeros": ("zero-fraction error per gene", lambda c: 1.5 * c, True),
        "library": ("library KS", lambda _: 0.06, True),
        "detected": ("genes-detected KS", lambda _: 0.08, True),
        "agreement": ("condition agreement", lambda c: c - 0.03, False),
        "transfer": ("macro F1, trained on generated", lambda c: 0.95 * c, False),
    },
    "whole": {
        "zeros": ("zero-fraction error per gene", lambda _: 0.05, True),
        "agreement": ("agreement of the nearest real cell", lambda _: 0.95, False),
        "variance_low": ("median variance ratio, at least", lambda _: 0.8, False),
        "variance_high": ("median variance ratio, at most", lambda _: 1.25, True),
        "distance": ("nearest distance over leave-one-out", lambda _: 0.9, False),
        "copies": ("exact copies", lambda _: 0.0, True),
    },
}
#: Bars that differ from set to set.
OWN_BARS = {("pbmc_facs", "forest_components"): 0.66}
EPOCHS_TIMED = 6


def read(data: Path, name: str) -> anndata.AnnData:
    """Read a set, or say what is missing."""
    path = data / f"{name}.h5ad"
    if not path.exists():
        sys.exit(f"{path} is absent: name the folder of the data sets with --data.")
    return anndata.read_h5ad(path)


def generate(
    train: anndata.AnnData, keys: list[str], seed: int, n_draws: int = 1
) -> tuple[list[anndata.AnnData], dict[str, float]]:
    """Fit with the defaults, export, and generate draws of as many cells from the artifact."""
    started = time.perf_counter()
    fit = fit_vae(train, condition_keys=keys, seed=seed, progress=False)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        path = fit.export(Path(folder) / "model.onnx")
        made = [
            gen_exprs(path, train.n_obs, seed=seed, first_cell=draw * train.n_obs)
            for draw in range(n_draws)
        ]
    return made, {"seconds": seconds, "epochs": len(fit.history["loss"])}


def seconds_per_epoch(train: anndata.AnnData, name: str) -> float:
    """Time epochs of training without what comes before and after them."""

    def run(epochs: int) -> float:
        started = time.perf_counter()
        fit_vae(
            train, condition_keys=KEYS[name], epochs=epochs, patience=None, validation_split=0,
            calibrate=False, progress=False,
        )  # fmt: skip
        return time.perf_counter() - started

    few = run(1)
    return (run(1 + EPOCHS_TIMED) - few) / EPOCHS_TIMED


def scvi_cells(
    python: str, train: anndata.AnnData, name: str, seed: int
) -> tuple[dict[str, anndata.AnnData], float]:
    """Have the other environment train SCVI and sample from it both ways."""
    worker = Path(__file__).with_name("scvi_quality.py")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "train.h5ad"
        train.write_h5ad(source)
        subprocess.run(
            [python, str(worker), str(source), folder, str(seed), str(EPOCHS_TIMED), *KEYS[name]],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        cells = {
            kind: anndata.read_h5ad(Path(folder) / f"{kind}.h5ad")
            for kind in ("SCVI from N(0, I)", "SCVI posterior")
        }
        return cells, float(json.loads((Path(folder) / "timing.json").read_text())["per_epoch"])


def measure(data: Path, name: str, seed: int, scvi_python: str | None) -> dict[str, Any]:
    """Score one set with one seed."""
    cells = read(data, name)
    key = KEYS[name][0]
    if name == "yan":
        (made,), fitted = generate(cells, KEYS[name], seed)
        scores, control = whole_scores(Labelled.of(cells, key), Labelled.of(made, key))
        return {"scores": {"vaexprs": scores}, "control": control, "fit": fitted}
    rows = split_rows(np.asarray(cells.obs[key].astype(str)), seed)
    train, test = (cells[part].copy() for part in rows)
    sides = Labelled.of(train, key), Labelled.of(test, key)
    (made,), fitted = generate(train, KEYS[name], seed)
    scores = {"vaexprs": generated_scores(*sides, Labelled.of(made, key), seed=seed)}
    if scvi_python:
        fitted["per_epoch"] = seconds_per_epoch(train, name)
        theirs, fitted["scvi_per_epoch"] = scvi_cells(scvi_python, train, name, seed)
        for kind, others in theirs.items():
            scores[kind] = generated_scores(*sides, Labelled.of(others, key), seed=seed)
    return {"scores": scores, "control": control_scores(*sides, seed=seed), "fit": fitted}


def table(name: str, runs: list[dict[str, Any]]) -> str:
    """Write the medians of a set as a Markdown table."""
    kinds = list(runs[0]["scores"])

    def median(values: list[float]) -> float:
        return statistics.median(values)

    lines = [
        f"### {name}", "",
        f"| score | bar | {' | '.join(kinds)} | real cells | seeds of vaexprs | |",
        "| --- " * (len(kinds) + 5) + "|",
    ]  # fmt: skip
    for key, (what, bar, less) in BARS["whole" if name == "yan" else "split"].items():
        control = median([run["control"].get(key, np.nan) for run in runs])
        values = [run["scores"]["vaexprs"][key] for run in runs]
        limit = OWN_BARS.get((name, key), bar(control))
        holds = median(values) <= limit if less else median(values) >= limit
        shown = [f"{median([run['scores'][kind][key] for run in runs]):.4f}" for kind in kinds]
        own = "—" if np.isnan(control) else f"{control:.4f}"
        seeds = ", ".join(f"{value:.3f}" for value in values)
        lines.append(
            f"| {what} | {'<=' if less else '>='} {limit:.4f} | {' | '.join(shown)} | {own} | "
            f"{seeds} | {'holds' if holds else 'MISSED'} |"
        )
    fits = [run["fit"] for run in runs]
    lines += ["", f"Fit: {median([fit['seconds'] for fit in fits]):.0f} s, "
              f"{median([fit['epochs'] for fit in fits]):.0f} epochs (medians)."]  # fmt: skip
    if "per_epoch" in fits[0]:
        ours, theirs = (median([fit[k] for fit in fits]) for k in ("per_epoch", "scvi_per_epoch"))
        lines.append(f"Per epoch: {ours:.2f} s, SCVI of the same widths {theirs:.2f} s.")
    return "\n".join(lines)


def main() -> None:
    """Measure what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="+", choices=list(KEYS), default=list(KEYS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--scvi-python", help="interpreter of an environment with scvi-tools")
    parser.add_argument("--without", choices=["augmentation", "bars"], help="leave a part out")
    parser.add_argument("--json", type=Path, help="write every figure here, too")
    options = parser.parse_args()
    for name in options.sets:
        read(options.data, name)
    found: dict[str, Any] = {"machine": machine(), "sets": {}, "augmentation": {}}
    print(", ".join(f"{key} {value}" for key, value in found["machine"].items()), "\n")
    for name in options.sets if options.without != "bars" else []:
        runs = [measure(options.data, name, seed, options.scvi_python) for seed in options.seeds]
        found["sets"][name] = runs
        print(table(name, runs), "\n", flush=True)
    for name in options.sets if options.without != "augmentation" else []:
        if name == "yan":
            continue
        found["augmentation"][name], text = augmentation(read(options.data, name), name, KEYS[name])
        print(text, "\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
