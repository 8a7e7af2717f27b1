"""Write a `GeneratorSpec` as the metadata entries of an artifact, and read it back.

The entries come from an untrusted file. Their size is limited before they are parsed, and every
value is checked for its type before use, so the outcome is a spec or an `ArtifactError` that names
the entry. ``models/FORMAT.md`` defines the entries.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ArtifactError, near_matches
from vaexprs.spec.conditions import ConditionKey, Conditions
from vaexprs.spec.generator import FORMAT_VERSION, PREFIX, GeneratorSpec
from vaexprs.spec.latent_law import LibraryLaw, Prior
from vaexprs.spec.likelihoods import LIKELIHOODS
from vaexprs.spec.normalisation import Normalisation

#: Sizes beyond any assay; they bound the work that a small file can ask for.
MAX_GENES, MAX_LATENT, MAX_CONDITIONS = 1_000_000, 10_000, 100_000
#: Levels of nested lists and objects in one entry; scores of a report have four.
MAX_DEPTH = 32


class Limit(NamedTuple):
    """Characters of an entry, and commas and brackets in it, which bound its parsed values."""

    characters: int
    marks: int


#: Parsed JSON takes up to 24 times the room of its text, so the limits are tight where values are
#: free. Gene names and categories may hold commas and brackets themselves.
LIMITS = {
    **dict.fromkeys(("var_names", "var"), Limit(2**25, 3 * MAX_GENES)),
    "conditions": Limit(2**24, 10 * MAX_CONDITIONS),
    "prior": Limit(3 * 2**24, 1000),
    "library": Limit(2**22, 1000),
    "residual": Limit(2**23, 100),
    **dict.fromkeys(("provenance", "architecture", "precision", "quality"), Limit(2**20, 100_000)),
}
_SCALAR = Limit(2**12, 10)  # one word or number

_PRIOR_DTYPES: dict[str, type[np.generic]] = {
    "offsets": np.int64, "weights": np.float64, "means": np.float32, "tril": np.float32,
    "factor": np.int32,
}  # fmt: skip
_LIBRARY_FIELDS = ("minimum", "maximum", "location", "scale")

T = TypeVar("T")


def write_metadata(spec: GeneratorSpec) -> dict[str, str]:
    """Return the metadata entries of a spec: prefixed keys, JSON values."""
    library = spec.library
    values: dict[str, Any] = {
        "format_version": spec.format_version,
        "likelihood": spec.likelihood,
        "observation": spec.observation,
        "n_latent": spec.n_latent,
        "var_names": list(spec.var_names),
        "conditions": {
            "keys": [
                {"name": k.name, "categories": list(k.categories), "ordered": k.ordered}
                | ({} if k.dtype == "str" else {"dtype": k.dtype})
                for k in spec.conditions.keys
            ],
            "combinations": spec.conditions.combinations.tolist(),
            "n_cells": spec.conditions.n_cells.tolist(),
        },
        "prior": {
            "kind": spec.prior.kind,
            "with_log_library": spec.prior.with_log_library,
            **{name: _encode(getattr(spec.prior, name)) for name in _PRIOR_DTYPES},
        },
        "library": None
        if library is None
        else {
            "kind": library.kind,
            **{name: _encode(getattr(library, name)) for name in _LIBRARY_FIELDS},
        },
        "provenance": dict(spec.provenance),
        "architecture": dict(spec.architecture),
        "precision": dict(spec.precision),
    }
    if spec.var:
        values["var"] = {name: list(texts) for name, texts in spec.var.items()}
    if spec.normalisation is not None:
        values["normalisation"] = asdict(spec.normalisation)
    if spec.residual is not None:
        values["residual"] = {"scale": _encode(spec.residual)}
    if spec.quality is not None:
        values["quality"] = dict(spec.quality)
    return {
        PREFIX + key: json.dumps(value, ensure_ascii=False, allow_nan=False)
        for key, value in values.items()
    }


def read_metadata(metadata: Mapping[str, str]) -> GeneratorSpec:
    """Read a spec from metadata entries; entries of other names are ignored."""
    version = _entry(metadata, "format_version", int)
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"the artifact has format {version}, newer than this vaexprs, which reads up to "
            f"format {FORMAT_VERSION}: upgrade vaexprs."
        )
    if version < 1:
        _refuse("format_version", f"is {version}, expected at least 1")
    likelihood = _entry(metadata, "likelihood", str)
    if likelihood not in LIKELIHOODS:
        came = likelihood[:80]
        _refuse("likelihood", f"{came!r}: {near_matches(came, LIKELIHOODS)}")
    observation: Any = _entry(metadata, "observation", str)
    library = _entry(metadata, "library", (dict, type(None)))
    n_latent = _entry(metadata, "n_latent", int)
    _limited("n_latent", n_latent, MAX_LATENT)
    var_names = _strings(_entry(metadata, "var_names", list), "var_names")
    _limited("var_names", len(var_names), MAX_GENES)
    return GeneratorSpec(
        format_version=version,
        likelihood=likelihood,
        observation=observation,
        n_latent=n_latent,
        var_names=var_names,
        conditions=_conditions(_entry(metadata, "conditions", dict)),
        prior=_prior(_entry(metadata, "prior", dict)),
        library=None if library is None else _library(library),
        normalisation=_normalisation(metadata),
        var=_var(metadata),
        residual=_decode(_entry(metadata, "residual", dict), "scale", "residual", np.float32)
        if PREFIX + "residual" in metadata
        else None,
        provenance=_entry(metadata, "provenance", dict),
        architecture=_entry(metadata, "architecture", dict),
        precision=_entry(metadata, "precision", dict),
        quality=_entry(metadata, "quality", dict) if PREFIX + "quality" in metadata else None,
    )


def _refuse(part: str, problem: str) -> NoReturn:
    raise ArtifactError(f"metadata '{PREFIX}{part}' {problem.rstrip('.')}.")


def _limited(part: str, size: int, limit: int) -> None:
    if size > limit:
        _refuse(part, f"has the size {size}, more than {limit}")


def _entry(metadata: Mapping[str, str], key: str, kind: type[T] | tuple[type[T], ...]) -> T:
    if PREFIX + key not in metadata:
        _refuse(key, "is missing: the file was not exported by vaexprs, or is damaged")
    text = metadata[PREFIX + key]
    limit = LIMITS.get(key, _SCALAR)
    if len(text) > limit.characters:
        _refuse(key, f"has {len(text)} characters, more than {limit.characters}")
    marks = sum(map(text.count, ",[{"))
    if marks > limit.marks:
        _refuse(key, f"has {marks} commas and brackets, more than {limit.marks}")
    try:
        value = json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique
        )
    except RecursionError:
        _refuse(key, "is nested too deeply")
    except ValueError as error:
        _refuse(key, f"is not JSON: {error}")
    if _depth(value) > MAX_DEPTH:
        _refuse(key, f"is nested too deeply, more than {MAX_DEPTH} levels")
    if "\\ud" in text or "\\uD" in text:
        _check_text(json.dumps(value, ensure_ascii=False), key)
    return _typed(value, key, kind)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"the number {number[:20]} is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _depth(value: Any) -> int:
    """Return how many lists and objects are nested, or more than `MAX_DEPTH` at once."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        containers = [v for v in level if isinstance(v, dict | list)]
        level = [x for c in containers for x in (c.values() if isinstance(c, dict) else c)]
        depth += bool(containers)
    return depth


