"""Scores go into an artifact and leave every other byte as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vaexprs.artifact import attach_quality, load_artifact
from vaexprs.artifact import load as module
from vaexprs.errors import ArtifactError, OutputError
from vaexprs.spec import write_metadata

SCORES = {"real_vs_generated_auc": 0.66, "genes": ["MS4A1", "β-actin"], "n": 3}


def common(a: bytes, b: bytes) -> int:
    """Return how many bytes two texts begin with in common."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))


def test_scores_are_there_and_the_rest_is_as_it_was(tiny_artifact, tmp_path: Path) -> None:
    path = tiny_artifact(tmp_path / "a.onnx")
    before = path.read_bytes()
    attach_quality(path, SCORES)
    after = path.read_bytes()
    spec = load_artifact(path).spec
    assert spec.quality == SCORES
    assert {k: v for k, v in write_metadata(spec).items() if k != "vaexprs.quality"} == (
        write_metadata(load_artifact(before).spec)
    )
    # The old bytes with one run of new ones among them.
    assert common(before, after) + common(before[::-1], after[::-1]) >= len(before)
    attach_quality(path, None)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_new_scores_take_the_place_of_old_ones(tiny_artifact, tmp_path: Path) -> None:
    path = tiny_artifact(tmp_path / "a.onnx", quality={"auc": 0.9, "more": "x" * 300})
    attach_quality(path, SCORES)
    first = path.read_bytes()
    attach_quality(path, {"auc": 0.5})
    assert load_artifact(path).spec.quality == {"auc": 0.5}
    attach_quality(path, SCORES)
    assert path.read_bytes() == first
    assert first.count(b"vaexprs.quality") == 1


def test_other_readers_agree(tiny_artifact, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tiny_artifact(tmp_path / "a.onnx")
    before = onnx.load(path)
    attach_quality(path, SCORES)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString() == path.read_bytes()
    assert model.graph == before.graph
    assert [entry.key for entry in model.metadata_props][-1] == "vaexprs.quality"
    assert model.metadata_props[:-1] == before.metadata_props[:]


@pytest.mark.parametrize(
    "scores",
    [{"auc": float("nan")}, {"auc": float("inf")}, {"auc": {1, 2}}, {"auc": "\ud800"}, [1, 2]],
)
def test_scores_that_are_no_json(tiny_artifact, tmp_path: Path, scores: object) -> None:
    path = tiny_artifact(tmp_path / "a.onnx")
    before = path.read_bytes()
    with pytest.raises(ArtifactError, match=r"quality scores for .*a\.onnx' are not JSON"):
        attach_quality(path, scores)  # type: ignore[arg-type]
    assert path.read_bytes() == before


def test_scores_that_go_round_in_circles(tiny_artifact, tmp_path: Path) -> None:
    path = tiny_artifact(tmp_path / "a.onnx")
    circle: dict[str, object] = {}
    circle["self"] = circle
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"d": deep}
    for scores in (circle, deep):
        with pytest.raises(ArtifactError, match="are not JSON"):
            attach_quality(path, scores)


def test_only_artifacts_take_scores(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"hello")
    with pytest.raises(ArtifactError, match="no ONNX model"):
        attach_quality(path, SCORES)
    with pytest.raises(ArtifactError, match="no such file"):
        attach_quality(tmp_path / "b.onnx", SCORES)
    assert path.read_bytes() == b"hello"
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_a_link_stays_a_link_and_permissions_stay(tiny_artifact, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    path = tiny_artifact(tmp_path / "store" / "a.onnx")
    path.chmod(0o640)
    link = tmp_path / "link.onnx"
    link.symlink_to(path)
    attach_quality(link, SCORES)
    assert link.is_symlink()
    assert load_artifact(path).spec.quality == SCORES
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_failure_leaves_the_file_as_it_was(
    tiny_artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tiny_artifact(tmp_path / "a.onnx")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, step, fail)
    with pytest.raises(OutputError, match=r"a\.onnx was not written: the disk is full"):
        attach_quality(path, SCORES)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.onnx"]
