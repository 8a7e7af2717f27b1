"""Condition keys, their categories, and the combinations seen in training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ConditionError, near_matches

__all__ = ["ConditionKey", "Conditions"]


@dataclass(frozen=True)
class ConditionKey:
    """One thing a model is told about a cell: an ``obs`` column and its categories in order."""

    name: str
    categories: tuple[str, ...]
    ordered: bool = False

    def code(self, category: object) -> int:
        """Return the code of a category, or raise `ConditionError` with near matches."""
        try:
            return self._codes[str(category)]
        except KeyError:
            raise ConditionError(
                f"unknown category {str(category)!r} of condition {self.name!r}: "
                + near_matches(category, self.categories)
            ) from None

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {category: code for code, category in enumerate(self.categories)}


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
    def n_conditions(self) -> int:
        """Width of the one-hot input: the categories of all keys together."""
        return int(self.sizes.sum())

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
