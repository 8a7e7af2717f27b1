"""Cells that are compared: which matrix of the real ones is read, and whether scales agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vaexprs.data.opened import OpenCells
from vaexprs.data.recovery import recover_counts
from vaexprs.data.scale import scale_of, stored_values
from vaexprs.errors import DataError

#: Cells that are looked at for a logarithm of counts.
_LOOKED_AT = 200


@dataclass(frozen=True)
class Choice:
    """Which matrix of the real cells to read, with the reason where nobody asked for it."""

    layer: str | None = None
    raw: bool = False
    reason: str | None = None

    @property
    def words(self) -> str:
        """The matrix in words."""
        return "raw" if self.raw else "X" if self.layer is None else f"layer {self.layer!r}"


def matching_choice(
    real: OpenCells, generated: OpenCells, *, made: Any, name: str = "the real cells"
) -> Choice:
    """Return the matrix of the real cells that is on the scale of the generated ones.

    It is the one that the model learned from, where ``uns["vaexprs"]`` names it and the real
    cells have it; else ``X``, or a layer or ``raw`` that holds counts, where generated cells are
    counts and ``X`` is not.
    """
    learned = generated.provenance.get("layer")
    if isinstance(learned, str) and learned in real.layers:
        return Choice(learned, reason=f"The model learned from layer {learned!r}, which is read.")
    if generated.provenance.get("raw") and real.raw_names is not None:
        return Choice(raw=True, reason="The model learned from raw counts: raw is read.")
    if scale_of(made) != "counts" or real.looks_like_counts() is not False:
        return Choice()
    for layer in real.counts_in():
        choice = Choice(layer, raw=layer is None)
        reason = (
            f"The generated cells hold counts and X of {name} does not: "
            f"{choice.words} is read in its place, which holds counts. Choose by layer."
        )
        return Choice(choice.layer, choice.raw, reason)
    raise DataError(
        f"the generated cells are counts and {name} are not: pass layer=... (--layer) for the "
        "layer that holds counts, or scale=... to compare them as they are."
    )


def refuse_other_widths(real: str, n_real: int, other: str, n_other: int) -> None:
    """Raise `DataError` where arrays, whose genes have no names, differ in their number of genes.

    `real` and `other` are names for the message.
    """
    if n_real != n_other:
        raise DataError(
            f"{real} has {n_real:,} genes, {other} has {n_other:,}: arrays must hold the same "
            "genes in the same order, or pass AnnData objects, whose var_names are matched."
        )


def refuse_logged(X: Any, name: str) -> None:
    """Raise `DataError` if cells that are to be compared as counts are logarithms of counts.

    `X` holds cells x genes, sparse or dense, and `name` says whose. Expected values, and draws of
    a continuous law, are no logarithms of counts and pass.
    """
    some = X[:_LOOKED_AT]
    values = stored_values(some)
    if (values == values.round()).all():
        return
    found = recover_counts(some)
    if found is not None and found[1].log_base is not None:
        raise DataError(
            f"{name} hold {found[1].describe()}, and the cells they are compared with hold "
            "counts: pass counts on both sides, or logged values on both sides."
        )
