"""What is evaluated: real and generated cells on common genes, on the scale of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

from vaexprs.data import ExpressionData, read_expression
from vaexprs.data.matching import Choice, matching_choice, refuse_logged, refuse_other_widths
from vaexprs.data.open import open_cells
from vaexprs.data.opened import OpenCells
from vaexprs.data.scale import scale_of, to_log
from vaexprs.errors import ConditionError, DataError
from vaexprs.evaluation.arrays import Array, Matrix

#: What the values are. Scores are computed on ``log1p`` of counts per 10,000 for ``"counts"``, on
#: ``log1p`` of the values for ``"linear"`` (RPKM, TPM), on the values themselves for ``"log"``.
Scale: TypeAlias = Literal["counts", "linear", "log"]
ScaleChoice: TypeAlias = Literal["auto", "counts", "linear", "log"]


@dataclass(frozen=True)
class Cells:
    """Some cells, real or generated."""

    given: Matrix  # Values as given, ``(n_cells, n_genes)``, CSR or a dense array, float32
    values: Matrix  # The same on the scale of the scores
    # Category of each cell under each condition key, ``(n_cells,)`` strings each.
    labels: dict[str, Array]
    donor: Array | None = None  # Donor of each cell, where a donor column was named and is there

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.values.shape[0])

    def group(self, keys: Sequence[str]) -> Array:
        """Return the combination of categories under some keys, one string per cell."""
        if not keys:
            return np.full(self.n_cells, "")
        joined = self.labels[keys[0]].astype(object)
        for key in keys[1:]:
            joined = joined + " | " + self.labels[key].astype(object)
        return joined.astype(str)

    def take(self, rows: Array) -> Cells:
        """Return some of the cells."""
        return Cells(
            self.given[rows],
            self.values[rows],
            {key: labels[rows] for key, labels in self.labels.items()},
            None if self.donor is None else self.donor[rows],
        )


@dataclass(frozen=True)
class Evaluated:
    """Everything that is compared, on common genes."""

    train: Cells
    generated: Cells
    test: Cells | None  # Real cells that were held out, or None
    genes: tuple[str, ...]  # Names of the common genes, in the order of the training cells
    scale: Scale
    notes: tuple[str, ...]  # What was found and done on the way, in plain sentences

    def real(self, rows: Array) -> Cells:
        """Return training or test cells; rows count training cells first, then test cells."""
        if self.test is None or rows.max() < self.train.n_cells:
            return self.train.take(rows)
        return self.test.take(rows - self.train.n_cells)


def read_cells(
    real_train: Any,
    generated: Any,
    real_test: Any = None,
    *,
    condition_keys: Sequence[str] = (),
    donor_key: str | None = None,
    layer: str | None = None,
    scale: ScaleChoice = "auto",
) -> Evaluated:
    """Read what is to be compared and bring it to common genes and the scale of the scores.

    See `vaexprs.evaluation.evaluate` for the parameters.
    """
    notes: list[str] = []
    keys = list(dict.fromkeys(condition_keys))
    real = _opened("real_train", real_train)
    if real.obs is not None and not {*keys, donor_key or ""} <= {*real.obs, ""}:
        _read("real_train", real, keys, donor_key, Choice(layer))  # names the missing column
    made = _opened("generated", generated)
    others = {"generated": made}
    if real_test is not None:
        others["real_test"] = _opened("real_test", real_test)
    for name, side in others.items():
        if real.var_names is None and side.var_names is None:
            refuse_other_widths("real_train", real.shape[1], name, side.shape[1])
    own = layer if layer is not None and layer in made.layers else None
    sides = {"generated": _read("generated", made, keys, donor_key, Choice(own))}
    choice = Choice(layer)
    if layer is None and scale == "auto":
        choice = matching_choice(real, made, made=sides["generated"].X, name="real_train")
        notes += [choice.reason] if choice.reason else []
    sides["real_train"] = _read("real_train", real, keys, donor_key, choice)
    if real_test is not None:
        sides["real_test"] = _read("real_test", real_test, keys, donor_key, choice)

    genes = _common_genes(sides, notes)
    data = {
        name: side if side.var_names == genes else _pick(side, genes)
        for name, side in sides.items()
    }
    chosen = _choose_scale(data["real_train"], scale, notes)
    cells = {
        name: _cells(name, side, keys, donor_key, chosen, notes) for name, side in data.items()
    }
    compared = cells["real_train"], cells["generated"], cells.get("real_test")
    return Evaluated(*compared, genes, chosen, tuple(notes))


def _opened(name: str, data: Any) -> OpenCells:
    try:
        return open_cells(data)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _read(
    name: str, data: Any, keys: Sequence[str], donor_key: str | None, choice: Choice
) -> ExpressionData:
    try:
        cells, columns = open_cells(data), list(keys)
        # a donor key that real_train lacks is refused below, with near matches
        there = name == "real_train" or (cells.obs is not None and donor_key in cells.obs)
        if donor_key is not None and donor_key not in columns and there:
            columns.append(donor_key)
        return read_expression(cells, condition_keys=columns, layer=choice.layer, raw=choice.raw)
    except (DataError, ConditionError) as error:
        raise type(error)(f"{name}: {error}") from error


def _common_genes(sides: dict[str, ExpressionData], notes: list[str]) -> tuple[str, ...]:
    train = sides["real_train"].var_names
    common = set(train)
    for side in sides.values():
        common &= set(side.var_names)
    genes = tuple(gene for gene in train if gene in common)
    if len(genes) < 2:
        raise DataError(
            f"real and generated cells share {len(genes)} gene names, but at least 2 are needed: "
            f"real_train begins with {train[0]!r}, generated with "
            f"{sides['generated'].var_names[0]!r}."
        )
    lost = {name: len(side.var_names) - len(genes) for name, side in sides.items()}
    if any(lost.values()):
        shown = ", ".join(f"{n:,} of {name}" for name, n in lost.items() if n)
        notes.append(
            f"Only the {len(genes):,} genes that all sides share are compared; left out: {shown}."
        )
    return genes


def _pick(side: ExpressionData, genes: tuple[str, ...]) -> ExpressionData:
    where = {gene: index for index, gene in enumerate(side.var_names)}
    columns = np.array([where[gene] for gene in genes])
    return replace(side, X=side.X[:, columns], var_names=genes)


def _choose_scale(train: ExpressionData, scale: ScaleChoice, notes: list[str]) -> Scale:
    if scale not in ("auto", "counts", "linear", "log"):
        raise DataError(f"scale is {scale!r}: expected 'auto', 'counts', 'linear' or 'log'.")
    if scale == "counts" and (train.minimum < 0 or not train.is_integer):
        raise DataError(
            f"scale='counts' but {train.source} of real_train holds values that are no counts: "
            "name the layer with the raw counts, or use scale='auto'."
        )
    if scale == "linear" and train.minimum < 0:
        raise DataError(
            f"scale='linear' but {train.source} of real_train holds negative values: use "
            "scale='log', which compares values as given."
        )
    if scale != "auto":
        return scale
    found = scale_of(train.X)
    if found == "binary":
        notes.append("Values are zeros and ones: they are compared as given.")
    elif found == "log":
        notes.append("Values are compared as given: they look logged or scaled already.")
    return "log" if found == "binary" else found


def _cells(
    name: str,
    side: ExpressionData,
    keys: Sequence[str],
    donor_key: str | None,
    scale: Scale,
    notes: list[str],
) -> Cells:
    given: Matrix = side.X
    if scale != "log" and side.minimum < 0:
        share = float((given < 0).sum()) / (side.n_cells * side.n_genes)
        notes.append(
            f"{share:.2%} of the values of {name} are negative, which real values never are; "
            "they are set to zero for the comparison."
        )
        given = given.maximum(0).tocsr() if sp.issparse(given) else np.maximum(given, 0)
    if scale == "counts" and not side.is_integer:
        refuse_logged(given, f"the cells of {name}")
        notes.append(
            f"{name} holds values that are no whole numbers, although real cells do: if the model "
            "learned from a layer, name it by layer."
        )
    columns = {
        key.name: np.asarray(key.categories, dtype=object)[side.codes[:, index]].astype(str)
        for index, key in enumerate(side.keys)
    }
    return Cells(
        given,
        to_log(given, scale),
        {key: columns[key] for key in keys},
        columns.get(donor_key) if donor_key is not None else None,
    )
