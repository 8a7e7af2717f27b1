"""An artifact is read as it was written, from a path or from bytes."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vaexprs.artifact import load_artifact
from vaexprs.artifact.shipped import shipped_artifacts
from vaexprs.errors import ArtifactError
from vaexprs.spec import OUTPUTS, write_metadata

LIKELIHOODS = list(OUTPUTS)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_what_was_written_is_read(tiny_artifact, likelihood: str) -> None:
    path = tiny_artifact(likelihood=likelihood)
    artifact = load_artifact(path)
    assert artifact.model_bytes == path.read_bytes()
    assert artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert artifact.path == str(path)
    assert (artifact.opset, artifact.ir_version) == (17, 8)
    assert artifact.spec.likelihood == likelihood
    assert artifact.spec.outputs == OUTPUTS[likelihood]
    assert artifact.spec.n_genes == 20
    assert [key.name for key in artifact.spec.conditions.keys] == ["cell_type"]
    assert artifact.spec.conditions.keys[0].categories == ("B", "NK", "T")


def test_bytes_paths_and_texts_are_the_same(tiny_artifact) -> None:
    path = tiny_artifact()
    of_path, of_text = load_artifact(path), load_artifact(str(path))
    of_bytes = load_artifact(path.read_bytes())
    assert of_path.sha256 == of_text.sha256 == of_bytes.sha256
    assert (of_bytes.path, of_text.path) == (None, str(path))
    assert write_metadata(of_bytes.spec) == write_metadata(of_path.spec)
    assert len({of_path, of_text, of_bytes}) == 1
    assert of_path != load_artifact(tiny_artifact(seed=1))
    assert pickle.loads(pickle.dumps(of_path)) == of_path  # processes send it to each other


def test_a_loaded_artifact_and_a_fit_are_sources(tiny_artifact) -> None:
    artifact = load_artifact(tiny_artifact())

    class Fitted:
        def artifact_bytes(self) -> bytes:
            return artifact.model_bytes

    assert load_artifact(artifact) is artifact
    assert load_artifact(Fitted()) == artifact
    for wrong in (None, 3, ["model.onnx"]):
        with pytest.raises(ArtifactError, match=f"not as {type(wrong).__name__}"):
            load_artifact(wrong)  # type: ignore[arg-type]


def test_a_shipped_name_wins_over_what_lies_about(
    tiny_artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, path), *_ = shipped_artifacts().items()
    shipped = load_artifact(path)
    monkeypatch.chdir(tmp_path)
    assert load_artifact(name) == load_artifact(Path(name)) == shipped
    (tmp_path / name).mkdir()
    assert load_artifact(name) == shipped
    (tmp_path / name).rmdir()
    (tmp_path / name).write_text("notes")
    assert load_artifact(name) == shipped
    with pytest.raises(ArtifactError, match=f"'./{name}': no ONNX model"):
        load_artifact(f"./{name}")
    mine = load_artifact(tiny_artifact(tmp_path / f"{name}.onnx"))
    assert load_artifact(f"{name}.onnx") == mine != shipped
    with pytest.raises(ArtifactError, match=f"did you mean '{name}'"):
        load_artifact(name[:-1])


def test_an_artifact_is_shown_in_a_few_lines(tiny_artifact) -> None:
    artifact = load_artifact(tiny_artifact(n_genes=500))
    assert artifact.sha256 in repr(artifact)
    assert "500 genes" in repr(artifact)
    assert len(repr(artifact).splitlines()) <= 5
    assert len(repr(artifact)) < 600


def test_the_path_may_be_a_link_and_not_ascii(tiny_artifact, tmp_path: Path) -> None:
    path = tiny_artifact(tmp_path / "cellules tuées β.onnx")
    link = tmp_path / "link.onnx"
    link.symlink_to(path)
    assert load_artifact(link).sha256 == load_artifact(path).sha256


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ({"keys": None, "likelihood": "gaussian"}, {"z": 4}),
        ({"keys": None}, {"z": 4, "library": 1}),
        ({"keys": {"a": ["x"], "b": ["u", "v"]}}, {"z": 4, "condition": 3, "library": 1}),
        ({"n_latent": 1, "n_genes": 1, "likelihood": "zigamma"}, {"z": 1, "condition": 3}),
        ({"prior": "standard_normal"}, {"z": 4, "condition": 3, "library": 1}),
        ({"likelihood": "bernoulli", "observation": "mean"}, {"z": 4, "condition": 3}),
    ],
)
def test_inputs_follow_from_the_metadata(tiny_artifact, options: dict, inputs: dict) -> None:
    assert load_artifact(tiny_artifact(**options)).spec.inputs == inputs


def test_the_tiny_artifacts_behave_like_cells(tiny_artifact) -> None:
    """The stand-in that other tests rely on: library, zeros and classes as in real cells."""
    ort = pytest.importorskip("onnxruntime")
    artifact = load_artifact(tiny_artifact(keys={"cell_type": ["B", "T"], "batch": ["1", "2"]}))
    spec = artifact.spec
    assert spec.conditions.combinations.tolist() == [[0, 0], [0, 1], [1, 0]]
    rng = np.random.default_rng(0)
    prior, groups = spec.prior, rng.integers(0, 3, 3000)
    component = prior.offsets[groups] + (rng.random(3000) < 0.3)
    noise = rng.standard_normal((3000, spec.n_latent + 1))
    drawn = prior.means[component] + np.einsum(
        "nij,nj->ni", prior.tril[prior.factor[component]], noise
    )
    codes = spec.conditions.combinations[groups]
    condition = np.hstack([np.eye(2)[codes[:, 0]], np.eye(2)[codes[:, 1]]])
    feeds = {"z": drawn[:, :-1], "condition": condition, "library": np.exp(drawn[:, -1:])}
    session = ort.InferenceSession(artifact.model_bytes)
    mean, theta = session.run(None, {k: v.astype(np.float32) for k, v in feeds.items()})
    assert theta.shape == (1, 20)
    np.testing.assert_allclose(mean.sum(axis=1), np.exp(drawn[:, -1]), rtol=1e-4)
    assert 800 < np.median(mean.sum(axis=1)) < 1250
    zeros = ((theta / (theta + mean)) ** theta).mean(axis=0)
    assert 0.05 < zeros.mean() < 0.9
    assert np.ptp(zeros) > 0.3
    profiles = np.log1p([mean[codes[:, 0] == code].mean(axis=0) for code in (0, 1)])
    assert np.abs(profiles[0] - profiles[1]).max() > 1


def test_loading_needs_neither_onnx_nor_a_runtime(tiny_artifact) -> None:
    path = tiny_artifact()
    code = (
        "import sys; from vaexprs.artifact import load_artifact, attach_quality\n"
        f"assert load_artifact({str(path)!r}).spec.n_genes == 20\n"
        "print([m for m in ('onnx', 'google.protobuf', 'onnxruntime', 'torch', 'pandas', 'scipy')"
        " if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
