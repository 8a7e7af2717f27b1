"""Damaged bytes and hostile JSON values, from a random generator."""

from __future__ import annotations

import json
import random
from typing import Any

__all__ = ["changed", "damaged", "dumped", "hostile"]

NUMBERS = (
    0, 1, -1, 2, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30,
    0.5, 1e-320, 1e308, -0.0, 1e400,
)  # fmt: skip
TEXTS = (
    "", " ", "/", ".", "..", "_index", "a/b", "/X/x", "\0", "\ud800", "n_cells", "source",
    "$x$_$", "nb", "float32", "mean", "draw", "AAAA", "AA==", "\N{GRINNING FACE}" * 3, "x" * 300,
    "1", "1.0", "nan", "joint", "gaussian_mixture", "standard_normal", "zigamma", "\x1b[31m",
    "<b>", "²",
)  # fmt: skip


def hostile(rng: random.Random, depth: int = 0) -> Any:
    """Return a JSON value of any kind, some of them nested."""
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind in (1, 2):
        return rng.choice(NUMBERS)
    if kind in (3, 4):
        return rng.choice(TEXTS)
    if kind == 5:
        return [hostile(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {rng.choice(TEXTS): hostile(rng, depth + 1) for _ in range(rng.randrange(4))}
    value: Any = rng.choice(NUMBERS)
    for _ in range(rng.choice((1, 5, 40, 900))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def changed(rng: random.Random, content: Any) -> Any:
    """Return a JSON value with one part changed, removed or repeated."""
    if not isinstance(content, dict | list) or not content or rng.random() < 0.08:
        return hostile(rng)
    places = list(content) if isinstance(content, dict) else range(len(content))
    place = rng.choice(list(places))
    copy: Any = dict(content) if isinstance(content, dict) else list(content)
    action = rng.random()
    if isinstance(copy[place], dict | list) and copy[place] and action < 0.7:
        copy[place] = changed(rng, copy[place])
    elif action < 0.75:
        copy[place] = _near(rng, copy[place])
    elif action < 0.85:
        del copy[place]
    elif action < 0.95 and isinstance(copy, list):
        copy.insert(place, copy[rng.randrange(len(copy))])
    else:
        copy[place] = hostile(rng)
    return copy


def _near(rng: random.Random, value: Any) -> Any:
    """Return a value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, *NUMBERS[:13]))
    if isinstance(value, str) and len(value) > 8 and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice("Az0/+=9") + value[at + 1 :]
    return rng.choice(TEXTS) if isinstance(value, str) else hostile(rng)


def dumped(value: Any) -> str:
    """Return a value as JSON text that protobuf can hold."""
    return json.dumps(value).replace("\ud800", "\\ud800")


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Return bytes with bits flipped, runs cut out, copied or inserted."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(out) + 1)
        action = rng.randrange(5)
        if action == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif action == 1 and at < len(out):
            out[at] = rng.randrange(256)
        elif action == 2:
            out[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif action == 3:
            del out[at : at + rng.randrange(1, 65)]
        else:
            start = rng.randrange(len(out) + 1)
            out[at:at] = out[start : start + rng.randrange(1, 200)]
    return bytes(out)
