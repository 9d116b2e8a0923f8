"""Graph, Leiden, choice of the resolution, UMAP, markers."""

import re
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.clustering import settings as cluster_settings
from dice_atlas.clustering.graph import embedding_of, neighbor_graph
from dice_atlas.clustering.leiden import leiden_clusters, names_by_size
from dice_atlas.clustering.markers import COLUMNS, rank_markers
from dice_atlas.clustering.resolution import (
    choose_by_reference,
    choose_by_stability,
    cluster,
    clusters_table,
    scan_resolutions,
    subsample_stability,
)
from dice_atlas.clustering.umap import embed_umap
from dice_atlas.errors import InputError
from factories import CLUSTER, blobs, make_results
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu
from sklearn.manifold import trustworthiness
from sklearn.metrics import adjusted_rand_score

RESOLUTIONS = [0.05, 0.2, 0.6, 1.0, 8.0]


def leiden(resolutions, flavor="igraph"):
    return replace(CLUSTER, resolutions=tuple(resolutions), flavor=flavor)


@pytest.fixture(scope="module")
def six_blobs():
    return blobs(6, 70, 12, seed=1)


def test_neighbours_are_the_nearest_ones_by_brute_force(six_blobs):
    points, _ = six_blobs
    graph = neighbor_graph(points, 10, seed=0)
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    for cell in (0, 77, 300):
        expected = set(np.argsort(distances[cell])[:9])
        assert set(graph.obsp["distances"][cell].indices) == expected
    connectivities = graph.obsp["connectivities"]
    assert abs(connectivities - connectivities.T).max() < 1e-6


def test_bad_embeddings_are_refused():
    with pytest.raises(InputError, match="at least 3 cells"):
        neighbor_graph(np.zeros((2, 4)), 15, 0)
    points = np.random.default_rng(0).normal(size=(20, 3))
    points[4, 1] = np.nan
    with pytest.raises(InputError, match="1 of 20 cells is not finite"):
        neighbor_graph(points, 15, 0)
    with pytest.raises(InputError, match="no X_dice"):
        embedding_of(ad.AnnData(obsm={"X_pca": points}), "dice")


def test_three_cells_are_enough_for_a_graph():
    graph = neighbor_graph(np.array([[0.0, 0], [1, 0], [0, 1]]), 15, 0)
    assert leiden_clusters(graph, [1.0], 0, "igraph")[1.0].tolist() == ["0", "0", "0"]


def test_clusters_are_named_by_size():
    groups = np.array(["b", "a", "a", "c", "c", "c", "d"])
    assert names_by_size(groups).tolist() == ["2", "1", "1", "0", "0", "0", "3"]


@pytest.mark.parametrize("flavor", ["leidenalg", "igraph"])
def test_blobs_are_found_and_the_number_is_chosen_without_labels(six_blobs, flavor):
    points, labels = six_blobs
    graph = neighbor_graph(points, 15, 0, key="X")
    scan = scan_resolutions(graph, "X", leiden(RESOLUTIONS, flavor), 0)
    assert scan.table["chosen"].sum() == 1
    assert adjusted_rand_score(labels, scan.chosen) > 0.99
    assert len(np.unique(scan.chosen)) == 6
    # At 8.0 blobs are cut to pieces, and cut differently in every subsample.
    assert scan.table["stability"].iloc[-1] < scan.table["stability"].max()


@pytest.mark.parametrize("page", ["config/config.yaml", "config/README.md", "docs/scale.md"])
def test_the_pages_say_from_how_many_cells_on_igraph_is_taken(root, page):
    said = re.compile("igraph`? from .* cells|automatic .* igraph")
    [line] = [line for line in (root / page).read_text().splitlines() if said.search(line)]
    assert f"{cluster_settings.MANY_CELLS:,}" in line


def test_the_package_changes_the_clusters_and_not_their_stability(six_blobs, monkeypatch):
    graph = neighbor_graph(six_blobs[0], 15, 0, key="X")
    few = scan_resolutions(graph, "X", leiden([8.0], "auto"), 0)
    monkeypatch.setattr(cluster_settings, "MANY_CELLS", graph.n_obs)
    many, by_igraph, by_leidenalg = (
        scan_resolutions(graph, "X", leiden([8.0], flavor), 0)
        for flavor in ("auto", "igraph", "leidenalg")
    )
    stability = by_igraph.table["stability"].item()
    assert stability < 1
    for scan, same in ((few, by_leidenalg), (many, by_igraph)):
        pd.testing.assert_frame_equal(scan.partitions, same.partitions)
        assert scan.table["stability"].item() == stability
    assert not by_igraph.partitions.equals(by_leidenalg.partitions)


