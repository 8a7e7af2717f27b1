"""Mutants of design tables: a plan, or a refusal."""

from __future__ import annotations

import functools
import random
import tempfile
from pathlib import Path
from typing import Any

from fuzz import values
from vaexprs.artifact import load_artifact
from vaexprs.cli.design import read_design
from vaexprs.errors import VaexprsError
from vaexprs.generation.request import make_plan

#: Where files cost no disk, if there is such a place.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
GOLDEN = Path(__file__).parents[1] / "tests" / "artifact" / "golden"


@functools.cache
def conditions() -> Any:
    """Return the conditions of an artifact with two keys."""
    return load_artifact(GOLDEN / "format-1-two-keys.onnx").spec.conditions


def mutant(seed: int, index: int) -> bytes:
    """Return mutant `index` of a seed: the bytes of a table."""
    rng = random.Random(f"{seed} {index}")
    names = [*conditions().names, "n_cells"]
    separator = rng.choice((",", ";", "\t", ", "))
    if rng.random() < 0.3:
        names.insert(rng.randrange(len(names) + 1), rng.choice(["", *values.TEXTS, *names]))

    def field(name: str) -> str:
        if rng.random() < 0.1:
            return str(values.hostile(rng))
        if name == "n_cells":
            return str(
                rng.choice((0, 1, 20, 20.0, -1, 2**53, 2**63, 2**64, "²", "1e3", "20,5", ""))
            )
        for key in conditions().keys:
            if key.name == name:
                return rng.choice(key.categories)
        return rng.choice(values.TEXTS)

    lines = [separator.join(names)]
    lines += [separator.join(map(field, names)) for _ in range(rng.randrange(4))]
    text = rng.choice(("\n", "\r\n", "\r")).join(lines)
    encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
    data = text.encode(encoding, "replace")
    return values.damaged(rng, data) if rng.random() < 0.3 else data


def check(data: bytes) -> None:
    """Read a table and plan its cells."""
    with tempfile.NamedTemporaryFile(suffix=".csv", dir=MEMORY) as file:
        file.write(data)
        file.flush()
        try:
            plan = make_plan(conditions(), read_design(Path(file.name)))
        except VaexprsError:
            return
    assert plan.total is not None
    assert 0 <= plan.total <= 2**53
