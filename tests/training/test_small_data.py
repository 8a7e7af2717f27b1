"""Few cells, few genes, few or very many categories: a fit comes out and generates."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
anndata = pytest.importorskip("anndata")
pd = pytest.importorskip("pandas")

from vaexprs import fit_vae, gen_exprs  # noqa: E402

pytestmark = pytest.mark.torch

LIKELIHOODS = (
    "bernoulli", "gaussian", "rectified_gaussian", "poisson", "nb", "zinb", "zigamma",
)  # fmt: skip


def cells(likelihood, sizes, n_genes=12, seed=0, **columns):
    """Cells of a kind for a likelihood, classes of given sizes told apart by the gene means."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(sizes)), sizes)
    mean = rng.gamma(2.0, 4.0, (len(sizes), n_genes))[label]
    X = rng.poisson(mean).astype(np.float32)
    X[:, 0] += 1  # no empty cell
    if likelihood == "bernoulli":
        X = np.float32(X > 8)
    elif likelihood == "gaussian":
        X = np.float32(mean + rng.normal(size=X.shape))
    elif likelihood == "rectified_gaussian":
        X = np.float32(np.maximum(mean - 4 + rng.normal(size=X.shape), 0))
    elif likelihood == "zigamma":
        X = np.float32(X * rng.gamma(5.0, 0.2, X.shape))
    obs = pd.DataFrame({"cell_type": [f"type{i}" for i in label], **columns})
    obs.index = [f"cell{i}" for i in range(len(label))]
    return anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]))


def check(fit, adata, keys=("cell_type",)):
    """Encode, reconstruct, export and generate, and look at what comes."""
    z = fit.encode(adata)
    assert z.shape == (adata.n_obs, fit.spec.n_latent)
    assert np.isfinite(z).all()
    assert np.isfinite(fit.reconstruct(adata).X).all()
    for values in fit.history.values():
        assert np.isfinite(values).all()
    made = gen_exprs(fit, 64, seed=1, n_threads=1)
    X = made.X.toarray()
    assert X.shape == (64, adata.n_vars)
    assert np.isfinite(X).all()
    assert list(made.var_names) == list(adata.var_names)
    if fit.spec.likelihood != "gaussian":
        assert (X >= 0).all()
    if fit.spec.is_counts:
        assert (np.rint(X) == X).all()
        library = np.asarray(adata.X.sum(1)).ravel()
        assert made.obs["library"].between(0.99 * library.min(), 1.01 * library.max()).all()
    for key in keys:
        assert set(made.obs[key]) <= set(adata.obs[key].astype(str))
    # nothing far outside of what there was
    assert X.max() < 100 * (1 + np.abs(adata.X).max())
    return made


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize(
    "sizes",
    [[6] * 6, [2, 2, 2], [30, 1, 8], [1, 1], [3], [2]],
    ids=["six of each", "two of each", "one in a class", "two of one each", "three", "two"],
)
def test_few_cells(tiny, likelihood, sizes):
    adata = cells(likelihood, sizes)
    options = {k: v for k, v in tiny.items() if k != "n_latent"}
    fit = fit_vae(adata, condition_keys="cell_type", likelihood=likelihood, **options)
    check(fit, adata)
    assert fit.spec.conditions.n_cells.tolist() == sizes


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_single_cell(tiny, likelihood):
    adata = cells(likelihood, [1])
    if likelihood == "bernoulli":
        adata.X[0, :3] = 1
    check(fit_vae(adata, likelihood=likelihood, **tiny), adata, keys=())


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_plain_stacks_of_few_cells(tiny, likelihood):
    adata = cells(likelihood, [5, 1])
    fit = fit_vae(
        adata, condition_keys="cell_type", likelihood=likelihood, encoder=[(8, "relu")],
        decoder=[(8, "relu")], **tiny,
    )  # fmt: skip
    check(fit, adata)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_constant_and_all_zero_genes(tiny, likelihood):
    """They come out as they went in, up to the noise of the law where it has one."""
    adata = cells(likelihood, [20, 20], n_genes=15)
    constant = 1.0 if likelihood == "bernoulli" else 4.0
    adata.X[:, 5] = 0
    adata.X[:, 6] = 0
    adata.X[:, 7] = constant
    fit = fit_vae(adata, condition_keys="cell_type", likelihood=likelihood, **tiny)
    X = check(fit, adata).X.toarray()
    assert np.abs(X[:, 5:7]).max() < 1e-3
    if likelihood in ("bernoulli", "gaussian", "rectified_gaussian"):
        np.testing.assert_allclose(X[:, 7], constant, atol=1e-3)
    elif likelihood == "zigamma":
        assert np.median(X[:, 7]) == pytest.approx(constant, rel=0.5)
    else:
        # 64 draws of mean 4 and a variance of 4 or more: 0.25 is the standard error of Poisson
        assert X[:, 7].mean() == pytest.approx(constant, abs=2.0)


