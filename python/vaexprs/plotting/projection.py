"""Two coordinates per cell, for real and generated cells in one plane, by published methods."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vaexprs.embeddings import diffusion_map, umap_plane
from vaexprs.errors import (
    DataError,
    UnknownArgumentError,
    VaexprsError,
    near_matches,
    require,
)

Method = Literal["PCA", "MDS", "TSNE", "UMAP", "NMF", "DiffusionMap"]
METHODS: tuple[str, ...] = get_args(Method)

#: Most cells of each source by default: with these a method takes seconds.
MAX_CELLS = {
    "PCA": 10_000,
    "MDS": 750,
    "TSNE": 2_500,
    "UMAP": 5_000,
    "NMF": 5_000,
    "DiffusionMap": 2_000,
}

#: What options are passed to.
_LIBRARIES = {
    "PCA": ("sklearn.decomposition", "PCA"),
    "NMF": ("sklearn.decomposition", "NMF"),
    "MDS": ("sklearn.manifold", "MDS"),
    "TSNE": ("sklearn.manifold", "TSNE"),
    "UMAP": ("umap", "UMAP"),
    "DiffusionMap": ("scanpy.pp", "neighbors"),
}

#: Methods that can place new cells in a plane fitted on others.
_OUT_OF_SAMPLE = ("PCA", "NMF", "UMAP")
_N_SCORES = 30  # principal components that the other methods work on
_WORTH_THREADS = 2000  # with fewer cells the threads of t-SNE mostly wait for one another

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Projection:
    """Coordinates ``(n_cells, 2)`` of both sources, labels of the axes, where the basis is from."""

    real: Points
    generated: Points
    axes: tuple[str, str]
    basis: str


def method_named(method: str) -> str:
    """Return the method of that name in its own spelling, whatever the case asked in."""
    folded = {name.casefold(): name for name in METHODS}
    folded |= {"t-sne": "TSNE", "diffusion_map": "DiffusionMap", "diffmap": "DiffusionMap"}
    found = folded.get(method.strip().casefold()) if isinstance(method, str) else None
    if found is None:
        raise DataError(f"unknown method {method!r}: " + near_matches(method, METHODS))
    return found


def check_options(method: str, options: Mapping[str, Any], own: Iterable[str]) -> None:
    """Raise for options that the library of a method does not take.

    Near matches are also sought among `own`, the arguments of `plot_aug`.

    Raises
    ------
    UnknownArgumentError
        With near matches.
    """
    if not options:
        return
    module, name = _LIBRARIES[method]
    library = require(module, extra="plot", purpose=f"A plot by {method}")
    known = set(inspect.signature(getattr(library, name)).parameters) - {"n_components", "adata"}
    for option in options:
        if option not in known:
            raise UnknownArgumentError(
                f"plot_aug has no argument {option!r}, and {module}.{name} takes none for a plane: "
                + near_matches(option, [*own, *sorted(known)])
            )


@contextmanager
def refusals_of(method: str) -> Iterator[None]:
    """Raise a `DataError` that names the method where its library raises an error of arguments."""
    try:
        yield
    except VaexprsError:
        raise
    except (TypeError, ValueError) as error:
        module, name = _LIBRARIES[method]
        raise DataError(
            f"{module}.{name} refuses these cells or options: {str(error).rstrip('.')}."
        ) from error


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

    Raises
    ------
    DataError
        If the basis is unknown, or the method cannot place new cells in that of the real ones.
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
    least = 5 if method == "DiffusionMap" else 3
    if n_cells < least or n_genes < 2:
        raise DataError(
            f"{method} needs at least {least} cells and 2 genes to fit a plane, got {n_cells} "
            f"{'real ' * (basis == 'real')}cells and {n_genes} genes."
        )
    random_state = seed % 2**32  # the range of scikit-learn
    decomposition = require("sklearn.decomposition", extra="plot", purpose="This plot")
    if method == "NMF":
        if fitted.min() < 0 or generated.min() < 0:
            raise DataError(
                "NMF needs values of at least 0 and some are negative: choose another method."
            )
        start = {"init": "nndsvda", "max_iter": 500, "tol": 1e-3, "random_state": random_state}
        nmf = decomposition.NMF(n_components=2, **{**start, **options}).fit(fitted)
        return _named("NMF", nmf.transform(real), nmf.transform(generated), basis)

    n_scores = 2 if method == "PCA" else min(_N_SCORES, n_cells - 1, n_genes)
    settings = options if method == "PCA" else {}
    pca = decomposition.PCA(**{"n_components": n_scores, "random_state": random_state, **settings})
    scores = pca.fit(fitted).transform(fitted).astype(np.float32)
    placed = pca.transform(generated).astype(np.float32) if basis == "real" else None
    if method == "PCA":
        share = 100 * pca.explained_variance_ratio_[:2]
        names = (f"PC1 ({share[0]:.1f} % of the variance)", f"PC2 ({share[1]:.1f} %)")
        both = scores if placed is None else np.concatenate([scores, placed])
        return Projection(both[: len(real), :2], both[len(real) :, :2], names, basis)
    if method == "UMAP":
        start = {
            "n_neighbors": min(15, n_cells - 1),
            # The spectral start needs more cells than it has dimensions to spare.
            "init": "spectral" if n_cells > 10 else "random",
            "n_jobs": 1,  # a fixed seed allows no more, and umap warns of it
            "random_state": random_state,
        }
        points = np.concatenate(umap_plane(scores, placed, **{**start, **options}))
    elif method == "DiffusionMap":
        start = {"n_neighbors": min(30, n_cells - 1), "random_state": random_state}
        points = diffusion_map(scores, **{**start, **options})
    else:
        points = {"TSNE": _tsne, "MDS": _mds}[method](scores, random_state, options)
    stem = {"TSNE": "t-SNE", "DiffusionMap": "Diffusion"}.get(method, method)
    return _named(stem, points[: len(real)], points[len(real) :], basis)


def _named(stem: str, real: Any, generated: Any, basis: str) -> Projection:
    real, generated = (np.asarray(points, dtype=np.float32) for points in (real, generated))
    return Projection(real, generated, (f"{stem} 1", f"{stem} 2"), basis)


def _tsne(scores: Points, random_state: int, options: Mapping[str, Any]) -> Any:
    """t-SNE started from the principal components, scaled down as scikit-learn advises."""
    manifold = require("sklearn.manifold", extra="plot", purpose="A t-SNE plot")
    threads = require("threadpoolctl", extra="plot", purpose="A t-SNE plot")
    settings = {
        "perplexity": min(30.0, (len(scores) - 1) / 3),
        "init": scores[:, :2] / max(scores[:, 0].std(), 1e-12) * 1e-4,
        "random_state": random_state,
    }
    n_threads = 1 if len(scores) < _WORTH_THREADS else None
    with threads.threadpool_limits(n_threads, user_api="openmp"):
        return manifold.TSNE(n_components=2, **{**settings, **options}).fit_transform(scores)


def _mds(scores: Points, random_state: int, options: Mapping[str, Any]) -> Any:
    """Metric MDS by stress majorisation, started from the principal components."""
    manifold = require("sklearn.manifold", extra="plot", purpose="An MDS plot")
    settings = {"n_init": 1, "max_iter": 200, "eps": 1e-4, "random_state": random_state}
    mds = manifold.MDS(n_components=2, **{**settings, **options})
    exact = scores.astype(np.float64)
    with warnings.catch_warnings():
        # About a default for the start, which is given here; its new argument is too new.
        warnings.filterwarnings("ignore", "The default value of `init`", FutureWarning)
        return mds.fit_transform(exact, init=exact[:, :2])
