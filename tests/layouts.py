"""Decoders of every layout that `vaexprs.export` writes, with random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vaexprs.artifact import load_artifact
from vaexprs.export.graph import DecoderWeights, Head, build_model
from vaexprs.export.quantization import quantize
from vaexprs.spec import GeneratorSpec
from vaexprs.spec.likelihoods import LIKELIHOODS

#: Units of the hidden layers: the second is wide enough for weights of 8 bits.
UNITS = (24, 70)


def layout(spec: GeneratorSpec, activation: str, *, full: bool, int8: bool, seed: int = 0) -> bytes:
    """Return an artifact with the metadata of another.

    A plain stack of layers, or, where `full`, with all that a decoder can have: a linear path,
    hidden groups, membership, an embedding, a ceiling, dispersions that read the library size, and
    means that are stretched.
    """
    rng = np.random.default_rng(seed)
    n_genes, n_groups = spec.n_genes, 3 if full else 0
    n_read = spec.n_latent - 1 if full else spec.n_latent  # the last latent tells the group

    def normal(*shape: int, sd: float = 0.3) -> Any:
        return rng.normal(0, sd, shape).astype(np.float32)

    keys = bool(spec.conditions.keys)
    width = n_read + (spec.conditions.n_conditions if keys else 0) + n_groups
    layers, n = [], width
    for units in UNITS:
        layers.append((normal(n, units), normal(units), activation))
        n = units
    told = spec.conditions.n_conditions * keys + n_groups
    blocks = {"hidden": normal(n, n_genes, sd=0.1)}
    extra: dict[str, Any] = {}
    if full:
        blocks = {"z": normal(n_read, n_genes)} | blocks
        member = (rng.random((told, 4)) < 0.4).astype(np.float32)
        extra = {"member": member, "embedding": normal(told, 5), "ceiling": normal(n_genes, sd=1)}
        extra["centres"] = normal(n_groups, n_read, sd=2.0)
        extra["digits"] = normal(n_groups, 1, sd=2.0)
        blocks |= {"membership": normal(4, n_genes), "embedded": normal(5, n_genes)}
        extra["typical_library"] = 900.0
    if spec.likelihood == "bernoulli" and spec.observation != "draw":
        extra |= {"shift": np.abs(normal(n_genes)), "stretch": np.abs(normal(n_genes)) + 1}
    heads = {}
    for head, _ in LIKELIHOODS[spec.likelihood].outputs.values():
        own = blocks if head == "logits" or full else {}
        if head == "log_inverse_dispersion" and full and spec.is_counts:
            own = {"depth": normal(1, n_genes)}
        heads[head] = Head(normal(n_genes, sd=1.0), own)
    model = build_model(DecoderWeights(tuple(layers), heads, **extra), spec)
    if int8:
        model = quantize(model, replace(spec))
    return model.SerializeToString(deterministic=True)


def specs(golden: Any) -> dict[str, GeneratorSpec]:
    """Return the specs of the golden artifacts by name."""
    return {path.stem: load_artifact(path).spec for path in sorted(golden.glob("*.onnx"))}
