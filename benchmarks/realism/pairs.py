"""Which pairs of genes move together in generated cells as in real ones.

    python -m benchmarks.realism.quality ../shared/data/pbmc_ifnb.h5ad:cell_type,condition \
        --cells judged
    python -m benchmarks.realism.pairs judged --keys cell_type condition

Reads the training, test and generated cells of one fit. Pairs are those of the 100 most variable
genes that correlate beyond 0.2 within a combination of the training cells; test and generated cells
are asked about them, so that the choice favours neither. Printed are

- for each combination of 50 test cells or more: how much of that strength test and generated cells
  keep, and the variance along 20 components of the training cells, generated over test;
- the same of the first components of the combination's own training cells, one by one, in the 100
  genes that vary most in it: programs of one kind of cells, which all cells together hardly show;
- the covariance of the pairs that the components explain, with the slopes of genes within all
  combinations together, and the rest, in units of the test cells' covariance;
- pairs that go together beyond the components: their correlation within combinations when the
  components' part is taken out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from sklearn.decomposition import PCA

from benchmarks.timing import machine
from vaexprs.data.scale import log_normalise
from vaexprs.evaluation.metrics.structure import (
    LEAST_STRONG,
    N_CORRELATED_GENES,
    STRONG,
    spearman_matrix,
)

SIDES = ("train", "test", "generated")
#: Components, the most variable genes that they are found in and that are searched for pairs which
#: go together beyond them, and training cells that show such a gene.
COMPONENTS, GENES, SHOWN = 20, 1500, 40
#: Components of a combination's own, and training cells that show a gene of them.
OWN, SHOWN_BY_OWN = 6, 10
#: Correlation beyond the components from which a pair is listed, and pairs listed at most.
LISTED, MOST_LISTED = 0.2, 20


def centred(values: Any, labels: Any) -> Any:
    """Return values without the mean of each combination."""
    out = np.array(values)
    for label in np.unique(labels):
        out[labels == label] -= out[labels == label].mean(axis=0)
    return out


def slopes(scores: Any, values: Any) -> Any:
    """Return the change of each gene for a unit of each score, ``(n_scores, n_genes)``."""
    return np.linalg.lstsq(scores, values, rcond=None)[0]


def correlation(values: Any) -> Any:
    """Return correlations of the columns of centred values, ``(n_genes, n_genes)``."""
    scaled = values / np.maximum(np.sqrt((values**2).mean(axis=0)), 1e-9)
    return scaled.T @ scaled / len(scaled)


def _along_own(values: dict[str, Any]) -> Any:
    """Return the variance along the training cells' components, generated over test, ``(OWN,)``."""
    variance = values["train"].var(axis=0)
    variance[(values["train"] > 0).sum(axis=0) < SHOWN_BY_OWN] = 0
    chosen = np.argsort(-variance, kind="stable")[:N_CORRELATED_GENES]
    found = PCA(OWN, random_state=0).fit(values["train"][:, chosen])
    test, generated = (
        found.transform(values[side][:, chosen]).var(axis=0) for side in ("test", "generated")
    )
    return generated / test


