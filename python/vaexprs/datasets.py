"""Expression data for examples and tests: small sets that are shipped, and simulated ones.

Nothing is downloaded. Simulated cells are drawn from the laws that the docstrings state, and the
same arguments give the same cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.checks import whole
from vaexprs.data.open import open_cells, shipped_cells
from vaexprs.errors import DataError, near_matches, require

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["load", "simulate_counts", "simulate_groups"]

_CELLS_PER_STEP = 1024  # bounds the memory of the dense means; part of what a seed gives


def load(name: str) -> AnnData:
    """Return cells that come with the package.

    ``"pbmc_small"``: 700 cells x 560 genes of human blood, drawn from the artifact ``pbmc_ifnb``
    and not measured; counts, with ``obs["cell_type"]`` (8 types of 15 to 200 cells) and
    ``obs["condition"]`` (CTRL, STIM). `vaexprs.fit_vae` and every command take the name itself.

    Parameters
    ----------
    name
        Name of the data set.

    Raises
    ------
    DataError
        If there is none of that name.
    """
    known = shipped_cells()
    if name not in known:
        raise DataError(f"no data set is called {name!r}: " + near_matches(name, known))
    adata: AnnData = open_cells(name).anndata()
    return adata


def simulate_groups(
    seed: int = 0,
    *,
    n_cells_per_group: int = 100,
    n_genes: int = 1000,
    n_groups: int = 3,
    n_markers: int = 100,
    mean: float = 5.0,
    sd: float = 5.0,
    shift_mean: float = 6.0,
    shift_sd: float = 10.0,
) -> AnnData:
    r"""Draw the continuous three-group data of VAExprs' first example.

    Group :math:`i` (from 0) owns the marker genes :math:`i m, \ldots, i m + m - 1` with
    :math:`m` = `n_markers`. All draws are independent::

        B[c, g] ~ Normal(mean, sd)               base value of cell c and gene g
        s[i, j] ~ Normal(shift_mean, shift_sd)   shift of the j-th marker, the same for all cells
                                                 of group i
        x[c, i * m + j] = B[c, j] + s[i, j]      the markers of the cell's own group i
        x[c, g] = B[c, g]                        every other gene
        X = max(x, 0)

    As in the original, the markers of every group build on the base values of the first `m`
    genes, so that in a cell of group 1 or 2 the two blocks vary together; and since a shift may
    be negative, about a quarter of the markers is lowered rather than raised.

    Parameters
    ----------
    seed
        Seed of the draws, at least 0.
    n_cells_per_group
        Cells of each group; the groups follow each other.
    n_genes
        Number of genes, at least ``n_groups * n_markers``.
    n_groups
        Number of groups.
    n_markers
        Marker genes of each group.
    mean, sd
        Mean and standard deviation of the base values.
    shift_mean, shift_sd
        Mean and standard deviation of the shifts of the marker genes.

    Returns
    -------
    AnnData
        ``X`` is ``(n_groups * n_cells_per_group, n_genes)``, dense float32, non-negative, in no
        unit. ``obs["group"]`` is categorical (``"group1"``, ...), ``var["marker_of"]`` names the
        group that a gene marks, or is missing.

    Raises
    ------
    ArgumentError, DataError
        If a number is out of its range.

    References
    ----------
    The first example of the vignette of VAExprs, https://bioconductor.org/packages/VAExprs.
    """
    n_cells_per_group = whole("n_cells_per_group", n_cells_per_group, 1)
    n_genes, n_groups = whole("n_genes", n_genes, 1), whole("n_groups", n_groups, 1)
    n_markers, seed = whole("n_markers", n_markers, 0), whole("seed", seed, 0)
    _at_least(0, sd=sd, shift_sd=shift_sd)
    if n_groups * n_markers > n_genes:
        raise DataError(
            f"simulate_groups: {n_groups} groups with {n_markers} marker genes each need "
            f"{n_groups * n_markers} genes, got n_genes={n_genes}: ask for more genes or fewer "
            "markers."
        )
    rng = np.random.default_rng(seed)
    X = rng.normal(mean, sd, (n_groups * n_cells_per_group, n_genes))
    shift = rng.normal(shift_mean, shift_sd, (n_groups, n_markers))
    for group in range(n_groups):
        cells = slice(group * n_cells_per_group, (group + 1) * n_cells_per_group)
        markers = slice(group * n_markers, (group + 1) * n_markers)
        X[cells, markers] = X[cells, :n_markers] + shift[group]
    np.maximum(X, 0, out=X)

    names = [f"group{group + 1}" for group in range(n_groups)]
    marker_of = np.full(n_genes, -1)
    marker_of[: n_groups * n_markers] = np.repeat(np.arange(n_groups), n_markers)
    return _anndata(
        X.astype(np.float32),
        {"group": (np.repeat(np.arange(n_groups), n_cells_per_group), names)},
        {"marker_of": (marker_of, names)},
        {"name": "simulate_groups", "seed": seed},
    )


def simulate_counts(
    n_cells: int = 2000,
    n_genes: int = 2000,
    *,
    cell_types: int | Sequence[str] | Mapping[str, float] = 6,
    batches: int | Sequence[str] = 2,
    rare: float | None = None,
    median_library: float | None = None,
    library_sd: float = 0.4,
    n_markers: int = 40,
    marker_fold: float = 6.0,
    n_modules: int = 5,
    module_sd: float = 0.5,
    batch_sd: float = 0.25,
    inverse_dispersion: float = 2.0,
    seed: int = 0,
) -> AnnData:
    r"""Draw UMI-like counts: cell types, batches, gene modules, over-dispersion, many zeros.

    All draws are independent; :math:`\log` is the natural logarithm::

        a[g]    ~ Normal(0, 1.75)                            log abundance of gene g
        f[t, g] ~ Normal(log(marker_fold), 0.4) if g marks t, else 0
        b[k, g] ~ Normal(0, batch_sd)                        shift of gene g in batch k
        w[m, g] ~ ±Normal(1, 0.3) if g is in module m, else 0
        h[c, m] ~ Normal(0, module_sd)                       activity of module m in cell c
        p[c, :] = softmax(a + f[t(c)] + b[k(c)] + h[c] @ w)
        log L[c] ~ Normal(log(median_library) + d[k(c)], library_sd)   with d[k] ~ Normal(0, 0.2)
        log θ[g] ~ Normal(log(inverse_dispersion), 0.5)
        X[c, g] ~ NegativeBinomial(mean μ = L[c] p[c, g], variance μ + μ² / θ[g])

    Marker genes and module genes are drawn at random, the markers of two types being disjoint;
    each module holds a twentieth of the genes, half of them with each sign. Cell types have
    exact sizes (largest remainders, at least one cell each where there are enough cells) and are
    independent of batches, which are equally likely; cells come in random order.

    Parameters
    ----------
    n_cells, n_genes
        Shape of the result.
    cell_types
        How many cell types, or their names, or their names and relative frequencies. Without
        frequencies, every type is three quarters as frequent as the one before it.
    batches
        How many batches, or their names. No batch is the reference: each has its own shifts.
    rare
        Share of the cells, in (0, 1), that belong to one more cell type, ``"rare"``.
    median_library
        Median of the total counts of a cell, before batch effects. The default is
        ``0.15 * n_genes``, as in a shallow droplet experiment; it leaves 90 to 95 % zeros.
    library_sd
        Standard deviation of the log library size.
    n_markers
        Marker genes of each cell type; fewer where there are too few genes.
    marker_fold
        Median fold change of a marker gene in its cell type.
    n_modules
        Number of gene modules, which correlate genes within a cell type.
    module_sd
        Standard deviation of the modules' activities; 0 for none.
    batch_sd
        Standard deviation of the batch effects on log abundances; 0 for none.
    inverse_dispersion
        Median θ; ``numpy.inf`` makes the counts Poisson.
    seed
        Seed of the draws, at least 0.

    Returns
    -------
    AnnData
        ``X`` is ``(n_cells, n_genes)`` CSR float32 holding whole numbers; ``obs["cell_type"]``
        and ``obs["batch"]`` are categorical; ``var["marker_of"]`` names the cell type that a
        gene marks, or is missing.

    Raises
    ------
    ArgumentError, DataError
        If a number is out of its range or a name comes twice.
    """
    n_cells, n_genes = whole("n_cells", n_cells, 1), whole("n_genes", n_genes, 1)
    n_markers, n_modules = whole("n_markers", n_markers, 0), whole("n_modules", n_modules, 0)
    seed = whole("seed", seed, 0)
    _at_least(0, library_sd=library_sd, module_sd=module_sd, batch_sd=batch_sd)
    if median_library is None:
        median_library = 0.15 * n_genes
    for name, value in (
        ("median_library", median_library),
        ("marker_fold", marker_fold),
        ("inverse_dispersion", inverse_dispersion),
    ):
        if not value > 0:
            raise DataError(f"simulate_counts: {name} must be above 0, got {value}.")
    type_names, share = _shares(cell_types, rare)
    batch_names = _names(batches, "batch", "batches")
    n_types, n_batches = len(type_names), len(batch_names)

    rng = np.random.default_rng(seed)
    n_markers = min(n_markers, n_genes // n_types)
    log_abundance = rng.normal(0, 1.75, n_genes)
    marker_of = np.full(n_genes, -1)
    shuffled = rng.permutation(n_genes)[: n_types * n_markers]
    marker_of[shuffled] = np.repeat(np.arange(n_types), n_markers)
    fold = np.zeros((n_types, n_genes))
    fold[marker_of[shuffled], shuffled] = rng.normal(np.log(marker_fold), 0.4, len(shuffled))
    batch_effect = rng.normal(0, batch_sd, (n_batches, n_genes))
    batch_library = rng.normal(0, 0.2, n_batches)
    loading = _loadings(rng, n_modules, n_genes)
    theta = np.exp(rng.normal(np.log(inverse_dispersion), 0.5, n_genes))

    cell_type = rng.permutation(np.repeat(np.arange(n_types), _sizes(share, n_cells)))
    batch = rng.integers(n_batches, size=n_cells)
    base = log_abundance + fold[:, None] + batch_effect[None]  # type x batch x gene

    parts = []
    sparse = require("scipy.sparse", extra="anndata", purpose="Simulated counts")
    for first in range(0, n_cells, _CELLS_PER_STEP):
        step = slice(first, min(first + _CELLS_PER_STEP, n_cells))
        n_step = step.stop - step.start
        activity = rng.normal(0, module_sd, (n_step, n_modules))
        log_share = base[cell_type[step], batch[step]] + activity @ loading
        share_of_gene = np.exp(log_share - log_share.max(1, keepdims=True))
        share_of_gene /= share_of_gene.sum(1, keepdims=True)
        location = np.log(median_library) + batch_library[batch[step]]
        mu = np.exp(rng.normal(location, library_sd))[:, None] * share_of_gene
        if np.isfinite(inverse_dispersion):
            mu = rng.standard_gamma(np.broadcast_to(theta, mu.shape)) * (mu / theta)
        parts.append(sparse.csr_matrix(rng.poisson(mu).astype(np.float32)))

    return _anndata(
        sparse.vstack(parts, format="csr"),
        {"cell_type": (cell_type, type_names), "batch": (batch, batch_names)},
        {"marker_of": (marker_of, type_names)},
        {"name": "simulate_counts", "seed": seed},
    )


def _loadings(rng: np.random.Generator, n_modules: int, n_genes: int) -> NDArray[np.float64]:
    """Draw the signed loadings of the gene modules, ``(n_modules, n_genes)``."""
    loading = np.zeros((n_modules, n_genes))
    n_members = max(1, n_genes // 20)
    sign = np.where(np.arange(n_members) % 2, -1.0, 1.0)
    for row in loading:
        members = rng.choice(n_genes, n_members, replace=False)
        row[members] = sign * rng.normal(1, 0.3, n_members)
    return loading


def _shares(
    cell_types: int | Sequence[str] | Mapping[str, float], rare: float | None
) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the cell types and the shares of the cells that they hold."""
    names = _names(
        list(cell_types) if isinstance(cell_types, Mapping) else cell_types, "type", "cell_types"
    )
    if isinstance(cell_types, Mapping):
        share = np.array([float(value) for value in cell_types.values()])
        if not (np.isfinite(share).all() and (share > 0).all()):
            raise DataError(
                "simulate_counts: the frequencies in cell_types must be finite and above 0."
            )
    else:
        share = 0.75 ** np.arange(len(names))
    share /= share.sum()
    if rare is None:
        return names, share
    if not 0 < rare < 1:
        raise DataError(f"simulate_counts: rare must lie between 0 and 1, got {rare}.")
    if "rare" in names:
        raise DataError("simulate_counts: 'rare' is a cell type already, use its frequency.")
    return [*names, "rare"], np.append(share * (1 - rare), rare)


