"""Means from logits: close to float64, the same bits everywhere, one with the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vaexprs import _core

SHAPES = [(1, 1), (3, 5), (4, 32), (7, 101), (2, 5000)]


def inputs(n_cells: int, n_genes: int, shift: float = 0.0) -> tuple[NDArray[np.float32], ...]:
    rng = np.random.default_rng(n_genes)
    logits = (rng.normal(shift, 3.0, (n_cells, n_genes))).astype(np.float32)
    bias = rng.normal(0.0, 2.0, n_genes).astype(np.float32)
    library = rng.uniform(100, 50_000, n_cells).astype(np.float32)
    return logits, bias, library


def means_of(
    logits: NDArray[np.float32],
    library: NDArray[np.float32],
    bias: NDArray[np.float32] | None = None,
    **options: Any,
) -> NDArray[np.float32]:
    return _core.means("poisson", [logits], library=library, bias=bias, **options)


def expected(
    logits: NDArray[np.float32], bias: NDArray[np.float32] | None, library: NDArray[np.float32]
) -> NDArray[np.float64]:
    x = logits if bias is None else logits + bias
    x = x.astype(np.float64)
    share = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(library[:, None] * share / share.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [0.0, 50.0, 1e4, -1e4])
@pytest.mark.parametrize("with_bias", [False, True])
def test_means_are_those_of_float64(shape: tuple[int, int], shift: float, with_bias: bool) -> None:
    logits, bias, library = inputs(*shape, shift)
    out = means_of(logits, library, bias if with_bias else None)
    # What rounding a logit of 60 to float32 does, three times.
    wanted = expected(logits, bias if with_bias else None, library)
    np.testing.assert_allclose(out, wanted, rtol=1.1e-5)
    np.testing.assert_allclose(out.sum(axis=1, dtype=np.float64), library, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_bits_are_the_same_on_every_instruction_set_and_thread(
    shape: tuple[int, int], shift: float
) -> None:
    logits, bias, library = inputs(*shape, shift)
    reference = means_of(logits, library, bias, instruction_set="reference")
    for name in _core.instruction_sets():
        for n_threads in (1, 3):
            out = means_of(logits, library, bias, n_threads=n_threads, instruction_set=name)
            assert np.array_equal(out, reference), name


@pytest.mark.parametrize("law", ["poisson", "nb", "zinb"])
def test_draws_from_logits_are_those_from_their_means(law: str) -> None:
    logits, bias, library = inputs(6, 700)
    means = means_of(logits, library, bias)
    more = {"poisson": 0, "nb": 1, "zinb": 2}[law]
    parameters = [np.full(700, 2.0, np.float32), np.full(700, -1.0, np.float32)][:more]
    where: dict[str, Any] = {"seed": 3, "first_cell": 9}
    made = _core.observe(law, [logits, *parameters], **where, library=library, bias=bias)
    wanted = _core.observe(law, [means, *parameters], **where)
    for a, b in zip(made, wanted, strict=True):
        assert np.array_equal(a, b)


def test_genes_that_hardly_exist_get_hardly_anything() -> None:
    logits = np.array([[0.0, -200.0, -np.inf, 1.0]], np.float32)
    out = means_of(logits, np.array([1000.0], np.float32))
    assert (out[0, 1:3] < 1e-30).all()
    np.testing.assert_allclose(out[0, [0, 3]], 1000 / (1 + np.exp([1.0, -1.0])), rtol=1e-6)


@pytest.mark.parametrize("place", [0, 63, 99])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(place: int, bad: float) -> None:
    logits = np.zeros((2, 100), np.float32)
    logits[1, place] = bad
    for name in _core.instruction_sets():
        with pytest.raises(ValueError, match="mean: expected finite logits, got others in row 1"):
            means_of(logits, np.ones(2, np.float32), instruction_set=name)


def test_other_arguments_that_are_refused() -> None:
    logits = np.zeros((2, 3), np.float32)
    library = np.ones(2, np.float32)
    with pytest.raises(ValueError, match="mean: expected finite logits"):
        means_of(np.full_like(logits, -np.inf), library)
    with pytest.raises(ValueError, match=r"library: expected finite values >= 0 and < 2\^63"):
        means_of(logits, -library)
    with pytest.raises(ValueError, match="bias: "):
        means_of(logits, library, np.full(3, np.nan, np.float32))
    with pytest.raises(ValueError, match="library: expected one for each cell"):
        _core.observe("poisson", [logits], seed=0, bias=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="library: expected none, since bernoulli takes means"):
        _core.means("bernoulli", [logits], library=library)
    bias = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="bias: "):
        _core.observe("poisson", [logits], seed=0, library=library, bias=bias)
