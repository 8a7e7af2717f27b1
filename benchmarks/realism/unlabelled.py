"""Fits without labels beside fits with them: the original's first example, and forests on cells.

    python -m benchmarks.realism.unlabelled ../shared/data/pbmc_ifnb.h5ad:cell_type,condition

Without a file: `simulate_groups`, fitted as README shows it and with the defaults. Distances are to
the centre of the nearest group on the first two components of the real cells, generated over real.
With files: classifiers of generated against test cells, a quicker form of `quality.py`'s.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from benchmarks.cells import read, split
from benchmarks.timing import machine
from vaexprs import fit_vae, gen_exprs
from vaexprs.data.scale import scale_of, to_log
from vaexprs.datasets import simulate_groups
from vaexprs.evaluation.metrics.discriminators import discriminate

#: README's call.
AS_WRITTEN: dict[str, Any] = {
    "likelihood": "bernoulli", "encoder": [(512, "relu")],
    "decoder": [(512, "relu"), (1000, "sigmoid")], "epochs": 100, "batch_size": 32,
    "validation_split": 0.5, "patience": 10,
}  # fmt: skip


def example(seed: int, options: dict[str, Any]) -> str:
    """Return how the generated cells of the example compare with its real cells."""
    cells = simulate_groups(seed=seed)
    real, group = np.asarray(cells.X), cells.obs["group"].cat.codes.to_numpy()
    fit = fit_vae(cells, seed=seed, progress=False, **options)
    made = dense(gen_exprs(fit, 300, seed=seed + 1).X)
    centres = np.stack([real[group == g].mean(0) for g in range(3)])
    pca = PCA(2, random_state=0).fit(real)

    def away(x: Any) -> tuple[Any, Any]:
        nearest = np.linalg.norm(x[:, None] - centres, axis=2).argmin(1)
        shown = pca.transform(x) - pca.transform(centres)[nearest]
        return nearest, np.median(np.linalg.norm(shown, axis=1))

    (nearest, made_away), (_, real_away) = away(made), away(real)
    pairs = [(made[nearest == g].var(0), real[group == g].var(0)) for g in range(3)]
    ratio = np.median(sum(a for a, _ in pairs) / sum(b for _, b in pairs))
    return (
        f"{fit.spec.likelihood}: spread {made_away / real_away:.2f}, zeros "
        f"{(made == 0).mean():.3f} (real {(real == 0).mean():.3f}), variance within {ratio:.2f}, "
        f"cells of each group {np.bincount(nearest, minlength=3).tolist()}"
    )


def dense(X: Any) -> Any:
    """Return values as an array."""
    return X.toarray() if hasattr(X, "toarray") else np.asarray(X)


def forests(path: Path, keys: list[str], seed: int) -> None:
    """Print the areas under the ROC curve of classifiers, with the keys and without."""
    train, test = split(read(path, keys), keys, seed=seed)
    logged = [dense(to_log(side.X, scale_of(side.X))) for side in (train, test)]
    genes = np.argsort(-logged[0].var(0))[:2000]
    pca = PCA(50, random_state=0).fit(logged[0][:, genes])
    for told in (keys, None):
        started = time.process_time()
        fit = fit_vae(train, condition_keys=told, seed=seed, progress=False)
        seconds = time.process_time() - started
        made = dense(to_log(gen_exprs(fit, test.n_obs, seed=seed).X, scale_of(train.X)))
        sides, few = (logged[1], made), {"n_trees": 150, "seed": seed}
        components = discriminate(*(pca.transform(x[:, genes]) for x in sides), **few).auc
        on_genes = discriminate(*(x[:, genes[:500]] for x in sides), **few).auc
        line = discriminate(*(x[:, genes[:500]] for x in sides), model="logistic", seed=seed).auc
        print(
            f"{path.stem}, {'with keys' if told else 'without'}: forest on components "
            f"{components:.3f}, on genes {on_genes:.3f}, logistic {line:.3f}; "
            f"{fit.vae.shape.hidden_groups} hidden groups; fit {seconds:.0f} CPU seconds",
            flush=True,
        )


def main() -> None:
    """Fit and score the example, or the files of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="*", metavar="FILE.h5ad:KEY[,KEY]")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    for seed in options.seeds:
        for file in options.files:
            path, _, keys = file.rpartition(":")
            forests(Path(path), keys.split(","), seed)
        if not options.files:
            print(f"seed {seed}, as written, {example(seed, AS_WRITTEN)}")
            print(f"seed {seed}, defaults, {example(seed, {})}", flush=True)


if __name__ == "__main__":
    main()