@pytest.mark.parametrize("likelihood", ["poisson", "nb", "zinb", "gaussian", "rectified_gaussian"])
@pytest.mark.parametrize("cell", [[3, 3, 3, 4], [3] * 10, list(range(1, 11))], ids=str)
def test_cells_that_are_all_alike(cell, likelihood):
    """Their components are rounding alone, and means are right all the same."""
    X = np.tile(np.array(cell, np.float32), (60, 1))
    fit = fit_vae(X, likelihood=likelihood, epochs=10, seed=1, progress=False, device="cpu")
    made = gen_exprs(fit, 500, seed=1).X
    mean = np.asarray(made.mean(axis=0)).ravel()
    # of 500 draws, 6 standard errors of a Poisson law are 0.27 of the root of its mean
    np.testing.assert_allclose(mean, cell, atol=0.27 * np.sqrt(max(cell)) + 0.1)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_one_gene(tiny, likelihood):
    adata = cells(likelihood, [15, 15], n_genes=1)
    if likelihood == "bernoulli":
        adata.X[:, 0] = np.tile([0, 1, 1], 10)
    options = {k: v for k, v in tiny.items() if k != "n_latent"}
    fit = fit_vae(adata, condition_keys="cell_type", likelihood=likelihood, **options)
    check(fit, adata)
    assert fit.spec.n_latent == 1


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_all_cells_alike(tiny, likelihood):
    adata = cells(likelihood, [10, 10])
    adata.X[:] = adata.X[0]
    if likelihood == "bernoulli":
        adata.X[:] = np.tile([0, 1], 6)
    X = check(
        fit_vae(adata, condition_keys="cell_type", likelihood=likelihood, **tiny), adata
    ).X.toarray()
    if likelihood in ("bernoulli", "gaussian"):
        np.testing.assert_allclose(X, np.tile(adata.X[0], (64, 1)), atol=1e-3)


@pytest.mark.parametrize("likelihood", ["nb", "zigamma", "bernoulli"])
def test_one_category(tiny, likelihood):
    adata = cells(likelihood, [25])
    fit = fit_vae(adata, condition_keys="cell_type", likelihood=likelihood, **tiny)
    assert fit.spec.conditions.n_conditions == 1
    check(fit, adata)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_no_key(tiny, likelihood):
    adata = cells(likelihood, [15, 15])
    fit = fit_vae(adata, likelihood=likelihood, **tiny)
    assert "condition" not in fit.spec.inputs
    check(fit, adata, keys=())


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_two_keys_with_a_combination_never_seen(tiny, likelihood):
    batch = ["a"] * 20 + ["a"] * 15 + ["b"] * 15 + ["b"] * 10
    adata = cells(likelihood, [20, 30, 10], batch=batch)
    fit = fit_vae(adata, condition_keys=["cell_type", "batch"], likelihood=likelihood, **tiny)
    assert fit.spec.conditions.combinations.tolist() == [[0, 0], [1, 0], [1, 1], [2, 1]]
    check(fit, adata, keys=("cell_type", "batch"))
    made = gen_exprs(fit, 20, conditions={"cell_type": "type2", "batch": "a"}, n_threads=1)
    assert made.obs["unseen_combination"].all()
    assert np.isfinite(made.X.toarray()).all()


def test_three_keys(tiny):
    n = 60
    adata = cells("nb", [20, 20, 20], batch=[f"b{i % 2}" for i in range(n)],
                  donor=[f"d{i % 3}" for i in range(n)])  # fmt: skip
    keys = ("cell_type", "batch", "donor")
    check(fit_vae(adata, condition_keys=keys, **tiny), adata, keys=keys)


