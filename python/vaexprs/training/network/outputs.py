"""The outputs of a decoder in data units, as the exported graph computes them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaexprs.spec import Likelihood
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.network.model import Decoder

Array = NDArray[np.float32]


@torch.no_grad()
def decoder_outputs(
    decoder: Decoder,
    law: Likelihood,
    scaling: Scaling | None,
    *,
    z: Array,
    condition: Array | None = None,
    library: Array | None = None,
) -> dict[str, Array]:
    """Return the outputs of the graph by name for its inputs, computed with torch."""
    device = decoder.member.device
    condition = np.zeros((len(z), 0), np.float32) if condition is None else condition
    library = np.ones((len(z), 1), np.float32) if library is None else library
    given = [torch.from_numpy(array).to(device) for array in (z, condition, library)]
    heads = decoder(given[0], given[1], given[2].log())
    out = {}
    for name, (head, function) in law.outputs.items():
        out[name] = _apply(function, heads[head].float(), given[2]).cpu().numpy()
    return out if scaling is None else scaling.restore(out)


def _apply(function: str, x: Tensor, library: Tensor) -> Tensor:
    if function == "softmax":
        return torch.softmax(x, -1).mul_(library)
    return {"exp": torch.exp, "sigmoid": torch.sigmoid, "linear": lambda x: x}[function](x)
