"""Programs that some cells of a kind have on: found, kept through a fit, and generated."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
import anndata  # noqa: E402
import pandas as pd  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from vaexprs import VAEFit, fit_vae, gen_exprs  # noqa: E402
from vaexprs.errors import ArtifactError  # noqa: E402
from vaexprs.latent.programs import find_programs  # noqa: E402

Array = NDArray[np.floating[Any]]


def found_in(scores: Array, combination: Any, kind: Any = None, *, seed: int = 0) -> Any:
    """Return the programs of cells with one condition key."""
    kind = np.zeros(len(scores), np.int64) if kind is None else kind
    return find_programs(scores, combination[:, None], combination, kind, seed)


def scores_of(
    rng: np.random.Generator, shares: list[float], n: int = 900
) -> tuple[Array, NDArray[np.int64], NDArray[np.bool_]]:
    """Return scores of cells of three combinations, and which programs are on in each cell."""
    combination = rng.integers(3, size=n)
    on = rng.random((n, len(shares))) < shares
    scores = 4 * rng.normal(size=(3, 6))[combination] + rng.normal(size=(n, 6))
    for k in range(len(shares)):
        scores[:, k] += 5 * on[:, k]
    return scores, combination, on


def test_a_program_is_found_in_every_combination() -> None:
    """Half of the cells are asked for it; it is then found in the other half, too."""
    scores, combination, on = scores_of(np.random.default_rng(0), [0.1], n=1800)
    found = found_in(scores[:900], combination[:900])
    assert found is not None
    assert found.n_groups == 2
    group = found.of(scores, combination, 0 * combination)
    for half in (slice(900), slice(900, None)):
        for one in range(3):
            there = combination[half] == one
            assert (group[half] == on[half, 0])[there].mean() > 0.97


def test_two_programs_are_four_groups_where_cells_have_them_together() -> None:
    rng = np.random.default_rng(1)
    scores, combination, on = scores_of(rng, [0.2, 0.25], n=2000)
    found = found_in(scores, combination)
    assert found is not None
    assert found.n_groups == 4
    group = found.of(scores, combination, 0 * combination)
    pattern = on @ [1, 2]
    table = np.zeros((4, 4), np.int64)
    np.add.at(table, (group, pattern), 1)
    assert table.max(axis=1).sum() > 0.95 * len(group)
    assert sorted(table.argmax(axis=1)) == [0, 1, 2, 3]


def test_a_pattern_of_few_cells_is_no_group() -> None:
    """Some eight cells have both programs; they count as cells of one of them."""
    scores, combination, _ = scores_of(np.random.default_rng(2), [0.08, 0.08], n=1300)
    found = found_in(scores, combination)
    assert found is not None
    assert found.n_groups == 3
    assert np.bincount(found.of(scores, combination, 0 * combination)).min() >= 20


def test_kinds_keep_groups_of_their_own() -> None:
    scores, combination, _ = scores_of(np.random.default_rng(3), [0.12])
    kind = np.arange(len(scores)) % 2
    scores[kind == 1] -= [0, 0, 9, 0, 0, 0]
    found = found_in(scores, combination, kind)
    assert found is not None
    assert found.n_groups == 4
    group = found.of(scores, combination, kind)
    for k in (0, 1):
        assert len(set(group[kind == k])) == 2
        assert not set(group[kind == k]) & set(group[kind != k])


def two_keys(rng: np.random.Generator, n: int) -> tuple[Array, NDArray[np.int64]]:
    """Return normal scores of cells of three types with two treatments, and their categories."""
    codes = np.column_stack([rng.integers(3, size=n), rng.integers(2, size=n)])
    return rng.normal(size=(n, 8)), codes


@pytest.mark.parametrize("where", ["category", "combination"])
def test_a_program_of_some_cells_is_found_among_them(where: str) -> None:
    """Cells of one treatment, or of one type and treatment, have it on; the others spread there."""
    rng = np.random.default_rng(8)
    scores, codes = two_keys(rng, 2000)
    combination = codes @ [2, 1]
    there = codes[:, 1] == 0 if where == "category" else combination == 4
    on = there & (rng.random(len(scores)) < 0.1)
    scores[:, 0] += 5 * on
    scores[~there, 0] *= 3
    found = find_programs(scores, codes, combination, 0 * combination, seed=0)
    assert found is not None
    group = found.of(scores, combination, 0 * combination)
    assert found.n_groups == 2
    assert ((group == group[on][0]) == on)[there].mean() > 0.98
    assert len(set(group[~there])) == 1
    assert np.isfinite(found.threshold).any(axis=1).tolist() == [
        *(bool(there[combination == one].all()) for one in range(6)), False,
    ]  # fmt: skip


def test_a_program_of_one_category_stands_beside_a_rare_one_that_its_cells_have_too() -> None:
    """The first is on in all categories, in few cells of the last, and these have the second on."""
    rng = np.random.default_rng(9)
    n = 3000
    combination = rng.integers(3, size=n)
    second = (combination == 2) & (rng.random(n) < 0.15)
    first = np.where(combination == 2, second & (rng.random(n) < 0.05), rng.random(n) < 0.12)
    scores = rng.normal(size=(n, 6))
    scores[:, 0] += 6 * first
    scores[:, 1] += 6 * second
    scores[combination != 2, 1] *= 3
    found = found_in(scores, combination)
    assert found is not None
    group = found.of(scores, combination, 0 * combination)
    assert found.n_groups == 3
    on = group[second & ~first]
    assert (on == on[0]).mean() > 0.95
    assert (group[~second] == on[0]).mean() < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_normal_scores_have_no_program_in_any_part(seed: int) -> None:
    """Nor has a part in which a few cells lie far out."""
    scores, codes = two_keys(np.random.default_rng(20 + seed), 900)
    combination = codes @ [2, 1]
    assert find_programs(scores, codes, combination, 0 * combination, seed=seed) is None
    scores[np.flatnonzero(combination == 1)[:4]] += 3
    assert find_programs(scores, codes, combination, 0 * combination, seed=seed) is None


@pytest.mark.parametrize("seed", range(5))
def test_normal_scores_and_a_few_odd_cells_have_no_program(seed: int) -> None:
    scores, combination, _ = scores_of(np.random.default_rng(10 + seed), [0.0])
    assert found_in(scores, combination, seed=seed) is None
    scores[:8, 0] += 6
    assert found_in(scores, combination, seed=seed) is None


def test_a_continuum_is_no_program() -> None:
    scores = np.random.default_rng(6).uniform(size=(1200, 2))
    zero = np.zeros(len(scores), np.int64)
    assert found_in(scores, zero) is None


@pytest.mark.parametrize("shape", [(30, 1), (400, 1), (25, 12), (5, 3)])
def test_sizes_at_the_edge(shape: tuple[int, int]) -> None:
    """Few cells, or one score; and scores that do not vary."""
    scores = np.random.default_rng(0).normal(size=shape)
    zero = np.zeros(len(scores), np.int64)
    assert found_in(scores, zero) is None
    assert found_in(0 * scores, zero) is None


def test_many_cells_with_a_rare_kind() -> None:
    """More cells than are looked at, and a kind of which none may be among those."""
    scores, combination, on = scores_of(np.random.default_rng(4), [0.05], n=60_000)
    kind = np.zeros(len(scores), np.int64)
    kind[-2:] = 1
    found = found_in(scores, combination, kind)
    assert found is not None
    group = found.of(scores, combination, kind)
    assert (group[:-2] == on[:-2, 0]).mean() > 0.97
    assert len(set(group[-2:])) == 1
    assert group[-1] not in group[:-2]


@pytest.fixture(scope="module")
def switching() -> anndata.AnnData:
    """Return 800 cells of two types in which 25 genes are four times as high in one cell of six.

    Counts are so low that the cells' scores overlap.
    """
    rng = np.random.default_rng(5)
    level = rng.gamma(1.0, 0.3, 150) + 0.2
    of_type = np.exp(0.8 * rng.normal(size=(2, 150)))
    types, on = rng.integers(2, size=800), rng.random(800) < 1 / 6
    mean = level * of_type[types]
    mean[np.ix_(on, np.arange(25))] *= 4
    X = rng.poisson(mean * rng.lognormal(0, 0.25, (800, 1))).astype(np.float32)
    obs = pd.DataFrame({"cell_type": np.array(["a", "b"])[types], "on": on})
    return anndata.AnnData(X, obs=obs.set_index(obs.index.astype(str)))


@pytest.fixture(scope="module")
def fit(switching: anndata.AnnData) -> VAEFit:
    return fit_vae(switching, condition_keys="cell_type", seed=0, progress=False, device="cpu")


def program_score(cells: anndata.AnnData) -> Array:
    """Return the share of the program's genes in the counts of each cell."""
    X = cells.X if isinstance(cells.X, np.ndarray) else cells.X.toarray()
    share: Array = X[:, :25].sum(1) / X.sum(1)
    return share