@pytest.mark.parametrize("resolution", [0.4, 2.0])
def test_igraphs_clusters_are_those_of_scanpy(resolution):
    noise = np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32)
    graph = neighbor_graph(noise, 15, 0)
    found = leiden_clusters(graph, [0.1, resolution], 3, "igraph")[resolution]
    sc.tl.leiden(graph, resolution, random_state=3, directed=False, n_iterations=2, flavor="igraph")
    assert (found == names_by_size(graph.obs["leiden"].to_numpy())).all()


def test_many_cells_go_to_the_faster_package(monkeypatch):
    noise = np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32)
    graph = neighbor_graph(noise, 15, 0)
    found = {name: leiden_clusters(graph, [1.0], 0, name)[1.0] for name in ("leidenalg", "igraph")}
    assert (found["leidenalg"] != found["igraph"]).any()
    for most, expected in ((401, "leidenalg"), (400, "igraph")):
        monkeypatch.setattr("dice_atlas.clustering.settings.MANY_CELLS", most)
        assert (leiden_clusters(graph, [1.0], 0, "auto")[1.0] == found[expected]).all()


def test_same_seed_same_clusters(six_blobs):
    points, _ = six_blobs
    runs = [
        scan_resolutions(neighbor_graph(points, 15, 3, key="X"), "X", leiden([0.5, 2.0]), 3)
        for _ in range(2)
    ]
    pd.testing.assert_frame_equal(runs[0].table, runs[1].table)
    pd.testing.assert_frame_equal(runs[0].partitions, runs[1].partitions)


def test_stability_of_one_cluster_and_of_noise():
    noise = np.random.default_rng(0).normal(size=(300, 10)).astype(np.float32)
    graph = neighbor_graph(noise, 15, 0, key="X")
    assert subsample_stability(graph, "X", [0.0001], 15, 0)[0] == 1.0
    scan = scan_resolutions(graph, "X", leiden([0.01, 2.0]), 0)
    assert scan.table["n_clusters"].tolist()[0] == 1
    assert scan.table["stability"].iloc[1] < 0.5
    # Noise has no clusters worth a name.
    assert scan.table["chosen"].tolist() == [True, False]


def table(n_clusters, stability, silhouette):
    return pd.DataFrame(
        {
            "resolution": np.arange(len(n_clusters)) + 1.0,
            "n_clusters": n_clusters,
            "stability": stability,
            "silhouette": silhouette,
        }
    )


@pytest.mark.parametrize(
    ("n_clusters", "stability", "silhouette", "chosen"),
    [
        ([1, 1, 1], [1, 1, 1], [np.nan] * 3, 0),
        ([1, 2, 5], [1, 0.9, 0.88], [np.nan, 0.2, 0.4], 2),  # not the trivial one
        ([2, 3, 5], [0.99, 0.95, 0.7], [0.2, 0.3, 0.9], 1),  # the unstable one does not count
        ([3, 4, 5], [0.99, 0.92, 0.9], [0.2, 0.3, 0.1], 1),  # the best separated, stable enough
        ([3, 3, 5], [0.99, 0.92, 0.9], [0.3, 0.3, 0.1], 0),  # of equal ones the coarsest
        ([2, 3], [0.3, 0.1], [0.1, 0.4], 0),  # nothing is stable, nothing is trivial
        ([2, 3], [1.0, 0.7], [np.nan, 0.3], 0),  # a cluster each: no silhouette
        ([2, 3], [1.0, 0.95], [np.nan, -0.3], 1),
        ([1, 3], [1.0, 0.2], [np.nan, 0.4], 0),
    ],
)
def test_choice_of_the_resolution(n_clusters, stability, silhouette, chosen):
    assert choose_by_stability(table(n_clusters, stability, silhouette)) == chosen


def nested_blobs():
    """Three far groups of two near ones each (cells x 2), the group and the blob of each cell."""
    rng = np.random.default_rng(0)
    centers = np.array([[0, 0], [2.4, 0], [60, 0], [62.4, 0], [0, 60], [2.4, 60]], dtype=float)
    blob = np.repeat(np.arange(6), 60)
    return centers[blob] + rng.normal(scale=0.5, size=(360, 2)), blob // 2, blob


