"""The training classes by the name of their law."""

from __future__ import annotations

from vaexprs.errors import ArgumentError, near_matches
from vaexprs.spec import LIKELIHOODS
from vaexprs.training.likelihoods.base import TrainingLaw
from vaexprs.training.likelihoods.bernoulli import Bernoulli
from vaexprs.training.likelihoods.gaussian import Gaussian, RectifiedGaussian
from vaexprs.training.likelihoods.nb import NegativeBinomial
from vaexprs.training.likelihoods.poisson import Poisson
from vaexprs.training.likelihoods.zigamma import ZeroInflatedGamma
from vaexprs.training.likelihoods.zinb import ZeroInflatedNegativeBinomial

#: What `fit_vae` can fit, by name; `register` adds to it.
TRAINING_LAWS: dict[str, TrainingLaw] = {}


def register(law: TrainingLaw) -> TrainingLaw:
    """Let `fit_vae` fit a law, which must have a row in the table, and return it."""
    if law.name not in LIKELIHOODS:
        raise ArgumentError(f"likelihood {law.name!r} has no row in vaexprs.spec.LIKELIHOODS.")
    TRAINING_LAWS[law.name] = law
    return law


def training_law(name: str) -> TrainingLaw:
    """Return the training class of a likelihood."""
    if name not in TRAINING_LAWS:
        titles = {LIKELIHOODS[known].title.replace(" ", "_"): known for known in TRAINING_LAWS}
        title = str(name).replace("-", "_").replace(" ", "_").lower()
        close = titles.get(title, name)
        hint = near_matches(close, [*TRAINING_LAWS, "auto"])
        raise ArgumentError(f"unknown likelihood {name!r}: {hint}")
    return TRAINING_LAWS[name]


for _law in (
    Bernoulli(), Gaussian(), RectifiedGaussian(), Poisson(), NegativeBinomial(),
    ZeroInflatedNegativeBinomial(), ZeroInflatedGamma(),
):  # fmt: skip
    register(_law)