def test_generated_cells_have_the_program_on_or_off(
    switching: anndata.AnnData, fit: VAEFit
) -> None:
    """Between the two lie 1 to 2 % of real cells, and 12 to 15 % of cells drawn without groups."""
    made = gen_exprs(fit, 3000, seed=1)
    for kind in "ab":
        real = switching[switching.obs["cell_type"] == kind]
        score, on = program_score(real), real.obs["on"].to_numpy()
        low, high = np.median(score[~on]), np.median(score[on])
        drawn = program_score(made[made.obs["cell_type"] == kind])
        middle = (low + high) / 2
        # of 400 cells, and of 1,500 drawn: errors of 0.019 and 0.01
        assert abs((drawn > middle).mean() - (score > middle).mean()) < 0.06
        assert np.mean(abs(drawn - middle) < (high - low) / 6) < 0.1


def test_encoding_saving_and_exporting_keep_programs(
    switching: anndata.AnnData, fit: VAEFit, tmp_path: Any
) -> None:
    assert fit.features.program_group is not None
    assert fit.vae.shape.hidden_groups == 4  # a type is a kind, too
    assert [key.name for key in fit.spec.conditions.keys] == ["cell_type"]
    again = VAEFit.load(fit.save(tmp_path / "fit.safetensors"))
    some = switching[::3].copy()
    np.testing.assert_array_equal(again.encode(some), fit.encode(some))
    assert again.artifact_bytes() == fit.artifact_bytes()


