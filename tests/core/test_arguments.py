"""Bad arguments raise ValueError and name what is wrong; nothing is written or drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vaexprs import _core

F = np.float32
MEAN = np.full((2, 3), 0.5, F)
THETA = np.ones(3, F)
LOGITS = np.zeros((1, 3), F)
SAMPLERS: list[tuple[str, tuple[Any, ...]]] = [
    ("bernoulli", (MEAN,)),
    ("gaussian", (MEAN, THETA)),
    ("poisson", (MEAN,)),
    ("nb", (MEAN, THETA)),
    ("zinb", (MEAN, THETA, LOGITS)),
    ("zigamma", (MEAN, THETA, LOGITS)),
]
NAMES = {
    "gaussian": ["mean", "scale"],
    "zinb": ["mean", "inverse_dispersion", "zero_logits"],
    "zigamma": ["mean", "inverse_dispersion", "zero_logits"],
    "nb": ["mean", "inverse_dispersion"],
    "poisson": ["mean"],
    "bernoulli": ["mean"],
}


def changed(array: Any, value: float) -> Any:
    array = array.copy()
    array.reshape(-1)[-1] = value
    return array


def refused(message: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call(*args, **kwargs)


@pytest.mark.parametrize("suffix", ["", "_csr"])
@pytest.mark.parametrize(("name", "arguments"), SAMPLERS)
class TestSamplers:
    """Every sampler refuses in the same words."""

    def test_numbers(self, name: str, arguments: tuple[Any, ...], suffix: str) -> None:
        sample = getattr(_core, f"sample_{name}{suffix}")
        refused("seed: expected an integer from 0 to 2^64 - 1, got -1", sample, *arguments, seed=-1)
        refused("seed: expected", sample, *arguments, seed=2**64)
        refused(
            "first_cell: expected an integer from 0 to 2^63 - 1, got -5",
            sample,
            *arguments,
            seed=0,
            first_cell=-5,
        )
        refused("first_cell: expected", sample, *arguments, seed=0, first_cell=2**63)
        refused("n_threads: expected", sample, *arguments, seed=0, n_threads=0)
        refused("n_threads: expected", sample, *arguments, seed=0, n_threads=-1)
        refused(
            "instruction_set: expected one of 'reference'",
            sample,
            *arguments,
            seed=0,
            instruction_set="vax",
        )
        with pytest.raises(TypeError):
            sample(*arguments, seed=0.5)
        with pytest.raises(TypeError):
            sample(*arguments)

    def test_arrays(self, name: str, arguments: tuple[Any, ...], suffix: str) -> None:
        sample = getattr(_core, f"sample_{name}{suffix}")
        for i, parameter in enumerate(NAMES[name]):

            def call(array: Any, message: str, i: int = i) -> None:
                swapped = (*arguments[:i], array, *arguments[i + 1 :])
                refused(message, sample, *swapped, seed=0)

            array = arguments[i]
            expected = f"{parameter}: expected a C-contiguous array of float32 of shape ("
            call(array.astype(np.float64), expected)
            call(array.astype(">f4"), expected)
            call(np.zeros((1, 1, 3), F), expected)
            if i > 0:  # the mean sets the shape, the others must fit
                call(np.zeros((2, 4), F), expected)
                call(np.zeros((3, 3), F), expected)
                call(np.zeros(2, F), expected)
            call(np.asfortranarray(np.full((2, 3), 0.5, F)), expected)
            with pytest.raises(TypeError):
                sample(*arguments[:i], array.tolist(), *arguments[i + 1 :], seed=0)

    def test_values(self, name: str, arguments: tuple[Any, ...], suffix: str) -> None:
        sample = getattr(_core, f"sample_{name}{suffix}")
        bad = {
            "mean": [np.nan, np.inf, -np.inf, *([-0.5] if name != "gaussian" else [])],
            "scale": [np.nan, np.inf, -1e-9],
            "inverse_dispersion": [np.nan, np.inf, 0.0, -1.0],
            "zero_logits": [np.nan, np.inf, -np.inf],
        }
        if name == "bernoulli":
            bad["mean"].append(1.0000001)
        elif name != "gaussian":
            bad["mean"].append(2.0**63)
        for i, parameter in enumerate(NAMES[name]):
            for value in bad[parameter]:
                swapped = (*arguments[:i], changed(arguments[i], value), *arguments[i + 1 :])
                for instruction_set in _core.instruction_sets():
                    with pytest.raises(ValueError, match=f"^{parameter}: expected .*, got ") as e:
                        sample(*swapped, seed=0, instruction_set=instruction_set)
                    row = 1 if arguments[i].shape[0] == 2 else 0
                    assert str(e.value).endswith(f" at row {row}, column 2.")
                with pytest.raises(ValueError, match=f"^{parameter}: "):
                    sample(*swapped, seed=0, n_threads=2)

    def test_negative_zero_is_zero(
        self, name: str, arguments: tuple[Any, ...], suffix: str
    ) -> None:
        sample = getattr(_core, f"sample_{name}{suffix}")
        for instruction_set in _core.instruction_sets():
            mean = changed(arguments[0], -0.0)
            sample(mean, *arguments[1:], seed=0, instruction_set=instruction_set)

    def test_empty(self, name: str, arguments: tuple[Any, ...], suffix: str) -> None:
        sample = getattr(_core, f"sample_{name}{suffix}")
        for shape in [(0, 3), (2, 0), (0, 0)]:
            found = sample(*(np.zeros(shape, F) for _ in arguments), seed=0)
            if suffix:
                assert [len(part) for part in found] == [0, 0, shape[0] + 1]
            else:
                assert found.shape == shape


def test_numpy_integers_are_integers() -> None:
    _core.sample_poisson(MEAN, seed=np.uint64(2**64 - 1), first_cell=np.int64(3))


def test_fills() -> None:
    out = np.empty((2, 3), F)
    refused("purpose: expected one of 'latent'", _core.fill_uniform, out, seed=0, purpose="x")
    for fill in (_core.fill_uniform, _core.fill_latent):
        expected = "out: expected a C-contiguous array of float32 of shape (n, n)"
        refused(expected, fill, np.empty((2, 3), np.int32), seed=0)
        refused(expected, fill, np.empty(3, F), seed=0)
        refused(expected, fill, np.empty((3, 2), F).T, seed=0)
        refused("seed: expected", fill, out, seed=-1)
        read_only = np.empty((2, 3), F)
        read_only.flags.writeable = False
        refused("out: expected a writeable array", fill, read_only, seed=0)


def test_threefry_arguments() -> None:
    counter, key = np.zeros((2, 4), np.uint32), np.zeros(4, np.uint32)
    refused("counter: expected", _core.threefry4x32, counter.astype(np.int64), key)
    refused("counter: expected", _core.threefry4x32, counter[:, :3].copy(), key)
    refused("key: expected", _core.threefry4x32, counter, key[:3].copy())
    refused("key: expected", _core.threefry4x32, counter, np.zeros((3, 4), np.uint32))


def test_gamma_and_categorical_arguments() -> None:
    refused("shape: expected finite values > 0", _core.sample_gamma, np.zeros((1, 1)), seed=0)
    refused("shape: expected", _core.sample_gamma, np.full((1, 1), np.nan), seed=0)
    refused("weights: expected a positive", _core.sample_categorical, np.zeros(2), 3, seed=0)
    refused("weights: expected finite", _core.sample_categorical, np.array([-1.0, 2]), 3, seed=0)
    refused("weights: expected a positive", _core.sample_categorical, np.zeros(0), 3, seed=0)
    refused("n_cells: expected", _core.sample_categorical, np.ones(2), -1, seed=0)


def mixture(**changes: Any) -> dict[str, Any]:
    """Return the arguments of a small mixture, some of them changed."""
    arguments: dict[str, Any] = {
        "out": np.empty((4, 2), F),
        "group": np.array([0, 1, 1, 0], np.int32),
        "offsets": np.array([0, 1, 3], np.int64),
        "weights": np.array([1.0, 0.25, 0.75]),
        "means": np.zeros((3, 2), F),
        "tril": np.tile(np.eye(2, dtype=F), (2, 1, 1)),
        "factor": np.array([0, 1, 1], np.int32),
    }
    return {**arguments, **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": np.array([0, 2, 1, 0], np.int32)}, "group: expected values from 0 to 1, got 2"),
        ({"group": np.array([0, -1, 1, 0], np.int32)}, "group: expected values from 0 to 1"),
        ({"group": np.zeros(3, np.int32)}, "group: expected a C-contiguous"),
        ({"offsets": np.array([0, 2, 2], np.int64)}, "offsets: expected integers that rise"),
        ({"offsets": np.array([0, 0, 3], np.int64)}, "offsets: expected integers that rise"),
        ({"offsets": np.array([1, 2, 3], np.int64)}, "offsets: expected integers that rise"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets: expected integers that rise"),
        ({"weights": np.array([1.0, 0.0, 0.0])}, "weights: expected values >= 0"),
        ({"weights": np.array([1.0, -1.0, 2.0])}, "weights: expected values >= 0"),
        ({"weights": np.array([np.nan, 1.0, 2.0])}, "weights: expected values >= 0"),
        ({"factor": np.array([0, 1, 2], np.int32)}, "factor: expected values from 0 to 1"),
        ({"means": np.full((3, 2), np.nan, F)}, "means: expected finite"),
        ({"tril": np.full((2, 2, 2), np.inf, F)}, "tril: expected finite"),
        ({"means": np.zeros((3, 3), F)}, "means: expected a C-contiguous"),
        ({"tril": np.zeros((2, 3, 3), F)}, "tril: expected a C-contiguous"),
    ],
)
def test_mixture_arguments(change: dict[str, Any], message: str) -> None:
    _core.fill_latent_mixture(**mixture(), seed=0)
    refused(message, _core.fill_latent_mixture, **mixture(**change), seed=0)


def test_library_and_reparameterize_arguments() -> None:
    out, group = np.empty(2, F), np.array([0, 1], np.int32)
    location, scale = np.zeros(2, F), np.ones(2, F)
    _core.fill_library(out, group, location, scale, seed=0)
    refused("group: expected values from 0 to 1", _core.fill_library, out, group + np.int32(1),
            location, scale, seed=0)  # fmt: skip
    refused("scale: expected values >= 0", _core.fill_library, out, group, location, -scale, seed=0)
    nan = location * F(np.nan)
    refused("location: expected finite", _core.fill_library, out, group, nan, scale, seed=0)
    mean = np.zeros((2, 3), F)
    refused("log_variance: expected a C-contiguous", _core.reparameterize, mean, mean[:1], seed=0)
    refused("mean: expected finite", _core.reparameterize, mean + F(np.nan), mean, seed=0)
    refused("log_variance: expected finite", _core.reparameterize, mean, mean + F(np.inf), seed=0)


def test_one_hot_arguments() -> None:
    codes, sizes = np.array([[0, 2], [1, 0]], np.int32), np.array([2, 3], np.int32)
    out = np.empty((2, 5), F)
    _core.fill_one_hot(out, codes, sizes)
    refused("codes: expected values from 0 to 2 for key 1, got 3 at row 0", _core.fill_one_hot, out,
            codes + np.array([[0, 1], [0, 0]], np.int32), sizes)  # fmt: skip
    refused("codes: expected", _core.fill_one_hot, out, -codes, sizes)
    refused("out: expected", _core.fill_one_hot, np.empty((2, 4), F), codes, sizes)
    refused("sizes: expected", _core.fill_one_hot, out, codes, np.array([5, 0], np.int32))
