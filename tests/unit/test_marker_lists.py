"""Labels by marker lists: ranks against scipy, p values and calls on cells of known type."""

from functools import partial
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dice_atlas.atlas.columns import cell_types, marker_columns
from dice_atlas.errors import InputError
from dice_atlas.marker_lists import calls as called
from dice_atlas.marker_lists import ranks
from dice_atlas.marker_lists.calls import NO_LIST, SEVERAL, annotate, cell_table
from dice_atlas.marker_lists.evidence import distances_of, draw_lists, similar_genes, weigh
from dice_atlas.marker_lists.genes import found_genes, gene_table
from dice_atlas.marker_lists.lists import read_marker_list
from dice_atlas.marker_lists.ranks import Scored, cell_scores, ranks_of, score_cells, weights_of
from dice_atlas.numerics.blocks import read_blocks
from scipy.stats import kstest, mannwhitneyu, rankdata

GENES = pd.Index([f"g{i}" for i in range(300)], dtype=object)


def counts(n, rng, rate=0.7):
    """Poisson counts with many zeros and ties."""
    return sp.csr_matrix(rng.poisson(rate, (n, len(GENES))).astype(np.int32))


def test_scores_are_those_of_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    values, d = counts(20, rng), len(GENES)
    own = rng.choice(d, 7, replace=False)
    signs = {"A": dict.fromkeys(GENES[own], 1)}
    found = cell_scores(ranks_of(values, d), weights_of(signs, GENES, d))[:, 0]
    for cell, score in zip(values.toarray(), found, strict=True):
        inside, outside = cell[own], np.delete(cell, own)
        # Pairs in which the gene outside is the higher one.
        u = mannwhitneyu(outside, inside).statistic
        assert score == pytest.approx(1 - u / (7 * d - 7 * 8 / 2), abs=1e-12)


@pytest.mark.parametrize("most", [40, 120, 300])
def test_ranks_behind_the_last_count_alike(most):
    rng = np.random.default_rng(1)
    values = counts(15, rng, 0.3)
    values = sp.csr_matrix(values.toarray() * (np.arange(15) != 3)[:, None])
    signs = {"A": {"g1": 1, "g2": 1, "g3": -1}, "B": {"g4": 1, "g250": -1, "g9": -1}}
    found = cell_scores(ranks_of(values, most), weights_of(signs, GENES, most))
    dense = values.toarray()
    for i, cell in enumerate(dense):
        rank = np.minimum(rankdata(-cell), most)
        for j, own in enumerate(signs.values()):
            expected = 0.0
            for sign in (1, -1):
                some = [rank[GENES.get_loc(g)] for g, its in own.items() if its == sign]
                n = len(some)
                u = sum(some) - n * (n + 1) / 2
                expected += sign * (1 - u / (n * most - n * (n + 1) / 2))
            assert found[i, j] == pytest.approx(expected, abs=1e-12)


def write_sample(folder, name, values, genes):
    """filtered.h5ad with what is read of it."""
    cells = [f"{name}_{i}" for i in range(values.shape[0])]
    var = pd.DataFrame({"gene_id": [f"ENSG{g[1:]:0>11}" for g in genes]}, index=list(genes))
    path = folder / f"{name}.h5ad"
    ad.AnnData(sp.csr_matrix(values), obs=pd.DataFrame(index=cells), var=var).write_h5ad(path)
    return path


