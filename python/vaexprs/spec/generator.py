"""`GeneratorSpec`: the contents of an artifact besides its graph, checked when it is made.

Training makes a spec, the artifact stores it as metadata, generation reads it back.
`vaexprs.spec.metadata` converts it; ``models/FORMAT.md`` defines the entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ArtifactError
from vaexprs.spec.conditions import Conditions, column_problem, name_problem
from vaexprs.spec.latent_law import LibraryLaw, Prior
from vaexprs.spec.likelihoods import Likelihood, Observation, likelihood_named
from vaexprs.spec.normalisation import Normalisation

#: Version of the format that is written, and the highest that is read.
FORMAT_VERSION = 1
#: First characters of the names of our metadata entries.
PREFIX = "vaexprs."
#: Laws of values whose noise is told in the metadata, by `GeneratorSpec.observation`.
_RESIDUALS = {"normal": "gaussian", "rectified": "rectified_gaussian"}


@dataclass(frozen=True)
class GeneratorSpec:
    """What an artifact promises about the cells its graph generates.

    Attributes
    ----------
    likelihood
        Name of the law of an expression value given the outputs of the graph.
    observation
        ``"draw"``: a value is drawn from the likelihood. ``"rounded"``: it is then rounded to a
        whole number, a positive one to at least 1; ``zigamma`` models of read counts. The others
        are of ``bernoulli`` models of data that are not binary, whose cross-entropy is no law of
        the values. ``"normal"``: the value is the mean with normal noise. ``"rectified"``: and 0
        where that is below. ``"mean"``: it is the mean itself.
    residual
        Standard deviation of the noise of each gene, ``(n_genes,)``, float32, for ``"normal"`` and
        ``"rectified"``; else None.
    normalisation
        How drawn counts become values, for models that were trained on normalised values, or
        how draws >= 0 are scaled to a common sum; None where draws are the values.
    n_latent
        Size of the latent space.
    var_names
        Names of the genes, in the order of the graph's outputs.
    var
        Other texts for each gene, such as identifiers, by column of ``var``.
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
    residual: NDArray[np.float32] | None = None
    var: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    normalisation: Normalisation | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] = field(default_factory=dict)
    precision: Mapping[str, Any] = field(default_factory=lambda: {"kind": "float32"})
    quality: Mapping[str, Any] | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        _check_genes(self)
        _check_conditions(self.conditions)
        n_groups = len(self.conditions.n_cells)
        if self.prior.kind != "standard_normal":
            _check_mixture(self.prior, self.n_latent, n_groups)
        _check_library(self, n_groups)
        _check_residual(self)
        if self.normalisation is not None:
            _check_normalisation(self.normalisation, self.law)

    def __repr__(self) -> str:
        """Return one line: the fields in full would show thousands of gene names."""
        keys = (f"{key.name} ({len(key.categories)})" for key in self.conditions.keys)
        return (
            f"GeneratorSpec({self.likelihood}, {self.n_genes:,} genes, {self.n_latent} latents, "
            f"conditions: {', '.join(keys) or 'none'})"
        )

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.var_names)

    @property
    def law(self) -> Likelihood:
        """The row of the likelihood in the table."""
        return likelihood_named(self.likelihood)

    @property
    def value_law(self) -> Likelihood:
        """The law of values given `parameters`: the likelihood's own, or that of residuals."""
        return likelihood_named(_RESIDUALS.get(self.observation, self.likelihood))

    def parameters(self, outputs: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """Return the outputs of the graph by name, with the scale of residuals."""
        given = {} if self.residual is None else {"scale": self.residual[None]}
        return {**outputs, **given}

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


def _require(holds: object, part: str, problem: str) -> None:
    if not holds:
        raise ArtifactError(f"metadata '{PREFIX}{part}': {problem}.")


def _check_genes(spec: GeneratorSpec) -> None:
    known = ", ".join(map(repr, spec.law.observations))
    _require(
        spec.observation in spec.law.observations,
        "observation",
        f"{spec.observation!r} is none of {known}, which {spec.likelihood!r} takes",
    )
    _require(spec.n_latent >= 1, "n_latent", f"must be at least 1, not {spec.n_latent}")
    _require(spec.var_names, "var_names", "must name at least one gene")
    _require(len(set(spec.var_names)) == len(spec.var_names), "var_names", "must be unique")
    for name, texts in spec.var.items():
        problem = column_problem(name)
        _require(problem is None, "var", f"the column {name[:80]!r} {problem}")
        expected = f"expected {spec.n_genes} texts in {name[:80]!r}, got {len(texts)}"
        _require(len(texts) == spec.n_genes, "var", expected)


def _check_conditions(conditions: Conditions) -> None:
    def need(holds: object, problem: str) -> None:
        _require(holds, "conditions", problem)

    n_groups, codes = len(conditions.n_cells), conditions.combinations
    fits = n_groups >= 1 and codes.shape == (n_groups, len(conditions.keys))
    need(fits, "needs one row of codes for each combination and at least one row")
    need(len(set(conditions.names)) == len(conditions.names), "keys must be unique")
    problem = name_problem(conditions.keys)
    need(problem is None, str(problem))
    for key in conditions.keys:
        unique = 0 < len(key.categories) == len(set(key.categories))
        need(unique, f"categories of {key.name!r} must be unique and at least one")
    inside = (codes >= 0).all() and (codes < conditions.sizes).all()
    need(inside, "a combination has a code outside its key's categories")
    need(len(np.unique(codes, axis=0)) == n_groups, "combinations must be unique")
    trained = (conditions.n_cells >= 1).all()
    need(trained, "every combination needs at least one training cell")
    # Beyond 2**53 a frequency computed in float64 is no longer exact.
    countable = conditions.n_cells.sum(dtype=np.float64) <= 2**53
    need(countable, "has more training cells than can be counted")


def _check_mixture(prior: Prior, n_latent: int, n_groups: int) -> None:
    _require(prior.kind == "gaussian_mixture", "prior", f"unknown kind {prior.kind!r}")
    n_dim = n_latent + prior.with_log_library
    n_components, n_factors = len(prior.weights), len(prior.tril)
    shapes = {
        "offsets": (n_groups + 1,),
        "weights": (n_components,),
        "means": (n_components, n_dim),
        "tril": (n_factors, n_dim, n_dim),
        "factor": (n_components,),
    }
    for name, shape in shapes.items():
        came = getattr(prior, name).shape
        _require(came == shape, f"prior.{name}", f"expected shape {shape}, got {came}")
    # Compared, not subtracted: the difference of two int64 may wrap.
    rises = (prior.offsets[1:] > prior.offsets[:-1]).all()
    _require(
        prior.offsets[0] == 0 and prior.offsets[-1] == n_components and rises,
        "prior.offsets",
        "must rise from 0 to the number of components",
    )
    inside = (prior.factor >= 0).all() and (prior.factor < n_factors).all()
    _require(inside, "prior.factor", "points outside the stored factors")
    for name in ("weights", "means", "tril"):
        finite = np.isfinite(getattr(prior, name)).all()
        _require(finite, f"prior.{name}", "holds values that are not finite")
    _require(not np.triu(prior.tril, 1).any(), "prior.tril", "must be zero above the diagonals")
    sums = np.add.reduceat(prior.weights, prior.offsets[:-1])
    _require(
        (prior.weights >= 0).all() and np.allclose(sums, 1, atol=1e-6),
        "prior.weights",
        "must be non-negative and sum to 1 in each group",
    )


def _check_library(spec: GeneratorSpec, n_groups: int) -> None:
    prior, library = spec.prior, spec.library
    _require(
        (library is not None) == spec.is_counts,
        "library",
        f"must be given for count likelihoods only, not {spec.likelihood!r}",
    )
    _require(
        not (prior.kind == "standard_normal" and prior.with_log_library),
        "prior",
        "a standard normal law has no library size",
    )
    _require(
        prior.with_log_library == (library is not None and library.kind == "joint"),
        "library",
        "kind 'joint' and a prior with the log library go together",
    )
    if library is None:
        return
    known = library.kind in ("joint", "lognormal")
    _require(known, "library", f"unknown kind {library.kind!r}")
    for name in ("minimum", "maximum", "location", "scale"):
        values = getattr(library, name)
        finite = values.shape == (n_groups,) and np.isfinite(values).all()
        _require(finite, f"library.{name}", f"expected {n_groups} finite values")
    ordered = (library.minimum >= 0).all() and (library.maximum >= library.minimum).all()
    _require(ordered, "library", "bounds must satisfy 0 <= minimum <= maximum")
    _require((library.scale >= 0).all(), "library.scale", "must not be negative")


def _check_residual(spec: GeneratorSpec) -> None:
    scale = spec.residual
    _require(
        (scale is not None) == (spec.observation in _RESIDUALS),
        "residual",
        f"must be given for the observations {', '.join(map(repr, _RESIDUALS))} and for no other",
    )
    if scale is not None:
        fits = scale.shape == (spec.n_genes,) and np.isfinite(scale).all() and (scale >= 0).all()
        _require(fits, "residual.scale", f"expected {spec.n_genes} finite values >= 0")


def _check_normalisation(normalisation: Normalisation, law: Likelihood) -> None:
    _require(law.support != "real", "normalisation", f"does not go with {law.name!r}")
    base = normalisation.log_base
    _require(base is None or base > 1, "normalisation.log_base", f"must exceed 1, not {base}")
    _require(
        normalisation.pseudocount in (0.0, 1.0),
        "normalisation.pseudocount",
        f"must be 0 or 1, not {normalisation.pseudocount}",
    )
    # Beyond these a float32 value overflows or is zero.
    for name in ("log_sum", "slope", "deviation", "centre"):
        value = getattr(normalisation, name)
        _require(abs(value) <= 80, f"normalisation.{name}", f"must lie in [-80, 80], not {value}")
    _require(normalisation.deviation >= 0, "normalisation.deviation", "must not be negative")
