"""One fit, scored: the tool with which levers are tried, one at a time, at any commit.

    python benchmarks/levers.py pbmc_ifnb:0 pbmc_facs:0 --data ../shared/data --fit kl_warmup=0

Split and fit are those of ``quality.py`` with the seed behind the colon; the scores are means over
two draws of cells from the fit, because one draw moves a forest's AUC by 0.01. What `fit_vae` has
no option for is tried by changing the code and comparing two commits.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from bars import Labelled, generated_scores, split_rows
from quality import KEYS, read
from vaexprs import fit_vae, gen_exprs

N_DRAWS = 2


def main() -> None:
    """Fit and score what is named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="+", metavar="SET:SEED")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--fit", nargs="*", default=[], metavar="OPTION=VALUE")
    options = parser.parse_args()
    given = {key: json.loads(value) for key, _, value in (x.partition("=") for x in options.fit)}
    for run in options.runs:
        name, _, seed = run.partition(":")
        cells = read(options.data, name)
        key = KEYS[name][0]
        rows = split_rows(np.asarray(cells.obs[key].astype(str)), int(seed))
        train, test = (cells[part].copy() for part in rows)
        started = time.perf_counter()
        fit = fit_vae(train, condition_keys=KEYS[name], seed=int(seed), progress=False, **given)
        seconds = time.perf_counter() - started
        sides = Labelled.of(train, key), Labelled.of(test, key)
        scores = []
        for draw in range(N_DRAWS):
            made = gen_exprs(fit, train.n_obs, seed=100 * draw + int(seed))
            scores.append(generated_scores(*sides, Labelled.of(made, key), seed=int(seed)))
        means = {score: np.mean([found[score] for found in scores]) for score in scores[0]}
        shown = "  ".join(f"{score} {value:.4f}" for score, value in means.items())
        print(f"{run}  {seconds:.0f} s  {len(fit.history['loss'])} epochs  {shown}", flush=True)


if __name__ == "__main__":
    main()
