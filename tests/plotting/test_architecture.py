"""Diagrams of fits and artifacts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from vaexprs.errors import ArtifactError, DataError
from vaexprs.plotting import plot_vae
from vaexprs.spec import ConditionKey, Conditions, GeneratorSpec, LibraryLaw, Prior

HIDDEN = {"name": "hidden 1", "units": 128, "activation": "relu"}
PLAIN = {
    "layout": "plain",
    "encoder": [
        {"name": "genes", "units": 500, "activation": "linear"},
        HIDDEN,
        {"name": "z", "units": 8, "activation": "linear"},
    ],
    "decoder": [
        {"name": "z", "units": 8, "activation": "linear"},
        {"name": "hidden 1", "units": 64, "activation": "gelu"},
        {"name": "mean", "units": 500, "activation": "softmax"},
    ],
}


def make_spec(sizes=None, *, likelihood="nb", architecture=PLAIN, n_latent=8, n_genes=500):
    sizes = {"cell_type": 3} if sizes is None else sizes
    keys = tuple(
        ConditionKey(name, tuple(f"{name} {i}" for i in range(n))) for name, n in sizes.items()
    )
    n_groups = max(sizes.values(), default=1)
    codes = [[min(i, n - 1) for n in sizes.values()] for i in range(n_groups)]
    library = None
    if likelihood in ("poisson", "nb", "zinb"):
        one = np.ones(n_groups, np.float32)
        library = LibraryLaw("lognormal", one, 100 * one, 5 * one, one)
    return GeneratorSpec(
        likelihood=likelihood,
        n_latent=n_latent,
        var_names=tuple(f"gene{i}" for i in range(n_genes)),
        conditions=Conditions(
            keys,
            np.array(codes, np.int32).reshape(n_groups, len(sizes)),
            np.full(n_groups, 4, np.int64),
        ),
        prior=Prior(),
        library=library,
        architecture=architecture,
    )


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_every_layer_head_key_and_law_is_named():
    shown = words(plot_vae(make_spec({"cell_type": 3, "batch": 1200})))
    for expected in (
        "Conditional variational autoencoder",
        "500 genes · 8 latent dimensions · negative binomial likelihood",
        "expression", "hidden 1\nrelu", "128", "z", "8", "hidden 1\ngelu", "64",
        "mean μ\nsoftmax", "inverse\ndispersion θ", "generated\nexpression",
        "prior: standard normal\nKL to N(0, I) in training",
        "cell_type", "3 categories", "batch", "1,200 categories", "one-hot, 1,203 wide",
        "library size", "log-normal", "encoder", "latent space", "decoder",
    ):  # fmt: skip
        assert expected in shown, expected
    assert "zero logits" not in shown


def test_heights_grow_with_the_units():
    figure = plot_vae(make_spec())
    boxes = [p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]
    bars = sorted((b for b in boxes if b.get_width() < 0.5), key=lambda b: b.get_x())
    heights = [round(bar.get_height(), 3) for bar in bars]
    # expression, 128, 64, generated expression
    assert heights[0] == heights[3] == max(heights)
    assert heights[1] > heights[2]
    assert sum(isinstance(p, Circle) for p in figure.axes[0].patches) == 1


def test_a_plain_model_has_no_conditions_and_no_library():
    shown = words(plot_vae(make_spec({}, likelihood="bernoulli")))
    assert "Variational autoencoder" in shown
    assert "library size" not in shown
    assert not any("one-hot" in word for word in shown)


def test_a_linear_path_is_drawn_past_the_layers():
    scores = {"name": "scores", "units": 50, "activation": "linear"}
    architecture = {**PLAIN, "layout": "linear path", "encoder": [scores, HIDDEN]}
    shown = words(plot_vae(make_spec(architecture=architecture)))
    assert "linear path" in shown
    assert "principal\ncomponents" in shown
    bare = {**architecture, "decoder": [PLAIN["decoder"][0], PLAIN["decoder"][2]]}
    shown = words(plot_vae(make_spec(architecture=bare)))
    assert "linear path" not in shown  # there is no layer to go around
    assert not any("not recorded" in word for word in shown)


@pytest.mark.parametrize("likelihood", ["bernoulli", "nb", "zinb"])
def test_a_linear_path_ends_at_the_mean(likelihood):
    architecture = {**PLAIN, "layout": "linear path"}
    texts = plot_vae(make_spec(likelihood=likelihood, architecture=architecture)).axes[0].texts
    (mean,) = (text.get_position() for text in texts if text.get_text().startswith("mean μ"))
    ends = [text.xy for text in texts if isinstance(text, Annotation)]
    assert any(y == mean[1] and 0 < x - mean[0] < 0.6 for x, y in ends)


@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"encoder": "?", "decoder": 3},
        {"encoder": [], "decoder": [{"units": "many"}, 7, None, {"units": True}, {"units": -1}]},
        {"decoder": [{"name": "x", "units": 10**400}]},
        {"encoder": [{"name": "$a_b^", "units": 5, "activation": None}], "decoder": None},
    ],
)
def test_an_artifact_may_say_anything_of_its_architecture(architecture):
    figure = plot_vae(make_spec(architecture=architecture))
    figure.canvas.draw()
    assert "generated\nexpression" in words(figure)


def test_an_empty_architecture_is_drawn_as_a_decoder_of_unknown_layers():
    shown = words(plot_vae(make_spec(architecture={})))
    assert "decoder\nlayers not recorded" in shown
    assert "encoder" not in shown
    assert "expression" not in shown


def test_many_layers_and_many_keys_are_folded():
    layers = [{"name": f"layer {i}", "units": 2 + i, "activation": "relu"} for i in range(5000)]
    figure = plot_vae(
        make_spec(
            {f"key{i}": 2 for i in range(9)}, architecture={"encoder": layers, "decoder": [HIDDEN]}
        )
    )
    shown = words(figure)
    assert "4,991 more\nlayers" in shown
    assert "layer 4999\nrelu" in shown
    assert "6 more keys" in shown
    assert "12 categories" in shown
    assert figure.get_size_inches()[0] < 25


@pytest.mark.parametrize("sizes", [{}, {"a": 1}, {"cell_type": 9, "donor": 4000, "drug": 2}])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "zinb", "zigamma"])
@pytest.mark.parametrize("architecture", [{}, PLAIN, {**PLAIN, "layout": "linear path"}])
def test_no_words_lie_over_others_or_outside(sizes, likelihood, architecture):
    figure = plot_vae(make_spec(sizes, likelihood=likelihood, architecture=architecture))
    renderer = figure.canvas.get_renderer()
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.axes[0].texts
        if text.get_text()
    ]
    page = Bbox.from_bounds(0, 0, *figure.canvas.get_width_height())
    for word, box in boxes:
        assert page.x0 <= box.x0, word
        assert box.x1 <= page.x1, word
        assert page.y0 <= box.y0, word
        assert box.y1 <= page.y1, word
    for (word, box), (other, other_box) in itertools.combinations(boxes, 2):
        assert Bbox.intersection(box.padded(-1), other_box.padded(-1)) is None, (word, other)


def test_fits_artifacts_and_paths_give_the_same_diagram(tiny_artifact):
    from vaexprs import load_artifact

    path = tiny_artifact(likelihood="nb")
    artifact = load_artifact(path)
    expected = words(plot_vae(path))
    assert words(plot_vae(str(path))) == expected
    assert words(plot_vae(artifact)) == expected
    assert words(plot_vae(artifact.spec)) == expected
    assert words(plot_vae(SimpleNamespace(spec=artifact.spec))) == expected
    unnamed = replace(artifact.spec, architecture={})
    assert words(plot_vae(unnamed)) != expected


def test_given_axes_are_drawn_on():
    from matplotlib.figure import Figure

    outer = Figure(figsize=(9, 4))
    ax = outer.subplots(1, 2)[1]
    assert plot_vae(make_spec(), ax=ax) is outer
    assert ax.texts
    part = outer.subfigures(1, 2)[0].subplots()
    assert plot_vae(make_spec(), ax=part) is outer
    assert plot_vae(make_spec(), figsize=(4, 3)).get_size_inches().tolist() == [4, 3]


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(DataError, match="draws a fit, an artifact or the path of one, got list"):
        plot_vae([1, 2])
    with pytest.raises(ArtifactError, match="no such file"):
        plot_vae(tmp_path / "nothing.onnx")
