"""One rule for the scale of values, and one log1p of counts per 10,000."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from vaexprs.data.scale import log_normalise, scale_of, to_log

COUNTS = np.random.default_rng(0).poisson(2.0, (30, 8)).astype(np.float32)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize(
    ("X", "scale"),
    [
        (COUNTS, "counts"),
        (COUNTS > 2, "binary"),
        (np.zeros((3, 2)), "binary"),
        ((COUNTS * 0.5) ** 6, "linear"),
        (np.log1p(COUNTS), "log"),
        (COUNTS - 1, "log"),
        (np.full((2, 2), -1.0), "log"),
        (np.array([[30.5, 1.0, 1.0]]), "linear"),
        (np.array([[29.5, 0.1, 0.1]]), "log"),
        (np.array([[0, 1000.0], [0.5, 0.7]]), "linear"),
    ],
)
def test_the_scale_follows_from_the_values(form, X, scale):
    assert scale_of(form(X)) == scale


def test_counts_become_log1p_of_counts_per_ten_thousand():
    X = np.array([[1.0, 3, 0], [0, 0, 0], [2, 0, 2]], dtype=np.float32)
    expected = np.log1p([[2500, 7500, 0], [0, 0, 0], [5000, 0, 5000]])
    np.testing.assert_allclose(log_normalise(X), expected, rtol=1e-6)
    matrix = sparse.csr_matrix(X)
    np.testing.assert_allclose(log_normalise(matrix).toarray(), expected, rtol=1e-6)
    np.testing.assert_array_equal(matrix.toarray(), X)  # left as it was
    for form in (X, matrix):
        assert log_normalise(form).dtype == np.float32


def test_each_scale_has_its_way_to_a_log_scale():
    np.testing.assert_array_equal(to_log(COUNTS, "counts"), log_normalise(COUNTS))
    np.testing.assert_allclose(to_log(COUNTS, "linear"), np.log1p(COUNTS))
    linear = to_log(sparse.csr_matrix(COUNTS), "linear")
    np.testing.assert_allclose(linear.toarray(), np.log1p(COUNTS))
    assert to_log(COUNTS, "log") is COUNTS
    assert to_log(COUNTS, "binary") is COUNTS


def test_training_evaluation_and_plots_agree_on_zeros_and_ones():
    """Each had a rule of its own; one of them took log1p per 10,000 of zeros and ones."""
    pytest.importorskip("torch")
    from vaexprs.evaluation.comparison.cells import read_cells as read_for_scores
    from vaexprs.plotting.cells import choose_scale, rescale
    from vaexprs.plotting.cells import read_cells as read_for_plots

    X = (COUNTS > 2).astype(np.float32)
    scored = read_for_scores(X, X)
    np.testing.assert_array_equal(scored.train.values, X)
    assert "zeros and ones" in scored.notes[0]
    drawn = read_for_plots(X, name="real", max_cells=None, seed=0)
    np.testing.assert_array_equal(rescale(drawn, choose_scale(drawn, "auto")).dense(), X)
