"""Condition keys, their categories, the one-hot input, and the combinations seen in training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ConditionError, near_matches

#: Type of the labels in the training data. Categories are stored as text.
LabelType: TypeAlias = Literal["str", "int", "bool", "float"]

#: The column of a design table that holds numbers of cells; no condition key may have its name.
N_CELLS = "n_cells"

#: Bytes of the longest key name: a key becomes a folder of a zarr store (at most 255 bytes), to
#: whose name a writer may add a suffix while it writes.
_LONGEST_NAME = 238

#: Names that anndata or a zarr store keeps for itself.
_RESERVED = {
    "", ".", "..", "_index", "__categories",
    "zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata",
}  # fmt: skip

#: Columns that generated cells have besides the keys; a key of the same name moves ours aside.
_OWN_COLUMNS = ("source", "library", "unseen_combination")

_TRUTH = {"true": "True", "false": "False", "1": "True", "0": "False"}


@dataclass(frozen=True)
class ConditionKey:
    """One ``obs`` column that conditions the model.

    Attributes
    ----------
    name
        Name of the column.
    categories
        The labels as text, in the order of their codes.
    ordered
        Whether the categories have an order.
    dtype
        Type of the labels in the training data: ``"str"``, ``"int"``, ``"bool"``, ``"float"``.
    """

    name: str
    categories: tuple[str, ...]
    ordered: bool = False
    dtype: LabelType = "str"

    def code(self, category: object) -> int:
        """Return the code of a category.

        A number stands for its text and the other way round: ``1``, ``1.0``, ``np.int64(1)`` and
        ``"1"`` are one category. Blanks at the ends of a text are left out if need be.

        Raises
        ------
        ConditionError
            If there is no such category, with near matches.
        """
        if type(category) is str and category in self._codes:
            return self._codes[category]
        if isinstance(category, np.ndarray) and category.ndim == 0:
            category = category.item()
        for text in self._readings(category):
            if text in self._codes:
                return self._codes[text]
        raise ConditionError(
            f"unknown category {str(category)!r} of condition {self.name!r}: "
            + near_matches(category, self.categories)
        )

    def values(self) -> NDArray[Any]:
        """Return the categories in their own type: object (str), int64, bool or float64."""
        if self.dtype == "bool":
            return np.array([category == "True" for category in self.categories])
        types: dict[str, Any] = {"int": np.int64, "float": np.float64}
        if self.dtype in types:
            read = int if self.dtype == "int" else float
            return np.array([read(c) for c in self.categories], dtype=types[self.dtype])
        return np.array(self.categories, dtype=object)

    def _readings(self, category: object) -> Iterable[str]:
        """Yield the texts that a category may stand for, the most literal first."""
        text = str(category)
        yield text
        yield label_text(category)
        if self.dtype == "bool" and not isinstance(category, float):
            yield _TRUTH.get(text.strip().casefold(), text)
        if self.dtype in ("int", "float") and isinstance(category, str):
            with contextlib.suppress(ValueError):
                yield label_text(float(text.replace(",", ".")))  # decimal commas of spreadsheets
        if isinstance(category, str):
            yield self._without_blanks.get(text.strip(), text)

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {category: code for code, category in enumerate(self.categories)}

    @cached_property
    def _without_blanks(self) -> dict[str, str]:
        return {category.strip(): category for category in reversed(self.categories)}


@dataclass(frozen=True)
class Conditions:
    """The condition keys of a model and the joint frequencies of their categories.

    Attributes
    ----------
    keys
        Condition keys in the order of their one-hot blocks. Empty for a plain VAE.
    combinations
        Codes of the combinations seen in training, ``(n_combinations, n_keys)``, int32. A plain
        VAE has one combination of no codes.
    n_cells
        Training cells of each combination, ``(n_combinations,)``, int64.
    """

    keys: tuple[ConditionKey, ...]
    combinations: NDArray[np.int32]
    n_cells: NDArray[np.int64]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the condition keys."""
        return tuple(key.name for key in self.keys)

    @property
    def sizes(self) -> NDArray[np.int32]:
        """Number of categories of each key, ``(n_keys,)``."""
        return np.array([len(key.categories) for key in self.keys], dtype=np.int32)

    @property
    def starts(self) -> NDArray[np.int64]:
        """First column of each key's one-hot block, ``(n_keys,)``."""
        sizes = self.sizes.astype(np.int64)
        return np.cumsum(sizes) - sizes

    @property
    def n_conditions(self) -> int:
        """Width of the one-hot input: the categories of all keys together."""
        return int(self.sizes.sum())

    def one_hot(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return the condition input of cells.

        Parameters
        ----------
        codes
            Category of each cell under each key, ``(n_cells, n_keys)``.

        Returns
        -------
        ndarray
            ``(n_cells, n_conditions)``, float32, a single 1 in each key's block.
        """
        out = np.zeros((len(codes), self.n_conditions), np.float32)
        if self.keys:
            np.put_along_axis(out, codes + self.starts, 1.0, axis=1)
        return out

    def flat(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return the number of each cell's combination among all that categories make.

        From `codes` ``(n_cells, n_keys)``; ``(n_cells,)``, int64. The last key varies fastest.
        """
        if not self.keys:
            return np.zeros(len(codes), np.int64)
        return np.ravel_multi_index(tuple(codes.T), tuple(self.sizes)).astype(np.int64)

    def key(self, name: str) -> ConditionKey:
        """Return a key by name, or raise `ConditionError` with near matches."""
        for key in self.keys:
            if key.name == name:
                return key
        if not self.keys:
            raise ConditionError(
                f"condition {name!r} was asked of a model that was trained without conditions: "
                "generate without conditions, or train with condition_keys."
            )
        raise ConditionError(f"unknown condition key {name!r}: " + near_matches(name, self.names))


def label_text(value: object) -> str:
    """Return the text under which a label is stored: ``1``, ``1.0`` and ``"1"`` alike."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def column_problem(name: str) -> str | None:
    """Return why a file of cells cannot hold a column of a name, as the end of a sentence."""
    if name in _RESERVED or not name.strip():
        return "is no name that a file of cells can hold"
    if "/" in name or "\\" in name:
        return "holds a slash, which separates the parts of a path in a file of cells"
    if len(name.encode("utf-8", "replace")) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    return None


def name_problem(keys: Sequence[ConditionKey]) -> str | None:
    """Return why a file of generated cells cannot hold keys, naming the first bad one, or None.

    A key becomes a column of ``obs``: a link in an ``.h5ad`` file, a folder in a ``.zarr`` store.
    """
    names = [key.name for key in keys]
    for name in names:
        problem = column_problem(name)
        if name == N_CELLS:
            problem = "is the column of a design table that holds numbers of cells"
        if problem is not None:
            shown = name if len(name) <= 80 else name[:80] + "..."
            return f"the condition key {shown!r} {problem}: rename the column of obs"
    for own in _OWN_COLUMNS:
        if {own, f"vaexprs_{own}"} <= set(names):
            return (
                f"the condition keys {own!r} and 'vaexprs_{own}' leave no name for a column that "
                "generated cells have: rename one of them"
            )
    for key in keys:
        problem = _category_problem(key)
        if problem is not None:
            return problem
    return None


def _category_problem(key: ConditionKey) -> str | None:
    seen: dict[str, str] = {}
    for category in key.categories:
        other = seen.setdefault(category.strip(), category)
        if other != category:
            return (
                f"the categories {other!r} and {category!r} of {key.name!r} differ by blanks at "
                "their ends alone: rename one of them"
            )
    if key.dtype not in get_args(LabelType):
        return f"the type {key.dtype!r} of the categories of {key.name!r} is none of " + ", ".join(
            map(repr, get_args(LabelType))
        )
    if key.dtype == "str":
        return None
    try:
        values = key.values()
        fits = np.isfinite(values).all() and list(map(label_text, values)) == list(key.categories)
    except (ValueError, OverflowError):
        fits = False
    if not fits:
        return f"the categories of {key.name!r} are not all of type {key.dtype!r}"
    return None
