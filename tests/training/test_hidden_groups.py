"""Kinds of cells that no label tells: found, kept apart, and generated like real ones."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
from vaexprs import VAEFit, fit_vae, gen_exprs  # noqa: E402
from vaexprs.datasets import simulate_groups  # noqa: E402
from vaexprs.latent.hidden_groups import digits_of, find_groups, gather, n_confounded_keys  # noqa: E402
from vaexprs.spec import ConditionKey, Conditions, Prior  # noqa: E402

#: The original's first example, as README shows it.
AS_WRITTEN = {
    "likelihood": "bernoulli", "encoder": [(512, "relu")],
    "decoder": [(512, "relu"), (1000, "sigmoid")], "epochs": 100, "batch_size": 32,
    "validation_split": 0.5, "patience": 10,
}  # fmt: skip


def groups_of(values, real, group):
    """Return the nearest group of cells, how clearly, and their distance on components 1 and 2."""
    from sklearn.decomposition import PCA

    centres = np.stack([real[group == g].mean(0) for g in range(3)])
    apart = np.linalg.norm(values[:, None] - centres, axis=2)
    nearest, ordered = apart.argmin(1), np.sort(apart, 1)
    pca = PCA(2, random_state=0).fit(real)
    away = np.linalg.norm(pca.transform(values) - pca.transform(centres)[nearest], axis=1)
    return nearest, ordered[:, 1] / ordered[:, 0], away


@pytest.mark.parametrize("options", [{}, AS_WRITTEN], ids=["defaults", "as written"])
def test_the_first_example_of_the_original_looks_real(options):
    """Other real cells of the same groups have a spread of 0.98 to 1.14 by the same measure."""
    cells = simulate_groups(seed=1)
    real, group = np.asarray(cells.X), cells.obs["group"].cat.codes.to_numpy()
    fit = fit_vae(cells, seed=1, progress=False, device="cpu", **options)
    made = gen_exprs(fit, 300, seed=3).X
    made = made if isinstance(made, np.ndarray) else made.toarray()
    nearest, margin, away = groups_of(made, real, group)
    _, real_margin, real_away = groups_of(real, real, group)
    assert np.median(away) < 1.25 * np.median(real_away)
    assert np.percentile(margin, 1) > np.percentile(real_margin, 1) - 0.08
    assert abs((made == 0).mean() - (real == 0).mean()) < 0.02
    within = [(made[nearest == g].var(0), real[group == g].var(0)) for g in range(3)]
    ratio = np.median(sum(m for m, _ in within) / sum(r for _, r in within))
    assert 0.8 < ratio < 1.25
    # a binomial number of 300 with chance 1/3 is within 4.5 deviations of 8
    assert (np.abs(np.bincount(nearest, minlength=3) - 100) < 37).all()


def test_groups_are_found_where_cells_lie_apart_and_only_there():
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], [300, 100, 60])
    centres = np.array([[0, 0, 0], [8, 0, 0], [0, 8, 3.0]])
    found = find_groups(centres[kinds] + rng.normal(size=(460, 3)), seed=0)
    assert found is not None
    assert found.n_groups == 3
    group = found.of(centres[kinds] + rng.normal(size=(460, 3)))
    pairs = {(int(k), int(g)) for k, g in zip(kinds, group, strict=True)}
    assert len(pairs) == 3
    assert find_groups(rng.normal(size=(460, 3)), seed=0) is None
    assert find_groups(rng.standard_t(3, size=(460, 3)), seed=0) is None


def test_fifteen_cells_are_no_group():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(300, 2))
    scores[:15] += 12
    assert find_groups(scores, seed=0) is None


@pytest.mark.parametrize("n_latent", [1, 5])
@pytest.mark.parametrize("counts", [False, True])
def test_latents_of_their_own_tell_the_groups(n_latent: int, counts: bool) -> None:
    n_groups, n_dim = 7, n_latent + counts
    rng = np.random.default_rng(2)
    means = rng.normal(size=(2 * n_groups, n_dim)).astype(np.float32)
    tril = np.tril(rng.normal(size=(1, n_dim, n_dim))).astype(np.float32)
    prior = Prior(
        "gaussian_mixture", counts, np.arange(0, 2 * n_groups + 1, 2), np.full(2 * n_groups, 0.5),
        means, tril, np.zeros(2 * n_groups, np.int32),
    )  # fmt: skip
    codes, n_cells = np.arange(n_groups, dtype=np.int32)[:, None], np.arange(1, n_groups + 1)
    told = Conditions((ConditionKey("hidden", tuple("abcdefg")),), codes, n_cells)
    alone = Conditions((), np.zeros((1, 0), np.int32), n_cells.sum(keepdims=True))
    centre, together, _ = gather(prior, None, told, alone)
    np.testing.assert_allclose(together.weights[::2], np.arange(1, 8) / 56)
    # what groups differ in is theirs, up to what all have in common
    expected = means[:, :n_latent].reshape(7, 2, -1).mean(1)
    np.testing.assert_allclose(centre, expected - expected.mean(0), atol=1e-6)
    digits = together.means[::2, n_latent : n_latent + 3]
    np.testing.assert_array_equal(digits, digits_of(n_groups))
    # the decoder's softmax of products, with what float32 keeps of it
    share = np.exp(np.float32(digits @ digits.T - (digits**2).sum(1)))
    np.testing.assert_array_equal(share, np.eye(n_groups))
    kept = [*range(n_latent), *range(n_latent + 3, n_dim + 3)]
    moved = means.copy()
    moved[:, :n_latent] -= centre[np.arange(14) // 2]
    np.testing.assert_array_equal(together.means[:, kept], moved)
    covariance = (together.tril @ together.tril.transpose(0, 2, 1))[0]
    np.testing.assert_allclose(covariance[np.ix_(kept, kept)], tril[0] @ tril[0].T, rtol=1e-5)
    assert np.count_nonzero(covariance) == np.count_nonzero(covariance[np.ix_(kept, kept)])


def test_effects_of_groups_are_those_within_combinations() -> None:
    """Two batches that differ by 10 have two groups that differ by 1, in unlike shares."""
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)
    n_cells = np.array([90, 10, 20, 80])
    keys = (ConditionKey("batch", ("a", "b")), ConditionKey("hidden", ("0", "1")))
    means = np.array([[0], [1], [10], [11]], np.float32)
    prior = Prior(
        "gaussian_mixture", False, np.arange(5), np.ones(4), means, np.ones((1, 1, 1), np.float32),
        np.zeros(4, np.int32),
    )  # fmt: skip
    alone = Conditions(keys[:1], codes[::2, :1], np.array([100, 100]))
    centre, together, _ = gather(prior, None, Conditions(keys, codes, n_cells), alone)
    np.testing.assert_allclose(centre, [[-0.5], [0.5]], rtol=1e-6)
    np.testing.assert_allclose(together.means[:, 0], [0.5, 0.5, 10.5, 10.5], rtol=1e-6)


def test_kinds_are_confounded_with_keys_where_a_category_lacks_one() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 2, (400, 2))
    assert n_confounded_keys(rng.integers(0, 2, 400), codes) == 0
    unlike = rng.random(400) < np.array([0.05, 0.3])[codes[:, 0]]
    assert n_confounded_keys(unlike.astype(int), codes) == 0
    assert n_confounded_keys(codes[:, 0], codes) == 1
    assert n_confounded_keys(codes[:, 0] + 2 * codes[:, 1], codes) == 2
    # of a category of a few cells nothing is expected
    codes[:5, 1], kind = 2, codes[:, 1].copy()
    assert n_confounded_keys(np.where(kind == 2, 0, kind), codes[:, 1:]) == 1
    assert n_confounded_keys(np.zeros(400, int), codes) == 0
    # kind 2 is in label 1 alone, which has no cells in batch 1: the batch does not lack it
    label, batch = np.repeat([0, 0, 1], 100), np.repeat([0, 1, 0], 100)
    kind = label + rng.integers(0, 2, 300)
    assert n_confounded_keys(kind, np.column_stack([label, batch])) == 1


@pytest.mark.parametrize("effect", [0.25, 0.5])
def test_effects_of_two_keys_reach_the_combination_that_training_did_not_have(effect) -> None:
    """Each key moves the log expression of every gene by N(0, effect)."""
    rng = np.random.default_rng(5)
    n_genes, n = 300, 250
    base, batch, stimulus = rng.normal(0, 1, n_genes), *rng.normal(0, effect, (2, n_genes))
    log_mean, parts, labels = {}, [], []
    for b in (0, 1):
        for s in (0, 1):
            log_mean[b, s] = base + b * batch + s * stimulus
            if (b, s) == (1, 1):
                continue
            share = np.exp(log_mean[b, s]) / np.exp(log_mean[b, s]).sum()
            size = 3000 * np.exp(rng.normal(0, 0.2, (n, 1)))
            parts.append(rng.poisson(rng.gamma(5, share * size / 5)))
            labels += [(b, s)] * n
    labels = np.array(labels)
    fit = fit_vae(
        np.concatenate(parts).astype(np.float32), seed=0, progress=False, device="cpu",
        labels={"batch": labels[:, 0].astype(str), "stimulus": labels[:, 1].astype(str)},
    )  # fmt: skip
    made = gen_exprs(fit, 1000, conditions={"batch": "1", "stimulus": "1"}, seed=1)
    share = np.asarray(made.X.sum(0)).ravel() + 1
    found = np.log(share / share.sum())
    for key, without in ((batch, (0, 1)), (stimulus, (1, 0))):
        change = found - (log_mean[without] - np.log(np.exp(log_mean[without]).sum()))
        centred = key - key.mean()
        # 0.77 to 0.94 in fits of several seeds, without hidden groups, too
        assert 0.7 < centred @ change / (centred @ centred) < 1.2


def test_encoding_saving_and_exporting_keep_the_groups(tmp_path):
    cells = simulate_groups(seed=2, n_genes=300, n_markers=60)
    fit = fit_vae(cells, epochs=3, seed=0, n_latent=3, progress=False, device="cpu")
    assert fit.spec.conditions.keys == ()
    assert fit.spec.n_latent == 5  # three latents, and two digits of the group
    assert fit.vae.shape.n_latent == fit.vae.shape.n_conditions == 3
    z = fit.encode(cells)
    nearest = (z[:, 3:] @ fit.vae.decoder.digits.numpy().T).argmax(1)
    group = cells.obs["group"].cat.codes.to_numpy()
    assert len(set(zip(nearest.tolist(), group.tolist(), strict=True))) == 3
    # the decoder tells the groups from z alone
    means = fit.reconstruct(cells).X
    correct = [np.abs(means[group == g] - cells.X[group == g].mean(0)).mean() for g in range(3)]
    wrong = np.abs(means[group == 0] - cells.X[group == 1].mean(0)).mean()
    assert max(correct) < 0.6 * wrong
    again = VAEFit.load(fit.save(tmp_path / "fit.safetensors"))
    np.testing.assert_array_equal(again.encode(cells), z)
    assert again.artifact_bytes() == fit.artifact_bytes()


def test_groups_within_labels_are_kept_and_labels_are_obeyed():
    """Two kinds in one label, in shares of 2 : 1, and two labels in one kind."""
    cells = simulate_groups(seed=3, n_genes=300, n_markers=60)
    cells.obs["label"] = np.where(np.arange(300) < 150, "a", "b")  # a: kinds 1, 2; b: 2, 3
    fit = fit_vae(cells, condition_keys="label", seed=0, epochs=20, progress=False, device="cpu")
    assert fit.vae.shape.hidden_groups == 3
    assert [key.name for key in fit.spec.conditions.keys] == ["label"]
    assert fit.spec.conditions.n_cells.tolist() == [150, 150]
    real, group = np.asarray(cells.X), cells.obs["group"].cat.codes.to_numpy()
    made = gen_exprs(fit, 600, seed=4)
    nearest, _, _ = groups_of(made.X.toarray(), real, group)
    labels = made.obs["label"].to_numpy()
    for label, shares in (("a", [2 / 3, 1 / 3, 0]), ("b", [0, 1 / 3, 2 / 3])):
        found = np.bincount(nearest[labels == label], minlength=3) / (labels == label).sum()
        # 300 draws have an error of 0.027: five of them, and the fit's own
        np.testing.assert_allclose(found, shares, atol=0.15)
    again = fit.reconstruct(cells)
    assert again.X.shape == cells.shape


def test_cells_of_unseen_combinations_belong_to_one_group_each() -> None:
    """Label b has two kinds, and none of its cells in batch y is there to train on.

    Of label a batch y has one kind more often than batch x, and so it will of label b. What that
    does to the mean of a batch must not move cells between the kinds.
    """
    cells = simulate_groups(3, n_cells_per_group=150, n_genes=300, n_markers=60)
    label = np.where(np.arange(450) < 225, "a", "b")  # a: kinds 1, 2; b: 2, 3
    group = cells.obs["group"].cat.codes.to_numpy()
    batch = np.where(np.arange(450) % 5 < np.array([1, 4, 3])[group], "x", "y")
    cells.obs["label"], cells.obs["batch"] = label, batch
    there = (label == "a") | (batch == "x")
    fit = fit_vae(
        cells[there].copy(), condition_keys=["label", "batch"], seed=0, epochs=20, progress=False,
        device="cpu",
    )  # fmt: skip
    assert fit.vae.shape.hidden_groups == 3
    made = gen_exprs(fit, 600, conditions={"label": "b", "batch": "y"}, seed=4)
    assert made.obs["unseen_combination"].all()
    nearest, away, _ = groups_of(made.X.toarray(), np.asarray(cells.X), group)
    found = np.bincount(nearest, minlength=3) / 600
    # As of the cells that were left out. 600 draws have an error of 0.02: three of them, and the
    # fit's own.
    np.testing.assert_allclose(found, [0, 0.2, 0.8], atol=0.1)
    real = cells[(label == "b") & (batch == "y")]
    _, of_real, _ = groups_of(np.asarray(real.X), np.asarray(cells.X), group)
    assert np.median(away) < 1.3 * np.median(of_real)
