"""What every figure keeps to: nothing global changes, nothing is shown."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("anndata")

import anndata
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text

from vaexprs import plotting, style
from vaexprs.errors import MissingExtraError


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
    assert figure.dpi == 150


def test_a_missing_matplotlib_is_one_sentence_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vaexprs\[plot\]'"):
        plotting.plot_history({"loss": [1.0]})


def seen(colours):
    """Return colours in OKLab (Ottosson 2020) as readers with normal sight, protanopia and
    deuteranopia see them (Viénot, Brettel and Mollon 1999), ``(3, n, 3)``.
    """  # noqa: D205
    value = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]) / 255
    rgb = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    sights = np.array(
        [
            np.eye(3),
            [[0.10889, 0.89111, 0.0], [0.10889, 0.89111, 0.0], [0.00447, -0.00447, 1.0]],
            [[0.29031, 0.70969, 0.0], [0.29031, 0.70969, 0.0], [-0.02197, 0.02197, 1.0]],
        ]
    )
    lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    simulated = np.clip(np.einsum("sij,nj->sni", sights, rgb), 0, 1)
    return np.cbrt(simulated @ np.transpose(lms)) @ np.transpose(lab)


def closest(colours):
    """Return the smallest distance of two colours: to normal sight, to colour-blind readers."""
    points = seen(colours)
    distances = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    distances += 9.0 * np.eye(len(colours))
    return distances[0].min(), distances[1:].min()


def test_colours_are_stable_and_distinct_to_every_reader():
    assert style.colours(5) == style.colours(300)[:5]
    assert style.colours(0) == ()
    # About 0.02 in OKLab is the smallest difference that people notice side by side.
    for n, normal, colour_blind in ((8, 0.12, 0.07), (13, 0.12, 0.07), (40, 0.08, 0.04)):
        found = closest(style.colours(n))
        assert found[0] >= normal - 0.001
        assert found[1] >= colour_blind
    # Red and green of one lightness are closer to colour-blind readers than blue and yellow.
    assert closest(("#ff0000", "#00ff00"))[1] < closest(("#0000ff", "#ffff00"))[1]


NASTY = "a$b_{$c"


def test_dollar_signs_in_names_are_drawn_as_they_are():
    """Between two of them matplotlib would read a formula, and fail on what is none."""
    rng = np.random.default_rng(0)
    cells = anndata.AnnData(rng.poisson(2.0, (30, 5)).astype(np.float32))
    cells.var_names = [f"{NASTY}{i}" for i in range(5)]
    cells.obs["$k^$"] = np.array([f"{NASTY}1", f"{NASTY}2", "other"])[np.arange(30) % 3]
    for figure in (
        plotting.plot_aug(cells, real=cells, title=NASTY),
        plotting.plot_aug(cells, real=cells, color=cells.var_names[0]),
        plotting.plot_heatmap({NASTY: cells, "x": cells}, genes=list(cells.var_names)),
        plotting.plot_history({"loss": [500.0, 2.0], NASTY: [1.0, 2.0]}, title=NASTY),
    ):
        figure.canvas.draw()
        texts = figure.findobj(Text)
        assert not any(text.get_parse_math() for text in texts if "$" in text.get_text())
        assert any(NASTY in text.get_text() for text in texts)
