"""A spec goes through its metadata unchanged, and metadata of any content do no harm."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaexprs.artifact import load_artifact
from vaexprs.errors import ArtifactError, ConditionError
from vaexprs.spec import (
    OUTPUTS,
    ConditionKey,
    Conditions,
    GeneratorSpec,
    Prior,
    read_metadata,
    write_metadata,
)


@pytest.fixture(scope="module")
def metadata(tiny_artifact) -> dict[str, str]:
    return write_metadata(load_artifact(tiny_artifact()).spec)


def assert_equal(a: object, b: object) -> None:
    assert type(a) is type(b)
    if is_dataclass(a):
        for f in fields(a):
            assert_equal(getattr(a, f.name), getattr(b, f.name))
    elif isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, tuple):
        assert isinstance(b, tuple)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("likelihood", list(OUTPUTS))
def test_there_and_back(tiny_artifact, likelihood: str) -> None:
    spec = load_artifact(tiny_artifact(likelihood=likelihood)).spec
    again = read_metadata(write_metadata(spec))
    assert_equal(spec, again)
    assert write_metadata(again) == write_metadata(spec)


def test_there_and_back_with_all_that_is_optional(tiny_artifact) -> None:
    path = tiny_artifact(
        keys={"Zelltyp": ["β", "α"], "b": ["1"]}, prior="standard_normal", quality={"auc": 0.5}
    )
    spec = load_artifact(path).spec
    assert spec.quality == {"auc": 0.5}
    assert_equal(spec, read_metadata(write_metadata(spec)))


def test_arrays_are_read_only(metadata) -> None:
    spec = read_metadata(metadata)
    with pytest.raises(ValueError, match="read-only"):
        spec.prior.means[0] = 1


def array(values: Any, dtype: str) -> dict[str, Any]:
    values = np.asarray(values, dtype=dtype)
    return {
        "dtype": dtype,
        "shape": list(values.shape),
        "base64": base64.b64encode(values.tobytes()).decode(),
    }


# Where in the metadata, what stands there instead, and the message. The artifact has three
# combinations of one key, two components each, and four latents and the library: 5 coordinates.
BAD: list[tuple[str, Any, str]] = [
    ("format_version", "1", "'vaexprs.format_version' must be a whole number, not a string"),
    ("format_version", True, "must be a whole number, not true or false"),
    ("format_version", 1.0, "must be a whole number, not a number"),
    ("format_version", 2, "newer than this vaexprs, which reads up to format 1: upgrade vaexprs"),
    ("format_version", -1, "'vaexprs.format_version' is -1, expected at least 1"),
    ("likelihood", "NB", "'vaexprs.likelihood' 'NB': did you mean 'nb'"),
    ("likelihood", "n" * 4000, r"'vaexprs.likelihood' 'n{80}': known: 'bernoulli'"),
    ("likelihood", "n" * 10_000, "'vaexprs.likelihood' has 10002 characters, more than 4096"),
    ("likelihood", ["nb"], "must be a string, not a list"),
    ("observation", "sample", "'sample' is none of 'draw', which 'nb' takes"),
    ("observation", "rounded", "'vaexprs.observation': 'rounded' is none of 'draw'"),
    ("observation", "mean", "'vaexprs.observation': 'mean' is none of 'draw'"),
    ("observation", None, "must be a string, not null"),
    ("n_latent", 0, "'vaexprs.n_latent': must be at least 1, not 0"),
    ("n_latent", 2**70, r"'vaexprs.n_latent' has the size 1180591620717411303424, more than"),
    ("n_latent", 5, r"'vaexprs.prior.means': expected shape \(6, 6\), got \(6, 5\)"),
    ("var_names", [], "'vaexprs.var_names': must name at least one gene"),
    ("var_names", ["A", "B", "A"], "'vaexprs.var_names': must be unique"),
    ("var_names", ["A", 1], "'vaexprs.var_names' must hold strings only"),
    ("var_names", ["A", ["B"]], "'vaexprs.var_names' must hold strings only"),
    ("var_names", ["A", "B\0"], "'vaexprs.var_names' holds a NUL character"),
    ("var_names", ["A", "\ud800"], "holds half a surrogate pair, which is no text"),
    ("var_names", {"A": 1}, "must be a list, not an object"),
    ("conditions", [], "'vaexprs.conditions' must be an object, not a list"),
    ("conditions.keys", None, "'vaexprs.conditions.keys' must be a list, not null"),
    ("conditions.keys", ["cell_type"], "'vaexprs.conditions.keys' must be an object"),
    ("conditions.keys.0", {"name": "a"}, "'vaexprs.conditions.keys.categories' is missing"),
    ("conditions.keys.0.name", 1, "'vaexprs.conditions.keys.name' must be a string"),
    ("conditions.keys.0.ordered", 0, "keys.ordered' must be true or false, not a whole number"),
    ("conditions.keys.0.categories", ["B", "B", "T"], "'cell_type' must be unique"),
    ("conditions.keys.0.categories", [], "must be unique and at least one"),
    ("conditions.keys.0.categories", ["B", "NK"], "a combination has a code outside its key's"),
    ("conditions.keys.0.categories", ["B", "NK", 3], "must hold strings only"),
    ("conditions.combinations", [[0], [1]], "has 2 combinations and 3 n_cells"),
    ("conditions.combinations", [0, 1, 2], "must have 1 codes, one for each key"),
    ("conditions.combinations", [[0], [1], [2, 0]], "must have 1 codes, one for each key"),
    ("conditions.combinations", [[0], [1], [[2]]], "must hold whole numbers of type int32"),
    ("conditions.combinations", [[0], [1], [2**32]], "must hold whole numbers of type int32"),
    ("conditions.combinations", [[0], [1], [True]], "must hold whole numbers of type int32"),
    ("conditions.combinations", [[0], [1], [1.0]], "must hold whole numbers of type int32"),
    ("conditions.combinations", [[0], [1], [-1]], "a code outside its key's categories"),
    ("conditions.combinations", [[0], [1], [1]], "combinations must be unique"),
    ("conditions.n_cells", [1, 2, 0], "every combination needs at least one training cell"),
    ("conditions.n_cells", [1, 2, 2**64], "must hold whole numbers of type int64"),
    ("conditions.n_cells", [2**62, 2**62, 2**62], "more training cells than can be counted"),
    ("conditions.n_cells", [1, 2, "3"], "must hold whole numbers of type int64"),
    ("prior.kind", "flow", "'vaexprs.prior': unknown kind 'flow'"),
    ("prior.kind", ["standard_normal"], "'vaexprs.prior.kind' must be a string, not a list"),
    ("prior.kind", "standard_normal", "a standard normal law has no library size"),
    ("prior.with_log_library", 1, "'vaexprs.prior.with_log_library' must be true or false"),
    ("prior.with_log_library", False, r"'vaexprs.prior.means': expected shape \(6, 4\)"),
    ("prior.means", "AAAA", "'vaexprs.prior.means' must be an object, not a string"),
    ("prior.means", array([0.0], "float32"), r"expected shape \(6, 5\), got \(1,\)"),
    ("prior.means.dtype", "float64", "has dtype 'float64', expected 'float32'"),
    ("prior.means.dtype", "O", "has dtype 'O', expected 'float32'"),
    ("prior.means.dtype", 7, "'vaexprs.prior.means.dtype' must be a string"),
    ("prior.means.shape", [30], r"expected shape \(6, 5\), got \(30,\)"),
    ("prior.means.shape", [6, -5], "a shape that is no list of at most 3 lengths"),
    ("prior.means.shape", [6, 5.0], "a shape that is no list of at most 3 lengths"),
    ("prior.means.shape", [1] * 5, "a shape that is no list of at most 3 lengths"),
    ("prior.means.shape", [2**62, 2**62], "a shape that is no list of at most 3 lengths"),
    ("prior.means.shape", [2**63, 0], "a shape that is no list of at most 3 lengths"),
    ("prior.means.shape", [2**30, 2**30], "holds 120 bytes, which is no float32 array of shape"),
    ("prior.means.shape", None, "'vaexprs.prior.means.shape' must be a list, not null"),
    ("prior.means.base64", "A?==", "'vaexprs.prior.means' is not base64"),
    ("prior.means.base64", "äöü", "'vaexprs.prior.means' is not base64"),
    ("prior.means.base64", "AAAA", "holds 3 bytes, which is no float32 array"),
    ("prior.means.base64", None, "'vaexprs.prior.means.base64' must be a string"),
    ("prior.means", array(np.full((6, 5), np.inf), "float32"), "means': holds values that are not"),
    ("prior.tril", array(np.ones((3, 5, 5)), "float32"), "must be zero above the diagonals"),
    ("prior.offsets", array([0, 2, 2, 6], "int64"), "must rise from 0 to the number of components"),
    ("prior.offsets", array([0, 2, 4, 7], "int64"), "must rise from 0 to the number of components"),
    ("prior.offsets", array([0, 2**62, -(2**62), 6], "int64"), "must rise from 0"),
    ("prior.offsets", array([0, 2**63 - 1, -(2**63), 6], "int64"), "must rise from 0"),
    ("prior.factor", array([0, 0, 1, 1, 2, 3], "int32"), "points outside the stored factors"),
    ("prior.factor", array([0, 0, 1, 1, 2, -1], "int32"), "points outside the stored factors"),
    ("prior.weights", array([1, 1, 1, 0, 1, 0], "float64"), "non-negative and sum to 1 in each"),
    ("prior.weights", array([2, -1, 1, 0, 1, 0], "float64"), "non-negative and sum to 1 in each"),
    ("library", None, "'vaexprs.library': must be given for count likelihoods only, not 'nb'"),
    ("library", 3, "'vaexprs.library' must be an object or null, not a whole number"),
    ("library.kind", "gamma", "a prior with the log library go together"),
    ("library.kind", "lognormal", "kind 'joint' and a prior with the log library go together"),
    ("library.minimum", array([1, 2], "float32"), "'vaexprs.library.minimum': expected 3 finite"),
    ("library.minimum", array([1, 2, np.nan], "float32"), "expected 3 finite values"),
    ("library.minimum", array([-1, 2, 3], "float32"), "bounds must satisfy 0 <= minimum"),
    ("library.maximum", array([0, 0, 0], "float32"), "bounds must satisfy 0 <= minimum <= max"),
    ("library.scale", array([-1, 0, 0], "float32"), "library.scale': must not be negative"),
    ("provenance", [], "'vaexprs.provenance' must be an object, not a list"),
    ("provenance", {"a": "x" * 2**20}, "provenance' has 1048585 characters, more than 1048576"),
    ("provenance", {"a": [[]] * 50_000}, "has 100001 commas and brackets, more than 100000"),
    ("provenance", {"a": "half \ud800"}, "holds half a surrogate pair, which is no text"),
    ("architecture", "deep", "'vaexprs.architecture' must be an object, not a string"),
    ("precision", None, "'vaexprs.precision' must be an object, not null"),
    ("quality", None, "'vaexprs.quality' must be an object, not null"),
]  # fmt: skip


def changed(metadata: dict[str, str], place: str, value: Any) -> dict[str, str]:
    key, *path = place.split(".")
    content = json.loads(metadata.get(f"vaexprs.{key}", "null"))
    if path:
        holder = content
        for step in path[:-1]:
            holder = holder[int(step) if isinstance(holder, list) else step]
        last: Any = int(path[-1]) if isinstance(holder, list) else path[-1]
        holder[last] = value
        value = content
    return {**metadata, f"vaexprs.{key}": json.dumps(value)}


def test_the_changes_leave_good_metadata_good(metadata) -> None:
    for place in ("likelihood", "conditions.keys.0.name", "prior.means.shape"):
        content = json.loads(metadata[f"vaexprs.{place.split('.')[0]}"])
        for step in place.split(".")[1:]:
            content = content[int(step) if isinstance(content, list) else step]
        read_metadata(changed(metadata, place, content))


@pytest.mark.parametrize(("place", "value", "message"), BAD, ids=[case[0] for case in BAD])
def test_what_is_refused(metadata, place: str, value: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_metadata(changed(metadata, place, value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON: Expecting value"),
        ("{'a': 1}", "is not JSON"),
        ("[" * 100_000 + "]" * 100_000, "is nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "is nested too deeply"),
        ('{"a":' * 32 + "[]" + "}" * 32, "is nested too deeply, more than 32 levels"),
        ('{"a": NaN}', "is not JSON: NaN is no JSON number"),
        ('{"a": -Infinity}', "is not JSON: -Infinity is no JSON number"),
        ('{"a": 1e999}', "is not JSON: the number 1e999 is too large"),
        ('{"a": ' + "9" * 100_000 + "}", "is not JSON"),
        ('{"a": 1, "a": 2}', "is not JSON: an object has the same key twice"),
        ("{} {}", "is not JSON: Extra data"),
    ],
    ids=str,
)
def test_texts_that_are_refused(metadata, text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=f"metadata 'vaexprs.provenance' {message}"):
        read_metadata({**metadata, "vaexprs.provenance": text})


def test_every_entry_is_needed_but_the_quality(metadata) -> None:
    assert "vaexprs.quality" not in metadata
    for key in metadata:
        rest = {k: v for k, v in metadata.items() if k != key}
        with pytest.raises(ArtifactError, match=f"metadata '{key}' is missing"):
            read_metadata(rest)


def test_every_member_is_needed(metadata) -> None:
    for entry in ("conditions", "prior", "library"):
        content = json.loads(metadata[f"vaexprs.{entry}"])
        for member in content:
            rest = {k: v for k, v in content.items() if k != member}
            text = {**metadata, f"vaexprs.{entry}": json.dumps(rest)}
            with pytest.raises(ArtifactError, match=f"'vaexprs.{entry}.{member}' is missing"):
                read_metadata(text)


# Fuzzing: any JSON in any place.

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False),
    st.text(max_size=5), st.sampled_from(["nb", "float32", "int64", "", "AAAA", "joint"]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "dtype", "kind", "a"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(content, dict):
        for key in content:
            found += places(content[key], (*path, key))
    elif isinstance(content, list):
        for index in range(min(len(content), 4)):
            found += places(content[index], (*path, index))
    return found


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_json_anywhere(metadata, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(metadata)))
    content = json.loads(metadata[key])
    path = data.draw(st.sampled_from([(), *places(content)]))
    value = data.draw(values)
    if path:
        holder = content
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = value
    else:
        content = value
    try:
        spec = read_metadata({**metadata, key: json.dumps(content)})
    except ArtifactError as error:
        assert "vaexprs" in str(error)  # noqa: PT017
        return
    assert_equal(spec, read_metadata(write_metadata(spec)))


# What a spec refuses when it is made in Python.


def conditions(*sizes: int) -> Conditions:
    keys = tuple(
        ConditionKey(f"key{i}", tuple(map(str, range(size)))) for i, size in enumerate(sizes)
    )
    return Conditions(keys, np.zeros((1, len(sizes)), np.int32), np.ones(1, np.int64))


def make(**changes: Any) -> GeneratorSpec:
    options: dict[str, Any] = {
        "likelihood": "gaussian",
        "n_latent": 2,
        "var_names": ("A", "B"),
        "conditions": conditions(),
        "prior": Prior(),
        "library": None,
    }
    return GeneratorSpec(**{**options, **changes})


@pytest.mark.parametrize(
    "make_bad",
    [
        lambda: make(var_names=("A", "A")),
        lambda: make(likelihood="nb"),
        lambda: make(n_latent=0),
        lambda: make(prior=Prior(with_log_library=True)),
    ],
)
def test_a_spec_that_does_not_add_up_cannot_be_made(make_bad: Callable[[], Any]) -> None:
    assert make().n_genes == 2
    with pytest.raises(ArtifactError, match="metadata 'vaexprs"):
        make_bad()


def test_conditions_know_their_keys() -> None:
    c = conditions(3, 2)
    assert (c.names, c.sizes.tolist(), c.n_conditions) == (("key0", "key1"), [3, 2], 5)
    assert c.key("key1").code("1") == 1
    assert c.key("key1").code(1) == 1
    with pytest.raises(ConditionError, match="unknown condition key 'kay1': did you mean 'key1'"):
        c.key("kay1")
    with pytest.raises(ConditionError, match="unknown category '7' of condition 'key1'"):
        c.key("key1").code("7")
    with pytest.raises(ConditionError, match="trained without conditions"):
        conditions().key("cell_type")
