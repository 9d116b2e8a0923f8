"""The target `synthesis` as a user runs it, and the workflow on cells of a known truth."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp

pytestmark = pytest.mark.workflow
TYPES = ("B", "NK", "T")
SYNTHESIS = {"training_steps": 200, "cells": {"B": 130, "NK": 110, "T": 160}, "genes": "all"}


@pytest.fixture(scope="module")
def made(make_copy, small):
    """A copy in which cells were synthesised after a small reference of three types."""
    copy = make_copy("synthesis")
    rng = np.random.default_rng(0)
    base = rng.gamma(0.5, 3.0, 400)
    profiles = {name: base * np.where(rng.random(400) < 0.15, 6.0, 1.0) for name in TYPES}
    labels = np.repeat(TYPES, (120, 60, 90))
    rates = np.array([profiles[name] for name in labels])
    counts = rng.poisson(rates * rng.lognormal(0, 0.3, (len(labels), 1)))
    obs = pd.DataFrame({"type": labels}, index=[f"c{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(400)])
    ad.AnnData(sp.csr_matrix(counts), obs=obs, var=var).write_h5ad(copy.folder / "ref.h5ad")
    rows = "sample,path,role,batch,labels\nref,../ref.h5ad,reference,A,type\n"
    (copy.folder / "config/ref.csv").write_text(rows)
    keys = {
        **small,
        "atlas": "made",
        "samples": "config/ref.csv",
        "qc": {"min_genes": 20, "doublets": "off"},
    }
    copy.keys = {**keys, "synthesis": SYNTHESIS}
    copy.run("--configfile", copy.config("made", **copy.keys), "--", "synthesis")
    return copy


def synthetic(copy, atlas="made"):
    return sc.read_h5ad(copy.folder / f"results/{atlas}/synthesis/synthetic.h5ad")


def test_the_cells_are_counts_with_labels_that_say_what_they_are(made):
    cells = synthetic(made)
    assert cells.X.dtype == np.int32
    assert cells.obs["cell_type"].value_counts().to_dict() == SYNTHESIS["cells"]
    assert cells.obs["synthetic"].all()
    assert (cells.obs["library"] >= np.asarray(cells.X.sum(axis=1)).ravel()).all()
    assert "Synthetic cells" in cells.uns["synthesis"]["warning"]
    assert json.loads(cells.uns["synthesis"]["card"])["n_cells"] == 216


def test_scores_stand_beside_those_of_the_control(made):
    folder = made.folder / "results/made/synthesis"
    table = pd.read_csv(folder / "fidelity.tsv", sep="\t")
    wide = table.pivot(index="metric", columns="generator", values="value")
    assert wide.loc["dcr_p5", "resampled"] == 0
    assert wide.loc["dcr_p5", "synthetic"] > 0.5
    assert wide.loc["label_kept", "synthetic"] > 0.9
    assert pd.read_csv(folder / "memorization.tsv", sep="\t")["copies"].tolist()[0] == 0
    page = (folder / "report.html").read_text()
    assert "These cells are synthetic" in page
    assert {p.name for p in (folder / "figures").iterdir()} >= {"umap.png", "genes.png"}


def test_only_what_changed_runs_again(made):
    fewer = {**made.keys, "synthesis": {**SYNTHESIS, "cells": 10}}
    planned = made.planned("--configfile", made.config("fewer", **fewer), "--", "synthesis")
    assert planned["synthesize_cells"] == 2
    assert not {"train_synthesis", "score_synthesis"} & set(planned)


def test_a_saved_generator_makes_cells_without_training(made):
    path = "results/made/synthesis"
    keys = {**made.keys, "atlas": "again", "synthesis": {"path": path, "cells": {"NK": 30}}}
    config = made.config("again", **keys)
    planned = made.planned("--configfile", config, "--", "synthesis")
    assert not {"load_counts", "select_genes", "score_synthesis"} & set(planned)
    made.run("--configfile", config, "--", "synthesis")
    assert synthetic(made, "again").obs["cell_type"].unique().tolist() == ["NK"]


def test_a_class_that_does_not_exist_is_named(made):
    keys = {**made.keys, "synthesis": {**SYNTHESIS, "cells": {"Monocyte": 5}}}
    output = made.run("--configfile", made.config("wrong", **keys), "--", "synthesis", ok=False)
    assert "no class 'Monocyte'; the model knows 'B', 'NK', 'T'" in output
    assert "Traceback" not in output


def test_labels_of_a_known_truth_come_back(made):
    cells = synthetic(made)
    cells.obs["truth"] = cells.obs["cell_type"].astype(str)
    query = np.arange(cells.n_obs) % 2 == 0
    cells[~query].write_h5ad(made.folder / "known_ref.h5ad")
    del cells.obs["cell_type"]
    cells[query].write_h5ad(made.folder / "known_query.h5ad")
    rows = (
        "sample,path,role,batch,labels,truth\n"
        "known,../known_ref.h5ad,reference,A,truth,\n"
        "query,../known_query.h5ad,query,B,,truth\n"
    )
    (made.folder / "config/known.csv").write_text(rows)
    keys = {**made.keys, "atlas": "known", "samples": "config/known.csv"}
    keys["annotate"] = {"voters": ["pca", "dice"], "final": "dice"}
    target = "results/known/metrics.tsv"
    made.run("--configfile", made.config("known", **keys), "--", target)
    metrics = pd.read_csv(made.folder / target, sep="\t")
    found = metrics[metrics["metric"] == "accuracy_top"].set_index("embedding")["value"]
    assert found["dice"] > 0.95
    assert found["pca"] > 0.95


def test_a_rare_label_is_found_with_synthetic_cells_and_nothing_is_measured_on_them(made):
    cells = synthetic(made)
    cells.obs["truth"] = cells.obs.pop("cell_type").astype(str)
    query = np.arange(cells.n_obs) % 2 == 0
    rare = np.flatnonzero(~query & (cells.obs["truth"] == "NK"))
    kept = ~query
    kept[rare[12:]] = False
    cells[kept].copy().write_h5ad(made.folder / "rare_ref.h5ad")
    cells[query].copy().write_h5ad(made.folder / "rare_query.h5ad")
    rows = (
        "sample,path,role,batch,labels,truth\n"
        "ref,../rare_ref.h5ad,reference,A,truth,\n"
        "query,../rare_query.h5ad,query,B,,truth\n"
    )
    (made.folder / "config/rare.csv").write_text(rows)
    keys = {**made.keys, "atlas": "rare", "samples": "config/rare.csv", "augment": {"below": 30}}
    keys["annotate"] = {"voters": ["pca", "dice"], "final": "dice"}
    made.run("--configfile", made.config("rare", **keys))
    results = made.folder / "results/rare"
    classes = pd.read_csv(results / "augment/classes.tsv", sep="\t").set_index("label")
    # Up to the target; B, the smallest label that is not rare, has 65.
    assert classes["synthetic_cells"].to_dict() == {"B": 0, "NK": 48, "T": 0}
    assert json.loads((results / "prior/card.json").read_text())["n_synthetic"] == 48
    atlas = sc.read_h5ad(results / "atlas.h5ad")
    assert atlas.n_obs == kept.sum() + query.sum()
    assert not atlas.obs_names.str.contains("synthetic|", regex=False).any()
    share = atlas.obs.groupby(atlas.obs["cell_type"].astype(str))["cell_type_synthetic"].mean()
    assert share["NK"] > 0.5
    assert share["B"] == share["T"] == 0
    for space in ("pca", "dice"):
        path = results / f"annotation/{space}/calibration.tsv.gz"
        assert not pd.read_csv(path, sep="\t")["cell"].str.contains("|", regex=False).any()
        anchors = pd.read_csv(results / f"annotation/{space}/anchors.tsv.gz", sep="\t")
        assert anchors["reference_cell"].str.startswith("synthetic|").any()
    metrics = pd.read_csv(results / "metrics.tsv", sep="\t")
    assert metrics["n_cells"].max() <= atlas.n_obs
    right = atlas.obs["cell_type_in_pca"].astype(str)[lambda s: s.index.str.startswith("query")]
    own = cells.obs["truth"][query].to_numpy() == "NK"
    assert (right.to_numpy()[own] == "NK").mean() > 0.9
    page = (results / "report.html").read_text()
    assert "Synthetic cells for rare labels" in page
    assert "rest mostly on synthetic reference cells: NK" in page
