r"""Shapes that follow the mean, gene by gene.

One inverse dispersion cannot serve cells in which a gene is off and cells in which it is on. So
within a combination of categories

.. math:: \theta = \theta_{group} \exp(a + b (\log \mu - \overline{\log \mu})).

The slope b is that of the largest likelihood of cells given draws from their posteriors, shrunk
towards the slope that all genes share. The level a keeps the variance :math:`E[\mu^2 / \theta]` of
each combination where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaexprs.data import ExpressionData
from vaexprs.spec.likelihoods import FOLLOWED, LEAST_CHANGE
from vaexprs.training.calibration.draws import Draws
from vaexprs.training.calibration.groups import Grouping, add_to_groups
from vaexprs.training.inputs.moments import group_centred
from vaexprs.training.network.model import Decoder

if TYPE_CHECKING:
    from vaexprs.training.likelihoods.base import TrainingLaw

Array = NDArray[np.float64]

#: Name of the head of inverse dispersions.
_SHAPE = "log_inverse_dispersion"
#: Slopes to try, and levels, of which each slope gets its best.
_SLOPES, _LEVELS = np.linspace(-1, 1, 9), np.linspace(-1.5, 1.5, 5)
#: Most cells and genes that are asked, and least positive values of such a gene.
_CELLS, _GENES, _KNOWN = 1000, 2000, 30
#: Cells computed together, to bound memory.
_ROWS = 250
#: Standard deviation of the slopes of genes about their common one, and the most that one gene says
#: about that, in nats.
_SPREAD, _MOST_KNOWLEDGE = 0.3, 5.0
#: Gain in nats per cell from which slopes are believed.
_LEAST_GAIN = 0.1
#: Largest log of a square, far from float32's 88.
_LARGEST_LOG = 60.0


@torch.no_grad()
def slopes(
    law: TrainingLaw, decoder: Decoder, data: ExpressionData, z: NDArray[np.float32], seed: int
) -> Array | None:
    """Return the slope of each gene's log inverse dispersion, ``(n_genes,)``, or None for none.

    `z` holds draws from the posteriors of the cells, ``(n_cells, n_latent)``.
    """
    if _SHAPE not in decoder.heads:
        return None
    some = np.random.default_rng(seed).permutation(data.n_cells)[:_CELLS]
    some = np.sort(some)
    x = data.rows(some)
    n_positive = (x > 0).sum(axis=0)
    genes = np.argsort(-np.where(n_positive < _KNOWN, -1, x.sum(axis=0)), kind="stable")[:_GENES]
    genes = genes[n_positive[genes] >= _KNOWN]
    if not genes.size:
        return None
    profile = _profile(law, decoder, data, some, x[:, genes], z, genes)
    if profile is None:
        return None
    known = np.minimum(profile, _MOST_KNOWLEDGE).sum(axis=1)
    common = _SLOPES[known.argmax()]
    believed = profile - 0.5 * ((_SLOPES[:, None] - common) / _SPREAD) ** 2
    best = np.clip(believed.argmax(axis=0), 1, len(_SLOPES) - 2)
    columns = np.arange(len(genes))
    if profile[best, columns].sum() < _LEAST_GAIN * len(some):
        return None
    left, middle, right = (believed[best + shift, columns] for shift in (-1, 0, 1))
    bend = np.minimum(left - 2 * middle + right, -1e-9)
    found = np.full(data.n_genes, common)
    step = _SLOPES[1] - _SLOPES[0]
    found[genes] = _SLOPES[best] + step * np.clip(0.5 * (left - right) / bend, -1, 1)
    return found


def _profile(
    law: TrainingLaw,
    decoder: Decoder,
    data: ExpressionData,
    some: NDArray[np.int64],
    x: NDArray[np.float32],
    z: NDArray[np.float32],
    genes: NDArray[np.int64],
) -> Array | None:
    """Return the gain in log-likelihood of each slope, ``(n_slopes, n_genes)``, in nats."""
    device, bias = decoder.member.device, decoder.head("logits").bias

    def tensor(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32)).to(device)

    condition, where = data.one_hot()[some], torch.from_numpy(genes).to(device)
    library = data.library[some] if law.row.reads_library else np.ones(len(some))
    parts = []
    for start in range(0, len(some), _ROWS):
        rows = slice(start, start + _ROWS)
        size = tensor(np.log(library[rows])[:, None])
        heads = decoder(tensor(z[some[rows]]), tensor(condition[rows]), size)
        mean, above = law.log_mean(heads, size), heads["logits"] - bias
        shape = heads[_SHAPE].expand_as(mean)
        parts.append([each[:, where] for each in (mean, shape, above)])
    mean, theta, above = (torch.cat(each) for each in zip(*parts, strict=True))
    # between combinations shapes differ already
    group = np.unique(data.group[some], return_inverse=True)[1]
    above = tensor(group_centred(above.cpu().numpy(), group))
    total = np.zeros((len(_SLOPES), len(_LEVELS), len(genes)))
    for start in range(0, len(some), _ROWS):
        rows = slice(start, start + _ROWS)
        values = tensor(x[rows])
        for i, slope in enumerate(_SLOPES):
            for j, level in enumerate(_LEVELS):
                shape = theta[rows] + slope * above[rows] + level
                terms = law.shape_terms(values, mean[rows], shape)
                if terms is None:
                    return None
                total[i, j] += terms.sum(0).cpu().numpy()
    best = total.max(axis=1)
    gain: Array = best - best[len(_SLOPES) // 2]
    return gain


def follow(draws: Draws, slope: Array, grouping: Grouping) -> None:
    """Let the inverse dispersions follow the logits, with the variance of each group as it was."""
    decoder = draws.decoder
    head, bias = decoder.head(_SHAPE), decoder.head("logits").bias
    weight = torch.from_numpy(slope.astype(np.float32)[None]).to(bias.device)  # (1, G)

    def values(heads: dict[str, Tensor], _: Tensor) -> list[Tensor]:
        above = heads["logits"] - bias
        square = (2 * above).clamp(max=_LARGEST_LOG).exp()  # of the mean, up to a factor
        return [square, square * (-(weight * above).clamp(min=LEAST_CHANGE)).exp()]

    before, after = grouping.moments(draws, ("logits",), values)
    tiny = np.finfo(np.float32).tiny
    level = np.log(np.maximum(after, tiny) / np.maximum(before, tiny))  # (n_groups, n_genes)
    common = (grouping.n_cells * level).sum(axis=0) / grouping.n_cells.sum()
    head.add_block(FOLLOWED, weight)
    with torch.no_grad():
        head.bias.add_(torch.from_numpy(common.astype(np.float32)).to(bias))
    add_to_groups(decoder, _SHAPE, grouping, level - common)
