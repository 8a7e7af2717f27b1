"""What every figure keeps to: nothing global changes, nothing is shown."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib import rcParams
from matplotlib.figure import Figure

from vaexprs import plotting
from vaexprs.errors import MissingExtraError
from vaexprs.plotting.style import canvas, palette


def test_plots_leave_pyplot_and_the_backend_alone():
    code = (
        "import sys; from vaexprs.plotting import plot_history;"
        "assert 'matplotlib' not in sys.modules, 'imported too early';"
        "figure = plot_history({'loss': [2.0, 1.0]});"
        "assert figure._repr_png_()[:4] == b'\\x89PNG';"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_plots_leave_the_settings_of_matplotlib_alone():
    before = dict(rcParams)
    figure = plotting.plot_history({"loss": [2.0, 1.0]})
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    assert dict(rcParams) == before
    assert figure.dpi == canvas.DPI == 150


def test_a_missing_matplotlib_is_one_sentence_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vaexprs\[plot\]'"):
        plotting.plot_history({"loss": [1.0]})


def test_colours_are_stable_and_distinct():
    assert palette.colours(5) == palette.colours(40)[:5]
    assert palette.colours(0) == ()
    for n in (2, 8, 20, 40):
        colours = palette.colours(n)
        assert len(set(colours)) == n
        assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in colours)
    # 0.02 in OKLab is about the smallest difference that people notice side by side.
    assert palette.separation(palette.colours(8)) > 0.07
    assert palette.separation(palette.colours(40)) > 0.04


def test_separation_sees_as_colour_blind_readers_do():
    # Pure red and a green of the same lightness to a reader without red cones.
    assert palette.separation(("#ff0000", "#00ff00")) < palette.separation(("#0000ff", "#ffff00"))
    grey = palette._seen(palette._rgb(["#808080"]))
    assert np.ptp(grey, axis=0).max() < 1e-3  # every sight sees grey as grey
