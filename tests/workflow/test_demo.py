"""The demo as a user runs it, and what its outputs hold."""

import importlib
import json
import re
import shutil

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from dice_atlas.report.disputes import sure_doubts
from dice_atlas.report.tables import confident
from pages import commands, python_of
from sklearn.metrics import accuracy_score

pytestmark = pytest.mark.workflow

OBS = [
    "sample", "role", "batch", "n_genes", "total_counts", "percent_mito", "doublet_score",
    "predicted_doublet", "cell_type", "cell_type_score", "cell_type_set", "cell_type_entropy",
    "cell_type_n_anchors", "cell_type_best", "cell_type_second", "cell_type_p_reference",
    "cell_type_rule",
    "cell_type_in_pca", "cell_type_in_dice", "cell_type_in_linear", "cell_type_ontology_term_id",
    "dice_label_set", "dice_label_entropy", "dice_uncertainty", "dice_residual", "cluster",
    "cluster_label",
    "leiden_0.05", "leiden_2",
]  # fmt: skip


@pytest.fixture(scope="module")
def results(demo):
    return demo.folder / "results" / "demo"


@pytest.fixture(scope="module")
def atlas(results):
    return ad.read_h5ad(results / "atlas.h5ad")


@pytest.fixture(scope="module")
def truth(demo, atlas):
    tables = []
    for sample in ("pbmc_q1", "pbmc_q2"):
        table = pd.read_csv(demo.folder / f"resources/demo/{sample}_truth.csv")
        tables.append(table.set_index(sample + "_" + table["barcode"])["label"])
    return pd.concat(tables).reindex(atlas.obs_names)


def test_atlas_has_the_promised_columns_and_embeddings(atlas):
    assert not set(OBS) - set(atlas.obs)
    k = atlas.obsm["X_dice"].shape[1]
    assert 10 <= k <= 50
    for name in ("X_pca", "X_harmony", "X_dice", "X_dice_sd"):
        assert atlas.obsm[name].shape == (atlas.n_obs, k)
        assert np.isfinite(atlas.obsm[name]).all()
    assert atlas.obsm["X_umap"].shape == (atlas.n_obs, 2)
    assert (atlas.obs["sample"].astype(str) + "_").to_numpy()[0] in atlas.obs_names[0]
    assert {"config", "samples", "versions", "inputs", "seed"} <= set(atlas.uns["dice_atlas"])


def test_atlas_holds_the_original_counts_and_their_log1p(atlas):
    source = sc.datasets.pbmc68k_reduced()
    expected = np.expm1(source.raw.X.toarray()) * source.obs["n_counts"].to_numpy()[:, None] / 1e4
    expected = pd.DataFrame(np.rint(expected), index=source.obs_names, columns=source.raw.var_names)
    barcodes = [
        n.removeprefix(f"{s}_") for n, s in zip(atlas.obs_names, atlas.obs["sample"], strict=True)
    ]
    counts = pd.DataFrame(atlas.layers["counts"].toarray(), index=barcodes, columns=atlas.var_names)
    assert sorted(barcodes) == sorted(source.obs_names)
    assert (counts == expected.loc[barcodes, counts.columns]).all(axis=None)
    normalized = np.log1p(counts.to_numpy() / counts.sum(axis=1).to_numpy()[:, None] * 1e4)
    assert np.abs(atlas.X.toarray() - normalized).max() < 1e-4


def test_labels_are_transferred_and_kept_apart_from_the_truth(atlas, truth, results):
    query = (atlas.obs["role"] == "query").to_numpy()
    labels = atlas.obs["cell_type"].astype(str)
    assigned = query & (labels != "unassigned").to_numpy()
    assert assigned.sum() > 0.7 * query.sum()
    # Always saying the most frequent label would reach 0.34.
    assert accuracy_score(truth[assigned], labels[assigned]) > 0.75
    given = ad.read_h5ad(results.parents[1] / "resources/demo/pbmc_ref.h5ad").obs["cell_type"]
    reference = labels[~query]
    assert (reference == given.set_axis("pbmc_ref_" + given.index).loc[reference.index]).all()
    scores = np.asarray(atlas.obsm["cell_type_scores"])
    assert np.allclose(np.nansum(scores[query], axis=1), 1, atol=1e-5)
    names = np.asarray(atlas.uns["cell_type_scores_names"])
    best = names[np.nanargmax(scores[assigned], axis=1)]
    assert (best == labels[assigned]).all()
    assert np.allclose(scores[assigned].max(axis=1), atlas.obs["cell_type_score"][assigned])


