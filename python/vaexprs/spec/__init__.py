"""What a generator promises, defined once for training, the artifact and generation."""

from vaexprs.spec.conditions import ConditionKey, Conditions
from vaexprs.spec.generator import FORMAT_VERSION, PREFIX, GeneratorSpec
from vaexprs.spec.latent_law import LibraryLaw, Prior
from vaexprs.spec.likelihoods import (
    LIKELIHOODS,
    OUTPUTS,
    Likelihood,
    Observation,
    Output,
    likelihood_named,
    register,
)
from vaexprs.spec.metadata import read_metadata, write_metadata
from vaexprs.spec.normalisation import Normalisation

__all__ = [
    "FORMAT_VERSION",
    "LIKELIHOODS",
    "OUTPUTS",
    "PREFIX",
    "ConditionKey",
    "Conditions",
    "GeneratorSpec",
    "LibraryLaw",
    "Likelihood",
    "Normalisation",
    "Observation",
    "Output",
    "Prior",
    "likelihood_named",
    "read_metadata",
    "register",
    "write_metadata",
]
