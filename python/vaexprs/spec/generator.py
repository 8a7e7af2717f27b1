"""What a generator promises: the contents of an artifact besides its graph.

Training makes a `GeneratorSpec`, the artifact stores it as metadata, generation reads it back.
`vaexprs.spec.metadata` maps it to metadata and back; ``models/FORMAT.md`` defines the entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vaexprs.errors import ArtifactError
from vaexprs.spec.conditions import Conditions, name_problem
from vaexprs.spec.latent_law import LibraryLaw, Prior
from vaexprs.spec.likelihoods import Likelihood, Observation, likelihood_named

__all__ = ["FORMAT_VERSION", "PREFIX", "GeneratorSpec"]

FORMAT_VERSION = 1
#: Metadata entries of ours begin with it.
PREFIX = "vaexprs."


@dataclass(frozen=True)
class GeneratorSpec:
    """Everything that an artifact says about its graph.

    Attributes
    ----------
    likelihood
        Name of the law of an expression value given the outputs of the graph.
    observation
        ``"draw"``: a value is drawn from the likelihood. ``"rounded"``: it is then rounded to a
        whole number, a positive one to at least 1; ``zigamma`` models of read counts. ``"mean"``:
        the mean itself is the value, for ``bernoulli`` models of data that are not binary, whose
        cross-entropy is no law of the values.
    n_latent
        Size of the latent space.
    var_names
        Names of the genes, in the order of the graph's outputs.
    conditions, prior, library
        See `Conditions`, `Prior`, `LibraryLaw`; `library` is None unless the likelihood is one
        of counts.
    provenance
        Where the artifact comes from: versions, data shape and hash, training settings, date.
    architecture
        Layers of the network for people and plots: ``{"encoder": [...], "decoder": [...]}``, a
        layer being ``{"name": str, "units": int, "activation": str}``.
    precision
        How the weights are stored: ``{"kind": "float32"}`` or ``{"kind": "int8", ...}`` with the
        measured error.
    quality
        Scores of an evaluation report, or None.
    """

    likelihood: str
    n_latent: int
    var_names: tuple[str, ...]
    conditions: Conditions
    prior: Prior
    library: LibraryLaw | None
    observation: Observation = "draw"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] = field(default_factory=dict)
    precision: Mapping[str, Any] = field(default_factory=lambda: {"kind": "float32"})
    quality: Mapping[str, Any] | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        _check(self)

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.var_names)

    @property
    def law(self) -> Likelihood:
        """The row of the likelihood in the table."""
        return likelihood_named(self.likelihood)

    @property
    def is_counts(self) -> bool:
        """Whether values are counts and the graph takes ``library``."""
        return self.law.reads_library

    @property
    def inputs(self) -> dict[str, int]:
        """Inputs of the graph in order, with their widths."""
        inputs = {"z": self.n_latent}
        if self.conditions.keys:
            inputs["condition"] = self.conditions.n_conditions
        if self.is_counts:
            inputs["library"] = 1
        return inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Outputs of the graph in order."""
        return tuple(self.law.outputs)


def _check(spec: GeneratorSpec) -> None:
    """Refuse a spec whose parts do not fit together; the message names the part."""

    def refuse(part: str, problem: str) -> None:
        raise ArtifactError(f"metadata '{PREFIX}{part}': {problem}.")

    if spec.observation not in spec.law.observations:
        known = ", ".join(map(repr, spec.law.observations))
        refuse(
            "observation",
            f"{spec.observation!r} is none of {known}, which {spec.likelihood!r} takes",
        )
    if spec.n_latent < 1:
        refuse("n_latent", f"must be at least 1, not {spec.n_latent}")
    if not spec.var_names:
        refuse("var_names", "must name at least one gene")
    if len(set(spec.var_names)) != len(spec.var_names):
        refuse("var_names", "must be unique")

    conditions = spec.conditions
    n_groups = len(conditions.n_cells)
    if n_groups < 1 or conditions.combinations.shape != (n_groups, len(conditions.keys)):
        refuse("conditions", "needs one row of codes for each combination and at least one row")
    if len(set(conditions.names)) != len(conditions.names):
        refuse("conditions", "keys must be unique")
    problem = name_problem(conditions.keys)
    if problem is not None:
        refuse("conditions", problem)
    for key in conditions.keys:
        if not key.categories or len(set(key.categories)) != len(key.categories):
            refuse("conditions", f"categories of {key.name!r} must be unique and at least one")
    if (conditions.combinations < 0).any() or (conditions.combinations >= conditions.sizes).any():
        refuse("conditions", "a combination has a code outside its key's categories")
    if (conditions.n_cells < 1).any():
        refuse("conditions", "every combination needs at least one training cell")
    if conditions.n_cells.sum(dtype=np.float64) > 2**53:
        refuse("conditions", "has more training cells than can be counted")
    if len(np.unique(conditions.combinations, axis=0)) != n_groups:
        refuse("conditions", "combinations must be unique")

    prior = spec.prior
    if prior.kind not in ("standard_normal", "gaussian_mixture"):
        refuse("prior", f"unknown kind {prior.kind!r}")
    if prior.kind == "standard_normal" and prior.with_log_library:
        refuse("prior", "a standard normal law says nothing of the library size")
    if prior.kind == "gaussian_mixture":
        n_dim = spec.n_latent + prior.with_log_library
        n_components, n_factors = len(prior.weights), len(prior.tril)
        shapes = {
            "offsets": (n_groups + 1,),
            "weights": (n_components,),
            "means": (n_components, n_dim),
            "tril": (n_factors, n_dim, n_dim),
            "factor": (n_components,),
        }
        for name, shape in shapes.items():
            if getattr(prior, name).shape != shape:
                came = getattr(prior, name).shape
                refuse(f"prior.{name}", f"expected shape {shape}, got {came}")
        steps = np.diff(prior.offsets)
        if prior.offsets[0] != 0 or prior.offsets[-1] != n_components or (steps < 1).any():
            refuse("prior.offsets", "must rise from 0 to the number of components")
        if (prior.factor < 0).any() or (prior.factor >= n_factors).any():
            refuse("prior.factor", "points outside the stored factors")
        for name in ("weights", "means", "tril"):
            if not np.isfinite(getattr(prior, name)).all():
                refuse(f"prior.{name}", "holds values that are not finite")
        if np.triu(prior.tril, 1).any():
            refuse("prior.tril", "must be zero above the diagonals")
        sums = np.add.reduceat(prior.weights, prior.offsets[:-1])
        if (prior.weights < 0).any() or not np.allclose(sums, 1, atol=1e-6):
            refuse("prior.weights", "must be non-negative and sum to 1 in each group")

    library = spec.library
    if (library is None) == spec.is_counts:
        refuse("library", f"must be given for count likelihoods only, not {spec.likelihood!r}")
    if prior.with_log_library != (library is not None and library.kind == "joint"):
        refuse("library", "kind 'joint' and a prior with the log library go together")
    if library is not None:
        if library.kind not in ("joint", "lognormal"):
            refuse("library", f"unknown kind {library.kind!r}")
        for name in ("minimum", "maximum", "location", "scale"):
            values = getattr(library, name)
            if values.shape != (n_groups,) or not np.isfinite(values).all():
                refuse(f"library.{name}", f"expected {n_groups} finite values")
        if (library.minimum < 0).any() or (library.maximum < library.minimum).any():
            refuse("library", "bounds must satisfy 0 <= minimum <= maximum")
        if (library.scale < 0).any():
            refuse("library.scale", "must not be negative")
