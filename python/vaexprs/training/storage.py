"""A whole fit in one safetensors file: tensors, and JSON in its header. No pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaexprs.errors import ArtifactError, require
from vaexprs.spec import PREFIX, GeneratorSpec, read_metadata, write_metadata
from vaexprs.training.inputs.features import Features
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.likelihoods.registry import training_law
from vaexprs.training.network.layers import Layer
from vaexprs.training.network.loop import History
from vaexprs.training.network.model import VAE, Architecture

#: Version of the file's layout; raised when an older vaexprs could not read it.
FIT_VERSION = 3


def to_bytes(
    vae: VAE,
    features: Features,
    scaling: Scaling | None,
    spec: GeneratorSpec,
    history: History,
    interrupted: bool,
) -> bytes:
    """Return a fit as the bytes of a safetensors file."""
    safetensors = require("safetensors.torch", extra="train", purpose="Saving a fit")
    tensors: dict[str, Tensor] = {
        "vae." + name: value.detach().cpu().contiguous() for name, value in vae.state_dict().items()
    }
    for group, values in (("features", features), ("scaling", scaling)):
        if values is not None:
            for name, value in vars(values).items():
                if isinstance(value, np.ndarray):
                    tensors[f"{group}.{name}"] = torch.from_numpy(value.copy())
    fit = {
        "version": FIT_VERSION,
        "architecture": asdict(vae.shape),
        "feature_kind": features.kind,
        "history": history,
        "interrupted": interrupted,
        # safetensors keeps tensors in an order of its own; that of blocks decides the artifact
        "parameters": list(vae.state_dict()),
    }
    metadata = {PREFIX + "fit": json.dumps(fit), **write_metadata(spec)}
    content: bytes = safetensors.save(tensors, metadata)
    return content


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the parts of a saved fit: spec, history, interrupted, vae, features, scaling."""
    safetensors = require("safetensors", extra="train", purpose="Loading a fit")
    try:
        with safetensors.safe_open(os.fspath(path), framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ArtifactError(f"there is no file {str(path)!r}.") from error
    except Exception as error:
        raise ArtifactError(
            f"{path} is no saved fit: expected a safetensors file written by VAEFit.save ({error})."
        ) from error
    if PREFIX + "fit" not in metadata:
        raise ArtifactError(f"{path} is a safetensors file, but not one written by VAEFit.save.")
    try:
        fit: dict[str, Any] = json.loads(metadata[PREFIX + "fit"])
        if fit["version"] > FIT_VERSION:
            raise ArtifactError(
                f"it was saved by a newer vaexprs (version {fit['version']} of the layout, "
                f"this one reads up to {FIT_VERSION}): upgrade vaexprs."
            )
        if fit["version"] < 3 and fit["architecture"].get("hidden_groups"):
            raise ArtifactError(
                f"it was saved by an older vaexprs (version {fit['version']} of the layout) and "
                "has hidden groups, which are kept otherwise now: fit the model again."
            )
        spec = read_metadata(metadata)
        vae = _vae(fit["architecture"], _group(tensors, "vae"), fit.get("parameters", tensors))
        features = Features(
            fit["feature_kind"],
            not fit["architecture"]["linear_path"],
            **_arrays(tensors, "features"),
        )
        features.check(len(spec.var_names), vae.shape.hidden_groups)
        return {
            "spec": spec,
            "history": fit["history"],
            "interrupted": fit["interrupted"],
            "vae": vae,
            "features": features,
            "scaling": Scaling(**_arrays(tensors, "scaling"))
            if "scaling.shift" in tensors
            else None,
        }
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path} is a damaged fit: {error}") from error


def _vae(architecture: dict[str, Any], state: dict[str, Tensor], parameters: Iterable[str]) -> VAE:
    law = training_law(architecture["likelihood"])
    for side in ("encoder", "decoder"):
        architecture[side] = tuple(Layer(**layer) for layer in architecture[side])
    vae = VAE(Architecture(**{"heads": law.heads, **architecture}), law.log_prob)
    order = {name: place for place, name in enumerate(parameters)}
    for name in sorted(state, key=lambda name: order.get(name, len(order))):
        if name not in vae.state_dict():  # a block that calibration added
            _, _, head, _, block = name.split(".")
            vae.decoder.head(head).add_block(block, state[name])
    vae.load_state_dict(state)
    for name, value in state.items():
        if value.isnan().any():
            raise ValueError(f"vae.{name} has values that are not numbers.")
    return vae


def _group(tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
    start = group + "."
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }


def _arrays(tensors: dict[str, Tensor], group: str) -> dict[str, Any]:
    return {name: value.numpy() for name, value in _group(tensors, group).items()}
