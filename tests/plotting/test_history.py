"""Curves of training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from vaexprs.errors import DataError
from vaexprs.plotting import plot_history

HISTORY = {
    "loss": [9.0, 5.0, 4.0, 3.9],
    "val_loss": [9.5, 6.0, 5.0, 5.2],
    "reconstruction": [8.0, 4.5, 3.0, 2.8],
    "val_reconstruction": [8.5, 5.5, 4.0, 4.1],
    "kl": [1.0, 0.5, 1.0, 1.1],
    "kl_weight": [0.25, 0.5, 0.75, 1.0],
}


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def curves(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_one_panel_for_each_quantity_with_training_beside_validation():
    figure = plot_history(HISTORY)
    assert titles(figure) == ["Loss", "Reconstruction", "KL divergence", "KL weight"]
    loss = curves(figure.axes[0])
    assert list(loss) == ["training", "validation"]
    assert loss["training"].get_ydata().tolist() == HISTORY["loss"]
    assert loss["validation"].get_ydata().tolist() == HISTORY["val_loss"]
    assert loss["training"].get_xdata().tolist() == [1, 2, 3, 4]
    assert list(curves(figure.axes[3])) == ["training"]


def test_the_epoch_of_the_best_validation_loss_is_marked():
    figure = plot_history(HISTORY)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "best: epoch 3" in texts
    marked = [line for line in figure.axes[0].lines if line.get_gid() == "best"]
    assert len(marked) == 1
    assert marked[0].get_xydata().tolist() == [[3.0, 5.0]]


def test_without_validation_no_epoch_is_called_best():
    figure = plot_history({"loss": [3.0, 2.0, 2.5]})
    assert not any("best" in text.get_text() for text in figure.axes[0].texts)
    assert figure.axes[0].get_legend() is None


def test_a_fit_is_drawn_by_its_history_and_other_names_are_welcome():
    figure = plot_history(SimpleNamespace(history={"epoch": [10, 20], "val_my_score": [1, 2]}))
    assert titles(figure) == ["my score"]
    assert curves(figure.axes[0])["validation"].get_xdata().tolist() == [10, 20]


def test_gaps_and_single_epochs_are_drawn():
    figure = plot_history({"loss": [2.0, None, 1.0], "val_loss": [float("nan"), 3.0, 2.0]})
    assert np.isnan(curves(figure.axes[0])["training"].get_ydata()[1])
    assert "best: epoch 3" in [text.get_text() for text in figure.axes[0].texts]
    single = plot_history({"loss": [2.0]})
    assert curves(single.axes[0])["training"].get_marker() == "o"
    single.canvas.draw()


def test_a_wide_range_gets_a_logarithmic_axis():
    assert plot_history({"loss": [5000.0, 100.0, 9.0]}).axes[0].get_yscale() == "log"
    assert plot_history({"loss": [-50.0, 1.0, 90.0]}).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({}, "history is empty"),
        ({"loss": []}, "history is empty"),
        ({"epoch": [1, 2]}, "history is empty"),
        ({"loss": ["a"]}, "'loss' must be one number per epoch"),
        ({"loss": 3.0}, "'loss' must be one number per epoch"),
        ([1.0, 2.0], "needs a fit or a mapping .* got list"),
    ],
)
def test_what_is_no_history_is_refused(history, message):
    with pytest.raises(DataError, match=message):
        plot_history(history)
