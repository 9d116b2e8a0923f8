"""The metrics of an atlas on small files of the workflow."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from dice_atlas.counts.labels import read_truth
from dice_atlas.errors import InputError
from dice_atlas.files import write_table
from dice_atlas.scoring.atlas import COLUMNS, confusion_table, gather_cells, metrics_table, truth_of
from dice_atlas.scoring.groups import reference_cluster_scores
from dice_atlas.scoring.partitions import (
    all_partitions,
    judged_cells,
    partitions_of,
    partitions_table,
    read_partitions,
)
from dice_atlas.tables import read_text_table
from factories import CLUSTER, blobs, make_results

# More cells than there are: none is drawn.
MANY = 1_000


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("results"))


def settings(path):
    return {"q1": {"truth": "truth.csv", "truth_source": str(path), "subset": "", "suffix": ""}}


def load(paths, truth=None, clusters=None):
    latents, denoised = ad.read_h5ad(paths["latents"]), ad.read_h5ad(paths["denoised"])
    read = paths["latents"].parent / "read_truth.tsv.gz"
    if truth:
        write_table(read_truth(truth, latents.obs), read)
    found = truth_of(latents.obs_names, [read] if truth else [])
    one = pd.DataFrame({"cell": latents.obs_names, "cluster": "0"})
    return gather_cells(latents, denoised, one if clusters is None else clusters, found)


def test_a_truth_without_a_name_is_none(tmp_path):
    write_table(pd.DataFrame({"cell": ["a", "b", "c"], "truth": ["x", "y", "z"]}), tmp_path / "t")
    found = truth_of(pd.Index(["c", "b", "a", "d"]), [tmp_path / "t"], without=["y", "z"])
    assert found.tolist() == ["", "", "x", ""]


def calls(paths):
    return {"dice": read_text_table(paths["calls"], "score", "entropy", "n_anchors")}


def score(cells, paths, most=MANY):
    judged = judged_cells(cells.query, cells.labelled, most, 0)
    made = {
        name: partitions_of(points, judged, CLUSTER, 0, cells.sd.get(name))
        for name, points in cells.embeddings.items()
    }
    return metrics_table(cells, calls(paths), made, CLUSTER.embedding, 0, most)


@pytest.fixture(scope="module")
def scored(paths):
    return score(load(paths, settings(paths["truth"])), paths)


def test_truth_is_of_the_sample_that_has_it(paths):
    cells = load(paths, settings(paths["truth"]))
    table = pd.read_csv(paths["truth"])
    rows = (cells.obs["sample"] == "q1").to_numpy()
    assert cells.truth[rows].tolist() == table["label"].tolist()
    assert set(cells.truth[~rows]) == {""}
    assert cells.query.sum() == 60
    assert cells.labelled.sum() == 80


def test_the_table_has_every_row_of_the_contract(scored):
    assert scored.columns.tolist() == list(COLUMNS)
    assert set(scored["protocol"]) == {"blind"}
    found = scored.groupby(["cells", "embedding"])["metric"].apply(set)
    for name in ("pca", "harmony", "dice"):
        assert {
            "silhouette", "clisi", "clisi_nn9", "n_clusters", "ari", "nmi", "nmi_max", "v_measure",
            "knn_accuracy", "knn_balanced_accuracy",
        } <= found["query", name]  # fmt: skip
        assert found["reference", name] == {"silhouette", "clisi", "clisi_nn9"}
        assert found["all", name] == {"ilisi_role", "ilisi_batch"}
    assert {"accuracy", "accuracy_known", "macro_f1", "set_coverage"} <= found["query", "dice"]
    assert not scored.duplicated(["cells", "embedding", "metric"]).any()


def value(scored, cells, embedding, metric):
    rows = scored[
        (scored["cells"] == cells)
        & (scored["embedding"] == embedding)
        & (scored["metric"] == metric)
    ]
    return rows["value"].item()


def test_values_that_are_known(scored, paths):
    # The factory's dice embedding is the pca one with centres farther apart.
    assert value(scored, "query", "dice", "ari") == pytest.approx(1.0)
    assert value(scored, "query", "dice", "knn_accuracy") == 1.0
    assert value(scored, "query", "dice", "silhouette") > value(
        scored, "query", "pca", "silhouette"
    )
    # One atlas cluster says nothing about the truth.
    assert value(scored, "query", "dice", "atlas_ari") == 0
    # Every tenth call of the query is unassigned, all others are right.
    assert value(scored, "query", "dice", "accuracy") == pytest.approx(0.9)
    assert value(scored, "query", "dice", "accuracy_top") == 1.0
    assert value(scored, "query", "dice", "set_coverage") == 1.0
    truth = scored[(scored["cells"] == "query") & (scored["metric"] == "ari")]
    assert set(truth["n_cells"]) == {60}
    assert truth["note"].str.contains("40 query cells without truth are left out").all()


def test_of_many_cells_some_are_drawn_and_the_table_says_so(paths, scored):
    cells = load(paths, settings(paths["truth"]))
    found = score(cells, paths, 50)
    embeddings = found["embedding"].isin(["pca", "harmony"])
    numbers = found[embeddings].groupby("cells")["n_cells"].unique()
    assert {name: own.tolist() for name, own in numbers.items()} == {
        "query": [50], "reference": [50], "all": [50]
    }  # fmt: skip
    notes = found[embeddings & (found["cells"] == "query")]["note"]
    assert notes.str.contains("on 50 of 60 cells, drawn at random").all()
    # Labels and clusters of the atlas are judged on all cells.
    whole = found[found["metric"].isin(["accuracy", "atlas_ari"])]
    assert set(whole["n_cells"]) == {60}
    for metric in ("silhouette", "knn_accuracy"):
        few, all_cells = (value(t, "query", "dice", metric) for t in (found, scored))
        assert few == pytest.approx(all_cells, abs=0.05)


def test_a_draw_of_the_reference_is_noted_where_the_query_is_whole(paths):
    cells = load(paths, settings(paths["truth"]))
    found = score(cells, paths, 70)
    own = found[(found["cells"] == "query") & (found["embedding"] == "pca")]
    notes = own.set_index("metric")["note"]
    assert "drawn" not in notes["silhouette"]
    assert "reference: on 70 of 80 cells, drawn at random" in notes["knn_accuracy"]
    # Half of the draw is of the query, half of the reference, so that neither is missing.
    assert "on 70 of 180 cells, drawn at random" in notes["ari_reference"]
    assert np.isfinite(own.set_index("metric")["value"]["ari_reference"])


def test_confusion(paths):
    table = confusion_table(load(paths, settings(paths["truth"])), calls(paths))
    assert table.columns.tolist() == ["space", "truth", "predicted", "cells"]
    assert table["cells"].sum() == 60
    assert table.loc[table["predicted"] == "unassigned", "cells"].sum() == 6
    assigned = table[table["predicted"] != "unassigned"]
    assert (assigned["truth"] == assigned["predicted"]).all()


def test_without_truth_only_the_rows_that_need_it_are_missing(paths):
    cells = load(paths)
    found = score(cells, paths)
    assert set(found["cells"]) == {"reference", "all"}
    empty = confusion_table(cells, calls(paths))
    assert empty.empty
    assert empty.columns.tolist() == ["space", "truth", "predicted", "cells"]


def test_truth_of_other_cells_is_refused(paths, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("barcode,label\nXX,B\n")
    with pytest.raises(InputError, match=r"lists none of the 60 cells .*such as XX"):
        load(paths, settings(other))


def test_calls_of_other_cells_are_refused(paths):
    cells = load(paths, settings(paths["truth"]))
    wrong = calls(paths)
    wrong["dice"].loc[0, "cell"] = "somebody"
    with pytest.raises(InputError, match="1 cells that"):
        confusion_table(cells, wrong)


@pytest.mark.parametrize("types", [2, 4])
def test_the_reference_chooses_the_scale_of_the_clusters_that_the_query_is_scored_on(types):
    # Two pairs of blobs: near within a pair, far between the pairs.
    points, codes = blobs(4, 100, 4, seed=0, distance=0.0)
    points += np.array([[0, 0, 0, 0], [5, 0, 0, 0], [0, 60, 0, 0], [5, 60, 0, 0]])[codes]
    label = np.array(["a", "b", "c", "d"])[codes if types == 4 else codes // 2]
    query = np.arange(len(codes)) % 2 == 0
    known, truth = np.where(query, "", label), np.where(query, label, "")
    cluster = replace(CLUSTER, resolutions=(0.01, 0.05, 0.3, 1.0))
    partitions = all_partitions(points, cluster, seed=0)
    found = reference_cluster_scores(partitions, known, truth)["ari_reference"]
    assert found.value > 0.95
    one = reference_cluster_scores(partitions, np.where(query, "", "a"), truth)
    assert np.isnan(one["ari_reference"].value)
    assert one["ari_reference"].note == "the reference has fewer than two labels"


@pytest.mark.parametrize("most", [MANY, 70, 50])
def test_partitions_come_back_from_their_files(paths, tmp_path, most):
    cells = load(paths, settings(paths["truth"]))
    judged = judged_cells(cells.query, cells.labelled, most, 0)
    made = partitions_of(cells.embeddings["pca"], judged, CLUSTER, 0)
    names, folder = cells.obs.index, tmp_path / "pca"
    folder.mkdir()
    table, scan = folder / "partitions.tsv.gz", folder / "resolutions.tsv"
    write_table(partitions_table(made, judged, names), table)
    write_table(made.scan, scan)
    read = read_partitions([table], [scan], names)["pca"]
    assert read.alone.clusters.tolist() == list(made.alone.clusters)
    assert (read.alone.resolution, read.alone.tried) == (made.alone.resolution, made.alone.tried)
    assert read.both.columns.tolist() == made.both.columns.tolist()
    assert (read.both.to_numpy() == made.both.to_numpy()).all()
    assert len(read.both) == len(judged.both)
    with pytest.raises(InputError, match="is of other cells"):
        read_partitions([table], [scan], names[::-1])


def test_without_truth_or_with_few_cells_there_are_no_partitions(paths, tmp_path):
    cells = load(paths, settings(paths["truth"]))
    few = np.flatnonzero(cells.query)[:10]
    query = np.isin(np.arange(len(cells.obs)), few)
    judged = judged_cells(query, np.zeros_like(query), MANY, 0)
    made = partitions_of(cells.embeddings["pca"], judged, CLUSTER, 0)
    assert made.alone is made.both is None
    (tmp_path / "pca").mkdir()
    table, scan = tmp_path / "pca/partitions.tsv.gz", tmp_path / "pca/resolutions.tsv"
    write_table(partitions_table(made, judged, cells.obs.index), table)
    write_table(made.scan, scan)
    read = read_partitions([table], [scan], cells.obs.index)["pca"]
    assert read.alone is read.both is None
    assert str(read) == "fewer than 20 query cells with a truth: not clustered"