def test_cells_of_combinations_that_training_did_not_have_are_encoded(
    switching: anndata.AnnData,
) -> None:
    """Their program is told by the centre of all cells, on or off."""
    cells = switching.copy()
    cells.obs["batch"] = np.where(np.arange(800) % 2, "x", "y")
    unseen = ((cells.obs["cell_type"] == "b") & (cells.obs["batch"] == "y")).to_numpy()
    fit = fit_vae(
        cells[~unseen].copy(), condition_keys=["cell_type", "batch"], seed=0, epochs=2,
        validation_data=cells[unseen].copy(), progress=False, device="cpu",
    )  # fmt: skip
    assert fit.features.program_group is not None
    z = fit.encode(cells[unseen].copy())
    assert z.shape == (unseen.sum(), fit.spec.n_latent)
    groups = z[:, fit.vae.shape.n_latent :]
    on = cells.obs["on"].to_numpy()[unseen]
    of_on, of_off = (np.unique(groups[side], axis=0, return_counts=True) for side in (on, ~on))
    assert not np.array_equal(of_on[0][of_on[1].argmax()], of_off[0][of_off[1].argmax()])
    assert fit.reconstruct(cells[unseen].copy()).shape == (unseen.sum(), 150)


def test_a_fit_with_groups_of_an_older_layout_is_refused(fit: VAEFit, tmp_path: Any) -> None:
    path = fit.save(tmp_path / "fit.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    told = json.loads(metadata["vaexprs.fit"])
    metadata["vaexprs.fit"] = json.dumps({**told, "version": 2})
    save_file(tensors, tmp_path / "older.safetensors", metadata)
    with pytest.raises(ArtifactError, match=r"older vaexprs \(version 2.*fit the model again"):
        VAEFit.load(tmp_path / "older.safetensors")
