"""Simulated data follow the laws that their docstrings state, and a seed gives the same cells."""

from __future__ import annotations

import numpy as np
import pytest

from vaexprs.datasets import simulate_counts, simulate_groups
from vaexprs.errors import ArgumentError, DataError

pytest.importorskip("anndata")
pytest.importorskip("scipy")

# Bounds on means are five standard errors wide: each fails by chance once in 1.7 million seeds,
# and the seeds are fixed.
Z = 5.0


@pytest.fixture(scope="module")
def groups():
    return simulate_groups()


@pytest.fixture(scope="module")
def counts():
    return simulate_counts(rare=0.02)


def test_groups_have_the_shape_of_the_example(groups):
    assert groups.shape == (300, 1000)
    assert groups.X.dtype == np.float32
    assert groups.X.min() == 0
    assert list(groups.obs["group"].cat.categories) == ["group1", "group2", "group3"]
    assert groups.obs["group"].value_counts().tolist() == [100, 100, 100]
    assert groups.var["marker_of"].isna().sum() == 700
    assert groups.obs_names.is_unique
    assert groups.var_names.is_unique


def test_groups_background_is_a_clipped_normal(groups):
    background = groups.X[:, 300:]
    n = background.size
    # P(Normal(5, 5) < 0) = Phi(-1); the values above the median are not clipped.
    below = 0.15865525
    assert abs((background == 0).mean() - below) < Z * np.sqrt(below * (1 - below) / n)
    assert abs((background > 5).mean() - 0.5) < Z * np.sqrt(0.25 / n)
    assert abs((background > 10).mean() - below) < Z * np.sqrt(below * (1 - below) / n)


def test_groups_markers_are_shifted_together_in_their_own_group():
    # A base far above 0, so that nothing is clipped and the shifts can be read off.
    adata = simulate_groups(3, mean=1000.0)
    X = adata.X.astype(np.float64)
    shifts = []
    for group in range(3):
        cells = slice(100 * group, 100 * group + 100)
        markers = slice(100 * group, 100 * group + 100)
        elsewhere = np.r_[0 : 100 * group, 100 * group + 100 : 300]
        assert abs(X[elsewhere, markers].mean() - 1000) < Z * 5 / np.sqrt(20_000)
        shifts.append(X[cells, markers].mean(0) - 1000)
        if group:
            # The same noise as in the first genes of the same cells: the difference is constant.
            difference = X[cells, markers] - X[cells, :100]
            assert np.ptp(difference, axis=0).max() < 1e-3
    shift = np.concatenate(shifts)
    spread = np.sqrt(10**2 + 5**2 / 100)
    assert abs(shift.mean() - 6) < Z * spread / np.sqrt(300)
    assert abs(shift.std() - spread) < Z * spread / np.sqrt(2 * 300)


@pytest.mark.parametrize("simulate", [simulate_groups, simulate_counts])
def test_a_seed_gives_the_same_cells(simulate):
    def draw(seed: int) -> np.ndarray:
        X = simulate(seed=seed).X
        return X if isinstance(X, np.ndarray) else X.toarray()

    assert np.array_equal(draw(7), draw(7))
    assert not np.array_equal(draw(7), draw(8))


def test_counts_look_like_droplet_counts(counts):
    X = counts.X
    assert X.shape == (2000, 2000)
    assert X.dtype == np.float32
    assert type(X).__name__ == "csr_matrix"
    assert X.has_canonical_format
    assert (X.data == np.rint(X.data)).all()
    assert (X.data > 0).all()
    assert 0.90 < 1 - X.nnz / np.prod(X.shape) < 0.95
    library = np.ravel(X.sum(1))
    assert library.min() > 0
    # The scale of the law, the spread between batches and the noise of the counts.
    assert 0.3 < np.log(library).std() < 0.6
    assert 150 < np.median(library) < 600


def test_counts_are_overdispersed_and_inverse_dispersion_rules_it():
    def excess(inverse_dispersion: float) -> float:
        """Return the median over genes of (variance - mean) / mean²; 1 / θ for a NB."""
        adata = simulate_counts(
            4000, 100, cell_types=1, batches=1, n_modules=0, library_sd=0.0,
            median_library=500.0, inverse_dispersion=inverse_dispersion, seed=1,
        )  # fmt: skip
        X = adata.X.toarray().astype(np.float64)
        often = X.mean(0) > 1
        return float(np.median(((X.var(0) - X.mean(0)) / X.mean(0) ** 2)[often]))

    # θ itself is log-normal about its median with standard deviation 0.5.
    assert 0.3 < excess(2.0) < 0.8
    assert abs(excess(np.inf)) < 0.02


