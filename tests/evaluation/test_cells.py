"""Reading: common genes, scales, labels, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from vaexprs.errors import ConditionError, DataError
from vaexprs.evaluation.comparison.cells import read_cells


@pytest.mark.parametrize(
    ("change", "scale"),
    [
        (lambda X: X, "counts"),
        (lambda X: X * 10.5, "linear"),
        (lambda X: np.log1p(X), "log"),
        (lambda X: X - 1.5, "log"),
        (lambda X: (X > 0).astype(np.float32), "log"),
    ],
)
def test_the_scale_is_found(simulate, change, scale):
    X = change(simulate(30, 0).X.toarray()).astype(np.float32)
    assert read_cells(X, X).scale == scale


def test_genes_are_aligned_by_name(simulate):
    train, made = simulate(30, 0), simulate(30, 1)
    shuffled = made[:, ::-1][:, 5:].copy()
    data = read_cells(train, shuffled)
    assert data.genes == tuple(train.var_names[:-5])
    np.testing.assert_array_equal(data.generated.given.toarray(), made.X[:, :-5].toarray())
    assert "115 genes" in data.notes[0]


def test_conditions_and_donors_are_read(simulate):
    train, made = simulate(30, 0), simulate(30, 1)
    del made.obs["donor"]
    data = read_cells(train, made, condition_keys=["cell_type"], donor_key="donor")
    np.testing.assert_array_equal(data.train.labels["cell_type"], train.obs["cell_type"])
    np.testing.assert_array_equal(data.train.donor, train.obs["donor"])
    assert data.generated.donor is None
    assert list(data.train.group(["cell_type"])) == list(train.obs["cell_type"])


def test_layers(simulate):
    train, made = simulate(30, 0), simulate(30, 1)
    train.layers["counts"] = train.X.copy()
    train.X = np.log1p(train.X.toarray())
    data = read_cells(train, made, layer="counts")
    assert data.scale == "counts"
    np.testing.assert_array_equal(data.train.given.toarray(), train.layers["counts"].toarray())


def test_negative_generated_values_are_noted_and_cut(simulate):
    train, made = simulate(30, 0), simulate(30, 1)
    made.X = made.X.toarray() - 1.0
    data = read_cells(train, made)
    assert data.generated.given.min() == 0
    assert "negative" in data.notes[0]


@pytest.mark.parametrize("base", [np.e, 2.0])
def test_logged_cells_are_not_compared_with_counts(simulate, base):
    """Whichever side is logged; scaled counts, expected values and continuous draws pass."""
    train, made = simulate(30, 0), simulate(30, 1)

    def log_of(cells):
        X = cells.X.toarray()
        return np.log1p(X * 1e4 / X.sum(axis=1, keepdims=True)) / np.log(base)

    logged = made.copy()
    logged.X = log_of(made)
    with pytest.raises(DataError, match=r"the cells of generated hold log1p .*scaled to 10,000"):
        read_cells(train, logged)
    with pytest.raises(DataError, match="the cells of real_test hold log1p"):
        read_cells(train, made, logged)
    for values in (
        np.expm1(log_of(made)),
        made.X.toarray() * 0.93 + 0.01 * np.arange(made.n_vars),
        np.log1p(np.random.default_rng(0).gamma(0.5, size=made.shape)),
    ):
        other = made.copy()
        other.X = values
        assert any("no whole numbers" in note for note in read_cells(train, other).notes)


def test_refusals(simulate, tmp_path):
    train, made = simulate(30, 0), simulate(30, 1)
    with pytest.raises(ConditionError, match=r"real_train.*cell_type"):
        read_cells(train, made, condition_keys=["celltype"])
    strange = made.copy()
    strange.var_names = [f"other{i}" for i in range(strange.n_vars)]
    with pytest.raises(DataError, match="share 0 gene names"):
        read_cells(train, strange)
    with pytest.raises(DataError, match=r"real_train has \d+ genes, generated has 5"):
        read_cells(train.X, made.X[:, :5])
    with pytest.raises(DataError, match=r"real_train has \d+ genes, real_test has 5"):
        read_cells(train.X, made.X, made.X[:, :5])
    broken = made.copy()
    broken.X = broken.X.toarray()
    broken.X[3, 2] = np.nan
    with pytest.raises(DataError, match=r"generated: .*gene2"):
        read_cells(train, broken)
    with pytest.raises(DataError, match="scale='counts'"):
        read_cells(np.log1p(train.X.toarray()), made.X, scale="counts")
    with pytest.raises(DataError, match="scale is 'logs'"):
        read_cells(train, made, scale="logs")
    with pytest.raises(DataError, match="generated: there is no file"):
        read_cells(train, tmp_path / "none.h5ad")
