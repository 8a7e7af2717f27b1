"""The report of a fit: phases, last epoch, cautions about the cells."""

from __future__ import annotations

import ast
import io
import logging
import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("anndata")

import vaexprs.training  # noqa: E402
from vaexprs import fit_vae, gen_exprs  # noqa: E402
from vaexprs.data import read_expression  # noqa: E402
from vaexprs.training import progress  # noqa: E402
from vaexprs.training.inputs.cautions import cautions  # noqa: E402

pytestmark = pytest.mark.torch


def counts(n_cells=60, n_genes=20, seed=0):
    return np.random.default_rng(seed).poisson(3, (n_cells, n_genes)).astype(np.float32) + 1


def test_each_phase_is_a_line_where_there_is_no_terminal(tiny, capfd):
    options = {**tiny, "epochs": 40, "patience": 2, "kl_warmup": 0, "learning_rate": 0.05}
    fit = fit_vae(counts(), **{**options, "progress": True})
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    phases = [line.split(":")[0] for line in lines if re.fullmatch(r"[a-z ]+: [0-9.]+ s", line)]
    assert phases == ["reading", "components", "training", "latent law", "calibrating"]
    n, best = len(fit.history["loss"]), fit.spec.provenance["training"]["best_epoch"]
    assert n < 40
    assert f"stopped after {n} epochs, best {best}" in lines
    assert any(re.match(r"training: epoch 1  loss .* patience \d/2$", line) for line in lines)
    assert "40" not in err
    assert "\x1b" not in err


def test_a_terminal_shows_bars(monkeypatch):
    stream = io.StringIO()
    console = progress.Console
    monkeypatch.setattr(
        progress,
        "Console",
        lambda **options: console(
            file=stream, force_terminal=True, width=100, **{**options, "stderr": False}
        ),
    )
    with progress.Report(True) as report:
        with report.phase("training", 4) as show:
            show("epoch 1  patience 1 of 4", 1)
        report.line("stopped after 1 epoch, best 1")
    shown = stream.getvalue()
    assert "━" in shown
    assert "epoch 1  patience 1 of 4" in shown
    assert "stopped after 1 epoch, best 1" in shown


def said(data, **options):
    return list(cautions(read_expression(data, **options)))


def test_ordinary_cells_need_no_caution():
    labels = np.repeat(["a", "b"], 30)
    assert said(counts(), labels={"kind": labels}) == []


def test_small_classes_are_named():
    labels = np.repeat(["a", "b", "c"], [48, 9, 3])
    (sentence,) = said(counts(), labels={"kind": labels})
    assert "categories of 'kind' with fewer than 10 cells, 2 of 3: 'c' (3), 'b' (9);" in sentence


def test_keys_that_name_cells_are_found():
    labels = {"barcode": [f"cell {i}" for i in range(60)], "kind": np.repeat(["a", "b"], 30)}
    (sentence,) = said(counts(), labels=labels)
    assert "condition key 'barcode' has 60 categories for 60 cells" in sentence


def test_very_few_cells_are_said():
    (sentence,) = said(counts(5))
    assert "the array holds 5 cells in all" in sentence


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_an_absurd_value_is_named_by_gene_and_cell(form):
    from scipy.sparse import csr_matrix

    X = counts(300)
    X[17, 4] = 1e7
    (sentence,) = said(X if form == "dense" else csr_matrix(X))
    assert re.search(r"holds 1e\+07 in gene '\w*4' of cell '\w*17', and at most \d+ in", sentence)


def test_cautions_are_logged_at_the_fit(tiny, caplog):
    with caplog.at_level(logging.INFO, logger="vaexprs"):
        fit = fit_vae(counts(20), **{**tiny, "epochs": 1})
    assert "the array holds 20 cells in all" in caplog.text
    reason = fit.spec.provenance["training"]["likelihood_reason"]
    assert f"likelihood 'nb': {reason}" in caplog.text


@pytest.mark.parametrize(
    ("function", "name", "meant"),
    [
        (fit_vae, "x_train", "adata"), (fit_vae, "latent_dim", "n_latent"),
        (fit_vae, "regularization", "kl_weight"), (fit_vae, "likelyhood", "likelihood"),
        (fit_vae, "condition_key", "condition_keys"), (gen_exprs, "n_cells", "num_samples"),
        (gen_exprs, "condition", "conditions"),
    ],
)  # fmt: skip
def test_other_names_of_arguments_are_answered(function, name, meant):
    with pytest.raises(TypeError, match=rf"has no argument '{name}': did you mean .*'{meant}'"):
        function(counts(), **{name: 2})


def test_the_likelihood_of_another_name_is_answered(tiny):
    with pytest.raises(
        ValueError, match="unknown likelihood 'negative_binomial': did you mean 'nb'"
    ):
        fit_vae(counts(), likelihood="negative_binomial", **tiny)


def test_no_tensor_becomes_float64_where_its_device_has_none():
    """Apple's MPS has no float64: only `wide`, which leaves such a device, makes one."""
    found = []
    for path in Path(vaexprs.training.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and (
                node.attr == "double" or ast.unparse(node) == "torch.float64"
            ):
                found.append((path.name, ast.unparse(node)))
    assert sorted(found) == [
        ("groups.py", "decoder.head(name).bias.detach().cpu().double"),
        ("leak.py", "path['z'].detach().cpu().double"),
        ("model.py", "(x.cpu() if x.device.type == 'mps' else x).double"),
    ]


def test_a_device_by_number(monkeypatch):
    from vaexprs.errors import DeviceError
    from vaexprs.training.defaults import choose_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("auto").type == "cuda"
    with pytest.raises(DeviceError, match=r"device='cuda:2' was asked for, .* finds 2"):
        choose_device("cuda:2")
    with pytest.raises(ValueError, match=r"one by number such as 'cuda:0', got 'cuda:x'"):
        choose_device("cuda:x")