def test_counts_have_types_of_exact_sizes_and_mixed_batches(counts):
    sizes = counts.obs["cell_type"].value_counts()
    assert sizes["rare"] == 40
    share = 0.98 * 0.75 ** np.arange(6) / (0.75 ** np.arange(6)).sum()
    named = sizes[[f"type{i}" for i in range(1, 7)]].to_numpy()
    assert np.abs(named - 2000 * share).max() < 1
    assert named.sum() + 40 == 2000
    table = counts.obs.groupby(["cell_type", "batch"], observed=False).size()
    assert (table > 0).all()
    assert not counts.obs["cell_type"].iloc[:100].eq("type1").all()  # in random order


def test_counts_markers_rise_in_their_type(counts):
    X = counts.X.toarray()
    X = X / X.sum(1, keepdims=True)
    labels = counts.obs["cell_type"].to_numpy()
    for name in ("type1", "type2", "type6"):
        markers = (counts.var["marker_of"] == name).to_numpy()
        assert markers.sum() == 40
        inside = X[labels == name][:, markers].mean()
        outside = X[labels != name][:, markers].mean()
        assert inside > 3 * outside


def test_counts_modules_correlate_genes_within_a_type():
    settings = {"cell_types": 1, "batches": 1, "inverse_dispersion": np.inf, "seed": 2}

    def largest_axis(**options) -> float:
        adata = simulate_counts(2000, 200, median_library=4000.0, **settings, **options)
        X = adata.X.toarray()
        X = np.log1p(1e4 * X / X.sum(1, keepdims=True))[:, X.mean(0) > 2]
        spectrum = np.linalg.eigvalsh(np.corrcoef(X.T))
        return float(spectrum[-1])

    assert largest_axis() > 1.8 * largest_axis(n_modules=0)


def test_counts_batches_shift_genes():
    def distance(batch_sd: float) -> float:
        adata = simulate_counts(2000, 200, cell_types=1, batch_sd=batch_sd, seed=4)
        X = adata.X.toarray()
        X = X / X.sum(1, keepdims=True)
        first = (adata.obs["batch"] == "batch1").to_numpy()
        often = X.mean(0) > 1e-3
        return float(np.abs(np.log(X[first].mean(0)[often] / X[~first].mean(0)[often])).mean())

    assert distance(0.25) > 2 * distance(0.0)


def test_counts_take_names_and_frequencies():
    adata = simulate_counts(
        100, 50, cell_types={"B": 3, "NK": 1}, batches=["donor A", "donor B"], seed=5
    )
    assert adata.obs["cell_type"].value_counts().to_dict() == {"B": 75, "NK": 25}
    assert list(adata.obs["batch"].cat.categories) == ["donor A", "donor B"]
    few = simulate_counts(7, 20, cell_types=7)
    assert few.obs["cell_type"].value_counts().tolist() == [1] * 7
    one = simulate_counts(1, 1, cell_types=1, batches=1, median_library=50.0)
    assert one.shape == (1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_groups(n_genes=299), "need 300 genes, got n_genes=299"),
        (lambda: simulate_groups(n_groups=0), "n_groups must be a whole number >= 1, got 0"),
        (lambda: simulate_groups(-1), "seed must be a whole number >= 0"),
        (lambda: simulate_groups(sd=float("nan")), "sd must be at least 0, got nan"),
        (lambda: simulate_counts(0), "n_cells must be a whole number >= 1"),
        (lambda: simulate_counts(cell_types=0), "cell_types must be at least 1"),
        (lambda: simulate_counts(cell_types=["B", "B"]), "none twice"),
        (lambda: simulate_counts(cell_types={"B": -1.0}), "must be finite and above 0"),
        (lambda: simulate_counts(rare=1.0), "rare must lie between 0 and 1, got 1.0"),
        (lambda: simulate_counts(cell_types=["rare"], rare=0.1), "is a cell type already"),
        (lambda: simulate_counts(inverse_dispersion=0), "inverse_dispersion must be above 0"),
        (lambda: simulate_counts(median_library=-2.0), "median_library must be above 0"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises((ArgumentError, DataError), match=message):
        call()


@pytest.mark.parametrize("simulate", [simulate_counts, simulate_groups])
@pytest.mark.parametrize("wrong", [None, 1.5, -1, "1"])
def test_whole_numbers_are_asked_for(simulate, wrong):
    for name in ("seed", "n_genes", "n_markers"):
        with pytest.raises(ArgumentError, match=f"{name} must be a whole number"):
            simulate(**{name: wrong})