def _names(given: int | Sequence[str], stem: str, argument: str) -> list[str]:
    if isinstance(given, (int, np.integer)):
        _at_least(1, **{argument: given})
        return [f"{stem}{number + 1}" for number in range(given)]
    names = [given] if isinstance(given, str) else [str(name) for name in given]
    if not names or len(set(names)) != len(names):
        raise DataError(
            f"simulate_counts: {argument} must hold at least one name and none twice, got {names}."
        )
    return names


def _sizes(share: NDArray[np.float64], n_cells: int) -> NDArray[np.int64]:
    """Share out whole cells by largest remainders, leaving no type empty where that is possible."""
    exact = share * n_cells
    sizes = np.floor(exact).astype(np.int64)
    order = np.argsort(sizes - exact, kind="stable")
    sizes[order[: n_cells - sizes.sum()]] += 1
    if n_cells >= len(share):
        for empty in np.flatnonzero(sizes == 0):
            sizes[np.argmax(sizes)] -= 1
            sizes[empty] = 1
    return sizes


def _anndata(
    X: Any,
    obs: Mapping[str, tuple[NDArray[Any], list[str]]],
    var: Mapping[str, tuple[NDArray[Any], list[str]]],
    simulation: dict[str, Any],
) -> AnnData:
    """Put a matrix and its coded labels (codes, names; -1 is missing) into an AnnData."""
    anndata = require("anndata", extra="anndata", purpose="Simulated data")
    pandas = require("pandas", extra="anndata", purpose="Simulated data")

    def frame(columns: Mapping[str, tuple[NDArray[Any], list[str]]], stem: str, length: int) -> Any:
        index = [f"{stem}{number + 1}" for number in range(length)]
        labels = {
            name: pandas.Categorical.from_codes(codes, categories)
            for name, (codes, categories) in columns.items()
        }
        return pandas.DataFrame(labels, index=index)

    adata: AnnData = anndata.AnnData(
        X, obs=frame(obs, "cell", X.shape[0]), var=frame(var, "gene", X.shape[1])
    )
    adata.uns["simulation"] = simulation
    return adata


def _at_least(bound: int, **values: float) -> None:
    for name, value in values.items():
        if not value >= bound:
            raise DataError(f"{name} must be at least {bound}, got {value}.")
