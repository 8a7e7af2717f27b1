"""The latent law of the combinations that a plan asks for, those never seen in training too.

A seen combination has its own mixture in the artifact. An unseen one borrows: its components are
those of the seen combinations that share the keys which tell the latent space most, each shifted
by the difference that an additive model of the keys, fitted to the seen combinations' means,
expects between the two. Asked for NK cells of a donor who had none, it takes other donors' NK
cells and moves them by the donors' difference.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.generation.plan import Plan
from vaexprs.spec import GeneratorSpec, LibraryLaw, Prior

__all__ = ["LatentLaw"]


@dataclass(frozen=True)
class LatentLaw:
    """Prior and library law of each group of a plan, ready to draw from."""

    n_latent: int
    prior: Prior
    library: LibraryLaw | None

    @classmethod
    def of(cls, spec: GeneratorSpec, plan: Plan) -> LatentLaw:
        """Collect the laws of the plan's combinations from the spec."""
        sources = _Sources(spec)
        borrowed = [sources.of(combination) for combination in plan.combinations]
        prior = spec.prior
        if prior.kind == "gaussian_mixture":
            prior = _mixtures(prior, borrowed)
        library = spec.library
        if library is not None:
            library = _libraries(library, borrowed)
        return cls(spec.n_latent, prior, library)

    def draw(
        self, group: NDArray[np.int32], *, seed: int, first_cell: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Draw latent variables and library sizes of consecutive cells.

        Returns
        -------
        z
            ``(n_cells, n_latent)``, float32.
        library
            Total counts, ``(n_cells,)``, float32, or None where the likelihood has none.
        """
        prior, law = self.prior, self.library
        drawn = np.empty((len(group), self.n_latent + prior.with_log_library), dtype=np.float32)
        if prior.kind == "standard_normal":
            _core.fill_latent(drawn, seed=seed, first_cell=first_cell)
        else:
            _core.fill_latent_mixture(
                drawn,
                group,
                prior.offsets,
                prior.weights,
                prior.means,
                prior.tril,
                prior.factor,
                seed=seed,
                first_cell=first_cell,
            )
        z = np.ascontiguousarray(drawn[:, : self.n_latent])
        if law is None:
            return z, None
        if prior.with_log_library:
            # The log is clipped before exp, which float32 would overflow at 88.
            library = np.exp(np.minimum(drawn[:, self.n_latent], np.float32(80)))
        else:
            library = np.empty(len(group), dtype=np.float32)
            _core.fill_library(
                library, group, law.location, law.scale, seed=seed, first_cell=first_cell
            )
        return z, np.clip(library, law.minimum[group], law.maximum[group])


@dataclass(frozen=True)
class _Borrowed:
    """Seen combinations that stand for one of the plan, with weights and shifts of their means."""

    groups: NDArray[np.int64]
    weights: NDArray[np.float64]
    shifts: NDArray[np.float64] | None = None


class _Sources:
    """Finds the seen combinations that a combination takes its law from."""

    def __init__(self, spec: GeneratorSpec) -> None:
        self._spec = spec
        self._conditions = spec.conditions
        rows = self._conditions.combinations.tolist()
        self._place = {tuple(row): group for group, row in enumerate(rows)}

    def of(self, combination: NDArray[np.int32]) -> _Borrowed:
        seen = self._place.get(tuple(combination.tolist()))
        if seen is not None:
            return _Borrowed(np.array([seen]), np.ones(1))
        overlap = (self._conditions.combinations == combination) @ self._importance
        groups = np.flatnonzero(overlap >= overlap.max() - 1e-9)
        weights = self._conditions.n_cells[groups].astype(np.float64)
        shifts = (
            self._design(combination[None, :]) - self._design(self._conditions.combinations[groups])
        ) @ self._effects
        return _Borrowed(groups, weights / weights.sum(), shifts)

    def _design(self, combinations: NDArray[np.int32]) -> NDArray[np.float64]:
        return self._conditions.one_hot(combinations).astype(np.float64)

    @cached_property
    def _effects(self) -> NDArray[np.float64]:
        """Effects of the categories on the means, additive: least squares with a little ridge."""
        means = self._group_means()
        shares = self._shares
        centred = means - shares @ means
        design = self._design(self._conditions.combinations)
        weighted = design * shares[:, None]
        ridge = 1e-3 / len(shares) * np.eye(design.shape[1])
        return np.asarray(np.linalg.solve(design.T @ weighted + ridge, weighted.T @ centred))

    @cached_property
    def _importance(self) -> NDArray[np.float64]:
        """How much each key tells: the variance of the means between its categories.

        A little is added to each so that, all else equal, more shared keys win.
        """
        shares = self._shares
        design = self._design(self._conditions.combinations)
        explained = []
        for start, stop in itertools.pairwise([0, *np.cumsum(self._conditions.sizes)]):
            effect = design[:, start:stop] @ self._effects[start:stop]
            effect = effect - shares @ effect
            explained.append((shares[:, None] * effect**2).sum())
        total = sum(explained)
        return np.array(explained) / (total if total > 0 else 1.0) + 1e-6

    @property
    def _shares(self) -> NDArray[np.float64]:
        n_cells = self._conditions.n_cells
        return np.asarray(n_cells / n_cells.sum())

    def _group_means(self) -> NDArray[np.float64]:
        prior, library = self._spec.prior, self._spec.library
        if prior.kind == "gaussian_mixture":
            weighted = prior.weights[:, None] * prior.means
            return np.asarray(np.add.reduceat(weighted, prior.offsets[:-1], axis=0))
        if library is not None:
            return library.location[:, None].astype(np.float64)
        return np.zeros((len(self._conditions.n_cells), 1))


def _mixtures(prior: Prior, borrowed: list[_Borrowed]) -> Prior:
    weights, means, factor, offsets = [], [], [], [0]
    for law in borrowed:
        n_components = 0
        for i, (group, share) in enumerate(zip(law.groups, law.weights, strict=True)):
            own = slice(prior.offsets[group], prior.offsets[group + 1])
            shift = 0 if law.shifts is None else law.shifts[i]
            weights.append(prior.weights[own] * share)
            means.append((prior.means[own] + shift).astype(np.float32))
            factor.append(prior.factor[own])
            n_components += own.stop - own.start
        offsets.append(offsets[-1] + n_components)
    return Prior(
        "gaussian_mixture",
        prior.with_log_library,
        np.array(offsets, dtype=np.int64),
        np.concatenate(weights),
        np.concatenate(means),
        prior.tril,
        np.concatenate(factor),
    )


def _libraries(library: LibraryLaw, borrowed: list[_Borrowed]) -> LibraryLaw:
    def pooled(values: NDArray[np.float32], how: str) -> NDArray[np.float32]:
        parts = []
        for law in borrowed:
            own = values[law.groups]
            parts.append(law.weights @ own if how == "mean" else getattr(own, how)())
        return np.array(parts, dtype=np.float32)

    return LibraryLaw(
        library.kind,
        minimum=pooled(library.minimum, "min"),
        maximum=pooled(library.maximum, "max"),
        location=pooled(library.location, "mean"),
        scale=pooled(library.scale, "mean"),
    )
