"""Saved fits whose tensors do not fit one another are refused when they are read."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.numpy")

from vaexprs import VAEFit, fit_vae  # noqa: E402
from vaexprs.datasets import simulate_groups  # noqa: E402
from vaexprs.errors import ArtifactError  # noqa: E402
from vaexprs.training.inputs.features import Features  # noqa: E402

pytestmark = pytest.mark.torch

N_GENES = 200


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Return the bytes of a fit with hidden groups."""
    cells = simulate_groups(seed=2, n_genes=N_GENES, n_markers=60)
    fit = fit_vae(cells, epochs=2, seed=0, n_latent=3, progress=False, device="cpu")
    assert fit.vae.shape.hidden_groups == 3
    return fit.save(tmp_path_factory.mktemp("fits") / "fit").read_bytes()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("features.offset", None, "offset"),
        ("features.group_weight", None, r"features\.group_weight is missing"),
        ("features.group_bias", np.zeros(2, np.float32), r"group_weight: expected shape \("),
        ("features.offset", np.zeros(1, np.float32), r"offset: expected shape \("),
        ("features.components", np.zeros((3, 2), np.float32), "expected shape"),
        ("features.gene_scale", np.full(N_GENES, np.nan, np.float32), "not numbers"),
        ("vae.decoder.centres", np.full((3, 3), np.nan, np.float32), "not numbers"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(content, tmp_path, name, value, message):
    (length,) = struct.unpack("<Q", content[:8])
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    tensors = safetensors.load(content) | {name: value}
    kept = {name: value for name, value in tensors.items() if value is not None}
    path = tmp_path / "fit.safetensors"
    path.write_bytes(safetensors.save(kept, metadata))
    with pytest.raises(ArtifactError, match=message):
        VAEFit.load(path)


def features_with_programs(**changes):
    """Return features of two kinds, two combinations, and one program of the first kind."""
    c = 3
    arrays = {
        "gene_shift": np.zeros(5), "gene_scale": np.ones(5), "components": np.ones((5, c)),
        "offset": np.zeros(c), "score_scale": np.ones(c), "group_weight": np.ones((c, 2)),
        "group_bias": np.zeros(2), "program_combination": np.array([0, 4]),
        "program_centre": np.zeros((3, 2, c)), "program_direction": np.ones((c, 1)),
        "program_threshold": np.array([[1.0], [np.inf], [np.inf]]),
        "program_group": np.array([[0, 1], [2, 2]], np.int32),
    }  # fmt: skip
    return Features("identity", False, **(arrays | changes))


def test_features_that_fit_are_accepted():
    features_with_programs().check(n_genes=5, n_groups=3)
    without = {name: None for name in vars(features_with_programs()) if name.startswith("program_")}
    features_with_programs(**without).check(n_genes=5, n_groups=2)
    without |= {"group_weight": None, "group_bias": None}
    features_with_programs(**without).check(n_genes=5, n_groups=0)


@pytest.mark.parametrize(
    "name", [name for name in vars(features_with_programs()) if name.startswith(("group_", "prog"))]
)
@pytest.mark.parametrize("change", ["missing", "short", "not a number"])
def test_features_that_do_not_fit_are_refused(name, change):
    features = features_with_programs()
    array = getattr(features, name)
    if change == "missing":
        value = None
    elif change == "short":
        value = array[:-1]
    else:
        value = array * (np.nan if name != "program_group" else -7)
    with pytest.raises(ValueError, match=f"features.{name}|features.program|features.group|hidden"):
        features_with_programs(**{name: value}).check(n_genes=5, n_groups=3)


def test_groups_are_as_many_as_the_decoder_has():
    with pytest.raises(ValueError, match="expected 4 hidden groups, got 3"):
        features_with_programs().check(n_genes=5, n_groups=4)
    gap = np.array([[0, 0], [2, 2]], np.int32)
    with pytest.raises(ValueError, match="expected each of 0 to 2"):
        features_with_programs(program_group=gap).check(n_genes=5, n_groups=3)
