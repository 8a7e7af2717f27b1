"""The matrix of the real cells that a model learned from, found for cells that it generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vaexprs.data.opened import OpenCells
from vaexprs.data.scale import scale_of
from vaexprs.errors import DataError


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
