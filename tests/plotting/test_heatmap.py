"""Heatmaps of genes by cells."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("anndata")
pytest.importorskip("matplotlib")

import anndata
from matplotlib.colors import to_hex

from vaexprs.datasets import simulate_counts, simulate_groups
from vaexprs.errors import ArgumentError, DataError
from vaexprs.plotting import plot_heatmap
from vaexprs.style import colours


@pytest.fixture(scope="module")
def groups():
    adata = simulate_groups(n_cells_per_group=20, n_genes=120, n_markers=30)
    adata.X = np.minimum(adata.X, 30)  # as logged values: drawn as given
    return adata


@pytest.fixture(scope="module")
def counts():
    return simulate_counts(300, 200, cell_types={"B": 60, "NK": 3, "T": 37}, seed=0)


def panels(figure):
    return [ax for ax in figure.axes if ax.images]


def image(figure, panel=0):
    return np.asarray(panels(figure)[panel].images[0].get_array())


def strip(figure, panel=0):
    (bar,) = [
        artist
        for child in panels(figure)[panel].child_axes
        for artist in child.images
        if artist.get_gid() == "groups"
    ]
    return bar


def test_the_first_figure_of_the_original(groups):
    figure = plot_heatmap(groups, groupby="group")
    assert np.array_equal(image(figure), groups.X.T)
    codes = np.asarray(strip(figure).get_array())[0]
    assert codes.tolist() == [0] * 20 + [1] * 20 + [2] * 20
    drawn = [to_hex(strip(figure).cmap(strip(figure).norm(i))) for i in range(3)]
    assert drawn == list(colours(3))
    legend = panels(figure)[0].get_legend()
    assert legend.get_title().get_text() == "group"
    assert [text.get_text() for text in legend.get_texts()] == ["group1", "group2", "group3"]
    assert panels(figure)[0].get_ylabel() == "120 genes"
    assert panels(figure)[0].get_xlabel() == "60 cells"
    figure.canvas.draw()


def test_real_beside_generated_share_genes_groups_and_colours(groups):
    other = groups[::-2, ::-1].copy()
    figure = plot_heatmap({"real": groups, "generated": other}, groupby="group")
    assert [ax.get_xlabel() for ax in panels(figure)] == ["real: 60 cells", "generated: 30 cells"]
    ours, theirs = image(figure, 0), image(figure, 1)
    assert theirs.shape == (120, 30)
    # The same cells, whatever the order in which they came: genes in the order of the first.
    assert {tuple(column) for column in theirs.T} <= {tuple(column) for column in ours.T}
    clim = [ax.images[0].get_clim() for ax in panels(figure)]
    assert clim[0] == clim[1]
    assert np.asarray(strip(figure, 1).get_array())[0].tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_panels_are_named_by_what_they_hold(groups):
    first, second = groups.copy(), groups.copy()
    second.obs["source"] = "reconstruction"
    figure = plot_heatmap([first, second], groupby=None)
    assert [ax.get_xlabel() for ax in panels(figure)] == [
        "real: 60 cells",
        "reconstruction: 60 cells",
    ]
    assert not panels(figure)[0].child_axes or all(
        image_.get_gid() != "groups" for ax in panels(figure)[0].child_axes for image_ in ax.images
    )


def test_cells_without_groups_are_clustered_beside_grouped_ones(groups):
    shuffled = np.random.default_rng(0).permutation(60)
    bare = anndata.AnnData(groups.X[shuffled], var=groups.var[[]])
    figure = plot_heatmap({"real": groups, "generated": bare}, groupby="group")
    assert strip(figure).get_array().shape == (1, 60)
    assert not [a for child in panels(figure)[1].child_axes for a in child.images if a.get_gid()]
    assert panels(figure)[1].get_legend().get_title().get_text() == "group"
    # The three groups come out together: each cell is that of a group, and changes are few.
    group_of = {tuple(row): i // 20 for i, row in enumerate(groups.X)}
    order = [group_of[tuple(column)] for column in image(figure, 1).T]
    assert sorted(order) == [0] * 20 + [1] * 20 + [2] * 20
    assert np.count_nonzero(np.diff(order)) == 2
    two = plot_heatmap([groups, bare[:2].copy()], groupby="group")
    assert np.array_equal(image(two, 1), bare.X[:2].T)


def test_cells_are_thinned_and_rare_groups_stay(counts):
    figure = plot_heatmap(counts, groupby="cell_type", max_cells=50)
    codes = np.asarray(strip(figure).get_array())[0]
    assert np.bincount(codes).tolist() == [30, 6, 18]
    assert panels(figure)[0].get_xlabel() == "54 of 300 cells"
    again = plot_heatmap(counts, groupby="cell_type", max_cells=50)
    assert np.array_equal(image(figure), image(again))
    other = plot_heatmap(counts, groupby="cell_type", max_cells=50, seed=1)
    assert not np.array_equal(image(figure), image(other))


def test_markers_are_chosen_and_sorted_by_group(counts):
    figure = plot_heatmap(counts, groupby="cell_type", n_genes=9)
    ax = panels(figure)[0]
    assert ax.get_ylabel() == "9 genes (markers, by group)"
    names = [label.get_text() for label in ax.get_yticklabels()]
    # Three genes for each group in turn, and nearly all are what the simulation made markers.
    truth = counts.var["marker_of"].astype(object)[names].tolist()
    expected = ["B"] * 3 + ["NK"] * 3 + ["T"] * 3
    assert sum(a == b for a, b in zip(truth, expected, strict=True)) >= 8
    shares = counts.X.toarray() / counts.X.sum(1)
    shown = image(figure)
    at = counts.var_names.get_loc(names[0])
    b_cells = np.asarray(strip(figure).get_array())[0] == 0
    in_b = np.asarray(shares)[(counts.obs["cell_type"] == "B").to_numpy(), at]
    assert np.allclose(np.sort(shown[0, b_cells]), np.sort(np.log1p(1e4 * in_b)), rtol=1e-4)


def test_many_genes_are_cut_down_by_default():
    adata = anndata.AnnData(np.random.default_rng(0).poisson(1.0, (10, 2500)).astype(np.float32))
    assert image(plot_heatmap(adata)).shape == (120, 10)
    assert image(plot_heatmap(adata, n_genes=2500)).shape == (2500, 10)
    assert image(plot_heatmap(adata[:, :1000].copy())).shape == (1000, 10)


def test_cells_are_grouped_by_the_first_shared_label(groups):
    figure = plot_heatmap(groups[::-1], n_genes=9, title="Three groups")
    assert np.asarray(strip(figure).get_array())[0].tolist() == [0] * 20 + [1] * 20 + [2] * 20
    assert panels(figure)[0].get_ylabel() == "9 genes (markers, by group)"
    assert figure.get_suptitle() == "Three groups"
    assert plot_heatmap(groups[::-1], groupby=None).axes[0].get_legend() is None


def test_named_genes_are_shown_in_their_order(groups):
    figure = plot_heatmap(groups, groupby="group", genes=["gene7", "gene2"])
    assert np.array_equal(image(figure), groups[:, ["gene7", "gene2"]].X.T)
    ticks = [label.get_text() for label in panels(figure)[0].get_yticklabels()]
    assert ticks == ["gene7", "gene2"]
    one = plot_heatmap(groups, groupby="group", genes="gene7")
    assert np.array_equal(image(one), groups[:, ["gene7"]].X.T)
    with pytest.raises(DataError, match="unknown gene 'gene7x': did you mean 'gene7"):
        plot_heatmap(groups, genes=["gene7x"])
    with pytest.raises(DataError, match="array without gene names"):
        plot_heatmap(groups.X, genes=["gene1"])
    with pytest.raises(DataError, match="genes is empty"):
        plot_heatmap(groups, genes=[])


def test_arrays_files_and_unlabelled_cells_are_drawn(tmp_path, groups):
    assert np.array_equal(image(plot_heatmap(groups.X)), groups.X.T)
    groups.write_h5ad(tmp_path / "a.h5ad")
    assert np.array_equal(image(plot_heatmap(str(tmp_path / "a.h5ad"))), groups.X.T)
    lost = groups.copy()
    lost.obs["group"] = lost.obs["group"].astype(object)
    lost.obs.loc[lost.obs_names[:3], "group"] = None
    figure = plot_heatmap(lost, groupby="group")
    texts = [text.get_text() for text in panels(figure)[0].get_legend().get_texts()]
    assert texts == ["group1", "group2", "group3", "no label"]
    assert np.bincount(np.asarray(strip(figure).get_array())[0]).tolist() == [17, 20, 20, 3]


def test_more_groups_than_names_are_drawn():
    adata = simulate_counts(400, 30, cell_types=300, n_markers=0)
    figure = plot_heatmap(adata, groupby="cell_type")
    texts = [text.get_text() for text in panels(figure)[0].get_legend().get_texts()]
    assert len(texts) == 48
    assert texts[-1] == "253 more"
    assert not panels(figure)[0].lines  # lines between so many groups would hide the cells
    figure.canvas.draw()


def test_constant_data_and_one_cell_are_drawn():
    for X in (np.zeros((1, 1)), np.full((3, 2), 7.0), -np.ones((2, 2))):
        figure = plot_heatmap(X.astype(np.float32))
        figure.canvas.draw()
        low, high = panels(figure)[0].images[0].get_clim()
        assert low < high


def test_wrong_input_is_refused(groups):
    with pytest.raises(DataError, match=r"groupby='grup' is no obs column .* did you mean 'group'"):
        plot_heatmap(groups, groupby="grup")
    for name in ("max_cells", "n_genes"):
        for value in (0, 2.5):
            with pytest.raises(ArgumentError, match=f"{name} must be a whole number >= 1, got"):
                plot_heatmap(groups, **{name: value})
    with pytest.raises(DataError, match=r"no colour map 'virids': did you mean 'viridis'"):
        plot_heatmap(groups, cmap="virids")
    with pytest.raises(DataError, match="genes must be a name or a list of names, got 3"):
        plot_heatmap(groups, genes=3)
    with pytest.raises(DataError, match="nothing to draw"):
        plot_heatmap([])
    with pytest.raises(ArgumentError, match="seed must be a whole number >= 0, got -1"):
        plot_heatmap(groups, seed=-1)
    other = groups[:, :100].copy()
    with pytest.raises(DataError, match="20 of the 120"):
        plot_heatmap([groups, other])
