"""Bad arguments raise ValueError and name what is wrong; nothing is written or drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vaexprs import _core
from vaexprs.spec import OUTPUTS

F = np.float32
MEAN = np.full((2, 3), 0.5, F)
THETA = np.ones(3, F)
LOGITS = np.zeros((1, 3), F)
VALUES = {"mean": MEAN, "scale": THETA, "inverse_dispersion": THETA, "zero_logits": LOGITS}
#: The parameters of each law, in the order that the core takes them.
NAMES = dict(OUTPUTS)
SAMPLERS = [(law, tuple(VALUES[name] for name in names)) for law, names in NAMES.items()]


def changed(array: Any, value: float) -> Any:
    array = array.copy()
    array.reshape(-1)[-1] = value
    return array


def refused(message: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call(*args, **kwargs)


def sampler(name: str) -> Callable[..., Any]:
    """Return `observe` of a likelihood as a function of its parameters."""

    def sample(*outputs: Any, **options: Any) -> Any:
        return _core.observe(name, outputs, **options)

    return sample


@pytest.mark.parametrize(("name", "arguments"), SAMPLERS)
class TestObserve:
    """Every likelihood refuses in the same words."""

    def test_numbers(self, name: str, arguments: tuple[Any, ...]) -> None:
        sample = sampler(name)
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

    def test_arrays(self, name: str, arguments: tuple[Any, ...]) -> None:
        sample = sampler(name)
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

    def test_values(self, name: str, arguments: tuple[Any, ...]) -> None:
        sample = sampler(name)
        bad = {
            "mean": [np.nan, np.inf, -np.inf, *([-0.5] if "gaussian" not in name else [])],
            "scale": [np.nan, np.inf, -1e-9],
            "inverse_dispersion": [np.nan, np.inf, 0.0, -1.0],
            "zero_logits": [np.nan, np.inf, -np.inf],
        }
        if name == "bernoulli":
            bad["mean"].append(1.0000001)
        elif "gaussian" not in name:
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

    def test_negative_zero_is_zero(self, name: str, arguments: tuple[Any, ...]) -> None:
        sample = sampler(name)
        for instruction_set in _core.instruction_sets():
            mean = changed(arguments[0], -0.0)
            sample(mean, *arguments[1:], seed=0, instruction_set=instruction_set)

    def test_empty(self, name: str, arguments: tuple[Any, ...]) -> None:
        sample = sampler(name)
        for shape in [(0, 3), (2, 0), (0, 0)]:
            found = sample(*(np.zeros(shape, F) for _ in arguments), seed=0)
            assert [len(part) for part in found] == [0, 0, shape[0] + 1]


def test_numpy_integers_are_integers() -> None:
    _core.observe("poisson", [MEAN], seed=np.uint64(2**64 - 1), first_cell=np.int64(3))


def test_fill_latent_arguments() -> None:
    fill, expected = (
        _core.fill_latent,
        "out: expected a C-contiguous array of float32 of shape (n, n)",
    )
    refused(expected, fill, np.empty((2, 3), np.int32), seed=0)
    refused(expected, fill, np.empty(3, F), seed=0)
    refused(expected, fill, np.empty((3, 2), F).T, seed=0)
    refused("seed: expected", fill, np.empty((2, 3), F), seed=-1)
    read_only = np.empty((2, 3), F)
    read_only.flags.writeable = False
    refused("out: expected a writeable array", fill, read_only, seed=0)


def test_threefry_arguments() -> None:
    counter, key = np.zeros((2, 4), np.uint32), np.zeros(4, np.uint32)
    refused("counter: expected", _core.threefry4x32, counter.astype(np.int64), key)
    refused("counter: expected", _core.threefry4x32, counter[:, :3].copy(), key)
    refused("key: expected", _core.threefry4x32, counter, key[:3].copy())
    refused("key: expected", _core.threefry4x32, counter, np.zeros((3, 4), np.uint32))


def inputs(**changes: Any) -> dict[str, Any]:
    """Return the arguments of the inputs of a small model, some of them changed."""
    arrays: dict[str, Any] = {
        "offsets": np.array([0, 1, 3], np.int64),
        "weights": np.array([1.0, 0.25, 0.75]),
        "means": np.zeros((3, 2), F),
        "tril": np.tile(np.eye(2, dtype=F), (2, 1, 1)),
        "factor": np.array([0, 1, 1], np.int32),
        "minimum": np.zeros(2, F),
        "maximum": np.ones(2, F),
        "location": np.zeros(2, F),
        "scale": np.ones(2, F),
        "sizes": np.array([2, 3], np.int32),
        "seen": np.array([[0, 0], [1, 2]], np.int32),
        "n_cells": np.array([4, 5]),
        "combinations": np.array([[0, 0], [1, 1]], np.int32),
        "bounds": np.array([5, 9], np.uint64),
        "groups": np.array([0, 1], np.int32),
        "endless": False,
        "n_latent": 2,
        "with_log_library": False,
        "keys": [("a", ["x", "y"]), ("b", ["x", "y", "z"])],
    }
    arrays |= changes
    names = ("offsets", "weights", "means", "tril", "factor")
    prior = [arrays.pop(name) for name in names]
    library = [arrays.pop(name) for name in ("minimum", "maximum", "location", "scale")]
    return {"prior": prior, "library": library, **arrays}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 2, 2], np.int64)}, "offsets: expected integers that rise"),
        ({"offsets": np.array([0, 0, 3], np.int64)}, "offsets: expected integers that rise"),
        ({"offsets": np.array([1, 2, 3], np.int64)}, "offsets: expected integers that rise"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets: expected a C-contiguous"),
        ({"weights": np.array([1.0, 0.0, 0.0])}, "weights: expected values >= 0"),
        ({"weights": np.array([1.0, -1.0, 2.0])}, "weights: expected values >= 0"),
        ({"weights": np.array([np.nan, 1.0, 2.0])}, "weights: expected values >= 0"),
        ({"factor": np.array([0, 1, 2], np.int32)}, "factor: expected values from 0 to 1"),
        ({"means": np.full((3, 2), np.nan, F)}, "means: expected finite"),
        ({"tril": np.full((2, 2, 2), np.inf, F)}, "tril: expected finite"),
        ({"means": np.zeros((3, 3), F)}, "means: expected a C-contiguous"),
        ({"tril": np.zeros((2, 3, 3), F)}, "tril: expected a C-contiguous"),
        ({"with_log_library": True}, "means: expected a C-contiguous"),
        ({"scale": -np.ones(2, F)}, "scale: expected values >= 0"),
        ({"location": np.full(2, np.nan, F)}, "location: expected finite"),
        ({"minimum": np.full(2, 2, F)}, "maximum: expected at least the minimum"),
        ({"sizes": np.array([5, 0], np.int32)}, "sizes: expected"),
        ({"seen": np.array([[0, 0], [1, 3]], np.int32)}, "seen: expected values from 0 to 2 for"),
        ({"combinations": np.array([[0, 0], [-1, 1]], np.int32)}, "combinations: expected values"),
        ({"combinations": np.zeros((2, 1), np.int32)}, "combinations: expected a C-contiguous"),
        ({"n_cells": np.array([4, 0])}, "n_cells: expected at least 1"),
        ({"n_cells": np.array([4])}, "seen: expected a C-contiguous"),
        ({"groups": np.array([0, 2], np.int32)}, "groups: expected values from 0 to 1"),
        ({"groups": np.array([-1, 0], np.int32)}, "groups: expected values from 0 to 1"),
        ({"groups": np.zeros(3, np.int32)}, "groups: expected a C-contiguous"),
        ({"keys": [("a", ["x", "y"])]}, "keys: expected 2 of them"),
        ({"keys": [("a", ["x", "y"]), ("b", ["x", "y"])]}, "keys: expected the categories"),
        ({"n_latent": 0}, "n_latent: expected"),
    ],
)
def test_inputs_arguments(change: dict[str, Any], message: str) -> None:
    made = _core.Inputs(**inputs())
    refused("n_cells: expected >= 0", made.draw, seed=0, first_cell=0, n_cells=-1)
    refused("first_cell: expected", made.draw, seed=0, first_cell=-1, n_cells=1)
    refused(message, _core.Inputs, **inputs(**change))


def test_reparameterize_arguments() -> None:
    mean = np.zeros((2, 3), F)
    refused("log_variance: expected a C-contiguous", _core.reparameterize, mean, mean[:1], seed=0)
    refused("mean: expected finite", _core.reparameterize, mean + F(np.nan), mean, seed=0)
    refused("log_variance: expected finite", _core.reparameterize, mean, mean + F(np.inf), seed=0)


def test_observe_arguments() -> None:
    refused("likelihood: expected one of 'bernoulli', ", _core.observe, "normal", [MEAN], seed=0)
    for outputs in ([], [MEAN], [MEAN, THETA, THETA]):
        with pytest.raises(TypeError, match=r"nb has 2 parameters \(mean, inverse_dispersion\)"):
            _core.observe("nb", outputs, seed=0)
    refused(
        "rounded: expected False", _core.observe, "gaussian", [MEAN, THETA], seed=0, rounded=True
    )
    streams = np.zeros(3, np.uint32)
    refused("streams: expected a C-", _core.observe, "poisson", [MEAN], seed=0, streams=streams)


def test_misaligned_arrays_are_refused() -> None:
    raw = np.zeros(2 * 3 * 4 + 1, np.uint8)
    odd = np.frombuffer(raw.data, F, 6, offset=1).reshape(2, 3)
    assert not odd.flags.aligned
    refused("got a misaligned array of float32", _core.observe, "poisson", [odd], seed=0)


@pytest.mark.parametrize(
    ("likelihood", "parameters"),
    [("gaussian", (0, 3e38)), ("zigamma", (9e18, 1e-30, -20))],
)
def test_draws_beyond_float32_are_refused(likelihood: str, parameters: tuple[float, ...]) -> None:
    outputs = [np.full((2, 500), value, F) for value in parameters]
    for instruction_set in _core.instruction_sets():
        with pytest.raises(ValueError, match="mean: expected draws that float32 can hold, got "):
            _core.observe(likelihood, outputs, seed=0, instruction_set=instruction_set)


def test_means_are_checked() -> None:
    assert np.array_equal(_core.means("bernoulli", [MEAN + 7]), MEAN + 7)
    refused("mean: expected finite values >= 0, got -0.5", _core.means, "nb", [-MEAN, THETA])
    refused("mean: expected finite", _core.means, "gaussian", [MEAN * F(np.inf), THETA])
    refused("scale: expected", _core.means, "gaussian", [MEAN, -THETA])
