"""Small random artifacts that behave like trained ones, built without torch.

A linear decoder over a few genes: enough to drive everything right of the artifact. Profiles,
zero fractions, library sizes and class differences are like those of real cells, so that tests
may look at what is generated and not only at its shape.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vaexprs.spec import ConditionKey, Conditions, GeneratorSpec, LibraryLaw, Prior, write_metadata

#: The keys of an artifact unless others are asked for.
KEYS: dict[str, list[str]] = {"cell_type": ["B", "NK", "T"]}

#: Opset and file version of the graphs: what every runtime of the last years reads.
OPSET, IR_VERSION = 17, 8


def tiny_artifact(path: str | Path, **options: Any) -> Path:
    """Write a small artifact and return its path; see `tiny_spec` and `tiny_graph`.

    Options are those of `tiny_model`.
    """
    path = Path(path)
    path.write_bytes(tiny_model(**options).SerializeToString(deterministic=True))
    return path


def tiny_model(
    *,
    likelihood: str = "nb",
    n_genes: int = 20,
    keys: Mapping[str, Sequence[str]] | None = KEYS,
    n_latent: int = 4,
    seed: int = 0,
    prior: str = "gaussian_mixture",
    observation: str = "draw",
    mean_library: float = 1000.0,
    quality: Mapping[str, Any] | None = None,
) -> onnx.ModelProto:
    """Build a small artifact as an onnx model.

    Parameters
    ----------
    likelihood
        One of the likelihoods of the format.
    n_genes, n_latent
        Sizes.
    keys
        Condition keys and their categories; None or empty for a model without conditions. With
        two keys or more the last combination was never seen in training.
    seed
        Of weights, profiles and prior.
    prior
        ``"gaussian_mixture"`` (for counts: joint with the log library size) or
        ``"standard_normal"`` (for counts: with a log-normal library law).
    observation
        As in the format; a bernoulli graph folds in a min-max scaling unless it is ``"draw"``.
    mean_library
        About the library size of a cell, in counts.
    quality
        Scores to store, or None.
    """
    rng = np.random.default_rng(seed)
    spec = _spec(
        rng, likelihood, n_genes, dict(keys or {}), n_latent, prior, observation, mean_library,
        quality,
    )  # fmt: skip
    model = helper.make_model(
        _graph(rng, spec),
        producer_name="vaexprs-tests",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, write_metadata(spec))
    onnx.checker.check_model(model, full_check=True)
    return model


def _spec(
    rng: np.random.Generator,
    likelihood: str,
    n_genes: int,
    keys: dict[str, Sequence[str]],
    n_latent: int,
    prior: str,
    observation: str,
    mean_library: float,
    quality: Mapping[str, Any] | None,
) -> GeneratorSpec:
    counts = likelihood in ("poisson", "nb", "zinb")
    every = list(itertools.product(*(range(len(categories)) for categories in keys.values())))
    combinations = np.array(every, dtype=np.int32).reshape(len(every), len(keys))
    if len(keys) > 1:
        combinations = combinations[:-1]
    n_groups = len(combinations)
    location = (np.log(mean_library) + rng.uniform(-0.15, 0.15, n_groups)).astype(np.float32)
    scale = np.full(n_groups, 0.3, np.float32)
    mixture = prior == "gaussian_mixture"
    library = None
    if counts:
        library = LibraryLaw(
            kind="joint" if mixture else "lognormal",
            minimum=np.exp(location - 3 * scale),
            maximum=np.exp(location + 3 * scale),
            location=location,
            scale=scale,
        )
    return GeneratorSpec(
        likelihood=likelihood,
        observation=observation,
        residual=np.linspace(0.1, 2, n_genes, dtype=np.float32)
        if observation in ("normal", "rectified")
        else None,
        n_latent=n_latent,
        var_names=tuple(f"GENE{i + 1}" for i in range(n_genes)),
        conditions=Conditions(
            keys=tuple(ConditionKey(name, tuple(values)) for name, values in keys.items()),
            combinations=combinations,
            n_cells=rng.integers(20, 200, n_groups),
        ),
        prior=_mixture(rng, n_groups, n_latent, location, scale, counts) if mixture else Prior(),
        library=library,
        provenance={"vaexprs": "tests", "seed": 0, "note": "random weights, not trained"},
        architecture={
            "encoder": [{"name": "z", "units": n_latent, "activation": "linear"}],
            "decoder": [{"name": "mean", "units": n_genes, "activation": "softmax"}],
        },
        quality=quality,
    )


def _mixture(
    rng: np.random.Generator,
    n_groups: int,
    n_latent: int,
    location: NDArray[np.float32],
    scale: NDArray[np.float32],
    with_log_library: bool,
) -> Prior:
    """Two components for each combination; each combination has a factor of its own."""
    n_components, n_dim = 2 * n_groups, n_latent + with_log_library
    means = rng.normal(0, 0.7, (n_components, n_dim)).astype(np.float32)
    tril = np.tril(rng.normal(0, 0.15, (n_groups, n_dim, n_dim))).astype(np.float32)
    diagonal = np.arange(n_dim)
    tril[:, diagonal, diagonal] = 0.7
    if with_log_library:
        # The last row: a standard deviation of `scale` in all, partly shared with z.
        means[:, -1] = np.repeat(location, 2)
        row = rng.normal(0, 1, (n_groups, n_dim))
        row[:, -1] = np.abs(row[:, -1]) + 1
        row *= scale[:, None] / np.linalg.norm(row, axis=1, keepdims=True)
        tril[:, -1, :] = row
    return Prior(
        kind="gaussian_mixture",
        with_log_library=with_log_library,
        offsets=np.arange(0, n_components + 1, 2, dtype=np.int64),
        weights=np.tile([0.7, 0.3], n_groups),
        means=means,
        tril=tril,
        factor=np.repeat(np.arange(n_groups, dtype=np.int32), 2),
    )


def _graph(rng: np.random.Generator, spec: GeneratorSpec) -> onnx.GraphProto:
    n_genes, n_conditions = spec.n_genes, spec.conditions.n_conditions
    # A few genes hold most counts and many are rare: a log-normal profile, as in real cells.
    profile = rng.normal(0, 2 if spec.is_counts else 0.5, n_genes)
    # Each category has marker genes of its own.
    markers = 2.0 * (rng.random((n_conditions, n_genes)) < 0.2)
    weights: dict[str, NDArray[np.float32]] = {
        "z.weight": rng.normal(0, 0.3, (spec.n_latent, n_genes)).astype(np.float32),
        "bias": profile.astype(np.float32),
    }
    nodes = [helper.make_node("Gemm", ["z", "z.weight", "bias"], ["from_z"])]
    logits = "from_z"
    if spec.conditions.keys:
        weights["condition.weight"] = markers.astype(np.float32)
        nodes += [
            helper.make_node("MatMul", ["condition", "condition.weight"], ["from_condition"]),
            helper.make_node("Add", ["from_z", "from_condition"], ["logits"]),
        ]
        logits = "logits"

    if spec.is_counts:
        nodes += [
            helper.make_node("Softmax", [logits], ["share"], axis=-1),
            helper.make_node("Mul", ["share", "library"], ["mean"]),
        ]
    elif "gaussian" in spec.likelihood:
        nodes.append(helper.make_node("Identity", [logits], ["mean"]))
    elif spec.likelihood == "zigamma":
        nodes.append(helper.make_node("Exp", [logits], ["mean"]))
    elif spec.observation == "draw":
        nodes.append(helper.make_node("Sigmoid", [logits], ["mean"]))
    else:
        weights["range"] = rng.uniform(1, 10, (1, n_genes)).astype(np.float32)
        weights["minimum"] = rng.uniform(0, 0.1, (1, n_genes)).astype(np.float32)
        nodes += [
            helper.make_node("Sigmoid", [logits], ["scaled"]),
            helper.make_node("Mul", ["scaled", "range"], ["stretched"]),
            helper.make_node("Add", ["stretched", "minimum"], ["mean"]),
        ]
    # What belongs to the gene alone has one row, whatever the number of cells.
    rows: dict[str, int | str] = {"mean": "n_cells"}
    for name, low, high in (("scale", -1.5, 0.0), ("inverse_dispersion", -1.0, 1.5)):
        if name in spec.outputs:
            weights[f"log_{name}"] = rng.uniform(low, high, (1, n_genes)).astype(np.float32)
            nodes.append(helper.make_node("Exp", [f"log_{name}"], [name]))
            rows[name] = 1
    if "zero_logits" in spec.outputs:
        weights["zero.weight"] = rng.normal(0, 0.3, (spec.n_latent, n_genes)).astype(np.float32)
        weights["zero.bias"] = rng.normal(-0.5, 0.8, n_genes).astype(np.float32)
        nodes.append(helper.make_node("Gemm", ["z", "zero.weight", "zero.bias"], ["zero_logits"]))
        rows["zero_logits"] = "n_cells"

    def values(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    return helper.make_graph(
        nodes,
        "decoder",
        [values(name, ["n_cells", width]) for name, width in spec.inputs.items()],
        [values(name, [rows[name], n_genes]) for name in spec.outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
