"""The columns of ``obs`` and ``var`` of generated cells, the same in every sink and stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import require
from vaexprs.generation.blocks import Block
from vaexprs.spec import ConditionKey, GeneratorSpec

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ObsColumn:
    """One column of ``obs``."""

    # Its name, and the dtype of its values or codes.
    name: str
    dtype: type[np.generic]
    values: Callable[[Block], Any]  # Returns the values, or codes, of the cells of a block
    # Names the categories of a categorical column; None for a plain one.
    key: ConditionKey | None = None


def obs_columns(spec: GeneratorSpec) -> list[ObsColumn]:
    """Return the columns in order: condition keys, source, library size, unseen combination.

    Where a condition key has the name of one of the last three, that column is prefixed with
    ``vaexprs_``.
    """
    return list(_columns(spec))


def free_name(name: str, taken: Collection[str]) -> str:
    """Return the name of a column of ours, behind ``vaexprs_`` where another column has it."""
    while name in taken:
        name = f"vaexprs_{name}"
    return name


def _columns(spec: GeneratorSpec) -> Iterator[ObsColumn]:
    keys = spec.conditions.keys
    free = partial(free_name, taken=spec.conditions.names)

    for place, key in enumerate(keys):
        yield ObsColumn(key.name, _code_dtype(key), _codes(place), key)
    yield ObsColumn(
        free("source"),
        np.int8,
        lambda block: np.zeros(block.n_cells, np.int8),
        ConditionKey("source", ("generated",)),
    )
    if spec.is_counts:
        yield ObsColumn(free("library"), np.float32, lambda block: block.library)
    if keys:
        yield ObsColumn(free("unseen_combination"), np.bool_, lambda block: block.unseen)


def _codes(place: int) -> Callable[[Block], NDArray[np.int32]]:
    return lambda block: block.codes[:, place]


def _code_dtype(key: ConditionKey) -> type[np.signedinteger[Any]]:
    """Return the smallest signed integer that holds a key's codes, as pandas stores them."""
    for dtype in (np.int8, np.int16):
        if len(key.categories) <= np.iinfo(dtype).max:
            return dtype
    return np.int32


def obs_frame(spec: GeneratorSpec, blocks: Sequence[Block], names: Any) -> DataFrame:
    """Return the columns of some blocks as a data frame with these names of cells."""
    pandas = require("pandas", extra="anndata", purpose="A table of the cells")
    columns: dict[str, Any] = {}
    for column in _columns(spec):
        parts = [np.empty(0, column.dtype), *map(column.values, blocks)]
        values = np.concatenate(parts, dtype=column.dtype, casting="unsafe")
        columns[column.name] = values
        if column.key is not None:
            columns[column.name] = pandas.Categorical.from_codes(
                values, categories=column.key.values(), ordered=column.key.ordered
            )
    frame: DataFrame = pandas.DataFrame(columns, index=names)
    return frame


def var_frame(spec: GeneratorSpec) -> DataFrame:
    """Return the genes as a data frame."""
    pandas = require("pandas", extra="anndata", purpose="A table of the genes")
    columns = {name: np.array(texts, dtype=object) for name, texts in spec.var.items()}
    index = pandas.Index(list(spec.var_names), dtype=object)
    frame: DataFrame = pandas.DataFrame(columns, index=index)
    return frame
