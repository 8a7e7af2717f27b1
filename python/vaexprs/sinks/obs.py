"""The annotation of generated cells, the same in every sink."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaexprs._version import __version__
from vaexprs.generation.generator import Block, Generator
from vaexprs.spec import ConditionKey, GeneratorSpec

__all__ = ["CATEGORICAL", "ObsColumns", "cell_names", "provenance"]

#: Columns besides the condition keys. A key of the same name keeps it; ours is then prefixed.
SOURCE, LIBRARY, UNSEEN = "source", "library", "unseen_combination"

CATEGORICAL: TypeAlias = tuple[NDArray[np.integer[Any]], ConditionKey]


class ObsColumns:
    """The columns of ``obs``, of known length, filled block by block.

    Attributes
    ----------
    n_cells
        Their length.
    columns
        By name, in order: an array, or codes with the `ConditionKey` that names their categories.
    """

    def __init__(self, spec: GeneratorSpec, n_cells: int) -> None:
        self.n_cells = n_cells
        keys = spec.conditions.keys
        taken = spec.conditions.names

        def free(name: str) -> str:
            return f"vaexprs_{name}" if name in taken else name

        self._codes = [np.zeros(n_cells, dtype=_code_dtype(key)) for key in keys]
        self._library = np.zeros(n_cells if spec.is_counts else 0, dtype=np.float32)
        self._unseen = np.zeros(n_cells, dtype=bool)
        self.columns: dict[str, NDArray[Any] | CATEGORICAL] = {
            key.name: (codes, key) for key, codes in zip(keys, self._codes, strict=True)
        }
        one_source = np.zeros(n_cells, dtype=np.int8)
        self.columns[free(SOURCE)] = (one_source, ConditionKey(SOURCE, ("generated",)))
        if spec.is_counts:
            self.columns[free(LIBRARY)] = self._library
        if keys:
            self.columns[free(UNSEEN)] = self._unseen

    def put(self, block: Block, at: int) -> None:
        """Fill in the cells of a block, from row `at` on."""
        here = slice(at, at + block.n_cells)
        for place, codes in enumerate(self._codes):
            codes[here] = block.codes[:, place]
        if block.library is not None:
            self._library[here] = block.library
        self._unseen[here] = block.unseen

    def to_frame(self, pandas: Any, first_cell: int) -> Any:
        """Return the columns as a DataFrame, indexed by the cells' names."""
        data = {
            name: pandas.Categorical.from_codes(
                column[0], categories=column[1].values(), ordered=column[1].ordered
            )
            if isinstance(column, tuple)
            else column
            for name, column in self.columns.items()
        }
        index = pandas.Index(cell_names(first_cell, self.n_cells), dtype=object)
        return pandas.DataFrame(data, index=index)


def cell_names(first_cell: int, n_cells: int) -> list[str]:
    """Return names of cells by their global index: unique over the parts of a run."""
    return [f"generated_{i}" for i in range(first_cell, first_cell + n_cells)]


def _code_dtype(key: ConditionKey) -> np.dtype[Any]:
    """Return the smallest signed integer that holds a key's codes, as pandas stores them."""
    n_categories = len(key.categories)
    for dtype in (np.int8, np.int16):
        if n_categories <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    return np.dtype(np.int32)


def provenance(
    generator: Generator,
    *,
    seed: int,
    first_cell: int,
    n_cells: int,
    return_mean: bool,
    library: NDArray[np.float32] | None,
) -> dict[str, Any]:
    """Return what ``uns["vaexprs"]`` says: enough to make the same cells again."""
    import onnxruntime

    spec = generator.spec
    return {
        "artifact": Path(generator.path).name if generator.path else "",
        "artifact_sha256": generator.sha256,
        "format_version": spec.format_version,
        "likelihood": spec.likelihood,
        "condition_keys": np.array(spec.conditions.names, dtype=object),
        "seed": np.uint64(seed),
        "first_cell": first_cell,
        "n_cells": n_cells,
        "values": "expected" if return_mean or spec.observation == "mean" else "drawn",
        "library": "given" if library is not None else "drawn" if spec.is_counts else "none",
        "device": generator.device,
        "vaexprs_version": __version__,
        "onnxruntime_version": onnxruntime.__version__,
    }