def test_prediction_sets_hold_the_truth_about_as_often_as_asked(atlas, truth):
    query = atlas.obs["role"] == "query"
    sets = atlas.obs["cell_type_set"].astype(str)[query].str.split("|", regex=False)
    covered = np.mean([label in chosen for label, chosen in zip(truth[query], sets, strict=True)])
    assert covered > 0.8  # 0.9 wanted; 88 cells calibrate it
    assert sets.str.len().mean() < 3


def test_dice_separates_the_cell_types_better_than_pca(results):
    metrics = pd.read_csv(results / "metrics.tsv", sep="\t")
    query = metrics[metrics["cells"] == "query"].set_index(["embedding", "metric"])["value"]
    assert query["dice", "silhouette"] > query["pca", "silhouette"]
    assert query["dice", "clisi"] < query["pca", "clisi"]


def test_annotation_tables_have_the_promised_columns(results, atlas):
    labels = sorted(set(atlas.obs["cell_type"][atlas.obs["role"] == "reference"]))
    for space in ("pca", "dice"):
        folder = results / "annotation" / space
        anchors = pd.read_csv(folder / "anchors.tsv.gz", sep="\t")
        assert list(anchors) == ["reference_cell", "query_cell", "score"]
        assert anchors["score"].between(0, 1).all()
        predictions = pd.read_csv(folder / "predictions.tsv.gz", sep="\t")
        assert list(predictions)[:4] == ["cell", "predicted", "score", "n_anchors"]
        assert sorted(list(predictions)[4:]) == [f"score:{label}" for label in labels]
        assert set(anchors["query_cell"]) <= set(predictions["cell"])


def test_clusters_and_umap_are_made_on_the_embedding_that_config_names(results, atlas):
    graph = ad.read_h5ad(results / "clusters/graph.h5ad")
    assert graph.uns["embedding"] == "dice"
    from sklearn.neighbors import NearestNeighbors

    points = np.asarray(atlas.obsm["X_dice"])
    nearest = NearestNeighbors(n_neighbors=5).fit(points).kneighbors(return_distance=False)
    distances = graph.obsp["distances"].tocsr()
    found = np.mean([np.isin(nearest[i], distances[i].indices).mean() for i in range(len(points))])
    assert found > 0.99
    sizes = atlas.obs["cluster"].value_counts()
    assert sizes.index[0] == "0"


def test_prior_has_its_card_and_loss(results):
    card = json.loads((results / "prior/card.json").read_text())
    assert card["augmentation"] == "labels"
    assert card["device"] in ("cpu", "cuda")
    loss = pd.read_csv(results / "prior/loss.tsv", sep="\t")
    assert loss["validation_loss"].min() == pytest.approx(card["held_out_loss"], rel=1e-4)
    # A kernel is not trained.
    assert (card["preset"], card["steps"], len(loss)) == ("kernel", 0, 1)
    assert not (results / "prior/checkpoint.pt").exists()


def test_report_is_self_contained(results):
    page = (results / "report.html").read_text()
    assert "<img" in page
    for attribute in ('src="http', "src='http", '<link rel="stylesheet" href="http', "@import"):
        assert attribute not in page


def test_the_links_of_the_report_lead_to_files_beside_it(results):
    page = (results / "report.html").read_text()
    links = {link for link in re.findall(r'<a [^>]*href="([^"]+)"', page) if link[0] != "#"}
    assert {"atlas.h5ad", "cells.tsv.gz", "doubtful.tsv.gz", "annotation/shift.tsv"} < links
    assert [link for link in sorted(links) if not (results / link).exists()] == []


def test_doubtful_cells_are_listed_with_their_reasons(results, atlas):
    table = pd.read_csv(results / "doubtful.tsv.gz", sep="\t", index_col="cell", dtype=str)
    doubt = atlas.obs["cell_type_doubt"].astype(str)
    assert set(table.index) == set(atlas.obs_names[~doubt.isin(["", "none"])])
    assert (table["cell_type_doubt"] == doubt[table.index]).all()
    # The report selects the cells with one possible label by these reasons.
    query = atlas.obs[atlas.obs["role"] == "query"]
    chosen = doubt[query.index].isin(sure_doubts())
    assert (chosen == confident(query.astype({"cell_type": str, "cell_type_set": str}))).all()