def test_blocks_of_samples_with_other_genes_give_what_one_dense_matrix_does(tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    values = counts(50, rng)
    order = rng.permutation(250)
    paths = [
        write_sample(tmp_path, "a", values[:30], GENES),
        write_sample(tmp_path, "b", values[30:, order], GENES[order]),
    ]
    common = ranks.common_genes(paths).index
    assert list(common) == list(GENES[:250])
    clusters = rng.integers(0, 3, 50)
    weights = weights_of({"A": {"g1": 1, "g7": -1}}, common, 100)
    monkeypatch.setattr(ranks, "read_blocks", partial(read_blocks, size=7))
    found = score_cells(paths, common, clusters, weights, 100)
    dense = np.array([np.minimum(rankdata(-cell), 100) for cell in values[:, :250].toarray()])
    above = 100 - dense
    np.testing.assert_allclose(found.scores, above @ weights, atol=1e-6)
    expected = [above[clusters == k].mean(axis=0) for k in range(3)]
    np.testing.assert_allclose(found.means, expected)
    np.testing.assert_allclose(found.sd, above.std(axis=0))
    for wrong in (clusters[:-1], np.append(clusters, 0)):
        with pytest.raises(InputError, match="another number of cells"):
            score_cells(paths, common, wrong, weights, 100)


def noise(n_clusters, rng):
    """Means of clusters that differ by chance alone, on levels of many sizes."""
    level = np.sort(rng.gamma(0.5, 2, 2000))
    return Scored(np.zeros((0, 1)), level + rng.normal(0, 0.1 + 0.2 * level, (n_clusters, 2000)),
                  1 + level)  # fmt: skip


def test_p_values_of_random_lists_are_uniform():
    rng = np.random.default_rng(3)
    scored = noise(4, rng)
    distances, level = distances_of(scored), scored.means.mean(axis=0)
    found = []
    for i in range(150):
        genes = rng.choice(2000, 8, replace=False)
        signs = dict(zip(genes.tolist(), rng.choice([1, 1, -1], 8).tolist(), strict=True))
        found.append(weigh(distances, level, signs, i, lists=400).p[0])
    assert kstest(found, "uniform").pvalue > 0.05
    assert min(found) >= 1 / 401


def test_a_planted_list_is_told_and_a_gene_left_out_is_left_out():
    rng = np.random.default_rng(4)
    scored = noise(3, rng)
    own = np.array([300, 900, 1500, 1700, 1900])
    scored.means[1, own] += 3 * scored.sd[own]
    distances, level = distances_of(scored), scored.means.mean(axis=0)
    signs = dict(zip(own.tolist(), [1, 1, 1, 1, -1], strict=True))
    found = weigh(distances, level, signs, 0)
    assert found.p[1] == 1 / 10_001
    assert found.z[1] > 5
    assert found.p[0] > 0.5
    plus, minus = distances[:, own[:4]], distances[:, own[4]]
    np.testing.assert_allclose(found.effect, plus.sum(axis=1) / 2 - minus)
    np.testing.assert_allclose(found.strength, found.effect / 2)
    np.testing.assert_allclose(found.parts.sum(axis=1), found.effect)
    np.testing.assert_allclose(
        found.effect_without[:, 0], plus[:, 1:].sum(axis=1) / np.sqrt(3) - minus
    )
    np.testing.assert_allclose(found.effect_without[:, 4], plus.sum(axis=1) / 2)
    alone = weigh(distances, level, {300: 1}, 0)
    assert np.isneginf(alone.effect_without).all()


def test_random_lists_hold_similar_genes_each_once():
    level = np.arange(500.0)
    similar = similar_genes(level, np.array([0, 250, 499]))
    assert np.abs(similar[1] - 250).max() <= 51
    assert similar[0].max() <= 101
    assert not np.isin(similar, [0, 250, 499]).any()
    drawn = draw_lists(np.tile(np.arange(8), (4, 1)), 500, np.random.default_rng(0))
    assert all(len(set(row)) == 4 for row in drawn)


@pytest.fixture
def typed(tmp_path):
    """Cells of three types, each with eight genes that it has; clusters are the types."""
    rng = np.random.default_rng(5)
    kinds = np.repeat([0, 1, 2], 40)
    rate = np.full((120, len(GENES)), 0.4)
    for kind in range(3):
        rate[np.ix_(kinds == kind, np.arange(8 * kind, 8 * kind + 8))] = 3.0
    path = write_sample(tmp_path, "s", rng.poisson(rate), GENES)
    lists = {f"T{k}": {f"g{i}": 1 for i in range(8 * k, 8 * k + 6)} for k in range(3)}
    lists["T0"] |= {"g9": -1}
    return SimpleNamespace(paths=[path], clusters=kinds.astype(str), lists=lists)


def test_clusters_get_the_type_whose_genes_they_have(typed):
    found = annotate(typed.paths, typed.clusters, typed.lists, "l.csv", 0)
    calls = found.calls.set_index("cluster")
    assert calls["label"].to_dict() == {"0": "T0", "1": "T1", "2": "T2"}
    assert (calls["q"] < 0.001).all()
    assert set(calls.loc["1", "carried_by"].split(", ")) < {f"g{i}" for i in range(8, 14)}
    assert found.evidence.groupby("cluster").size().tolist() == [3, 3, 3]
    clusters = pd.DataFrame({"cell": [f"s_{i}" for i in range(120)], "cluster": typed.clusters})
    cells = cell_table(found, clusters)
    assert (cells.obs["label"] == "T" + clusters["cluster"].to_numpy()).all()
    own = cells.obsm["scores"][np.arange(120), typed.clusters.astype(int)]
    np.testing.assert_array_equal(cells.obs["score"], own)
    assert (own > 0.8 * cells.obsm["scores"].max(axis=1)).mean() > 0.8
    mean = found.evidence.query("cluster == '2' and type == 'T2'")["score"].item()
    assert mean == pytest.approx(own[80:].mean(), rel=1e-5)


def test_a_cluster_of_no_list_and_one_of_two_have_no_label(typed):
    lists = {
        "T0": typed.lists["T0"],
        "one": {f"g{i}": 1 for i in (8, 9, 10, 11)},
        "other": {f"g{i}": 1 for i in (12, 13, 14, 15)},
    }
    calls = annotate(typed.paths, typed.clusters, lists, "l.csv", 0).calls
    assert calls["label"].tolist() == ["T0", "unassigned", "unassigned"]
    assert calls["rule"].tolist() == ["", SEVERAL, NO_LIST]
    assert calls["types"].tolist() == ["T0", "one|other", ""]
    # One cluster has nothing to be compared with.
    one = annotate(typed.paths, np.full(120, "0"), typed.lists, "l.csv", 0)
    assert one.calls["rule"].tolist() == [NO_LIST]


def test_a_weak_list_is_no_label_however_sure_it_is(typed, monkeypatch):
    evidence = annotate(typed.paths, typed.clusters, typed.lists, "l.csv", 0).evidence
    strength = evidence.set_index(["cluster", "type"])["strength"]["1", "T1"]
    for least, label in ((strength - 1e-6, "T1"), (strength + 1e-6, "unassigned")):
        monkeypatch.setattr(called, "LEAST", least)
        calls = annotate(typed.paths, typed.clusters, typed.lists, "l.csv", 0).calls
        assert calls["label"][1] == label


def test_few_cells_of_a_type_do_not_name_a_cluster_of_another(typed):
    # A tenth of the cells of type 2 lie in cluster 1, the others are not there.
    data = ad.read_h5ad(typed.paths[0])
    rows = np.r_[0:84]
    data[rows].write_h5ad(typed.paths[0])
    clusters = np.where(rows < 40, "0", "1")
    calls = annotate(typed.paths, clusters, typed.lists, "l.csv", 0).calls
    assert calls["label"].tolist() == ["T0", "T1"]


def test_genes_that_are_missing_or_written_otherwise_are_named(caplog):
    var = pd.DataFrame({"gene_id": ["ENSG1", "", ""]}, index=["CD3D", "Ms4a1", "HLA-DRA"])
    lists = {
        "T": {"ENSG1": 1, "CD3E": 1},
        "B": {"MS4A1": 1, "CD3D": -1},
        "M": {"HLA.DRA": 1},
    }
    table = gene_table(lists, var)
    assert table["found"].tolist() == ["CD3D", "", "", "CD3D", ""]
    assert table["similar"].tolist() == ["", "", "Ms4a1", "", "HLA-DRA"]
    assert found_genes(table, "l.csv") == {"T": {"CD3D": 1}}
    text = caplog.text
    for part in ("3 of 5 marker genes are not in all samples: CD3E", "MS4A1 (there is Ms4a1)",
                 "B is left out", "T has 1 genes, fewer than 3"):  # fmt: skip
        assert part in text
    with pytest.raises(InputError, match=r"none of its 1 genes.*HLA.DRA \(there is HLA-DRA\)"):
        found_genes(gene_table({"M": lists["M"]}, var), "l.csv")


@pytest.mark.parametrize(
    "text",
    [
        "type,gene,sign\nT,CD3D,+\nT,MS4A1,-\nB,MS4A1,1\n",
        "# mine\ngene\ttype\tnote\tsign\nCD3D\tT\tx, y\t\nMS4A1\tT\t\t-1\n\nMS4A1\tB\t\t\n",
        '\ufefftype;gene;sign\n"T";CD3D;\n T ;MS4A1;\u2212\nB;MS4A1;1.0\n;;\n',
    ],
    ids=["csv", "tsv", "semicolon"],
)
def test_lists_are_read_as_people_write_them(tmp_path, text):
    path = tmp_path / "lists.csv"
    path.write_text(text, encoding="utf-8")
    assert read_marker_list(path) == {"T": {"CD3D": 1, "MS4A1": -1}, "B": {"MS4A1": 1}}


def test_the_shipped_list_can_be_read(root):
    lists = read_marker_list(root / "config/examples/markers_pbmc.csv")
    assert len(lists) == 11
    assert lists["B cell"]["MS4A1"] == 1
    assert lists["CD4+ T cell"]["CD8A"] == -1


def test_lists_label_cells_without_a_label_unless_labels_are_transferred():
    obs = pd.DataFrame(
        {"role": ["reference", "reference", "query", "query"], "label": ["A", "", "", ""]},
        index=list("abcd"),
    )
    markers = pd.DataFrame(
        {"label": ["X", "X", "unassigned", "Y"], "rule": ["", "", NO_LIST, ""],
         "score": [0.5, 0.6, np.nan, 0.7]}, index=obs.index,
    )  # fmt: skip
    alone = marker_columns(obs.join(cell_types(obs, None)), markers, transferred=False)
    assert alone["cell_type"].tolist() == ["A", "X", "unassigned", "Y"]
    assert alone["cell_type_rule"].tolist() == ["", "", NO_LIST, ""]
    assert alone["cell_type_source"].tolist() == ["given", "markers", "", "markers"]
    assert alone["cell_type_in_markers"].tolist() == markers["label"].tolist()
    whole = obs.join(cell_types(obs, None))
    whole["cell_type"] = ["A", "unassigned", "A", "unassigned"]
    both = marker_columns(whole, markers, transferred=True)
    assert both["cell_type"].tolist() == whole["cell_type"].tolist()
    assert both["cell_type_rule"].tolist() == whole["cell_type_rule"].tolist()
    assert both["cell_type_source"].tolist() == ["given", "", "transferred", ""]
