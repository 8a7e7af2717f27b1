"""A fit: what it is given, what it decides, what it remembers, and that it can be had again."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
anndata = pytest.importorskip("anndata")
sparse = pytest.importorskip("scipy.sparse")

from vaexprs import fit_vae, gen_exprs  # noqa: E402
from vaexprs.datasets import simulate_groups  # noqa: E402
from vaexprs.errors import ArgumentError, ConditionError, DataError, DeviceError  # noqa: E402
from vaexprs.training.inputs.batches import split_cells  # noqa: E402
from vaexprs.training.network.model import VAE  # noqa: E402

pytestmark = pytest.mark.torch

LIKELIHOODS = ("bernoulli", "gaussian", "poisson", "nb", "zinb", "zigamma")
KEYS = ["cell_type", "batch"]


@pytest.fixture(autouse=True)
def fixed_date(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


# ---- the same seed, the same fit


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True])
def test_a_seed_is_a_whole_number_below_2_to_the_64(simulated, tiny, seed):
    with pytest.raises(ArgumentError, match="seed must be a whole number between 0 and 18446744"):
        fit_vae(simulated, **{**tiny, "epochs": 1}, seed=seed)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_seed_reproduces_a_fit_to_the_byte(values_for, tiny, likelihood):
    adata = values_for(likelihood)
    options = {**tiny, "condition_keys": KEYS, "likelihood": likelihood}
    first, again = (fit_vae(adata, seed=7, **options) for _ in range(2))
    assert first.artifact_bytes() == again.artifact_bytes()
    assert first.history == again.history
    np.testing.assert_array_equal(first.encode(adata), again.encode(adata))
    other = fit_vae(adata, seed=8, **options)
    assert other.history != first.history
    assert other.artifact_bytes() != first.artifact_bytes()


def test_plain_stacks_are_reproduced_too(simulated, tiny):
    options = {**tiny, "encoder": [(16, "relu")], "decoder": [(16, "relu")]}
    first, again = (fit_vae(simulated, **options).artifact_bytes() for _ in range(2))
    assert first == again


def test_global_generators_are_neither_read_nor_moved(simulated, tiny):
    made = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        made.append(fit_vae(simulated, condition_keys=KEYS, **tiny).artifact_bytes())
        assert torch.equal(torch.get_rng_state(), before[0])
        np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert made[0] == made[1]


def test_torchs_modes_are_left_as_they_were(simulated, tiny):
    fit = fit_vae(simulated, **tiny)
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    fit.encode(simulated)
    assert torch.is_grad_enabled()


def test_the_form_of_the_matrix_does_not_matter(simulated, tiny):
    dense = simulated.copy()
    dense.X = dense.X.toarray()
    columns = simulated.copy()
    columns.X = columns.X.tocsc()
    fits = [fit_vae(x, condition_keys=KEYS, **tiny) for x in (simulated, dense, columns)]
    assert fits[0].artifact_bytes() == fits[2].artifact_bytes()
    for name, values in fits[0].history.items():
        np.testing.assert_allclose(fits[1].history[name], values, rtol=1e-3)


def test_the_object_is_left_as_it_was(simulated, tiny):
    adata = simulated.copy()
    adata.layers["counts"] = adata.X.copy()
    before = adata.copy()
    fit = fit_vae(adata, condition_keys=KEYS, layer="counts", **tiny)
    fit.encode(adata)
    fit.reconstruct(adata)
    assert (adata.X != before.X).nnz == 0
    assert (adata.layers["counts"] != before.X).nnz == 0
    assert adata.obs.equals(before.obs)
    assert list(adata.obsm) == []


# ---- history


@pytest.mark.parametrize("validation_split", [0.0, 0.25])
def test_history_has_every_epoch_and_adds_up(simulated, tiny, validation_split):
    options = {**tiny, "epochs": 6, "kl_weight": 0.5, "kl_warmup": 4, "patience": None}
    fit = fit_vae(simulated, condition_keys=KEYS, validation_split=validation_split, **options)
    names = ["loss", "reconstruction", "kl"]
    if validation_split:
        names += ["val_loss", "val_reconstruction", "val_kl"]
    assert set(fit.history) == {*names, "kl_weight"}
    history = {name: np.array(values) for name, values in fit.history.items()}
    for values in history.values():
        assert values.shape == (6,)
        assert np.isfinite(values).all()
    assert all(isinstance(value, float) for values in fit.history.values() for value in values)
    np.testing.assert_allclose(history["kl_weight"], [0.125, 0.25, 0.375, 0.5, 0.5, 0.5])
    total = history["reconstruction"] + history["kl_weight"] * history["kl"]
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)
    if validation_split:  # held-out cells are judged by the whole weight from the start
        total = history["val_reconstruction"] + 0.5 * history["val_kl"]
        np.testing.assert_allclose(history["val_loss"], total, rtol=1e-5)
    assert (history["kl"] >= 0).all()


def test_the_loss_falls(simulated, tiny):
    history = fit_vae(simulated, condition_keys=KEYS, **{**tiny, "epochs": 30}).history
    assert history["reconstruction"][-1] < history["reconstruction"][0]


def test_no_warm_up_is_the_whole_weight_at_once(simulated, tiny):
    fit = fit_vae(simulated, kl_warmup=0, kl_weight=2.0, **tiny)
    assert fit.history["kl_weight"] == [2.0] * 5


def test_a_larger_weight_leaves_less_divergence(simulated, tiny):
    kl = [
        fit_vae(
            simulated, kl_weight=weight, kl_warmup=0, patience=None, **{**tiny, "epochs": 25}
        ).history["kl"][-1]
        for weight in (0.1, 1.0, 10.0)
    ]
    assert kl[0] > kl[1] > kl[2]


def test_no_weight_at_all_is_an_autoencoder(simulated, tiny):
    history = fit_vae(simulated, kl_weight=0, **tiny).history
    np.testing.assert_allclose(history["loss"], history["reconstruction"], rtol=1e-6)


# ---- early stopping


def test_early_stopping_restores_the_best_weights(simulated, tiny):
    """A fit that goes astray equals one that was ended at its best epoch."""
    options = {
        **tiny, "learning_rate": 0.03, "kl_warmup": 0, "calibrate": False,
        "validation_split": 0.3, "hidden": (64,),
    }  # fmt: skip
    long = fit_vae(simulated, patience=4, **{**options, "epochs": 300})
    losses = long.history["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) < 300
    assert len(losses) == best + 1 + 4
    assert losses[-1] > losses[best]
    assert long.spec.provenance["training"]["best_epoch"] == best + 1
    short = fit_vae(simulated, patience=None, **{**options, "epochs": best + 1})
    assert short.history["val_loss"] == losses[: best + 1]
    np.testing.assert_array_equal(long.encode(simulated), short.encode(simulated))
    np.testing.assert_array_equal(long.reconstruct(simulated).X, short.reconstruct(simulated).X)


def test_patience_none_goes_to_the_end(simulated, tiny):
    options = {**tiny, "learning_rate": 0.05, "epochs": 20}
    fit = fit_vae(simulated, patience=None, validation_split=0.3, **options)
    assert len(fit.history["loss"]) == 20


def test_without_validation_cells_nothing_stops_early(simulated, tiny):
    options = {**tiny, "learning_rate": 0.05, "epochs": 20}
    fit = fit_vae(simulated, patience=2, validation_split=0, **options)
    assert len(fit.history["loss"]) == 20
    assert fit.spec.provenance["training"]["best_epoch"] == 20


# ---- validation cells


def test_the_split_is_stratified():
    """Every group gives its share to within a cell and keeps two thirds; none goes twice."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(6), [1, 2, 3, 10, 100, 1000])
    training, held_out = split_cells(group, 0.2, rng)
    assert sorted([*training, *held_out]) == list(range(len(group)))
    given = np.bincount(group[held_out], minlength=6)
    sizes = np.bincount(group)
    assert given[0] == given[1] == 0
    assert (given <= sizes // 3).all()
    assert (np.abs(given - 0.2 * sizes) <= 1).all()


def test_small_groups_give_their_part_together():
    """400 groups of 5: a tenth of each is half a cell, 200 in all; sd 10, so 6 sd are allowed."""
    group = np.repeat(np.arange(400), 5)
    _, held_out = split_cells(group, 0.1, np.random.default_rng(0))
    assert np.bincount(group[held_out], minlength=400).max() == 1
    assert abs(len(held_out) - 200) < 60


def test_no_share_holds_nothing_out():
    training, held_out = split_cells(np.zeros(10, np.int64), 0.0, np.random.default_rng(0))
    assert len(training) == 10
    assert len(held_out) == 0


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_validation_data_are_scaled_by_the_training_cells(values_for, tiny, likelihood, plain):
    """The divergence of a held-out cell must not depend on the cells held out with it.

    Four blocks of cells of very different extremes are held out in pairs, two by two: the mean
    over all four is the same however they are paired, unless a pair's own extremes come in.
    """
    adata = values_for("zigamma")
    adata.X = adata.X.toarray()
    order = np.argsort(adata.X.max(1))
    blocks, training = np.split(order, 4), adata
    options = {**tiny, "epochs": 1, "likelihood": likelihood, "calibrate": False}
    if plain:
        options |= {"encoder": [(16, "tanh")], "decoder": [(16, "tanh")]}

    def kl(*parts):
        cells = adata[np.concatenate([blocks[part] for part in parts])]
        return fit_vae(training, validation_data=cells, **options).history["val_kl"][0]

    first, second = kl(0, 1) + kl(2, 3), kl(0, 2) + kl(1, 3)
    assert first == pytest.approx(second, rel=1e-4)
    assert kl(0, 1) != pytest.approx(kl(2, 3), rel=1e-3)  # they do differ


def test_validation_data_hold_no_training_cell_back(simulated, tiny):
    some = simulated[:40]
    fit = fit_vae(simulated, condition_keys=KEYS, validation_data=some, **tiny)
    assert fit.spec.conditions.n_cells.sum() == 160
    assert len(fit.history["val_loss"]) == len(fit.history["loss"])


def test_validation_data_of_arrays_bring_their_labels(simulated, tiny):
    X, labels = simulated.X.toarray(), np.array(simulated.obs["cell_type"])
    fit = fit_vae(X, labels=labels, validation_data=(X[:30], labels[:30]), **tiny)
    assert "val_loss" in fit.history


def test_validation_data_are_checked(simulated, tiny):
    some = simulated[:40].copy()
    some.obs["cell_type"] = "stranger"
    with pytest.raises(ConditionError, match="unknown category 'stranger'"):
        fit_vae(simulated, condition_keys="cell_type", validation_data=some, **tiny)
    with pytest.raises(DataError, match="genes are not in the data"):
        fit_vae(simulated, validation_data=simulated[:, :20], **tiny)
    logged = simulated[:40].copy()
    logged.X = np.log1p(logged.X.toarray())
    with pytest.raises(DataError, match="needs counts"):
        fit_vae(simulated, validation_data=logged, **tiny)


def test_genes_of_validation_data_are_matched_by_name(simulated, tiny):
    shuffled = simulated[:40, ::-1].copy()
    losses = [
        fit_vae(simulated, validation_data=cells, **tiny).history["val_loss"]
        for cells in (simulated[:40], shuffled)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


# ---- likelihood="auto"


@pytest.mark.parametrize(
    ("change", "likelihood", "reason"),
    [
        (lambda X: X, "nb", "whole numbers >= 0, as counts are"),
        (lambda X: X > 0, "bernoulli", "zeros and ones only"),
        (np.sqrt, "zigamma", "non-negative values that are no counts"),
        (lambda X: X**1.5, "zigamma", "non-negative values that are no counts"),
        (lambda X: np.log1p(X) - 1, "gaussian", "negative values"),
        (lambda X: np.log1p(X) + 0.1, "gaussian", "continuous values without zeros"),
        (lambda X: X + 1, "nb", "whole numbers"),
        (lambda X: 40 * X + 40, "nb", "whole numbers"),  # large, but nothing drops out
        (lambda X: 40 * X, "zigamma", "counts of reads rather than of molecules"),
    ],
)
def test_auto_chooses_and_says_so(simulated, tiny, caplog, change, likelihood, reason):
    adata = simulated.copy()
    adata.X = np.float32(change(adata.X.toarray()))
    with caplog.at_level(logging.INFO, logger="vaexprs"):
        fit = fit_vae(adata, **{**tiny, "epochs": 1})
    assert fit.spec.likelihood == likelihood
    assert f"likelihood {likelihood!r}: X holds {reason}" in caplog.text
    training = fit.spec.provenance["training"]
    assert training["likelihood"] == "auto"
    assert reason in training["likelihood_reason"]


def test_auto_names_the_layer_it_looked_at(simulated, tiny):
    adata = simulated.copy()
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.log1p(adata.X.toarray())
    fit = fit_vae(adata, layer="counts", **{**tiny, "epochs": 1})
    assert fit.spec.likelihood == "nb"
    assert "layer 'counts'" in fit.spec.provenance["training"]["likelihood_reason"]
    assert fit.spec.provenance["data"]["layer"] == "counts"


def test_only_zeros_are_nothing_to_learn_from(tiny):
    with pytest.raises(DataError, match="only zeros"):
        fit_vae(np.zeros((10, 4)), **tiny)


def test_bernoulli_of_other_values_adds_the_noise_that_they_have(simulated, values_for, tiny):
    binary = fit_vae(values_for("bernoulli"), **{**tiny, "epochs": 1})
    assert binary.spec.observation == "draw"
    asked = fit_vae(simulated, likelihood="bernoulli", **{**tiny, "epochs": 1})
    assert asked.spec.observation == "rectified"
    made, real = gen_exprs(asked, 2000, seed=1).X.toarray(), simulated.X.toarray()
    assert made.min() == 0
    varies = real.var(0) > 0
    assert 0.7 < np.median(made.var(0)[varies] / real.var(0)[varies]) < 1.4
    scaled = values_for("gaussian").X
    centred = fit_vae(scaled - scaled.mean(0), likelihood="bernoulli", **{**tiny, "epochs": 1})
    assert centred.spec.observation == "normal"


def test_counts_of_reads_come_back_as_whole_numbers(simulated, tiny):
    reads = simulated.copy()
    reads.X = 40 * reads.X
    fit = fit_vae(reads, **tiny)
    assert fit.spec.likelihood == "zigamma"
    assert fit.spec.observation == "rounded"
    made = gen_exprs(fit, 200, seed=1).X
    np.testing.assert_array_equal(made.data, np.rint(made.data))
    assert made.data.min() >= 1
    # other continuous values are left as they are drawn
    logged = fit_vae(np.log1p(reads.X.toarray()), likelihood="zigamma", **tiny)
    assert logged.spec.observation == "draw"


# ---- what was asked for


def test_plain_stacks_as_in_the_first_example_of_the_original(tiny):
    """Encoder 256 and 128, two latents, sigmoid outputs; 300 cells x 1000 genes."""
    groups = simulate_groups()
    genes = groups.n_vars
    fit = fit_vae(
        groups,
        likelihood="bernoulli",
        encoder=[(256, "relu"), (128, "relu")],
        decoder=[(128, "relu"), (256, "relu"), (genes, "sigmoid")],
        n_latent=2,
        **{k: v for k, v in tiny.items() if k not in ("hidden", "n_latent")},
    )
    layers = fit.spec.architecture
    assert layers["layout"] == "plain"
    read = {
        side: [(layer["units"], layer["activation"]) for layer in layers[side]]
        for side in ("encoder", "decoder")
    }
    assert read["encoder"] == [(1000, "linear"), (256, "relu"), (128, "relu"), (2, "linear")]
    assert read["decoder"] == [(2, "linear"), (128, "relu"), (256, "relu"), (1000, "sigmoid")]
    assert fit.encode(groups).shape == (300, 4)  # two latents, and two digits of the group
    mean = fit.reconstruct(groups).X
    assert mean.shape == groups.shape
    low, high = groups.X.min(0), groups.X.max(0)
    assert (mean >= low - 1e-4 * (1 + high)).all()
    assert (mean <= high + 1e-4 * (1 + high)).all()


def test_the_default_layout_is_described(simulated, tiny):
    options = {**tiny, "hidden": [(24, "elu"), (12, "tanh")]}
    layers = fit_vae(simulated, **options).spec.architecture
    assert layers["layout"] == "linear path"
    assert [x["units"] for x in layers["encoder"]][1:] == [24, 12, 4]
    assert [x["units"] for x in layers["decoder"]] == [4, 12, 24, 50]
    assert [x["activation"] for x in layers["decoder"]][1:3] == ["tanh", "elu"]


@pytest.mark.parametrize(
    "hidden",
    [16, (16,), [16, 8], [(16, "gelu")], [(16, "silu"), (8, "leaky_relu")], [[16, "selu"]]],
)
def test_layers_as_people_write_them(simulated, tiny, hidden):
    fit = fit_vae(simulated, **{**tiny, "hidden": hidden, "epochs": 1})
    assert fit.artifact_bytes()


@pytest.mark.parametrize("n_latent", [1, 3, 49])
def test_the_latent_space_is_as_large_as_asked(simulated, tiny, n_latent):
    fit = fit_vae(simulated, condition_keys=KEYS, **{**tiny, "n_latent": n_latent, "epochs": 2})
    assert fit.vae.shape.n_latent == n_latent
    groups = fit.vae.shape.hidden_groups
    n_digits = (groups - 1).bit_length() if groups else 0  # of the largest number of a group
    assert fit.spec.n_latent == n_latent + n_digits
    assert fit.encode(simulated).shape == (160, n_latent + n_digits)
    assert fit.artifact_bytes()


def test_a_latent_space_larger_than_the_data(simulated, tiny):
    fit = fit_vae(simulated[:12, :6].copy(), **{**tiny, "n_latent": 20, "epochs": 2})
    assert fit.spec.n_latent == 20
    assert fit.artifact_bytes()


def test_settings_and_data_are_remembered(simulated, tiny):
    fit = fit_vae(simulated, condition_keys=KEYS, seed=5, kl_weight=0.7, **tiny)
    provenance = fit.spec.provenance
    assert provenance["data"]["n_cells"] == 160
    assert provenance["data"]["n_genes"] == 50
    assert len(provenance["data"]["sha256"]) == 64
    assert provenance["date"] == "2023-11-14T22:13:20+00:00"
    assert provenance["training"]["seed"] == 5
    assert provenance["training"]["kl_weight"] == 0.7
    assert provenance["torch"] == str(torch.__version__)
    assert fit.spec.var_names == tuple(simulated.var_names)
    assert fit.spec.conditions.names == tuple(KEYS)
    assert fit.spec.conditions.n_cells.sum() == 160
    assert "likelihood='nb'" in repr(fit)
    assert "cell_type, batch" in repr(fit)
    assert "array" not in repr(fit)
    assert len(repr(fit)) < 300


def test_encode_and_reconstruct(simulated, tiny):
    fit = fit_vae(simulated, condition_keys=KEYS, **tiny)
    z = fit.encode(simulated)
    assert z.shape == (160, fit.spec.n_latent)
    assert z.dtype == np.float32
    np.testing.assert_allclose(fit.encode(simulated[[5]]), z[[5]], rtol=1e-4, atol=1e-5)
    shuffled = simulated[::-1, ::-1]
    np.testing.assert_allclose(fit.encode(shuffled)[::-1], z, rtol=1e-4, atol=1e-5)
    made = fit.reconstruct(simulated)
    assert made.shape == simulated.shape
    assert set(made.obs["source"]) == {"reconstruction"}
    assert list(made.obs_names) == list(simulated.obs_names)
    assert list(made.var_names) == list(simulated.var_names)
    for key in KEYS:
        assert list(made.obs[key]) == list(simulated.obs[key])
    np.testing.assert_array_equal(made.obsm["z"], z)
    # expected counts add up to the cell's own library size
    library = np.asarray(simulated.X.sum(1)).ravel()
    np.testing.assert_allclose(made.X.sum(1), library, rtol=1e-4)


def test_encoding_other_cells_is_checked(simulated, tiny):
    fit = fit_vae(simulated, condition_keys="cell_type", **tiny)
    with pytest.raises(DataError, match="genes are not in the data"):
        fit.encode(simulated[:, 1:])
    stranger = simulated[:5].copy()
    stranger.obs["cell_type"] = ["type1", "type2", "type9", "type1", "type1"]
    with pytest.raises(ConditionError, match="unknown category 'type9'"):
        fit.encode(stranger)
    with pytest.raises(ConditionError, match="no column 'cell_type'"):
        fit.encode(simulated[:5].to_df())
    logged = simulated[:5].copy()
    logged.X = np.log1p(logged.X.toarray())
    with pytest.raises(DataError, match="needs counts"):
        fit.reconstruct(logged)


def test_cells_are_encoded_as_they_were_read_for_the_fit(simulated, tiny):
    """The same AnnData, of which ``raw`` was read and missing labels were filled in."""
    cells = simulated.copy()
    cells.obs["label"] = cells.obs["cell_type"].astype(object)
    cells.obs.iloc[::5, cells.obs.columns.get_loc("label")] = None
    cells.raw = cells
    cells.X = np.log1p(1.1 * cells.X.toarray())
    options = {"raw": True, "missing": "unknown"}
    fit = fit_vae(cells, condition_keys="label", **options, **tiny)
    z = fit.encode(cells, missing="unknown")
    np.testing.assert_array_equal(z, fit.encode(cells, **options))
    np.testing.assert_array_equal(z, fit.reconstruct(cells, missing="unknown").obsm["z"])
    with pytest.raises(DataError, match="have no label under 'label'"):
        fit.encode(cells)
    with pytest.raises(DataError, match="needs counts, but X holds"):
        fit.encode(cells, missing="unknown", raw=False)
    with pytest.raises(DataError, match=r"holds 0 cells x .* expected at least one of each"):
        fit.encode(cells[:0].copy())
    for seed in (-1, None, 1.5, 2**64):
        for method in (fit.encode, fit.reconstruct):
            with pytest.raises(ArgumentError, match="seed must be a whole number"):
                method(cells, missing="unknown", sample=True, seed=seed)


def test_arrays_with_labels_do_what_an_anndata_does(simulated, tiny):
    X, labels = simulated.X, np.array(simulated.obs["cell_type"])
    fit = fit_vae(X, labels=labels, condition_keys="cell_type", **tiny)
    reference = fit_vae(simulated, condition_keys="cell_type", **tiny)
    assert fit.history == reference.history
    np.testing.assert_array_equal(fit.encode(X, labels=labels), reference.encode(simulated))
    made = fit.reconstruct(X, labels=labels)
    assert list(made.obs["cell_type"]) == list(labels)


def test_a_fit_reads_its_layer_again(simulated, tiny):
    adata = simulated.copy()
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.log1p(adata.X.toarray())
    fit = fit_vae(adata, layer="counts", **tiny)
    np.testing.assert_array_equal(fit.encode(adata), fit.encode(simulated))


# ---- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "negbin"}, "unknown likelihood 'negbin'"),
        ({"likelihood": "zimb"}, "did you mean 'zinb'"),
        ({"likelihood": None}, "unknown likelihood None"),
        ({"epochs": 0}, "epochs must be a whole number >= 1"),
        ({"epochs": -3}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate must be a number > 0"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"kl_weight": -1}, "kl_weight must be a number >= 0"),
        ({"kl_warmup": -1}, "kl_warmup"),
        ({"n_latent": 0}, "n_latent"),
        ({"validation_split": 1.0}, r"validation_split must be in \[0, 1\)"),
        ({"validation_split": -0.1}, "validation_split"),
        ({"validation_split": math.nan}, "validation_split"),
        ({"hidden": (0,)}, "a layer's width must be a whole number between 1 and 16777216, got 0"),
        ({"hidden": (2.5,)}, "hidden: a layer's width"),
        ({"hidden": (10**30,)}, "hidden: a layer's width"),
        ({"hidden": (10**7, 10**7)}, r"units takes [\d,]+ GB to train on .* use fewer units"),
        ({"hidden": [(16, "rleu")]}, "unknown activation 'rleu': did you mean 'relu'"),
        ({"hidden": "16"}, "hidden must list layers"),
        ({"encoder": []}, "at least one hidden layer"),
        ({"decoder": [(50, "sigmoid")], "likelihood": "bernoulli"}, "at least one hidden layer"),
        ({"decoder": [(8, "relu"), (50, "sigmoid")]}, "links its mean by 'softmax'"),
        ({"device": "gpu"}, "device must be 'auto', 'cpu', 'cuda', 'mps'"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(simulated, tiny, options, message):
    with pytest.raises(ValueError, match=message):
        fit_vae(simulated, **{**tiny, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condition_keys": 3}, "a condition key is the name of a column"),
        ({"condition_keys": [None]}, r"several are a list of names, not \[None\]"),
        ({"validation_data": (1, 2, 3)}, "not a tuple of 3"),
    ],
    ids=str,
)
def test_keys_and_cells_of_a_wrong_kind_are_refused(simulated, tiny, options, message):
    with pytest.raises(ValueError, match=message):
        fit_vae(simulated, **{**tiny, **options})


@pytest.mark.parametrize("options", [{"epochs": "3"}, {"learning_rate": "fast"}], ids=str)
def test_words_are_no_numbers(simulated, tiny, options):
    (name,) = options
    with pytest.raises((ValueError, TypeError), match=name):
        fit_vae(simulated, **{**tiny, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 1.5}, {"epochs": None}, {"batch_size": 10.5}, {"n_latent": 2.5},
        {"n_latent": 1025},
        {"kl_weight": None}, {"patience": -1}, {"seed": -1}, {"seed": 1.5}, {"seed": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_of_a_wrong_kind_are_refused_by_name(simulated, tiny, options):
    (name,) = options
    with pytest.raises((ValueError, TypeError), match=name):
        fit_vae(simulated, **{**tiny, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": np.int64(2)}, {"n_latent": np.int32(3)}, {"batch_size": np.int64(32)},
        {"learning_rate": np.float32(1e-3)}, {"seed": np.int64(3)},
        {"kl_warmup": np.int16(2)}, {"patience": np.int64(5)}, {"hidden": (np.int64(8),)},
    ],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_numbers_of_numpy_are_numbers(simulated, tiny, tmp_path, options):
    fit = fit_vae(simulated, **{**tiny, **options})
    assert fit.artifact_bytes()
    assert fit.save(tmp_path / "fit")


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_absent(simulated, tiny, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=rf"device='{device}' was asked for.*device='auto'"):
        fit_vae(simulated, **{**tiny, "device": device})


def test_auto_takes_the_cpu_where_there_is_nothing_else(simulated, tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    fit = fit_vae(simulated, **{**tiny, "device": "auto", "epochs": 1})
    assert fit.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("change", "likelihood", "message"),
    [
        (lambda X: np.sqrt(X), "nb", r'looks logged.*layer="counts"'),
        (lambda X: X - 1, "poisson", "needs values >= 0"),
        (lambda X: np.where(X > 5, np.nan, X), "auto", "must be finite"),
        (lambda X: np.where(np.arange(160)[:, None] == 3, 0, X), "zinb", "no counts at all"),
    ],
)
def test_values_that_do_not_fit_their_likelihood(simulated, tiny, change, likelihood, message):
    adata = simulated.copy()
    adata.X = np.float32(change(adata.X.toarray()))
    with pytest.raises(DataError, match=message):
        fit_vae(adata, likelihood=likelihood, **tiny)


def test_a_learning_rate_that_explodes_says_what_to_do(simulated, tiny):
    with pytest.raises(ArgumentError, match="try a smaller learning_rate"):
        fit_vae(simulated, likelihood="gaussian", **{**tiny, "learning_rate": 1e6, "epochs": 50})


def test_a_decoder_without_a_law_of_cells_says_what_to_do(simulated, tiny, monkeypatch):
    """The loss of the training cells may be finite where draws from the prior are not."""
    from vaexprs.training.calibration import draws

    def outputs(*arguments, **options):
        found = real(*arguments, **options)
        found["inverse_dispersion"][0, 1] = np.inf
        return found

    real = draws.decoder_outputs
    monkeypatch.setattr(draws, "decoder_outputs", outputs)
    with pytest.raises(
        ArgumentError,
        match=r"no cells can be drawn .*inverse_dispersion.* got inf .* smaller learning_rate",
    ):
        fit_vae(simulated, likelihood="nb", **tiny)


# ---- Ctrl-C, and what is printed


@pytest.fixture
def interrupt_after(monkeypatch):
    """Raise KeyboardInterrupt in the n-th step, as Ctrl-C does."""

    def arm(n_steps):
        whole, taken = VAE.losses, []

        def losses(self, *args, **kwargs):
            taken.append(None)
            if len(taken) == n_steps:
                raise KeyboardInterrupt
            return whole(self, *args, **kwargs)

        monkeypatch.setattr(VAE, "losses", losses)

    return arm


def test_ctrl_c_keeps_history_and_weights(simulated, tiny, tmp_path, interrupt_after, caplog):
    # 160 cells in batches of 40 without validation cells: 4 steps each epoch
    options = {**tiny, "batch_size": 40, "validation_split": 0, "condition_keys": KEYS}
    three = fit_vae(simulated, **{**options, "epochs": 3, "calibrate": False})
    interrupt_after(3 * 4 + 1)
    fit = fit_vae(simulated, **{**options, "epochs": 50, "calibrate": False})
    assert "interrupted after 3 epochs" in caplog.text
    assert fit.interrupted
    assert "interrupted" in repr(fit)
    assert fit.history == three.history
    np.testing.assert_array_equal(fit.encode(simulated), three.encode(simulated))
    assert fit.export(tmp_path / "cells.onnx").stat().st_size > 1000
    loaded = type(fit).load(fit.save(tmp_path / "fit.safetensors"))
    assert loaded.interrupted
    assert loaded.history == fit.history


def test_ctrl_c_in_the_middle_of_an_epoch_restores_the_best_one(simulated, tiny, interrupt_after):
    options = {**tiny, "epochs": 400, "patience": None, "validation_split": 0.3,
               "learning_rate": 0.03, "kl_warmup": 0, "calibrate": False}  # fmt: skip
    interrupt_after(81)
    fit = fit_vae(simulated, **options)
    lengths = {len(values) for values in fit.history.values()}
    assert len(lengths) == 1
    best = int(np.argmin(fit.history["val_loss"]))
    assert fit.spec.provenance["training"]["best_epoch"] == best + 1
    assert best + 1 < lengths.pop()


def test_ctrl_c_keeps_what_calibration_needs(simulated, tiny, interrupt_after):
    interrupt_after(10)
    fit = fit_vae(simulated, condition_keys=KEYS, **{**tiny, "epochs": 50})
    assert fit.interrupted
    assert fit.spec.prior.kind == "gaussian_mixture"
    assert fit.artifact_bytes()


def test_ctrl_c_before_the_first_epoch_is_done_raises(simulated, tiny, interrupt_after):
    interrupt_after(2)
    with pytest.raises(KeyboardInterrupt):
        fit_vae(simulated, **{**tiny, "batch_size": 40})


def test_without_progress_nothing_is_printed(simulated, tiny, capfd):
    fit_vae(simulated, condition_keys=KEYS, **tiny)
    assert capfd.readouterr() == ("", "")


def test_progress_goes_to_stderr(simulated, tiny, capfd):
    fit_vae(simulated, **{**tiny, "progress": True})
    out, err = capfd.readouterr()
    assert out == ""
    assert "training" in err
    assert "loss" in err
    assert "stopped after 5 epochs, best " in err


def test_the_best_epoch_comes_after_the_warm_up(simulated, tiny):
    """While the KL's weight rises the network still leans on what the full weight will forbid."""
    options = {**tiny, "epochs": 12, "kl_warmup": 8, "patience": 2}
    fit = fit_vae(simulated, learning_rate=0.1, **options)
    assert fit.spec.provenance["training"]["best_epoch"] >= 8
    assert len(fit.history["loss"]) >= 10
