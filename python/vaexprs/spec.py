"""What a generator promises: the contents of an artifact besides its graph.

Training makes a `GeneratorSpec`, the artifact stores it as metadata, generation reads it
back. The mapping to metadata is defined in ``models/FORMAT.md``; its code is `vaexprs.metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ArtifactError, ConditionError, near_matches

__all__ = [
    "COUNT_LIKELIHOODS",
    "FORMAT_VERSION",
    "OUTPUTS",
    "ConditionKey",
    "Conditions",
    "GeneratorSpec",
    "LibraryLaw",
    "Likelihood",
    "Prior",
]

FORMAT_VERSION = 1
PREFIX = "vaexprs."

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


@dataclass(frozen=True)
class ConditionKey:
    """One thing a model is told about a cell: an ``obs`` column and its categories in order."""

    name: str
    categories: tuple[str, ...]
    ordered: bool = False

    def code(self, category: object) -> int:
        """Return the code of a category, or raise `ConditionError` with near matches."""
        try:
            return self._codes[str(category)]
        except KeyError:
            raise ConditionError(
                f"unknown category {str(category)!r} of condition {self.name!r}: "
                + near_matches(category, self.categories)
            ) from None

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {category: code for code, category in enumerate(self.categories)}


@dataclass(frozen=True)
class Conditions:
    """The condition keys of a model and the joint frequencies of their categories.

    Attributes
    ----------
    keys
        Condition keys in the order of their one-hot blocks. Empty for a plain VAE.
    combinations
        Codes of the combinations seen in training, ``(n_combinations, n_keys)``, int32. A plain
        VAE has one combination of no codes.
    n_cells
        Training cells of each combination, ``(n_combinations,)``, int64.
    """

    keys: tuple[ConditionKey, ...]
    combinations: NDArray[np.int32]
    n_cells: NDArray[np.int64]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the condition keys."""
        return tuple(key.name for key in self.keys)

    @property
    def sizes(self) -> NDArray[np.int32]:
        """Number of categories of each key, ``(n_keys,)``."""
        return np.array([len(key.categories) for key in self.keys], dtype=np.int32)

    @property
    def n_conditions(self) -> int:
        """Width of the one-hot input: the categories of all keys together."""
        return int(self.sizes.sum())

    def key(self, name: str) -> ConditionKey:
        """Return a key by name, or raise `ConditionError` with near matches."""
        for key in self.keys:
            if key.name == name:
                return key
        if not self.keys:
            raise ConditionError(
                f"condition {name!r} was asked of a model that was trained without conditions: "
                "generate without conditions, or train with condition_keys."
            )
        raise ConditionError(f"unknown condition key {name!r}: " + near_matches(name, self.names))


@dataclass(frozen=True)
class Prior:
    """The law of the latent variables given the condition, as fitted after training.

    ``gaussian_mixture`` holds one mixture for each combination of ``Conditions.combinations``:
    group ``g`` owns the components ``offsets[g]:offsets[g + 1]``. A draw picks a component by
    weight and returns ``means[c] + tril[factor[c]] @ e`` with ``e`` standard normal. Components
    may share a factor, which keeps models of thousands of categories small. Where
    `with_log_library` is true the vectors have one coordinate more than the latent space: the
    natural logarithm of the library size, drawn jointly.

    Attributes
    ----------
    kind
        ``"standard_normal"`` (all arrays are empty) or ``"gaussian_mixture"``.
    with_log_library
        Whether the last coordinate is the log library size.
    offsets
        ``(n_groups + 1,)``, int64.
    weights
        ``(n_components,)``, float64; they sum to 1 within each group.
    means
        ``(n_components, n_dim)``, float32.
    tril
        Lower Cholesky factors of covariances, ``(n_factors, n_dim, n_dim)``, float32.
    factor
        Which factor each component uses, ``(n_components,)``, int32.
    """

    kind: Literal["standard_normal", "gaussian_mixture"] = "standard_normal"
    with_log_library: bool = False
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    means: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    tril: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    factor: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass(frozen=True)
class LibraryLaw:
    """The law of the library size (total counts of a cell) given the condition.

    Attributes
    ----------
    kind
        ``"joint"``: the log library size is the last coordinate of the prior's mixture.
        ``"lognormal"``: log-normal with `location` and `scale` for each combination.
    minimum, maximum
        Bounds in counts for each combination, ``(n_combinations,)``, float32; draws are clipped
        to them.
    location, scale
        Mean and standard deviation of the log library size for each combination,
        ``(n_combinations,)``, float32. Kept under both kinds, since combinations that
        were never seen borrow from them.
    """

    kind: Literal["joint", "lognormal"]
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]
    location: NDArray[np.float32]
    scale: NDArray[np.float32]


@dataclass(frozen=True)
class GeneratorSpec:
    """Everything that an artifact says about its graph.

    Attributes
    ----------
    likelihood
        Law of an expression value given the outputs of the graph.
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

    likelihood: Likelihood
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
    def is_counts(self) -> bool:
        """Whether values are counts and the graph takes ``library``."""
        return self.likelihood in COUNT_LIKELIHOODS

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
        return OUTPUTS[self.likelihood]

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata entries of the artifact: prefixed keys, JSON values."""
        from vaexprs.metadata import write_metadata

        return write_metadata(self)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> GeneratorSpec:
        """Read a spec back from metadata entries, which nobody has to trust.

        Raises
        ------
        ArtifactError
            If an entry is missing, is not JSON, or does not fit the others; the message names
            the entry. Callers that know the file's name put it in front.
        """
        from vaexprs.metadata import read_metadata

        return read_metadata(metadata)


def _check(spec: GeneratorSpec) -> None:
    """Refuse a spec whose parts do not fit together; the message names the part."""

    def refuse(part: str, problem: str) -> None:
        raise ArtifactError(f"metadata '{PREFIX}{part}': {problem}.")

    if spec.observation not in get_args(Observation):
        refuse("observation", f"{spec.observation!r} is none of 'draw', 'rounded', 'mean'")
    if spec.observation == "rounded" and spec.likelihood != "zigamma":
        refuse("observation", f"'rounded' goes with 'zigamma', not {spec.likelihood!r}")
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