def test_every_job_left_a_log_and_a_benchmark(demo, results):
    assert (results / "logs/train_prior.log").stat().st_size > 0
    assert len(list(results.glob("benchmarks/denoise_shard/*-of-4.tsv"))) == 4
    leftovers = [p for p in results.rglob(".*") if p.is_file() and p.suffix in (".h5ad", ".tsv")]
    assert leftovers == []


def test_without_what_may_be_deleted_there_is_nothing_to_do(demo, tmp_path):
    """As docs/scale.md says."""
    copy = demo.duplicate(tmp_path / "dice-atlas")
    for name in ("samples", "features", "latent", "denoise"):
        shutil.rmtree(copy.folder / "results/demo" / name)
    assert copy.planned() == {}


def test_readme_shows_the_demos_metrics(demo, results, root, monkeypatch):
    monkeypatch.syspath_prepend(root / "docs")
    update_readme = importlib.import_module("update_readme")
    readme = (root / "README.md").read_text()
    shown = readme.split("<!-- demo metrics: start -->\n")[1].split("\n<!--")[0]
    made = update_readme.demo_table(pd.read_csv(results / "metrics.tsv", sep="\t"))
    for old, new in zip(shown.splitlines(), made.splitlines(), strict=True):
        assert old.split("|")[1] == new.split("|")[1]
        if "---" not in old and "metric" not in old:
            values = [[float(v) for v in line.split("|")[2:4]] for line in (old, new)]
            # Training differs in the last digits between machines, and the labels with it.
            assert np.allclose(*values, atol=0.06), old


@pytest.fixture
def in_the_demo(results, monkeypatch):
    monkeypatch.chdir(results.parents[1])
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.mark.parametrize("page", ["tutorial", "howto", "outputs"])
def test_the_python_of_a_page_runs_on_the_demo(in_the_demo, page, capsys):
    blocks = python_of(page)
    assert blocks
    for block in blocks:
        exec(block, {})
        assert bool(capsys.readouterr().out) == ("print(" in block)


def test_the_python_of_the_confidence_puts_each_cell_into_one_group(in_the_demo, atlas):
    (block,) = python_of("confidence")
    found = {}
    exec(block, found)
    groups = ("one_label", "ambiguous", "doubtful", "without_evidence")
    parts = [np.asarray(found[name]) for name in groups] + [~np.asarray(found["assigned"])]
    query = atlas.obs[atlas.obs["role"] == "query"]
    assert (np.sum(parts, axis=0) == np.ones(len(query))).all()
    # A cell with one possible label can still be doubtful for another reason, such as its cluster.
    sets = query["cell_type_set"].astype(str)
    assert sets[parts[0]].tolist() == query["cell_type"].astype(str)[parts[0]].tolist()
    assert (sets[parts[1]].str.contains("|", regex=False)).all()


# What stands in a command that cannot be planned here, and why.
NOT_HERE = {
    "--sdm conda": "no conda channel can be reached; test_pins.py compares the environments",
    "apptainer ": "there is no container",
    "docker ": "there is no container",
    "snakedeploy ": "an environment of its own; test_deployment.py plans what it writes",
    "export_cellxgene": "the demo's sheet lacks its columns; test_modes.py makes it",
    "config/benchmark/": "its data are not in the repository; test_benchmark_target.py has its own",
    "--lint": "make lint does it",
    "--unlock": "nothing is locked; the tests of SLURM need it",
}


def test_the_commands_of_the_pages_are_planned(demo):
    texts = [text for text in commands() if not text.startswith("make ")]
    assert all(any(part in text for text in texts) for part in NOT_HERE)
    demo.config("my", atlas="demo")
    # Those that differ in their target alone are planned together.
    targets = {}
    for text in texts:
        if any(part in text for part in NOT_HERE):
            continue
        text = re.sub(r"^snakemake|--cores \S+|-n$", "", text).replace("config/my_study", "my")
        options, _, target = text.replace("/path/to/dice-atlas", str(demo.folder)).partition(" -- ")
        targets.setdefault(tuple(options.split()), set()).update(target.split() or ["all"])
    assert len(targets) == 4
    assert {"all", "check", "synthesis"} < targets["--configfile", "my.yaml"]
    for options, asked in targets.items():
        demo.run("-n", *options, "--", *sorted(asked))
