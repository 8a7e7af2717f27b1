"""What leaves a fit: a file that is loaded again, an artifact that computes what torch does."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import struct

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
safetensors = pytest.importorskip("safetensors")
anndata = pytest.importorskip("anndata")

from safetensors.torch import save_file  # noqa: E402

from vaexprs import VAEFit, datasets, fit_vae, gen_exprs, load_artifact  # noqa: E402
from vaexprs.datasets import simulate_counts  # noqa: E402
from vaexprs.errors import ArtifactError, OutputError, VaexprsError  # noqa: E402
from vaexprs.spec import OUTPUTS, write_metadata  # noqa: E402
from vaexprs.training import export  # noqa: E402

pytestmark = pytest.mark.torch

LIKELIHOODS = ("bernoulli", "gaussian", "poisson", "nb", "zinb", "zigamma")
KEYS = ["cell_type", "batch"]
PLAIN = {"encoder": [(16, "relu"), (8, "tanh")], "decoder": [(12, "elu")]}


@pytest.fixture(scope="module")
def fits(values_for, tiny):
    """Return a function from likelihood and layout to cells and a fit of them, made once."""
    made = {}

    def get(likelihood="nb", layout="linear path"):
        if (likelihood, layout) not in made:
            cells = values_for(likelihood)
            options = {**tiny, **(PLAIN if layout == "plain" else {})}
            made[likelihood, layout] = (
                cells,
                fit_vae(cells, condition_keys=KEYS, likelihood=likelihood, **options),
            )
        return made[likelihood, layout]

    return get


def run(artifact, inputs):
    session = onnxruntime.InferenceSession(artifact.model_bytes, providers=["CPUExecutionProvider"])
    names = artifact.spec.outputs
    return dict(zip(names, session.run(list(names), inputs), strict=True))


def one_hot(adata, spec):
    blocks = [
        np.array(adata.obs[key.name].astype(str))[:, None] == np.array(key.categories)[None]
        for key in spec.conditions.keys
    ]
    return np.concatenate(blocks, axis=1).astype(np.float32)


# ---- the artifact


@pytest.mark.parametrize("layout", ["linear path", "plain"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_artifact_computes_what_torch_does(fits, tmp_path, likelihood, layout):
    """Expected values of the training cells, encoded by torch, decoded by either."""
    cells, fit = fits(likelihood, layout)
    artifact = load_artifact(fit.export(tmp_path / "cells.onnx"))
    assert artifact.opset == 17
    inputs = {"z": fit.encode(cells), "condition": one_hot(cells, fit.spec)}
    if fit.spec.is_counts:
        inputs["library"] = np.asarray(cells.X.sum(1), np.float32).reshape(-1, 1)
    assert set(inputs) == set(artifact.spec.inputs)
    outputs = run(artifact, inputs)
    assert tuple(outputs) == OUTPUTS[likelihood]
    for name, values in outputs.items():
        assert values.dtype == np.float32
        assert values.shape in ((cells.n_obs, 50), (1, 50))
        assert np.isfinite(values).all()
        if name in ("inverse_dispersion", "scale"):
            assert (values > 0).all()
    expected = outputs["mean"]
    if "zero_logits" in outputs:
        expected = expected / (1 + np.exp(outputs["zero_logits"]))
    wanted = fit.reconstruct(cells).X
    floor = 0.01 * np.abs(wanted).mean()
    np.testing.assert_array_less(np.abs(expected - wanted) / (np.abs(wanted) + floor), 2e-4)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_row_is_a_cell_of_its_own(fits, likelihood):
    """Rows decoded one at a time are those decoded together."""
    cells, fit = fits(likelihood)
    artifact = load_artifact(fit.artifact_bytes())
    rng = np.random.default_rng(0)
    inputs = {
        "z": rng.normal(size=(5, fit.spec.n_latent)).astype(np.float32),
        "condition": one_hot(cells, fit.spec)[:5],
    }
    if fit.spec.is_counts:
        inputs["library"] = rng.uniform(100, 1000, (5, 1)).astype(np.float32)
    whole = run(artifact, inputs)
    for row in range(5):
        alone = run(artifact, {name: value[[row]] for name, value in inputs.items()})
        for name, values in whole.items():
            mine = values[[row]] if len(values) > 1 else values
            np.testing.assert_allclose(alone[name], mine, rtol=1e-5, atol=1e-6)
    if fit.spec.is_counts:
        np.testing.assert_allclose(whole["mean"].sum(1), inputs["library"][:, 0], rtol=1e-4)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_same_fit_the_same_bytes(fits, tmp_path, likelihood):
    _, fit = fits(likelihood)
    content = fit.artifact_bytes()
    assert content == fit.artifact_bytes()
    assert fit.export(tmp_path / "cells.onnx").read_bytes() == content
    loaded = VAEFit.load(fit.save(tmp_path / "fit.safetensors"))
    assert loaded.artifact_bytes() == content


def test_the_artifact_promises_what_the_fit_is(fits):
    cells, fit = fits()
    artifact = load_artifact(fit.artifact_bytes())
    spec = artifact.spec
    assert spec.var_names == tuple(cells.var_names)
    assert spec.conditions.names == tuple(KEYS)
    assert spec.conditions.key("cell_type").categories == ("type1", "type2", "type3")
    assert spec.conditions.n_cells.sum() == cells.n_obs
    assert spec.prior.kind == fit.spec.prior.kind
    np.testing.assert_array_equal(spec.prior.means, fit.spec.prior.means)
    np.testing.assert_array_equal(spec.library.location, fit.spec.library.location)
    assert spec.provenance["data"]["sha256"] == fit.spec.provenance["data"]["sha256"]
    assert spec.architecture == fit.spec.architecture


def test_no_training_cell_and_no_path_lies_in_the_artifact(fits):
    cells, fit = fits()
    content = fit.artifact_bytes()
    for name in cells.obs_names[:20]:
        assert f'"{name}"'.encode() not in content
    assert os.path.expanduser("~").encode() not in content
    assert b".py" not in content


def test_small_shares_of_a_wide_range_are_no_difference():
    """Onnxruntime's sigmoid is exact to half a unit in the last place of 1, not of 1e-6."""
    cells = datasets.load("pbmc_small")
    assert cells.X.max() > 100
    fit = fit_vae(cells, likelihood="bernoulli", epochs=5, progress=False, device="cpu")
    assert load_artifact(fit.artifact_bytes()).spec.likelihood == "bernoulli"


