"""The bars of `quality.py` on any file of counts: how a fit with the defaults does elsewhere.

    python benchmarks/held_out.py plates.h5ad:cell_type,batch worms.h5ad:cell_type --seeds 0

Each file is followed by the columns of ``obs`` that the model is told; cells are split 70/30 by the
first. A line for each run: the scores, beside each what real cells score where that matters. They
are means over several draws of as many cells as were trained on: with a few hundred cells the
forest AUC of one draw has a standard deviation of 0.03.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata
import numpy as np

from bars import Labelled, control_scores, generated_scores, split_rows
from quality import generate
from timing import machine


def line(path: Path, keys: list[str], seed: int, n_draws: int) -> str:
    """Split, fit, generate and score; return a row of a Markdown table."""
    cells = anndata.read_h5ad(path)
    for key in keys:
        cells.obs[key] = cells.obs[key].astype(str).astype("category")
    rows = split_rows(np.asarray(cells.obs[keys[0]].astype(str)), seed)
    train, test = (cells[part].copy() for part in rows)
    for key in keys:
        train.obs[key] = train.obs[key].cat.remove_unused_categories()
    draws, fit = generate(train, keys, seed, n_draws)
    sides = Labelled.of(train, keys[0]), Labelled.of(test, keys[0])
    scores = [generated_scores(*sides, Labelled.of(made, keys[0]), seed=seed) for made in draws]
    ours = {name: float(np.mean([each[name] for each in scores])) for name in scores[0]}
    real = control_scores(*sides, seed=seed)
    shown = [f"{ours[name]:.2f}" for name in ("forest_components", "forest_genes")]
    shown.append(f"{ours['logistic_genes']:.2f}")
    shown += [f"{ours[name] / real[name]:.2f}" for name in ("correlation", "zeros")]
    shown.append(f"{ours['library']:.2f} / {ours['detected']:.2f}")
    shown += [f"{ours[name]:.2f} ({real[name]:.2f})" for name in ("agreement", "transfer")]
    zeros = 1 - cells.X.nnz / np.prod(cells.shape) if hasattr(cells.X, "nnz") else np.nan
    what = f"{path.stem}, {' + '.join(keys)}"
    size = f"{cells.n_obs:,} x {cells.n_vars:,}, {zeros:.0%}"
    return f"| {what} | {size} | {' | '.join(shown)} | {fit['seconds']:.0f} s |"


def main() -> None:
    """Measure the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE.h5ad:KEY[,KEY]")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--draws", type=int, default=4)
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()), "\n")
    print(
        "| data, keys | cells x genes, zeros | forest PCs | forest genes | logistic "
        "| correlation | zeros | KS | agreement | F1 | fit |"
    )
    print("| --- " * 11 + "|")
    for file in options.files:
        path, _, keys = file.rpartition(":")
        for seed in options.seeds:
            print(line(Path(path), keys.split(","), seed, options.draws), flush=True)


if __name__ == "__main__":
    main()
