"""What a generator promises, defined once for training, the artifact and generation."""

from vaexprs.spec.conditions import ConditionKey, Conditions
from vaexprs.spec.generator import FORMAT_VERSION, PREFIX, GeneratorSpec
from vaexprs.spec.latent_law import LibraryLaw, Prior
from vaexprs.spec.likelihoods import COUNT_LIKELIHOODS, OUTPUTS, Likelihood, Observation
from vaexprs.spec.metadata import read_metadata, write_metadata

__all__ = [
    "COUNT_LIKELIHOODS",
    "FORMAT_VERSION",
    "OUTPUTS",
    "PREFIX",
    "ConditionKey",
    "Conditions",
    "GeneratorSpec",
    "LibraryLaw",
    "Likelihood",
    "Observation",
    "Prior",
    "read_metadata",
    "write_metadata",
]