def _check_text(text: str, part: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse(part, "holds half a surrogate pair, which is no text")


def _typed(value: Any, part: str, kind: type[T] | tuple[type[T], ...]) -> T:
    """Return a value of that very type; in JSON, true is no number."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:
        expected = " or ".join(_JSON_NAMES[k] for k in kinds)
        _refuse(part, f"must be {expected}, not {_JSON_NAMES[type(value)]}")
    return value


_JSON_NAMES: dict[type, str] = {
    int: "a whole number", float: "a number", str: "a string", bool: "true or false",
    list: "a list", dict: "an object", type(None): "null",
}  # fmt: skip


def _member(value: dict[str, Any], key: str, part: str, kind: type[T] | tuple[type[T], ...]) -> T:
    if key not in value:
        _refuse(f"{part}.{key}", "is missing")
    return _typed(value[key], f"{part}.{key}", kind)


def _strings(values: list[Any], part: str) -> tuple[str, ...]:
    """Return names, which any file format can store: Unicode text without a NUL."""
    for value in values:
        if type(value) is not str:
            _refuse(part, "must hold strings only")
        if "\0" in value:
            _refuse(part, "holds a NUL character")
    return tuple(values)


def _integers(values: list[Any], part: str, dtype: type[np.int32] | type[np.int64]) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    if not all(type(v) is int and limits.min <= v <= limits.max for v in values):
        _refuse(part, f"must hold whole numbers of type {limits.dtype.name}")
    return np.array(values, dtype=dtype)


def _conditions(value: dict[str, Any]) -> Conditions:
    keys = []
    for key in _member(value, "keys", "conditions", list):
        key = _typed(key, "conditions.keys", dict)
        name = _member(key, "name", "conditions.keys", str)
        categories = _member(key, "categories", "conditions.keys", list)
        ordered = _member(key, "ordered", "conditions.keys", bool)
        dtype: Any = _member(key, "dtype", "conditions.keys", str) if "dtype" in key else "str"
        (name,) = _strings([name], "conditions.keys")
        keys.append(ConditionKey(name, _strings(categories, "conditions.keys"), ordered, dtype))
    _limited("conditions", sum(len(key.categories) for key in keys), MAX_CONDITIONS)
    n_cells = _integers(
        _member(value, "n_cells", "conditions", list), "conditions.n_cells", np.int64
    )
    _limited("conditions.n_cells", len(n_cells), MAX_CONDITIONS)
    rows = _member(value, "combinations", "conditions", list)
    if len(rows) != len(n_cells):
        _refuse("conditions", f"has {len(rows)} combinations and {len(n_cells)} n_cells")
    codes: list[Any] = []
    for row in rows:
        if type(row) is not list or len(row) != len(keys):
            _refuse("conditions.combinations", f"must have {len(keys)} codes, one for each key")
        codes.extend(row)
    combinations = _integers(codes, "conditions.combinations", np.int32)
    return Conditions(tuple(keys), combinations.reshape(len(rows), len(keys)), n_cells)


def _prior(value: dict[str, Any]) -> Prior:
    kind: Any = _member(value, "kind", "prior", str)
    with_log_library = _member(value, "with_log_library", "prior", bool)
    arrays = {name: _decode(value, name, "prior", dtype) for name, dtype in _PRIOR_DTYPES.items()}
    return Prior(kind, with_log_library, **arrays)


def _library(value: dict[str, Any]) -> LibraryLaw:
    kind: Any = _member(value, "kind", "library", str)
    arrays = {name: _decode(value, name, "library", np.float32) for name in _LIBRARY_FIELDS}
    return LibraryLaw(kind, **arrays)


def _var(metadata: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    columns = _entry(metadata, "var", dict) if PREFIX + "var" in metadata else {}
    found = {}
    for (name,) in (_strings([name], "var") for name in columns):
        found[name] = _strings(_member(columns, name, "var", list), "var")
    return found


def _normalisation(metadata: Mapping[str, str]) -> Normalisation | None:
    if PREFIX + "normalisation" not in metadata:
        return None
    value = _entry(metadata, "normalisation", dict)
    numbers: dict[str, Any] = {}
    for field in fields(Normalisation):
        kinds: Any = (int, float) + ((type(None),) if field.name == "log_base" else ())
        number = _member(value, field.name, "normalisation", kinds)
        if number is not None and abs(number) > 1e6:
            _refuse(f"normalisation.{field.name}", "must lie in [-1e6, 1e6]")
        numbers[field.name] = None if number is None else float(number)
    return Normalisation(**numbers)


def _encode(array: NDArray[Any]) -> dict[str, Any]:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(little.tobytes()).decode("ascii"),
    }


def _decode(values: dict[str, Any], name: str, part: str, dtype: type[np.generic]) -> NDArray[Any]:
    wanted, part = np.dtype(dtype), f"{part}.{name}"
    value = _member(values, name, part.partition(".")[0], dict)
    came = _member(value, "dtype", part, str)
    if came != wanted.name:
        _refuse(part, f"has dtype {came[:20]!r}, expected {wanted.name!r}")
    shape = _member(value, "shape", part, list)
    if len(shape) > 3 or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        _refuse(part, "has a shape that is no list of at most 3 lengths")
    text = _member(value, "base64", part, str)
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        _refuse(part, f"is not base64: {error}")
    if len(raw) != math.prod(shape) * wanted.itemsize:
        _refuse(part, f"holds {len(raw)} bytes, which is no {wanted.name} array of shape {shape}")
    # A view of the bytes, and so read-only; a copy only where the machine is big-endian.
    array = np.frombuffer(raw, dtype=wanted.newbyteorder("<")).reshape(shape)
    array = array.astype(wanted, copy=False)
    array.flags.writeable = False
    return array