@pytest.mark.parametrize("detail", ["groups", "blobs"])
def test_the_reference_chooses_the_detail_of_its_labels(detail):
    points, group, blob = nested_blobs()
    names = np.array([f"type {n}" for n in (group if detail == "groups" else blob)], dtype=object)
    # Every third cell is of the query.
    reference = np.arange(len(points)) % 3 > 0
    obs = pd.DataFrame({"role": np.where(reference, "reference", "query"), "label": names})
    obs.index = obs.index.astype(str)
    data = ad.AnnData(obs=obs, obsm={"X_dice": points})
    settings = leiden([0.001, 0.01, 0.05, 0.2, 0.5])
    found = cluster(data, settings, 0)
    assert adjusted_rand_score(names, found.chosen) > 0.9
    assert len(set(found.chosen)) == len(set(names))
    assert found.table["reference_ari"].max() > 0.9
    # The query's labels are not looked at.
    data.obs.loc[~reference, "label"] = "another"
    pd.testing.assert_frame_equal(cluster(data, settings, 0).table, found.table)


def test_of_equal_resolutions_the_reference_takes_the_coarsest():
    frame = pd.DataFrame({"resolution": [0.1, 0.2, 0.3], "reference_ari": [0.4, 0.9, 0.9]})
    assert choose_by_reference(frame) == 1


def test_a_resolution_by_hand_is_taken_and_tried_if_it_was_not_among_them(six_blobs):
    points, _ = six_blobs
    graph = neighbor_graph(points, 15, 0, key="X")
    scan = scan_resolutions(graph, "X", replace(leiden([0.2, 1.0]), choose=0.6), 0)
    assert scan.table["resolution"].tolist() == [0.2, 0.6, 1.0]
    assert scan.table["chosen"].tolist() == [False, True, False]


@pytest.mark.parametrize(("labels", "seen"), [("", "no labelled"), ("B", "one label alone, B")])
def test_without_two_labels_stability_makes_the_choice(six_blobs, labels, seen):
    points, _ = six_blobs
    obs = pd.DataFrame({"role": "reference", "label": labels}, index=range(len(points)))
    obs.index = obs.index.astype(str)
    data = ad.AnnData(obs=obs, obsm={"X_dice": points})
    found = cluster(data, leiden(RESOLUTIONS), 0)
    other = cluster(data, replace(leiden(RESOLUTIONS), choose="stability"), 0)
    pd.testing.assert_frame_equal(found.table, other.table)
    assert found.table["reference_ari"].isna().all()
    with pytest.raises(InputError, match=f"the cells have {seen}.*; expected two labels"):
        cluster(data, replace(leiden(RESOLUTIONS), choose="reference"), 0)


@pytest.mark.parametrize(
    ("name", "key", "file"),
    [
        ("dice", "X_dice", "denoised"),
        ("harmony", "X_harmony", "latents"),
        ("pca", "X_pca", "latents"),
    ],
)
def test_the_graph_is_made_of_the_embedding_that_config_names(tmp_path, name, key, file):
    data = ad.read_h5ad(make_results(tmp_path)[file])
    scan = cluster(data, replace(CLUSTER, embedding=name), seed=0)
    assert scan.graph.uns["embedding"] == name
    points = data.obsm[key]
    expected = np.sort(cdist(points, points), axis=1)[:, 1:15]
    stored = np.sort(scan.graph.obsp["distances"].data.reshape(len(points), -1), axis=1)
    np.testing.assert_allclose(stored, expected, rtol=1e-4)
    written = clusters_table(scan)
    assert written.columns.tolist() == ["cell", "cluster", "leiden_0.2", "leiden_0.6", "leiden_1"]
    assert written["cell"].tolist() == data.obs_names.tolist()
    sizes = written["cluster"].value_counts()
    assert sizes["0"] == sizes.max()


