"""Real and generated cells in one plane."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("anndata")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

import anndata
from matplotlib.colors import to_hex

from vaexprs.datasets import simulate_counts, simulate_groups
from vaexprs.errors import ArgumentError, DataError, UnknownArgumentError
from vaexprs.plotting import plot_aug
from vaexprs.plotting.projection import METHODS, method_named
from vaexprs.style import MISSING, colours

N_REAL, N_MADE = 60, 45


@pytest.fixture(scope="module")
def real():
    return simulate_counts(N_REAL, 80, cell_types={"B": 1, "NK": 1, "T": 1}, n_markers=20, seed=0)


@pytest.fixture(scope="module")
def made():
    adata = simulate_counts(N_MADE, 80, cell_types={"B": 1, "NK": 1, "T": 1}, n_markers=20, seed=0)
    adata.obs["source"] = "generated"
    adata.obs["library"] = np.ravel(adata.X.sum(1))
    return adata


def points(figure, source):
    (found,) = [c for c in figure.axes[0].collections if c.get_gid() == source]
    return found


def legends(figure):
    from matplotlib.legend import Legend

    found = [child for child in figure.axes[0].get_children() if isinstance(child, Legend)]
    return {
        legend.get_title().get_text(): [text.get_text() for text in legend.get_texts()]
        for legend in found
    }


def note(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("method", ["PCA", "MDS", "TSNE", "NMF", "DiffusionMap"])
def test_every_method_draws_every_cell(real, made, method):
    if method == "DiffusionMap":
        pytest.importorskip("scanpy")
    figure = plot_aug(made, method, real=real)
    for source, n in (("real", N_REAL), ("generated", N_MADE)):
        offsets = points(figure, source).get_offsets()
        assert offsets.shape == (n, 2)
        assert np.isfinite(offsets).all()
        assert np.ptp(offsets, axis=0).min() > 0
    assert legends(figure) == {
        "cell_type": ["B", "NK", "T"],
        "": [f"real ({N_REAL})", f"generated ({N_MADE})"],
    }
    where = "on the real cells" if method in ("PCA", "NMF") else "on both together"
    assert note(figure)[1] == f"log1p of counts per 10,000, 80 genes; fitted {where}"
    figure.canvas.draw()


@pytest.mark.slow
def test_umap_draws_every_cell_on_both_bases(real, made):
    pytest.importorskip("umap")
    for basis in ("real", "joint"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            figure = plot_aug(made, "umap", real=real, basis=basis, n_epochs=20)
        assert points(figure, "real").get_offsets().shape == (N_REAL, 2)
        assert points(figure, "generated").get_offsets().shape == (N_MADE, 2)
        assert figure.axes[0].get_xlabel() == "UMAP 1"


@pytest.mark.slow
def test_umap_takes_a_handful_of_cells(real, made):
    pytest.importorskip("umap")
    figure = plot_aug(made[:1], "UMAP", real=real[:4])
    assert np.isfinite(points(figure, "generated").get_offsets()).all()


def test_a_fitted_plane_is_that_of_the_real_cells(real, made):
    def plane(generated):
        return points(plot_aug(generated, real=real), "real").get_offsets()

    assert np.allclose(plane(made), plane(made[:5]))
    # Real cells given as generated ones fall on themselves.
    figure = plot_aug(real, real=real)
    assert np.allclose(
        points(figure, "real").get_offsets(), points(figure, "generated").get_offsets()
    )
    joint = plot_aug(made, real=real, basis="joint")
    assert note(joint)[1].endswith("fitted on both together")
    assert not np.allclose(points(joint, "real").get_offsets(), plane(made))


def test_pca_is_that_of_scikit_learn(real, made):
    from sklearn.decomposition import PCA

    X = real.X.toarray()
    X = np.log1p(1e4 * X / X.sum(1, keepdims=True))
    pca = PCA(2, random_state=0).fit(X)
    figure = plot_aug(made, real=real)
    drawn = points(figure, "real").get_offsets()
    drawn = drawn[np.argsort(drawn[:, 0])]
    expected = pca.transform(X)
    assert np.allclose(np.sort(np.abs(drawn[:, 0])), np.sort(np.abs(expected[:, 0])), atol=1e-3)
    share = 100 * pca.explained_variance_ratio_
    assert figure.axes[0].get_xlabel() == f"PC1 ({share[0]:.1f} % of the variance)"


@pytest.mark.parametrize("method", ["PCA", "TSNE", "MDS", "NMF"])
def test_a_seed_gives_the_same_picture(real, made, method):
    def drawn(seed):
        return points(plot_aug(made, method, real=real, seed=seed), "generated").get_offsets()

    assert np.array_equal(drawn(3), drawn(3))


def test_colours_are_those_of_the_condition_and_source_is_a_matter_of_style(real, made):
    figure = plot_aug(made, real=real, color="cell_type")
    expected = dict(zip(("B", "NK", "T"), colours(3), strict=True))
    for adata, source in ((real, "real"), (made, "generated")):
        drawn = [to_hex(face) for face in points(figure, source).get_facecolors()]
        labels = adata.obs["cell_type"]
        for label, colour in expected.items():
            assert drawn.count(colour) == (labels == label).sum()
    discs, dots = points(figure, "real"), points(figure, "generated")
    assert discs.get_sizes()[0] > 3 * dots.get_sizes()[0]
    assert discs.get_alpha() < 0.5
    assert discs.get_zorder() <= dots.get_zorder()


def test_colour_by_source_gene_or_measurement(real, made):
    figure = plot_aug(made, real=real, color="source")
    assert legends(figure) == {"": [f"real ({N_REAL})", f"generated ({N_MADE})"]}
    assert len({to_hex(face) for face in points(figure, "real").get_facecolors()}) == 1

    figure = plot_aug(made, real=real, color=real.var_names[3])
    assert len(figure.axes) == 2  # a colour bar
    assert figure.axes[1].get_ylabel() == real.var_names[3]

    measured = real.copy()
    measured.obs["score"] = np.linspace(0, 1, N_REAL)
    measured.obs.loc[measured.obs_names[0], "score"] = np.nan
    other = made.copy()
    other.obs["score"] = 0.5
    figure = plot_aug(other, real=measured, color="score")
    faces = [to_hex(face) for face in points(figure, "real").get_facecolors()]
    assert faces.count(MISSING) == 1
    assert len(set(faces)) > 30


def test_without_a_shared_label_cells_are_coloured_by_source(real, made):
    bare = anndata.AnnData(made.X, var=made.var[[]])
    assert legends(plot_aug(bare, real=real)) == {"": [f"real ({N_REAL})", f"generated ({N_MADE})"]}


def test_missing_and_new_labels_are_shown(real, made):
    other = made.copy()
    other.obs["cell_type"] = other.obs["cell_type"].astype(object)
    other.obs.loc[other.obs_names[:2], "cell_type"] = None
    other.obs.loc[other.obs_names[2], "cell_type"] = "A new one, of a name that is far too long"
    assert legends(plot_aug(other, real=real))["cell_type"] == [
        "A new one, of a name that is fa…", "B", "NK", "T", "no label",
    ]  # fmt: skip


def test_more_categories_than_colours_are_folded():
    names = [f"t{i}" for i in range(70)]
    adata = simulate_counts(400, 60, cell_types=names, n_markers=0, seed=1)
    figure = plot_aug(adata, real=adata)
    shown = legends(figure)["cell_type"]
    assert len(shown) == 40
    assert shown[-1] == "31 others"
    assert shown[:3] == ["t0", "t1", "t2"]  # the most frequent ones, numbers read as numbers


def test_legends_lie_outside_and_nothing_is_cut_off(real, made):
    figure = plot_aug(made, real=real)
    figure.canvas.draw()
    ax = figure.axes[0]
    page = figure.bbox
    renderer = figure.canvas.get_renderer()
    inner = ax.get_window_extent(renderer)
    from matplotlib.legend import Legend

    for legend in (child for child in ax.get_children() if isinstance(child, Legend)):
        box = legend.get_window_extent(renderer)
        assert box.x0 >= inner.x1 - 1 or box.y0 >= inner.y1 - 1
    whole = ax.get_tightbbox(renderer)
    assert whole.x0 >= 0
    assert whole.y0 >= 0
    assert whole.x1 <= page.x1
    assert whole.y1 <= page.y1


def test_arrays_with_labels_and_files_are_drawn(tmp_path, real, made):
    figure = plot_aug(
        made.X,
        real=real.X.toarray(),
        real_labels=real.obs["cell_type"],
        generated_labels=made.obs["cell_type"],
    )
    assert legends(figure)["label"] == ["B", "NK", "T"]
    real.write_h5ad(tmp_path / "real.h5ad")
    made.write_h5ad(tmp_path / "made.h5ad")
    from_files = plot_aug(tmp_path / "made.h5ad", real=str(tmp_path / "real.h5ad"), max_cells=20)
    assert legends(from_files)[""] == ["real (20 of 60)", "generated (20 of 45)"]
    assert points(from_files, "generated").get_offsets().shape == (20, 2)


def test_genes_may_be_a_part_in_another_order(real, made):
    part = made[:, made.var_names[::-1][:50]].copy()
    figure = plot_aug(part, real=real)
    same = plot_aug(made[:, sorted(part.var_names)].copy(), real=real)
    ours, theirs = (np.abs(points(f, "real").get_offsets()) for f in (figure, same))
    assert np.allclose(np.sort(ours, axis=0), np.sort(theirs, axis=0), atol=1e-3)


def test_the_genes_of_the_largest_variance_are_kept(real, made):
    figure = plot_aug(made, real=real, n_top_genes=10)
    assert "10 genes of the largest variance" in note(figure)[1]
    for n in (1, 2.5):
        with pytest.raises(ArgumentError, match="n_top_genes must be a whole number >= 2, got"):
            plot_aug(made, real=real, n_top_genes=n)


def test_values_of_the_three_groups_are_drawn_as_they_are():
    groups = simulate_groups(n_genes=300, n_cells_per_group=20)
    figure = plot_aug(groups, real=groups, scale="log")
    assert note(figure)[1].startswith("values as given, 300 genes")
    assert legends(figure)["group"] == ["group1", "group2", "group3"]


def test_methods_are_known_by_any_case_and_others_are_refused(real, made):
    for name in METHODS:
        assert method_named(name.lower()) == method_named(f" {name.upper()} ") == name
    assert method_named("t-SNE") == "TSNE"
    assert method_named("diffmap") == method_named("diffusion_map") == "DiffusionMap"
    with pytest.raises(DataError, match="unknown method 'UMPA': did you mean 'UMAP'"):
        plot_aug(made, "UMPA", real=real)
    with pytest.raises(DataError, match="unknown method 3: known: 'PCA'"):
        plot_aug(made, 3, real=real)


def test_options_reach_the_library(real, made):
    with pytest.raises(Exception, match="perplexity"):
        plot_aug(made, "TSNE", real=real, perplexity=1000.0)
    with pytest.raises(TypeError, match="perplexity"):
        plot_aug(made, "PCA", real=real, perplexity=5.0)


@pytest.mark.parametrize(
    "figsize", [3, (0, 1), (-1, 2), (np.nan, 4), (4,), (1e6, 2), "ab", (None, 3)], ids=str
)
def test_sizes_that_no_figure_has_are_refused(real, made, figsize):
    with pytest.raises(ArgumentError, match=r"figsize must be width and height in inches"):
        plot_aug(made, real=real, figsize=figsize)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"colour": "cell_type"}, UnknownArgumentError, r"'colour'.*did you mean 'color'"),
        ({"n_components": 1}, UnknownArgumentError, "takes none for a plane"),
        ({"n_neighbors": 9}, UnknownArgumentError, r"'n_neighbors', and sklearn.*PCA takes none"),
        ({"color": ["cell_type"]}, DataError, "color must be the name of"),
        ({"ax": 3}, ArgumentError, "ax must be axes of matplotlib, got 3"),
        ({"max_cells": 2.5}, ArgumentError, "max_cells must be a whole number"),
        ({"seed": -1}, ArgumentError, "seed must be a whole number >= 0"),
        (
            {"method": "TSNE", "perplexity": 500},
            DataError, "TSNE refuses these cells or options: perplexity",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_of_a_wrong_kind_are_refused(real, made, options, error, message):
    with pytest.raises(error, match=message):
        plot_aug(made, real=real, **options)


def test_wrong_input_is_refused(real, made):
    with pytest.raises(DataError, match="did you mean 'cell_type'"):
        plot_aug(made, real=real, color="celltype")
    with pytest.raises(DataError, match="of the real cells"):
        plot_aug(made, real=real, color="library")
    renamed = made.copy()
    renamed.var_names = [f"{name}x" for name in made.var_names]
    with pytest.raises(DataError, match="80 of the 80 generated genes are not among the 80 real"):
        plot_aug(renamed, real=real)
    logged = real.copy()
    logged.X = np.log1p(real.X.toarray())
    with pytest.raises(DataError, match="generated cells are counts and the real cells are not"):
        plot_aug(made, real=logged)
    logged.layers["counts"] = real.X
    assert plot_aug(made, real=logged, layer="counts").axes
    logged_made = made.copy()
    logged_made.X = np.log1p(made.X.toarray())
    assert plot_aug(logged_made, real=logged).axes
    for scale in ("auto", "counts"):
        with pytest.raises(DataError, match="the generated cells hold log1p of counts"):
            plot_aug(logged_made, real=real, scale=scale)
    holed = real.copy()
    holed.X = real.X.toarray()
    holed.X[0, 0] = np.nan
    with pytest.raises(DataError, match="the real cells hold NaN"):
        plot_aug(made, real=holed)
    nothing = np.zeros((5, 4))
    with pytest.raises(DataError, match="NMF refuses these cells or options"):
        plot_aug(nothing, "NMF", real=nothing)
    labels = real.obs["cell_type"].tolist()
    for side, cells in (("real", made.X[: len(labels)]), ("generated", made.X)):
        given = {f"{side}_labels": labels[: N_MADE if side == "generated" else None]}
        with pytest.raises(DataError, match=f"{side}_labels were given, and the"):
            plot_aug(cells, real=real.X, **given)
    with pytest.raises(DataError, match="MDS cannot place new cells"):
        plot_aug(made, "MDS", real=real, basis="real")
    with pytest.raises(DataError, match="unknown basis 'both'"):
        plot_aug(made, real=real, basis="both")
    with pytest.raises(DataError, match=r"at least 3 cells and 2 genes .* got 2 real cells"):
        plot_aug(made, real=real[:2])
    negative = anndata.AnnData(np.random.default_rng(0).normal(size=(20, 5)))
    with pytest.raises(DataError, match="NMF needs values of at least 0"):
        plot_aug(negative, "NMF", real=negative)
    pytest.importorskip("scanpy")
    with pytest.raises(DataError, match=r"DiffusionMap needs at least 5 cells .* got 4 cells"):
        plot_aug(made[:1], "DiffusionMap", real=real[:3])


def test_panels_side_by_side_show_the_same_plane(real, made):
    figure = plot_aug(made, real=real, layout="side", title="Mine", figsize=(9, 4))
    overlay = plot_aug(made, real=real)
    left, right = figure.axes
    assert figure.get_size_inches().tolist() == [9, 4]
    assert figure.get_suptitle() == "Mine"
    assert figure.get_supxlabel().startswith("log1p of counts per 10,000, 80 genes")
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    assert [ax.get_title(loc="left") for ax in (left, right)] == [
        f"real ({N_REAL})", f"generated ({N_MADE})",
    ]  # fmt: skip
    for ax, source in ((left, "real"), (right, "generated")):
        (drawn,) = ax.collections
        assert np.array_equal(drawn.get_offsets(), points(overlay, source).get_offsets())
        low, high = ax.get_xlim()
        assert low < drawn.get_offsets()[:, 0].min()
        assert drawn.get_offsets()[:, 0].max() < high
    with pytest.raises(DataError, match="unknown layout 'both'"):
        plot_aug(made, real=real, layout="both")
    with pytest.raises(DataError, match="leave ax out"):
        plot_aug(made, real=real, layout="side", ax=left)


def test_given_axes_are_drawn_on(real, made):
    from matplotlib.figure import Figure

    outer = Figure()
    axes = outer.subplots(1, 2)
    assert plot_aug(made, real=real, ax=axes[1]) is outer
    assert not axes[0].collections
    assert len(axes[1].collections) == 2
