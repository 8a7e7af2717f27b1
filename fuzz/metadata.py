"""Mutants of metadata: read, written and shown alike, or refused."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path

from fuzz import values
from vaexprs.artifact import load_artifact
from vaexprs.artifact.load import Artifact
from vaexprs.cli import inspect
from vaexprs.cli.console import rows
from vaexprs.errors import VaexprsError
from vaexprs.spec import read_metadata, write_metadata

GOLDEN = Path(__file__).parents[1] / "tests" / "artifact" / "golden"


@functools.cache
def bases() -> list[dict[str, str]]:
    """Return the metadata of small artifacts."""
    return [write_metadata(load_artifact(path).spec) for path in sorted(GOLDEN.glob("*.onnx"))]


def mutant(seed: int, index: int) -> bytes:
    """Return mutant `index` of a seed: entries as one JSON object of texts."""
    rng = random.Random(f"{seed} {index}")
    entries = dict(rng.choice(bases()))
    for _ in range(rng.choice((1, 1, 2, 3))):
        key = rng.choice([*entries, "vaexprs.quality"])
        text = entries.get(key, "{}")
        if rng.random() < 0.1:
            entries[key] = values.damaged(rng, text.encode()).decode(errors="replace")
            break
        entries[key] = values.dumped(values.changed(rng, json.loads(text)))
    return json.dumps(entries).encode()


def check(data: bytes) -> None:
    """Read entries, write them, read them again, and show them as ``inspect`` does."""
    try:
        spec = read_metadata(json.loads(data))
    except VaexprsError:
        return
    written = write_metadata(spec)
    assert write_metadata(read_metadata(written)) == written
    artifact = Artifact(spec, b"", "0" * 64, None, 17, 8)
    json.dumps(inspect._everything(artifact), ensure_ascii=False, indent=2).encode()
    for title, facts in inspect._sections(artifact).items():
        "\n".join([title, *rows(facts)]).encode()
