"""Log-probabilities and the divergence equal SciPy's, at the ends of their ranges as well."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
stats = pytest.importorskip("scipy.stats")
integrate = pytest.importorskip("scipy.integrate")

from vaexprs.training.likelihoods.registry import training_law  # noqa: E402
from vaexprs.training.network.model import kl_divergence  # noqa: E402

pytestmark = pytest.mark.torch


def bernoulli_log_prob(x, logits):
    return training_law("bernoulli").log_prob(x, {"logits": logits}, x)


def gaussian_log_prob(x, mean, log_scale):
    return training_law("gaussian").log_prob(x, {"logits": mean, "log_scale": log_scale}, x)


def poisson_log_prob(x, log_mean):
    return training_law("poisson").log_prob_of_mean(x, log_mean, {})


def nb_log_prob(x, log_mean, log_theta):
    heads = {"log_inverse_dispersion": log_theta}
    return training_law("nb").log_prob_of_mean(x, log_mean, heads)


def zinb_log_prob(x, log_mean, log_theta, zero_logits):
    heads = {"log_inverse_dispersion": log_theta, "zero_logits": zero_logits}
    return training_law("zinb").log_prob_of_mean(x, log_mean, heads)


def zigamma_log_prob(x, log_mean, log_theta, zero_logits):
    heads = {"log_inverse_dispersion": log_theta, "zero_logits": zero_logits}
    return training_law("zigamma").log_prob(x, {"logits": log_mean, **heads}, x)


COUNTS = [0, 1, 2, 5, 30, 1000, 100_000]
MEANS = [1e-8, 1e-3, 0.3, 1.0, 20.0, 1e3, 1e5]
THETAS = [0.02, 0.3, 1.0, 20.0, 1e3]
LOGITS = [-40.0, -10.0, -1.0, 0.0, 2.0, 15.0]


def grid(*axes, dtype=torch.float64):
    """Return one column of cells for each parameter: every combination is a cell of one gene."""
    points = np.array(list(itertools.product(*axes)), dtype=np.float64)
    return points.T, [torch.tensor(column[:, None], dtype=dtype) for column in points.T]


def nb(x, mean, theta):
    return stats.nbinom.logpmf(x, theta, theta / (theta + mean))


def inflated(x, log_prob, logits):
    """Log-probability of a law with extra zeros, by exact branches of the logistic function."""
    log_zero, log_other = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    return np.where(x == 0, np.logaddexp(log_zero, log_other + log_prob), log_other + log_prob)


def size(x, mean, theta=1.0, logits=0.0):
    """Sum of the sizes of what is added up in a log-probability: rounding is a part of it."""
    ratio = np.abs(np.log(mean / theta))
    return x * (ratio + np.log(x + 2)) + (x + theta) * np.log1p(mean / theta) + np.abs(logits) + 1


def assert_equal(got, wanted, size, rtol):
    assert np.isfinite(wanted).all()
    np.testing.assert_array_less(np.abs(got.numpy() - wanted) / size, rtol)


#: Torch's softplus is the identity above 20, which is off by 2e-9 there; float32 has 24 bits.
PRECISIONS = [(torch.float64, 5e-9), (torch.float32, 1e-6)]


@pytest.mark.parametrize(("dtype", "rtol"), PRECISIONS)
def test_nb(dtype, rtol):
    (x, mean, theta), (tx, tmean, ttheta) = grid(COUNTS, MEANS, THETAS, dtype=dtype)
    got = nb_log_prob(tx, tmean.log(), ttheta.log())
    assert_equal(got, nb(x, mean, theta), size(x, mean, theta), rtol)


@pytest.mark.parametrize("n_shapes", [1, 11])
def test_gradients_of_nb_are_those_of_its_values(n_shapes):
    """Finite differences, with one inverse dispersion a gene and with one a cell.

    There are more rows than a step takes.
    """
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.poisson(3.0, (11, 3)).astype(np.float64))
    log_mean = torch.tensor(rng.normal(0.5, 1.5, (11, 3)), requires_grad=True)
    log_theta = torch.tensor(rng.normal(0.0, 2.0, (n_shapes, 3)), requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, t: nb_log_prob(x, m, t), (log_mean, log_theta))


@pytest.mark.parametrize(("dtype", "rtol"), PRECISIONS)
def test_zinb(dtype, rtol):
    (x, mean, theta, logits), (tx, tmean, ttheta, tlogits) = grid(
        COUNTS, MEANS, THETAS, LOGITS, dtype=dtype
    )
    got = zinb_log_prob(tx, tmean.log(), ttheta.log(), tlogits)
    assert_equal(got, inflated(x, nb(x, mean, theta), logits), size(x, mean, theta, logits), rtol)


@pytest.mark.parametrize(("dtype", "rtol"), PRECISIONS)
def test_poisson(dtype, rtol):
    (x, mean), (tx, tmean) = grid(COUNTS, MEANS, dtype=dtype)
    got = poisson_log_prob(tx, tmean.log())
    assert_equal(got, stats.poisson.logpmf(x, mean), size(x, mean) + mean, rtol)


def test_nb_of_a_huge_inverse_dispersion_is_poisson():
    (x, mean), (tx, tmean) = grid([0, 1, 5, 30], [1e-3, 1.0, 20.0])
    got = nb_log_prob(tx, tmean.log(), torch.full_like(tmean, np.log(1e9)))
    np.testing.assert_allclose(got.numpy(), stats.poisson.logpmf(x, mean), atol=1e-5)


def test_gaussian():
    axes = [-1e4, -1.0, 0.0, 0.3, 50.0], [-10.0, 0.0, 2.5, 1e4], [1e-3, 0.1, 1.0, 1e3]
    (x, mean, scale), (tx, tmean, tscale) = grid(*axes)
    got = gaussian_log_prob(tx, tmean, tscale.log())
    np.testing.assert_allclose(got.numpy(), stats.norm.logpdf(x, mean, scale), rtol=1e-10)


def test_bernoulli_is_the_cross_entropy():
    (x, logits), (tx, tlogits) = grid([0.0, 0.25, 0.5, 1.0], [-60.0, -3.0, 0.0, 1.0, 60.0])
    got = bernoulli_log_prob(tx, tlogits).numpy()
    wanted = -x * np.logaddexp(0, -logits) - (1 - x) * np.logaddexp(0, logits)
    np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-25)
    binary = (x == 0) | (x == 1)
    p = 1 / (1 + np.exp(-logits))
    moderate = binary & (np.abs(logits) < 10)
    np.testing.assert_allclose(got[moderate], stats.bernoulli.logpmf(x, p)[moderate], rtol=1e-9)


@pytest.mark.parametrize(("dtype", "rtol"), PRECISIONS)
def test_zigamma(dtype, rtol):
    values, means = [0.0, 1e-4, 0.1, 1.0, 30.0, 1e5], [1e-3, 0.5, 10.0, 1e5]
    (x, mean, theta, logits), (tx, tmean, ttheta, tlogits) = grid(
        values, means, THETAS, LOGITS, dtype=dtype
    )
    got = zigamma_log_prob(tx, tmean.log(), ttheta.log(), tlogits)
    positive = stats.gamma.logpdf(np.where(x > 0, x, 1), theta, scale=mean / theta)
    wanted = np.where(x > 0, positive - np.logaddexp(0, logits), -np.logaddexp(0, -logits))
    ratio = np.where(x > 0, x, 1) / mean
    terms = theta * (np.abs(np.log(theta)) + np.abs(np.log(ratio)) + ratio) + 1 + np.abs(logits)
    assert_equal(got, wanted, terms + np.abs(np.log(np.where(x > 0, x, 1))), rtol)


@pytest.mark.parametrize(
    "total",
    [
        lambda x: poisson_log_prob(x, torch.full_like(x, np.log(3.0))),
        lambda x: nb_log_prob(x, torch.full_like(x, np.log(3.0)), torch.zeros_like(x)),
        lambda x: zinb_log_prob(
            x, torch.full_like(x, np.log(3.0)), torch.zeros_like(x), torch.full_like(x, -0.5)
        ),
    ],
    ids=["poisson", "nb", "zinb"],
)
def test_probabilities_of_counts_sum_to_one(total):
    x = torch.arange(400, dtype=torch.float64)[:, None]
    assert total(x).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_the_positive_part_of_zigamma_integrates_to_its_probability():
    def density(value):
        one = torch.ones(1, 1, dtype=torch.float64)
        log_prob = zigamma_log_prob(value * one, np.log(2.0) * one, np.log(1.7) * one, -0.4 * one)
        return log_prob.exp().item()

    mass, _ = integrate.quad(density, 1e-12, 100)
    assert mass == pytest.approx(1 / (1 + np.exp(-0.4)), abs=1e-6)
    assert density(0.0) == pytest.approx(1 / (1 + np.exp(0.4)), abs=1e-12)


def test_genes_add_up_and_gene_wise_parameters_broadcast():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.poisson(1.0, (7, 5)), dtype=torch.float64)
    mean = torch.tensor(rng.gamma(1.0, 1.0, (7, 5)))
    theta = torch.tensor(rng.gamma(1.0, 1.0, (1, 5)))
    logits = torch.tensor(rng.normal(size=(1, 5)))
    every = theta.expand(7, 5), logits.expand(7, 5)
    got = nb_log_prob(x, mean.log(), theta.log())
    assert got.shape == (7,)
    wanted = nb(x.numpy(), mean.numpy(), theta.numpy())
    np.testing.assert_allclose(got.numpy(), wanted.sum(1), rtol=1e-9)
    torch.testing.assert_close(got, nb_log_prob(x, mean.log(), every[0].log()))
    for function in (zinb_log_prob, zigamma_log_prob):
        torch.testing.assert_close(
            function(x, mean.log(), theta.log(), logits),
            function(x, mean.log(), every[0].log(), every[1]),
        )


@pytest.mark.parametrize("name", ["nb", "zinb", "poisson", "gaussian", "bernoulli", "zigamma"])
def test_gradients_are_finite_at_the_ends(name):
    function = globals()[f"{name}_log_prob"]
    rows = itertools.product([0.0, 1.0, 1e5], [-30.0, 0.0, 12.0], [-4.0, 7.0], [-50.0, 50.0])
    x, first, second, third = torch.tensor(list(rows), dtype=torch.float32).T[..., None]
    n = {"nb": 2, "zinb": 3, "poisson": 1, "gaussian": 2, "bernoulli": 1, "zigamma": 3}[name]
    if name == "bernoulli":
        x = x.clamp(max=1)
    parameters = [p.clone().requires_grad_() for p in (first, second, third)[:n]]
    value = function(x, *parameters)
    assert torch.isfinite(value).all()
    value.sum().backward()
    for parameter in parameters:
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", ["nb", "zinb", "poisson", "zigamma"])
def test_gradients_equal_finite_differences(name):
    function = globals()[f"{name}_log_prob"]
    rng = np.random.default_rng(1)
    x = torch.tensor([[0.0, 3.0, 1.0], [7.0, 0.0, 2.0]], dtype=torch.float64)
    n = {"nb": 2, "zinb": 3, "poisson": 1, "zigamma": 3}[name]
    parameters = tuple(
        torch.tensor(rng.normal(size=(2, 3)), dtype=torch.float64, requires_grad=True)
        for _ in range(n)
    )
    assert torch.autograd.gradcheck(lambda *p: function(x, *p), parameters)


# ---- divergence


def test_kl_is_torchs():
    generator = torch.Generator().manual_seed(0)
    mean = 3 * torch.randn(20, 6, generator=generator, dtype=torch.float64)
    log_variance = 2 * torch.randn(20, 6, generator=generator, dtype=torch.float64)
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(
        normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0)
    ).sum(1)
    torch.testing.assert_close(kl_divergence(mean, log_variance), wanted)


@pytest.mark.parametrize("mean", [-4.0, 0.0, 0.5])
@pytest.mark.parametrize("log_variance", [-12.0, -1.0, 0.0, 4.0])
def test_kl_is_the_integral(mean, log_variance):
    """Of the density of a cell's posterior times its log-ratio to the prior's."""
    scale = np.exp(log_variance / 2)

    def integrand(e):
        z = mean + scale * e
        ratio = stats.norm.logpdf(e) - np.log(scale) - stats.norm.logpdf(z)
        return stats.norm.pdf(e) * ratio

    wanted, _ = integrate.quad(integrand, -12, 12, epsabs=1e-10, limit=200)
    got = kl_divergence(
        torch.tensor([[mean]], dtype=torch.float64),
        torch.tensor([[log_variance]], dtype=torch.float64),
    )
    assert got.item() == pytest.approx(wanted, rel=1e-7, abs=1e-8)


def test_kl_is_zero_at_the_prior_and_nowhere_negative():
    zero = torch.zeros(1, 3)
    assert kl_divergence(zero, zero).item() == 0.0
    generator = torch.Generator().manual_seed(1)
    near = 1e-3 * torch.randn(100, 3, generator=generator)
    assert (kl_divergence(near, near.flip(0)) > -1e-7).all()
