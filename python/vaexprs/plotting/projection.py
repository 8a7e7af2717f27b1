"""Two coordinates per cell, for real and generated cells in one plane.

Every method is a library's: scikit-learn (PCA, MDS, t-SNE, NMF), umap-learn (UMAP) and scanpy
(diffusion map).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, near_matches, require

__all__ = ["MAX_CELLS", "METHODS", "Method", "Projection", "method_named", "project"]

Method = Literal["PCA", "MDS", "TSNE", "UMAP", "NMF", "DiffusionMap"]
METHODS: tuple[str, ...] = get_args(Method)

#: Cells of each source that a method takes at most by default: what it does in seconds.
MAX_CELLS = {
    "PCA": 10_000,
    "MDS": 750,
    "TSNE": 2_500,
    "UMAP": 5_000,
    "NMF": 5_000,
    "DiffusionMap": 2_000,
}

#: Methods that can place new cells in a plane fitted on others.
_OUT_OF_SAMPLE = ("PCA", "NMF", "UMAP")
_N_SCORES = 30
_WORTH_THREADS = 2000

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Projection:
    """Coordinates ``(n_cells, 2)`` of both sources, labels of the axes, where the basis is from."""

    real: Points
    generated: Points
    axes: tuple[str, str]
    basis: str


def method_named(method: str) -> str:
    """Return the method of that name in its own spelling, whatever the case asked in.

    Raises
    ------
    DataError
        If there is no such method.
    """
    folded = {name.casefold(): name for name in METHODS}
    for name, same in (("t-SNE", "TSNE"), ("diffusion_map", "DiffusionMap"), ("diffmap",) * 2):
        folded[name.casefold()] = "DiffusionMap" if same == "diffmap" else same
    try:
        return folded[method.strip().casefold()]
    except (KeyError, AttributeError):
        raise DataError(f"unknown method {method!r}: " + near_matches(method, METHODS)) from None


def project(
    real: Points,
    generated: Points,
    method: str,
    *,
    basis: Literal["real", "joint"] | None,
    seed: int,
    options: Mapping[str, Any],
) -> Projection:
    """Place both sources in one plane.

    Parameters
    ----------
    real, generated
        Expression on a scale fit for distances, ``(n_cells, n_genes)``, dense.
    method
        One of `METHODS`.
    basis
        ``"real"`` fits the plane on the real cells and puts the generated ones in it, where the
        method can; ``"joint"`` fits it on both. None: real where the method can.
    seed
        Seed of the methods that draw.
    options
        Passed to the library's estimator.

    Raises
    ------
    DataError
        If the method cannot do what is asked, or there are too few cells or genes.
    """
    if basis is None:
        basis = "real" if method in _OUT_OF_SAMPLE else "joint"
    if basis not in ("real", "joint"):
        raise DataError(f"unknown basis {basis!r}: known: 'real', 'joint'.")
    if basis == "real" and method not in _OUT_OF_SAMPLE:
        raise DataError(
            f"{method} cannot place new cells in a plane fitted on others: leave basis out, or "
            f"use one of {', '.join(_OUT_OF_SAMPLE)}."
        )
    fitted = real if basis == "real" else np.concatenate([real, generated])
    n_cells, n_genes = fitted.shape
    if n_cells < 3 or n_genes < 2:
        raise DataError(
            f"{method} needs at least 3 cells and 2 genes to fit a plane, got {n_cells} "
            f"{'real ' * (basis == 'real')}cells and {n_genes} genes."
        )
    random_state = seed % 2**32  # what scikit-learn takes
    if method == "PCA":
        return _pca(real, generated, fitted, basis, random_state, options)
    if method == "NMF":
        return _nmf(real, generated, fitted, basis, random_state, options)

    scores, generated_scores = _scores(fitted, generated, random_state)
    if method == "UMAP":
        umap = require("umap", extra="plot", purpose="A UMAP plot")
        settings = {
            "n_neighbors": min(15, n_cells - 1),
            # The spectral start needs more cells than it has dimensions to spare.
            "init": "spectral" if n_cells > 10 else "random",
            "n_jobs": 1,  # what a fixed seed makes of it anyway, with a warning
            "random_state": random_state,
        }
        reducer = umap.UMAP(n_components=2, **{**settings, **options})
        points = reducer.fit_transform(scores)
        if basis == "real":
            return _named("UMAP", points, reducer.transform(generated_scores), basis)
    elif method == "TSNE":
        points = _tsne(scores, random_state, options)
    elif method == "MDS":
        points = _mds(scores, random_state, options)
    else:
        points = _diffusion_map(scores, random_state, options)
    return _named(
        {"TSNE": "t-SNE", "DiffusionMap": "Diffusion"}.get(method, method),
        points[: len(real)],
        points[len(real) :],
        basis,
    )


def _named(stem: str, real: Any, generated: Any, basis: str) -> Projection:
    real, generated = (np.asarray(points, dtype=np.float32) for points in (real, generated))
    return Projection(real, generated, (f"{stem} 1", f"{stem} 2"), basis)


def _pca(
    real: Points,
    generated: Points,
    fitted: Points,
    basis: str,
    random_state: int,
    options: Mapping[str, Any],
) -> Projection:
    decomposition = require("sklearn.decomposition", extra="plot", purpose="A PCA plot")
    pca = decomposition.PCA(**{"n_components": 2, "random_state": random_state, **options})
    pca.fit(fitted)
    share = 100 * pca.explained_variance_ratio_[:2]
    return Projection(
        np.asarray(pca.transform(real)[:, :2], dtype=np.float32),
        np.asarray(pca.transform(generated)[:, :2], dtype=np.float32),
        (f"PC1 ({share[0]:.1f} % of the variance)", f"PC2 ({share[1]:.1f} %)"),
        basis,
    )


def _nmf(
    real: Points,
    generated: Points,
    fitted: Points,
    basis: str,
    random_state: int,
    options: Mapping[str, Any],
) -> Projection:
    if fitted.min() < 0 or generated.min() < 0:
        raise DataError(
            "NMF needs values of at least 0 and some are negative: choose another method."
        )
    decomposition = require("sklearn.decomposition", extra="plot", purpose="An NMF plot")
    settings = {"init": "nndsvda", "max_iter": 500, "tol": 1e-3, "random_state": random_state}
    nmf = decomposition.NMF(n_components=2, **{**settings, **options})
    nmf.fit(fitted)
    return _named("NMF", nmf.transform(real), nmf.transform(generated), basis)


def _scores(fitted: Points, generated: Points, random_state: int) -> tuple[Points, Points]:
    """Return principal-component scores: of the cells to fit and of the generated ones."""
    decomposition = require("sklearn.decomposition", extra="plot", purpose="This plot")
    n_scores = min(_N_SCORES, fitted.shape[0] - 1, fitted.shape[1])
    pca = decomposition.PCA(n_scores, svd_solver="auto", random_state=random_state).fit(fitted)
    scores = [np.asarray(pca.transform(X), dtype=np.float32) for X in (fitted, generated)]
    return scores[0], scores[1]


def _tsne(scores: Points, random_state: int, options: Mapping[str, Any]) -> Any:
    """t-SNE started from the principal components, at the small scale that it grows from."""
    manifold = require("sklearn.manifold", extra="plot", purpose="A t-SNE plot")
    threads = require("threadpoolctl", extra="plot", purpose="A t-SNE plot")
    settings = {
        "perplexity": min(30.0, (len(scores) - 1) / 3),
        "init": scores[:, :2] / max(scores[:, 0].std(), 1e-12) * 1e-4,
        "random_state": random_state,
    }
    # Few cells give threads little to do but to wait for each other, on a busy machine for ever.
    n_threads = 1 if len(scores) < _WORTH_THREADS else None
    with threads.threadpool_limits(n_threads, user_api="openmp"):
        return manifold.TSNE(n_components=2, **{**settings, **options}).fit_transform(scores)


def _mds(scores: Points, random_state: int, options: Mapping[str, Any]) -> Any:
    """Metric MDS by stress majorisation, started from the principal components."""
    manifold = require("sklearn.manifold", extra="plot", purpose="An MDS plot")
    settings = {"n_init": 1, "max_iter": 200, "eps": 1e-4, "random_state": random_state}
    start = scores[:, :2].astype(np.float64)
    mds = manifold.MDS(n_components=2, **{**settings, **options})
    with warnings.catch_warnings():
        # Of a default for the start, which is given here: the argument to name it is too new.
        warnings.filterwarnings("ignore", "The default value of `init`", FutureWarning)
        return mds.fit_transform(scores.astype(np.float64), init=start)


def _diffusion_map(scores: Points, random_state: int, options: Mapping[str, Any]) -> Any:
    """Diffusion components 1 and 2; component 0 is constant."""
    anndata = require("anndata", extra="plot", purpose="A diffusion map")
    scanpy = require("scanpy", extra="plot", purpose="A diffusion map")
    if len(scores) < 5:
        raise DataError(f"DiffusionMap needs at least 5 cells, got {len(scores)}.")
    joint = anndata.AnnData(scores)
    neighbours = {"n_neighbors": min(30, len(scores) - 1), "method": "gauss"}
    scanpy.pp.neighbors(joint, use_rep="X", random_state=random_state, **{**neighbours, **options})
    scanpy.tl.diffmap(joint, n_comps=min(4, len(scores) - 2), random_state=random_state)
    return joint.obsm["X_diffmap"][:, 1:3]