@pytest.mark.parametrize(
    ("values", "categories"),
    [
        ([True, False] * 15, ("False", "True")),
        ([3, 11, 2] * 10, ("2", "3", "11")),
        ([0.0, 1.0] * 15, ("0", "1")),
    ],
    ids=["bool", "int", "whole floats"],
)
def test_labels_that_are_no_strings(tiny, values, categories):
    adata = cells("nb", [30], treated=values)
    fit = fit_vae(adata, condition_keys="treated", **tiny)
    assert fit.spec.conditions.keys[0].categories == categories
    asked = int(values[0]) if isinstance(values[0], float) else values[0]
    made = gen_exprs(fit, 8, conditions={"treated": asked}, n_threads=1)
    assert set(made.obs["treated"]) == {values[0]}
    assert adata.obs["treated"].tolist() == values


def test_thousands_of_labels(tiny):
    """1500 labels of 2 cells each: small to store, and generated one by one."""
    rng = np.random.default_rng(0)
    n_labels = 1500
    level = rng.gamma(1.0, 10.0, (n_labels, 20)) + 0.1
    label = np.repeat(np.arange(n_labels), 2)
    X = rng.poisson(level[label]).astype(np.float32)
    X[:, 0] += 1
    names = np.array([f"label{i:04d}" for i in range(n_labels)])
    obs = pd.DataFrame({"perturbation": names[label]}, index=[f"c{i}" for i in range(len(label))])
    adata = anndata.AnnData(X, obs=obs)
    fit = fit_vae(adata, condition_keys="perturbation", **{**tiny, "epochs": 3, "n_latent": 8})
    assert fit.spec.conditions.n_conditions == n_labels
    assert fit.spec.conditions.n_cells.tolist() == [2] * n_labels
    content = fit.artifact_bytes()
    assert len(content) < 3_000_000
    picked = names[rng.integers(n_labels, size=300)]
    made = gen_exprs(content, conditions={"perturbation": list(picked)}, n_threads=1)
    assert list(made.obs["perturbation"]) == list(picked)
    assert np.isfinite(made.X.toarray()).all()


def test_more_genes_than_most_assays(tiny):
    """Twenty cells of 30,000 genes, most of which are zero everywhere."""
    rng = np.random.default_rng(0)
    from scipy import sparse

    X = sparse.random(20, 30_000, 0.01, format="csr", random_state=rng, dtype=np.float32)
    X.data = np.ceil(5 * X.data)
    obs = pd.DataFrame({"cell_type": ["a", "b"] * 10}, index=[f"c{i}" for i in range(20)])
    adata = anndata.AnnData(X, obs=obs)
    fit = fit_vae(adata, condition_keys="cell_type", **{**tiny, "epochs": 2})
    made = gen_exprs(fit, 50, seed=2, n_threads=1)
    silent = np.asarray(X.sum(0)).ravel() == 0
    assert silent.sum() > 20_000
    # the expected counts of genes that were never seen are a vanishing part of the library
    assert made.X[:, np.flatnonzero(silent)].sum() <= 0.001 * made.X.sum()


@pytest.mark.parametrize("likelihood", ["nb", "poisson", "zigamma"])
def test_no_mean_goes_far_beyond_the_largest_value(tiny, likelihood):
    """Even for a z that no cell has: the straight path from z is cut off where the cells end."""
    from vaexprs.training.network.outputs import decoder_outputs

    adata = cells(likelihood, [30, 30])
    fit = fit_vae(adata, condition_keys="cell_type", likelihood=likelihood, **tiny)
    n = 50
    rng = np.random.default_rng(0)
    condition = np.repeat(np.eye(2, dtype=np.float32), n // 2, axis=0)
    inputs = {
        "z": (30 * rng.standard_normal((n, fit.spec.n_latent))).astype(np.float32),
        "condition": condition,
        "library": np.full((n, 1), 100, np.float32),
    }
    mean = decoder_outputs(fit.vae.decoder, fit.spec.law, fit.scaling, **inputs)["mean"]
    assert np.isfinite(mean).all()
    if likelihood == "zigamma":
        assert (mean <= 2.01 * adata.X.max(axis=0)).all()
    else:  # shares still sum to one
        np.testing.assert_allclose(mean.sum(1), 100, rtol=1e-4)
    assert fit.artifact_bytes()
