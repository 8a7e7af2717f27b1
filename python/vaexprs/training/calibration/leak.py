"""The span attack: whether the linear path of an artifact tells training cells from others.

A path that has learned the noise of few training cells spans more of them than of other cells. An
outsider with the artifact and a cell compares the share of the cell's variation inside that span.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from vaexprs.training.inputs.batches import Cells
from vaexprs.training.network.model import Decoder

#: Fewest cells of each side, and most, which bounds time and memory.
_FEWEST, _MOST = 10, 1000


def span_attack(decoder: Decoder, members: Cells, strangers: Cells | None) -> float | None:
    """Return the area under the ROC curve of the attack, 0.5 where nothing is told.

    None where there is no linear path, or fewer than ten cells of a side.

    Parameters
    ----------
    members, strangers
        Cells that the model was trained on, and others.
    """
    path = decoder.head("logits").weight
    if strangers is None or "z" not in path or min(len(members), len(strangers)) < _FEWEST:
        return None
    basis = np.linalg.qr(path["z"].detach().cpu().double().numpy().T)[0]
    centre = np.asarray(_values(members).mean(axis=0)).ravel()

    def share(cells: Cells) -> NDArray[np.floating[Any]]:
        values = _values(cells)
        dense = (values if isinstance(values, np.ndarray) else values.toarray()) - centre
        return ((dense @ basis) ** 2).sum(axis=1) / np.maximum((dense**2).sum(axis=1), 1e-12)

    inside, outside = share(members), share(strangers)
    return float(mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside)))


def _values(cells: Cells) -> Any:
    _, rows = next(cells.data.blocks(_MOST))
    return cells.features.transform(rows)
