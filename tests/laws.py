"""The shared table of laws: one row a likelihood, with its exact law by SciPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAWS", "TestLaw"]

Array = NDArray[np.float64]

MEANS = [1e-3, 0.3, 2.0, 40.0]
THETAS = [0.1, 1.0, 20.0]
LOGITS = [-3.0, 1.0]


@dataclass(frozen=True)
class TestLaw:
    """A law in exact terms.

    Attributes
    ----------
    parameters
        Values of each output of the graph, to be combined.
    values
        Values to compare log-probabilities at.
    law
        Takes outputs by name, returns a frozen distribution of SciPy: of the part beside the extra
        zeros, where there is one.
    data
        Turns counts, ``(n_cells, n_genes)``, into data that the law is meant for.
    """

    __test__ = False

    parameters: dict[str, list[float]]
    values: list[float]
    law: Callable[..., Any]
    data: Callable[[Array, np.random.Generator], Array]
    discrete: bool = True

    def log_prob(self, x: Array, **outputs: Array) -> Array:
        """Return the log-probability (or density) of values."""
        logits = outputs.pop("zero_logits", None)
        law = self.law(**outputs)
        inside = x if self.discrete or logits is None else np.where(x > 0, x, 1.0)
        own = law.logpmf(inside) if self.discrete else law.logpdf(inside)
        if logits is None:
            return own
        zero, other = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
        at_zero = np.logaddexp(zero, other + own) if self.discrete else zero
        return np.where(x == 0, at_zero, other + own)

    def moments(self, **outputs: Any) -> tuple[Any, Any]:
        """Return mean and variance."""
        logits = outputs.pop("zero_logits", None)
        mean, variance = self.law(**outputs).stats("mv")
        kept = 1.0 if logits is None else 1 / (1 + np.exp(logits))
        return kept * mean, kept * variance + kept * (1 - kept) * mean**2


def _nb(mean: Any, inverse_dispersion: Any = 1.0) -> Any:
    from scipy import stats

    return stats.nbinom(inverse_dispersion, inverse_dispersion / (inverse_dispersion + mean))


class _Rectified:
    """A normal law censored at 0."""

    def __init__(self, mean: Any, scale: Any) -> None:
        from scipy import stats

        self.normal, self.ratio, self.scale = stats.norm(mean, scale), mean / scale, scale

    def logpdf(self, x: Array) -> Array:
        return np.where(x > 0, self.normal.logpdf(x), self.normal.logcdf(0))

    def stats(self, moments: str) -> tuple[Any, Any]:
        from scipy.stats import norm

        above, density = norm.cdf(self.ratio), norm.pdf(self.ratio)
        first = self.ratio * above + density
        second = (self.ratio**2 + 1) * above + self.ratio * density
        return self.scale * first, self.scale**2 * (second - first**2)


def _law(name: str) -> Callable[..., Any]:
    def make(**outputs: Any) -> Any:
        from scipy import stats

        made = {
            "bernoulli": lambda mean: stats.bernoulli(mean),
            "gaussian": lambda mean, scale: stats.norm(mean, scale),
            "poisson": lambda mean: stats.poisson(mean),
            "gamma": lambda mean, inverse_dispersion: stats.gamma(
                inverse_dispersion, scale=mean / inverse_dispersion
            ),
        }
        return made[name](**outputs)

    return make


def _counts(X: Array, rng: np.random.Generator) -> Array:
    return X


def _logged(X: Array, rng: np.random.Generator) -> Array:
    return np.log1p(1e4 * X / X.sum(1, keepdims=True))


COUNTS = [0.0, 1.0, 2.0, 7.0, 50.0]
LAWS: dict[str, TestLaw] = {
    "bernoulli": TestLaw(
        {"mean": [0.01, 0.3, 0.9]}, [0.0, 1.0], _law("bernoulli"),
        lambda X, rng: (X > 2).astype(np.float64),
    ),
    "gaussian": TestLaw(
        {"mean": [-3.0, 0.0, 20.0], "scale": [0.1, 2.0]}, [-4.0, 0.0, 21.5], _law("gaussian"),
        lambda X, rng: np.log1p(X) + rng.normal(0, 0.1, X.shape),
        discrete=False,
    ),
    "rectified_gaussian": TestLaw(
        {"mean": [-3.0, 0.0, 20.0], "scale": [0.5, 2.0]}, [0.0, 0.1, 21.5], _Rectified,
        lambda X, rng: np.maximum(np.log1p(X) + rng.normal(0, 0.1, X.shape), 0),
        discrete=False,
    ),
    "poisson": TestLaw({"mean": MEANS}, COUNTS, _law("poisson"), _counts),
    "nb": TestLaw({"mean": MEANS, "inverse_dispersion": THETAS}, COUNTS, _nb, _counts),
    "zinb": TestLaw(
        {"mean": MEANS, "inverse_dispersion": THETAS, "zero_logits": LOGITS}, COUNTS, _nb, _counts
    ),
    "zigamma": TestLaw(
        {"mean": MEANS, "inverse_dispersion": THETAS, "zero_logits": LOGITS},
        [0.0, 0.01, 1.0, 30.0], _law("gamma"), _logged,
        discrete=False,
    ),
}  # fmt: skip
