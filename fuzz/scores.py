"""Mutants of scores for `attach_quality`: attached as they are, or refused."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from fuzz import values
from vaexprs.artifact import attach_quality, load_artifact
from vaexprs.errors import VaexprsError

GOLDEN = Path(__file__).parents[1] / "tests" / "artifact" / "golden"
#: Where files cost no disk, if there is such a place.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
SCORES: dict[str, Any] = {
    "date": "2026-01-01",
    "scores": {"forest_auc": {"value": 0.6, "low": 0.4, "high": 0.5, "verdict": "worse"}},
    "notes": ["one", "two"],
}


def mutant(seed: int, index: int) -> bytes:
    """Return mutant `index` of a seed: scores as JSON text, which may hold NaN."""
    rng = random.Random(f"{seed} {index}")
    content = values.changed(rng, SCORES)
    if rng.random() < 0.05:
        content = {"long": ["x" * 1000] * rng.choice((10, 2000)), "more": content}
    return json.dumps(content).encode()


def check(data: bytes) -> None:
    """Attach scores to an artifact, and remove them again."""
    scores = json.loads(data)
    original = (GOLDEN / "format-1-poisson.onnx").read_bytes()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(original)
        try:
            attach_quality(path, scores)
        except VaexprsError:
            assert path.read_bytes() == original
            return
        assert load_artifact(path).spec.quality == (None if scores is None else dict(scores))
        attach_quality(path, None)
        assert path.read_bytes() == original
