"""Products of features and wide weights, in tiles and at once: values and derivatives."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from vaexprs.training.network import affine as module  # noqa: E402
from vaexprs.training.network.affine import affine  # noqa: E402

pytestmark = pytest.mark.torch


def blocks(n_genes, widths=(3, 1, 2), n=5):
    """Return blocks of features and weights, and biases, in float64."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    return [drawn(n, w) for w in widths], [drawn(w, n_genes) for w in widths], drawn(n_genes)


@pytest.fixture(params=[1, 2], ids=["in pieces", "at once"], autouse=True)
def threads(request, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


@pytest.mark.parametrize("n_genes", [1, 4, 7, 8])  # less than a tile, one, and a part of one more
def test_values_are_those_of_the_products(monkeypatch, n_genes):
    monkeypatch.setattr(module, "_TILE", 4)
    features, weights, bias = blocks(n_genes)
    expected = bias + sum(f @ w for f, w in zip(features, weights, strict=True))
    torch.testing.assert_close(affine(features, weights, bias), expected)


@pytest.mark.parametrize("n_genes", [1, 4, 7])
def test_derivatives_are_those_of_the_values(monkeypatch, n_genes):
    monkeypatch.setattr(module, "_TILE", 4)
    features, weights, bias = blocks(n_genes)
    n = len(features)
    assert torch.autograd.gradcheck(
        lambda b, *each: affine(each[:n], each[n:], b), (bias, *features, *weights)
    )


def test_weights_that_are_not_trained_get_no_derivative():
    features, weights, bias = blocks(6)
    weights[1] = weights[1].detach()
    affine(features, weights, bias).sum().backward()
    assert weights[1].grad is None
    assert features[1].grad is not None
    torch.testing.assert_close(weights[0].grad, features[0].detach().sum(0)[:, None].expand(3, 6))


def test_one_product_in_float32_is_as_precise_as_torch():
    features, weights, bias = blocks(1000, (200,), 64)
    exact = features[0] @ weights[0] + bias
    made = affine([features[0].float()], [weights[0].float()], bias.float())
    own = (features[0].float() @ weights[0].float() + bias.float() - exact).abs().max()
    assert (made - exact).abs().max() <= 4 * own