def test_an_artifact_that_differs_from_torch_is_not_written(fits, tmp_path, monkeypatch):
    _, fit = fits()
    whole = export.build_model

    def off(weights, spec):
        weights.heads["logits"].bias[3] += 0.01
        return whole(weights, spec)

    monkeypatch.setattr(export, "build_model", off)
    bias = fit.vae.decoder.heads["logits"].bias
    held = bias.detach().clone()
    with pytest.raises(VaexprsError, match="export failed its check: output 'mean'"):
        fit.export(tmp_path / "cells.onnx")
    assert torch.equal(bias, held)
    assert list(tmp_path.iterdir()) == []


# ---- a saved fit


@pytest.mark.parametrize("layout", ["linear path", "plain"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_saved_fit_comes_back_whole(fits, tmp_path, likelihood, layout):
    cells, fit = fits(likelihood, layout)
    path = fit.save(tmp_path / "fit.safetensors")
    loaded = VAEFit.load(path)
    np.testing.assert_array_equal(loaded.encode(cells), fit.encode(cells))
    again, first = loaded.reconstruct(cells), fit.reconstruct(cells)
    np.testing.assert_array_equal(again.X, first.X)
    assert again.obs.equals(first.obs)
    assert loaded.history == fit.history
    assert loaded.interrupted == fit.interrupted
    assert write_metadata(loaded.spec) == write_metadata(fit.spec)
    assert repr(loaded) == repr(fit)
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.keys()


def test_a_saved_fit_is_saved_again(fits, tmp_path):
    cells, fit = fits()
    first = VAEFit.load(fit.save(tmp_path / "first"))
    second = VAEFit.load(first.save(tmp_path / "second"))
    np.testing.assert_array_equal(second.encode(cells), fit.encode(cells))
    assert second.artifact_bytes() == fit.artifact_bytes()


def test_a_loaded_fit_exports_the_same_bytes(tmp_path):
    """Blocks that calibration added to a head come back in their order."""
    cells = datasets.load("pbmc_small")[:200]
    fit = fit_vae(cells, condition_keys="cell_type", epochs=3, progress=False, device="cpu")
    loaded = VAEFit.load(fit.save(tmp_path / "fit"))
    assert list(loaded.vae.state_dict()) == list(fit.vae.state_dict())
    assert loaded.artifact_bytes() == fit.artifact_bytes()


def test_ordered_categories_come_back(simulated, tiny, tmp_path):
    cells = simulated.copy()
    order = ["type3", "type1", "type2"]
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.reorder_categories(order, ordered=True)
    fit = fit_vae(cells, condition_keys="cell_type", **tiny)
    loaded = VAEFit.load(fit.save(tmp_path / "fit"))
    assert loaded.spec.conditions.keys[0].categories == tuple(order)
    made = loaded.reconstruct(cells)
    assert made.obs["cell_type"].cat.ordered
    assert list(made.obs["cell_type"].cat.categories) == order


class Dangerous:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def write_pickle(path, trap, fit):
    path.write_bytes(pickle.dumps(Dangerous(trap)))


def write_checkpoint(path, trap, fit):
    torch.save({"model": Dangerous(trap)}, path)


def write_nothing(path, trap, fit):
    path.write_bytes(b"")


def write_text(path, trap, fit):
    path.write_text("cells\n" * 100)


def write_artifact(path, trap, fit):
    path.write_bytes(fit.artifact_bytes())


def write_half(path, trap, fit):
    whole = fit.save(path.with_name("whole")).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def write_folder(path, trap, fit):
    path.mkdir()


@pytest.mark.parametrize(
    "write",
    [write_pickle, write_checkpoint, write_nothing, write_text, write_artifact, write_half,
     write_folder],
    ids=lambda write: write.__name__.removeprefix("write_"),
)  # fmt: skip
def test_what_is_no_saved_fit_is_refused_unread(fits, tmp_path, write):
    path, trap = tmp_path / "fit.safetensors", tmp_path / "trap"
    write(path, trap, fits()[1])
    with pytest.raises(ArtifactError, match=r"fit.safetensors is no saved fit: expected a safe"):
        VAEFit.load(path)
    assert not trap.exists()


def test_other_tensors_are_refused(tmp_path):
    path = tmp_path / "fit.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ArtifactError, match=r"not one written by VAEFit\.save"):
        VAEFit.load(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(ArtifactError, match=r"there is no file '.*fit\.safetensors'"):
        VAEFit.load(tmp_path / "fit.safetensors")


def rewrite(path, change):
    """Change the metadata of a saved fit."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    packed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + content[8 + length :])


def change_fit(header, **changes):
    fit = json.loads(header["__metadata__"]["vaexprs.fit"])
    fit |= changes
    header["__metadata__"]["vaexprs.fit"] = json.dumps(fit)


def test_a_fit_of_a_newer_version_says_which_side_is_old(fits, tmp_path):
    path = fits()[1].save(tmp_path / "fit")
    rewrite(path, lambda header: change_fit(header, version=99))
    with pytest.raises(ArtifactError, match=r"newer vaexprs \(version 99 .* upgrade vaexprs"):
        VAEFit.load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: change_fit(header, architecture={}),
        lambda header: change_fit(header, architecture=None),
        lambda header: header["__metadata__"].update({"vaexprs.fit": "{"}),
        lambda header: header["__metadata__"].update({"vaexprs.fit": "[]"}),
        lambda header: header["__metadata__"].update({"vaexprs.var_names": "[]"}),
        lambda header: header["__metadata__"].pop("vaexprs.prior"),
        lambda header: header.update(
            {"vae.stranger.weight": header.pop("vae.encoder.mean.weight")}
        ),
        lambda header: header.update(
            {"vae.decoder.heads.logits.weight.a.b": header.pop("vae.encoder.mean.weight")}
        ),
        lambda header: header.update({"features.x": header.pop("features.gene_scale")}),
    ],
    ids=["no architecture", "null architecture", "cut JSON", "list", "no genes", "no prior",
         "strange tensor", "strange block", "strange feature"],
)  # fmt: skip
def test_a_damaged_fit_is_refused(fits, tmp_path, change):
    path = fits()[1].save(tmp_path / "fit")
    rewrite(path, change)
    with pytest.raises(ArtifactError, match=str(path)):
        VAEFit.load(path)


def test_devices_are_checked_on_loading(fits, tmp_path, monkeypatch):
    path = fits()[1].save(tmp_path / "fit")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="device='cuda' was asked for"):
        VAEFit.load(path, device="cuda")
    with pytest.raises(ValueError, match="device must be"):
        VAEFit.load(path, device="gpu")


# ---- files


@pytest.fixture(params=["export", "save"])
def write(request, fits):
    """Write an artifact, or a fit, to a path."""
    return getattr(fits()[1], request.param)


def test_files_are_returned_and_names_may_be_strings(write, tmp_path):
    path = write(str(tmp_path / "a file"))
    assert path == tmp_path / "a file"
    assert [p.name for p in tmp_path.iterdir()] == ["a file"]


def test_files_are_not_overwritten_unless_asked(write, tmp_path):
    path = tmp_path / "cells"
    path.write_text("precious")
    with pytest.raises(OutputError, match=r"cells exists: choose another name.*overwrite=True"):
        write(path)
    assert path.read_text() == "precious"
    write(path, overwrite=True)
    assert path.stat().st_size > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["cells"]


def test_a_missing_folder_is_named(write, tmp_path):
    with pytest.raises(OutputError, match=r"there is no folder .*nowhere"):
        write(tmp_path / "nowhere" / "cells")


@pytest.mark.parametrize("old", [None, "precious"])
def test_a_move_that_fails_leaves_nothing_behind(write, tmp_path, monkeypatch, old):
    path = tmp_path / "cells"
    if old:
        path.write_text(old)

    def replace(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match="cells"):
        write(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == (["cells"] if old else [])
    assert not old or path.read_text() == old


@pytest.mark.parametrize("old", [None, "precious"])
def test_a_disk_that_is_full_leaves_nothing_behind(write, tmp_path, old):
    """The system itself refuses to let a file grow beyond 4,096 bytes."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "cells"
    if old:
        path.write_text(old)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match="cells"):
            write(path, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [p.name for p in tmp_path.iterdir()] == (["cells"] if old else [])
    assert not old or path.read_text() == old


def test_ctrl_c_while_writing_leaves_nothing_behind(write, tmp_path, monkeypatch):
    def replace(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cells")
    assert list(tmp_path.iterdir()) == []


# ---- from a fit to cells


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_cells_come_from_fit_file_and_bytes_alike(fits, tmp_path, likelihood):
    cells, fit = fits(likelihood)
    path = fit.export(tmp_path / "cells.onnx")
    sources = fit, path, fit.artifact_bytes(), load_artifact(path)
    made = [gen_exprs(source, 20, seed=3, n_threads=1) for source in sources]
    for other in made[1:]:
        np.testing.assert_array_equal(other.X.toarray(), made[0].X.toarray())
    assert list(made[0].var_names) == list(cells.var_names)
    values = made[0].X.toarray()
    if likelihood in ("poisson", "nb", "zinb"):
        assert (np.rint(values) == values).all()
    if likelihood == "bernoulli":
        assert set(np.unique(values)) <= {0.0, 1.0}
    if likelihood == "zigamma":
        assert (values == 0).any()
        assert (values[values > 0] != np.rint(values[values > 0])).all()


@pytest.fixture(scope="module")
def told_apart():
    """Cells of four types whose class means a nearest-mean rule tells apart without error."""
    adata = simulate_counts(
        400, 120, cell_types=4, batches=2, median_library=1500.0, n_markers=15, marker_fold=8.0,
        seed=5,
    )  # fmt: skip
    return adata


def log_normalised(X):
    X = X.toarray() if hasattr(X, "toarray") else X
    return np.log1p(1e4 * X / np.maximum(X.sum(1, keepdims=True), 1e-9))


def nearest(values, labels, queries):
    names = np.unique(labels)
    means = np.stack([values[labels == name].mean(0) for name in names])
    distance = ((queries[:, None] - means[None]) ** 2).sum(2)
    return names[distance.argmin(1)]


@pytest.mark.parametrize(
    ("likelihood", "options"),
    [
        ("nb", {}), ("zinb", {}), ("poisson", {}), ("zigamma", {}), ("gaussian", {}),
        ("bernoulli", {}), ("nb", {"decoder": [(32, "relu")]}), ("nb", {"calibrate": False}),
    ],
    ids=["nb", "zinb", "poisson", "zigamma", "gaussian", "bernoulli", "plain nb", "raw nb"],
)  # fmt: skip
def test_conditions_are_obeyed(told_apart, likelihood, options):
    """Of 400 cells asked for by type, at least 95 % lie nearest to the mean of that type."""
    counts = likelihood in ("nb", "zinb", "poisson")
    cells, labels = told_apart.copy(), np.array(told_apart.obs["cell_type"])
    if not counts:
        cells.X = np.float32(log_normalised(cells.X))
    real = log_normalised(cells.X) if counts else cells.X
    assert (nearest(real, labels, real) == labels).mean() > 0.98
    fit = fit_vae(
        cells, condition_keys=["cell_type", "batch"], likelihood=likelihood, hidden=(32,),
        epochs=40, progress=False, device="cpu", **options,
    )  # fmt: skip
    wanted = {name: 100 for name in np.unique(labels)}
    made = gen_exprs(fit, conditions={"cell_type": wanted}, seed=11, n_threads=1)
    values = made.X.toarray()
    agreed = nearest(real, labels, log_normalised(values) if counts else values)
    assert (agreed == np.array(made.obs["cell_type"])).mean() >= 0.95


def test_what_was_learned_is_kept_where_the_export_fails(tmp_path, monkeypatch, capsys):
    from vaexprs.cli import main

    def fails(self, **options):
        raise VaexprsError("export failed its check")

    counts = np.random.default_rng(0).poisson(3.0, (60, 12)).astype(np.float32)
    anndata.AnnData(counts).write_h5ad(tmp_path / "cells.h5ad")
    monkeypatch.setattr(VAEFit, "artifact_bytes", fails)
    out, fit, history = (tmp_path / name for name in ("m.onnx", "m.safetensors", "m.json"))
    line = ["fit", str(tmp_path / "cells.h5ad"), "-o", str(out), "--epochs", "2", "-q"]
    assert main([*line, "--save", str(fit), "--history", str(history)]) == 2
    assert "export failed its check" in capsys.readouterr().err
    monkeypatch.undo()
    assert not out.exists()
    assert len(json.loads(history.read_text())["loss"]) == 2
    assert VAEFit.load(fit).export(out).exists()