def test_umap_keeps_blobs_apart_is_reproducible_and_checks_the_embedding(six_blobs, tmp_path):
    points, labels = six_blobs
    graph = neighbor_graph(points, 15, 0, key="X_dice")
    graph.uns["embedding"] = "dice"
    graph.obsm.clear()
    graph.write_h5ad(tmp_path / "graph.h5ad")
    graph = ad.read_h5ad(tmp_path / "graph.h5ad")
    layout = embed_umap(graph, points, "dice", seed=0)
    np.testing.assert_array_equal(layout, embed_umap(graph, points, "dice", seed=0))
    distances = cdist(layout, layout)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.99
    # Of many cells: from the map of some.
    many = embed_umap(graph, points, "dice", 0, exact_up_to=100, sketch=len(points) // 3)
    assert not np.array_equal(many, layout)
    assert trustworthiness(points, many) > trustworthiness(points, layout) - 0.02
    assert np.array_equal(layout, embed_umap(graph, points, "dice", 0, exact_up_to=100))
    with pytest.raises(InputError, match="'dice', expected 'pca'"):
        embed_umap(graph, points, "pca", seed=0)


def expression(rng, clusters):
    """Gene 0 marks cluster 0, gene 1 cluster 1; cluster 1 lacks gene 2; the rest is noise."""
    counts = rng.poisson(0.3, size=(len(clusters), 12))
    counts[clusters == "0", 0] += rng.poisson(4, (clusters == "0").sum())
    counts[clusters == "1", 1] += rng.poisson(4, (clusters == "1").sum())
    counts[clusters != "1", 2] += rng.poisson(3, (clusters != "1").sum())
    var = pd.DataFrame(index=[f"g{i}" for i in range(12)])
    return ad.AnnData(sp.csr_matrix(np.log1p(counts).astype(np.float32)), var=var)


def test_markers_against_scipy(caplog):
    rng = np.random.default_rng(0)
    clusters = np.array(["0"] * 60 + ["1"] * 40 + ["2"] * 30 + ["3"], dtype=object)
    data = expression(rng, clusters)
    found = rank_markers(data, clusters)
    assert found.columns.tolist() == list(COLUMNS)
    assert found["cluster"].unique().tolist() == ["0", "1", "2"]
    assert "cluster 3 is one cell" in caplog.text
    first = found[found["rank"] == 1].set_index("cluster")["gene"]
    assert first["0"] == "g0"
    assert first["1"] == "g1"
    dense = data.X.toarray()
    row = found[(found["cluster"] == "0") & (found["gene"] == "g0")].iloc[0]
    inside, outside = dense[clusters == "0", 0], dense[clusters != "0", 0]
    test = mannwhitneyu(inside, outside, method="asymptotic", use_continuity=False)
    n, m = len(inside), len(outside)
    ties = np.unique(dense[:, 0], return_counts=True)[1]
    tie_term = ((ties**3 - ties) / ((n + m) * (n + m - 1))).sum()
    z = (test.statistic - n * m / 2) / np.sqrt(n * m / 12 * (n + m + 1 - tie_term))
    assert row["score"] == pytest.approx(z, rel=1e-5)
    assert row["share_in"] == pytest.approx((inside > 0).mean())
    assert row["share_out"] == pytest.approx((outside > 0).mean())
    fold = np.log2(np.expm1(inside.mean()) / np.expm1(outside.mean()))
    assert row["log2_fold_change"] == pytest.approx(fold, rel=1e-4)
    # The smallest of 12 p-values times 12.
    assert row["p_adjusted"] == pytest.approx(test.pvalue * 12, rel=1e-4)


def test_one_cluster_has_no_markers():
    data = expression(np.random.default_rng(0), np.array(["0"] * 20))
    found = rank_markers(data, np.array(["0"] * 20, dtype=object))
    assert found.empty
    assert found.columns.tolist() == list(COLUMNS)


def test_markers_are_those_of_scanpy(monkeypatch):
    monkeypatch.setattr("dice_atlas.clustering.markers.GENES_AT_ONCE", 5)
    rng = np.random.default_rng(1)
    clusters = rng.choice(["0", "1", "2", "10"], 300, p=[0.5, 0.3, 0.15, 0.05]).astype(object)
    data = expression(rng, clusters)
    # A gene that no cell has, and one that all have alike.
    dense = data.X.toarray()
    dense[:, 4], dense[:, 5] = 0, 1.5
    data = ad.AnnData(sp.csr_matrix(dense), obs=data.obs, var=data.var)
    found = rank_markers(data, clusters)
    data.obs["cluster"] = pd.Categorical(clusters)
    sc.tl.rank_genes_groups(data, "cluster", method="wilcoxon", tie_correct=True, pts=True)
    for name in ("0", "1", "2", "10"):
        expected = sc.get.rank_genes_groups_df(data, name).set_index("names")
        own = found[found["cluster"] == name].set_index("gene")
        assert set(own.index) == set(expected.index)
        expected = expected.loc[own.index]
        for column, theirs in {
            "score": "scores", "log2_fold_change": "logfoldchanges", "p_adjusted": "pvals_adj",
            "share_in": "pct_nz_group", "share_out": "pct_nz_reference",
        }.items():  # fmt: skip
            np.testing.assert_allclose(own[column], expected[theirs], rtol=2e-5, atol=1e-6)
        assert (np.diff(own["score"]) <= 0).all()
