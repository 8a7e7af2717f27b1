"""Colours for any number of categories that colour-blind readers can tell apart.

Up to eight categories take the palette of Okabe and Ito (2008). Further colours are chosen one
after the other, each as far as can be from those before it, where the distance between two
colours is their smallest distance in OKLab as seen by readers with normal sight, protanopia and
deuteranopia.

References
----------
B. Ottosson (2020), "A perceptual color space for image processing": OKLab.
F. Viénot, H. Brettel, J. D. Mollon (1999), Color Research & Application 24: the dichromats.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["MISSING", "colours", "separation"]

#: The colour of cells without a label, and of categories past the last one shown.
MISSING = "#c9ccd2"

_OKABE_ITO = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d", "#e3d026",
)  # fmt: skip

_LMS_OF_RGB = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB_OF_LMS = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_SIGHTS = np.array(
    [
        np.eye(3),
        [[0.10889, 0.89111, 0.0], [0.10889, 0.89111, 0.0], [0.00447, -0.00447, 1.0]],
        [[0.29031, 0.70969, 0.0], [0.29031, 0.70969, 0.0], [-0.02197, 0.02197, 1.0]],
    ]
)


@cache
def colours(n: int) -> tuple[str, ...]:
    """Return `n` colours as ``"#rrggbb"``; the first ones are the same for every `n`."""
    chosen = list(_OKABE_ITO[:n])
    if n > len(chosen):
        candidates = _candidates()
        seen = _seen(candidates)
        nearest = _distance(_seen(_rgb(chosen)), seen).min(0)
        while len(chosen) < n:
            best = int(nearest.argmax())
            chosen.append(_hex(candidates[best]))
            nearest = np.minimum(nearest, _distance(seen[:, best : best + 1], seen)[0])
    return tuple(chosen)


def separation(chosen: tuple[str, ...]) -> float:
    """Return the smallest distance between two of the colours, to any of the three sights."""
    seen = _seen(_rgb(list(chosen)))
    distance = _distance(seen, seen)
    return float(distance[~np.eye(len(chosen), dtype=bool)].min())


def _candidates() -> NDArray[np.float64]:
    """Return the colours to choose from, linear RGB, not too pale and not too dark for white."""
    lightness, chroma, hue = np.meshgrid(
        np.linspace(0.35, 0.84, 8),
        (0.05, 0.09, 0.13, 0.17, 0.21),
        np.arange(0, 2 * np.pi, np.pi / 24),
        indexing="ij",
    )
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], -1).reshape(-1, 3)
    lms = lab @ np.linalg.inv(_LAB_OF_LMS).T
    rgb = lms**3 @ np.linalg.inv(_LMS_OF_RGB).T
    inside: NDArray[np.float64] = rgb[((rgb >= 0) & (rgb <= 1)).all(1)]
    return inside


def _seen(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return linear RGB colours as the three sights see them in OKLab, ``(3, n, 3)``."""
    simulated = np.clip(np.einsum("sij,nj->sni", _SIGHTS, rgb), 0, 1)
    return np.asarray(np.cbrt(simulated @ _LMS_OF_RGB.T) @ _LAB_OF_LMS.T)


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances ``(n_a, n_b)`` between colours as the three sights see them."""
    return np.asarray(np.linalg.norm(a[:, :, None] - b[:, None], axis=-1).min(0))


def _rgb(hexadecimal: list[str]) -> NDArray[np.float64]:
    value = np.array([[int(h[i : i + 2], 16) for i in (1, 3, 5)] for h in hexadecimal]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _hex(rgb: NDArray[np.float64]) -> str:
    value = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * value).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"
