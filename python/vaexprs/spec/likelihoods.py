"""The likelihoods: what the graph of each returns, and whether it reads the library size."""

from __future__ import annotations

from typing import Literal

__all__ = ["COUNT_LIKELIHOODS", "OUTPUTS", "Likelihood", "Observation"]

Likelihood = Literal["bernoulli", "gaussian", "poisson", "nb", "zinb", "zigamma"]
Observation = Literal["draw", "rounded", "mean"]

#: Likelihoods whose graph takes ``library``, the total counts of each cell.
COUNT_LIKELIHOODS: frozenset[str] = frozenset({"poisson", "nb", "zinb"})

#: What the graph of each likelihood returns, in this order.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "bernoulli": ("mean",),
    "gaussian": ("mean", "scale"),
    "poisson": ("mean",),
    "nb": ("mean", "inverse_dispersion"),
    "zinb": ("mean", "inverse_dispersion", "zero_logits"),
    "zigamma": ("mean", "inverse_dispersion", "zero_logits"),
}