def main() -> None:
    """Print the four tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="of quality.py --cells")
    parser.add_argument("--keys", nargs="+", required=True)
    options = parser.parse_args()
    cells = {side: anndata.read_h5ad(options.folder / f"{side}.h5ad") for side in SIDES}
    labels = {
        side: each.obs[options.keys].astype(str).agg(", ".join, axis=1).to_numpy()
        for side, each in cells.items()
    }
    logs = {side: log_normalise(each.X.tocsr()).tocsc() for side, each in cells.items()}
    mean = np.asarray(logs["train"].mean(axis=0)).ravel()
    variance = np.asarray(logs["train"].multiply(logs["train"]).mean(axis=0)).ravel() - mean**2
    variance[np.asarray((logs["train"] > 0).sum(axis=0)).ravel() < SHOWN] = 0
    chosen = np.argsort(-variance, kind="stable")[:GENES]
    names = np.asarray(cells["train"].var_names)[chosen]
    values = {side: logs[side][:, chosen].toarray().astype(np.float64) for side in SIDES}
    pca = PCA(COMPONENTS, random_state=0).fit(values["train"])
    scores = {side: pca.transform(values[side]) for side in SIDES}

    within, left = {}, {}  # slopes within combinations, and what does not follow the scores
    for side in SIDES:
        x, y = (centred(each[side], labels[side]) for each in (values, scores))
        within[side] = slopes(y, x)
        left[side] = x - y @ within[side]

    print(", ".join(f"{key} {value}" for key, value in machine().items()), "\n")
    print("| combination | test cells | pairs | test | generated | ratio | variance |")
    print("| --- " * 7 + "|")
    kept, parts, own = np.zeros(3), np.zeros(4), []
    for label in np.unique(labels["test"]):
        rows = {side: labels[side] == label for side in SIDES}
        if rows["test"].sum() < LEAST_STRONG or any(not rows[side].any() for side in SIDES):
            continue
        x = {side: values[side][rows[side], :N_CORRELATED_GENES] for side in SIDES}
        y = {side: scores[side][rows[side]] for side in SIDES}
        found = {side: spearman_matrix(x[side]) for side in SIDES}
        pairs = np.triu(np.abs(found["train"]) > STRONG, 1)
        sign = np.sign(found["train"])

        def along(matrix: Any, pairs: Any = pairs, sign: Any = sign) -> float:
            return float((matrix * sign)[pairs].sum())

        strength = np.array([along(found[side]) for side in SIDES])
        kept += strength
        spread = y["generated"].var(axis=0).sum() / y["test"].var(axis=0).sum()
        x, y = ({side: each[side] - each[side].mean(axis=0) for side in SIDES} for each in (x, y))
        for at, side in ((0, "test"), (2, "generated")):
            explained = along(np.cov((y[side] @ within[side][:, :N_CORRELATED_GENES]).T))
            parts[at : at + 2] += explained, along(np.cov(x[side].T)) - explained
        own.append((label, _along_own({side: values[side][rows[side]] for side in SIDES})))
        if not pairs.any():
            continue
        test, generated = strength[1:] / strength[0]
        print(
            f"| {label} | {rows['test'].sum()} | {pairs.sum()} | {test:.2f} | {generated:.2f} | "
            f"{generated / test:.2f} | {spread:.2f} |"
        )
    if not kept[0]:
        parser.exit(1, f"no combination has {LEAST_STRONG} test cells and pairs: use fewer keys\n")
    print(f"| all | | | {kept[1] / kept[0]:.2f} | {kept[2] / kept[0]:.2f} | "
          f"{kept[2] / kept[1]:.2f} | |\n")  # fmt: skip
    print("| own components of | " + " | ".join(map(str, range(1, OWN + 1))) + " |")
    print("| --- " * (OWN + 1) + "|")
    for label, ratios in own:
        print(f"| {label} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    print()
    parts /= parts[:2].sum()
    print("| covariance of the pairs | by components | beyond them |\n| --- | --- | --- |")
    print(f"| test | {parts[0]:.2f} | {parts[1]:.2f} |")
    print(f"| generated | {parts[2]:.2f} | {parts[3]:.2f} |\n")

    beyond = {side: correlation(left[side]) for side in SIDES}
    first, second = np.nonzero(np.triu(beyond["train"] > LISTED, 1))
    order = np.argsort(-beyond["train"][first, second])[:MOST_LISTED]
    print("| beyond the components | train | test | generated |\n| --- | --- | --- | --- |")
    for i, j in zip(first[order], second[order], strict=True):
        found = " | ".join(f"{beyond[side][i, j]:.2f}" for side in SIDES)
        print(f"| {names[i]}, {names[j]} | {found} |")


if __name__ == "__main__":
    main()
