"""Other shapes of input: no reference, no labels, a saved prior, missing genes, wrong input."""

import json
import re

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import torch  # noqa: F401 (names the condition of a skip)
from described import CELLXGENE
from dice_atlas.counts.genes import read_names

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def copy(demo, make_copy, small):
    """A copy with the demo's inputs and the demo's trained prior beside it."""
    other = make_copy("modes")
    for folder in ("resources/demo", "results/demo/prior"):
        source, target = demo.folder / folder, other.folder / folder
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source, target_is_directory=True)
    return other


def page_of(copy, name):
    return (copy.folder / f"results/{name}/report.html").read_text()


def sheet(copy, name, *rows, further=""):
    head = f"sample\tpath\trole\tbatch\tlabels\ttruth\tmin_genes{further}\n"
    text = head + "".join("\t".join(row) + "\n" for row in rows)
    (copy.folder / f"config/{name}.tsv").write_text(text)
    return f"config/{name}.tsv"


REFERENCE = ("ref", "../resources/demo/pbmc_ref.h5ad", "reference", "A", "cell_type", "", "150")
QUERY = ("q1", "../resources/demo/pbmc_q1", "query", "B", "", "", "150")


def read(copy, atlas):
    return ad.read_h5ad(copy.folder / f"results/{atlas}/atlas.h5ad")


def test_without_a_reference_the_prior_is_trained_on_the_cells_themselves(copy, small):
    # With marker lists, which label the clusters in place of a reference.
    row = (*QUERY[:5], "../resources/demo/pbmc_q1_truth.csv", QUERY[6])
    exports = ["seurat", "cellxgene", "zarr"]
    config = copy.config("alone", atlas="alone", samples=sheet(copy, "alone", QUERY), **small)
    refused = copy.run("-n", "--configfile", config, "--", "export_cellxgene", ok=False)
    assert "donor_id of every sample: expected a name of the donor" in refused
    further = "".join(f"\t{name}" for name in CELLXGENE)
    samples = sheet(copy, "alone", (*row, *CELLXGENE.values()), further=further)
    keys = {**small, "annotate": {"markers": "config/examples/markers_pbmc.csv"}}
    config = copy.config("alone", atlas="alone", samples=samples, export=exports, **keys)
    output = copy.run("--configfile", config)
    # A line for each job, in place of Snakemake's own, and where the results are.
    done = re.findall(r"^\[ *(\d+)/(\d+)\] (\w+).*: .+ \(\d+ s\)$", output, re.MULTILINE)
    assert [int(number) for number, _, _ in done] == list(range(1, len(done) + 1))
    assert {total for _, total, _ in done} == {str(len(done))}
    assert "] filter_cells (q1): 174 of 174 cells kept (" in output
    assert "jobid:" not in output
    assert output.count("Warning: genes.n_top is 3000, but only") == 1
    end = output.split("Done in ")[1]
    assert "results/alone/report.html" in end
    assert "results/alone/atlas.h5ad" in end
    atlas = read(copy, "alone")
    lists = pd.read_csv(copy.folder / "results/alone/annotation/markers/calls.tsv", sep="\t",
                        dtype={"cluster": str}).set_index("cluster")  # fmt: skip
    labels = atlas.obs["cell_type"].astype(str)
    assert labels.tolist() == lists["label"][atlas.obs["cluster"].astype(str)].tolist()
    assert {"B cell"} < set(labels)
    b_cells = atlas.obs["cell_type_ontology_term_id"][labels == "B cell"]
    assert set(b_cells) == {"CL:0000236"}
    assert (atlas.obs["cell_type_source"].astype(str) == "markers").eq(labels != "unassigned").all()
    assert atlas.obs["marker_score"].notna().eq(labels != "unassigned").all()
    assert atlas.obsm["marker_scores"].shape == (atlas.n_obs, len(atlas.uns["marker_scores_names"]))
    metrics = pd.read_csv(copy.folder / "results/alone/metrics.tsv", sep="\t")
    # The truth has other names than the lists: no score, and the page says why.
    assert not (metrics["embedding"] == "markers").any()
    assert atlas.obs["cell_type_score"].isna().all()
    assert "cell_type_scores" not in atlas.obsm
    assert np.isfinite(atlas.obsm["X_dice"]).all()
    card = json.loads((copy.folder / "results/alone/prior/card.json").read_text())
    assert card["n_cells"] == atlas.n_obs
    assert card["augmentation"] == "clusters"
    exported = copy.folder / "results/alone/export"
    assert (atlas.layers["counts"] != sc.read_10x_mtx(exported / "seurat").X).nnz == 0
    assert (ad.read_zarr(exported / "atlas.zarr").X != atlas.X).nnz == 0
    described = ad.read_h5ad(exported / "atlas.cellxgene.h5ad")
    assert set(described.obs["tissue_ontology_term_id"]) == {"UBERON:0000178"}
    assert described.var_names.str.startswith("ENSG").all()
    assert described.n_vars > 0.9 * atlas.n_vars
    cells = pd.read_csv(copy.folder / "results/alone/cells.tsv.gz", sep="\t", dtype=str)
    assert cells["cell"].tolist() == atlas.obs_names.tolist()
    assert cells["leiden_1"].tolist() == atlas.obs["leiden_1"].tolist()
    assert {*atlas.obs, "umap1", "umap2"} < {*cells}
    assert pd.read_csv(copy.folder / "results/alone/doubtful.tsv.gz", sep="\t").empty
    page = (copy.folder / "results/alone/report.html").read_text()
    assert "No labels were transferred" in page
    assert "Labels by marker lists" in page
    assert "None of the given truth&#39;s names is a type of the lists" in page


@pytest.mark.parametrize("names", ["names.csv", "human"])
def test_symbols_from_a_table_of_names(copy, small, names):
    whole = ad.read_h5ad(copy.folder / "resources/demo/pbmc_ref.h5ad")
    symbols = whole.var_names.tolist()
    whole.var_names = [f"ENSG{i:011d}" for i in range(whole.n_vars)]
    if names == "human":
        table = read_names("human")
        known = dict(zip(table, table.index, strict=True))
        # Symbols that were renamed since have no id, and stay.
        whole.var_names = [known.get(symbol, symbol) for symbol in symbols]
        assert whole.var_names.str.startswith("ENSG").mean() > 0.9
    whole.write_h5ad(copy.folder / "ids.h5ad")
    lines = [f"{i},{name}" for i, name in zip(whole.var_names, symbols, strict=True)]
    (copy.folder / "names.csv").write_text("\n".join(["gene_id,symbol", *lines]) + "\n")
    row = ("ids", "../ids.h5ad", "reference", "A", "cell_type", "", "150")
    samples = sheet(copy, "names", row, QUERY)
    atlas = f"by_{names.removesuffix('.csv')}"
    config = copy.config("names", atlas=atlas, samples=samples, genes={"names": names}, **small)
    target = f"results/{atlas}/samples/ids/counts.h5ad"
    copy.run("--configfile", config, "--", target)
    assert ad.read_h5ad(copy.folder / target).var_names.tolist() == symbols


def test_a_saved_prior_is_used_as_it_is_without_genes_too(copy, small):
    # A query file without a tenth of the genes.
    whole = ad.read_h5ad(copy.folder / "resources/demo/pbmc_ref.h5ad")
    fewer = whole[:, np.arange(whole.n_vars) % 10 != 0].copy()
    # Four donors with cells in two conditions that differ in nothing.
    numbers = np.arange(fewer.n_obs)
    fewer.obs["donor"] = [f"d{i}" for i in numbers % 4]
    fewer.obs["stim"] = np.where(numbers // 4 % 2, "stim", "ctrl")
    # Of some cells the truth is no type.
    fewer.obs["known"] = np.where(numbers % 20, fewer.obs["cell_type"].astype(str), "odd")
    fewer.write_h5ad(copy.folder / "fewer.h5ad")
    row = ("few", "../fewer.h5ad", "query", "B", "", "known", "100", "obs:donor", "obs:stim")
    further = "\tdonor\tcondition"
    samples = sheet(copy, "reuse", (*REFERENCE, "", ""), row, further=further)
    # Beside it, labels of another tool under other names, and two levels.
    barcodes, labels = whole.obs_names, whole.obs["cell_type"].astype(str)
    lines = [f"few,{b},my {label}" for b, label in zip(barcodes, labels, strict=True)]
    (copy.folder / "tool.csv").write_text("\n".join(["sample,barcode,label", *lines]) + "\n")
    names = sorted(set(labels))
    annotate = {
        "tables": {"tool": "tool.csv"}, "voters": ["dice", "tool"], "consensus": ["dice", "tool"],
        "rename": {f"my {name}": name for name in names}
        | {"CD19+ B": "B", "my CD19+ B": "B", "odd": ""},
        "parents": {name: "T" for name in names if name.startswith(("CD4+", "CD8+"))},
    }  # fmt: skip
    keys = {**small, "prior": {"path": "results/demo/prior"}, "annotate": annotate}
    keys["denoise"] = {"shards": 2}
    compare = {"column": "condition", "baseline": "ctrl", "sample": "donor", "min_cells": 5}
    keys["compare"] = compare
    config = copy.config("reuse", atlas="reuse", samples=samples, **keys)
    checked = copy.run("--configfile", config, "--", "check")
    assert "Look at the saved prior" in checked
    copy.run("--configfile", config)
    saved = (copy.folder / "results/demo/prior/prior.safetensors").read_bytes()
    assert (copy.folder / "results/reuse/prior/prior.safetensors").read_bytes() == saved
    log = (copy.folder / "results/reuse/logs/denoise_shard/1-of-2.log").read_text()
    # The demo's prior is a kernel, whose closed form holds with fewer genes too.
    assert "exact, " in log
    assert "Gibbs" not in log
    atlas = read(copy, "reuse")
    genes = pd.read_csv(copy.folder / "results/reuse/features/genes.tsv", sep="\t")
    card = json.loads((copy.folder / "results/demo/prior/card.json").read_text())
    chosen = set(genes["gene"][genes["selected"]])
    assert chosen < set(card["genes"])
    # The query is the reference less some genes: its cells must get their own labels back.
    query = atlas[atlas.obs["role"] == "query"].obs
    metrics = pd.read_csv(copy.folder / "results/reuse/metrics.tsv", sep="\t")
    row = metrics[(metrics["embedding"] == "dice") & (metrics["metric"] == "accuracy_top")]
    accuracy = float(row["value"].iloc[0])
    assert len(query) == 351
    known = int((numbers % 20 > 0).sum())
    assert set(metrics.loc[metrics["cells"] == "query", "n_cells"]) == {known}
    assert f"of {known} with a true type that the reference has" in page_of(copy, "reuse")
    # 0.79 with the cells that are held out by now, 0.83 with those before; a label at random: 0.2.
    assert accuracy > 0.75
    given = labels.replace({"CD19+ B": "B"}).set_axis("few_" + barcodes.astype(str))
    truth = query["cell_type_in_tool"].astype(str)
    assert (truth == given.reindex(query.index)).all()
    both = metrics[(metrics["embedding"] == "consensus") & (metrics["metric"] == "accuracy_top")]
    assert float(both["value"].iloc[0]) > accuracy
    assert "B" in set(atlas.obs["cell_type"])
    assert "CD19+ B" not in set(atlas.obs["cell_type"])
    assert "B" in atlas.uns["cell_type_scores_names"]
    levels_were_reached(copy, query, truth, annotate["parents"])
    conditions_were_compared(copy, query)
    keys["compare"] = {**compare, "fdr": 0.1}
    config = copy.config("fdr", atlas="reuse", samples=samples, **keys)
    assert set(copy.planned("--configfile", config)) == {
        "all", "compare_conditions", "render_report"
    }  # fmt: skip


def conditions_were_compared(copy, query):
    """The tables of the comparison speak of the atlas's cells, and the report shows them."""
    folder = copy.folder / "results/reuse/conditions"
    types = pd.read_csv(folder / "types.tsv", sep="\t", keep_default_na=False)
    own = types[types["weighting"] == "label"].set_index("cell_type")
    assigned = query[query["cell_type"] != "unassigned"]
    cells = pd.crosstab(assigned["cell_type"].astype(str), assigned["condition"].astype(str))
    for name, row in cells.iterrows():
        assert own.loc[name, ["cells_baseline", "cells_condition"]].tolist() == row.tolist()
    tested = own[own["genes"] > 0]
    assert len(tested) >= 2
    assert tested["replicates_condition"].between(2, 4).all()
    assert (own.loc[own["genes"] == 0, "reason"] != "").all()
    genes = pd.read_csv(folder / "genes.tsv.gz", sep="\t", keep_default_na=False)
    assert genes.groupby("cell_type").size().ge(tested["genes"]).all()
    # Nothing was planted: cells were dealt out in turn.
    assert genes["finding"].mean() < 0.02
    shares = pd.read_csv(folder / "composition.tsv", sep="\t").set_index("cell_type")
    common = shares.loc[cells.sum(axis=1).nlargest(3).index]
    assert (common["interval_low"] < common["interval_high"]).all()
    page = (copy.folder / "results/reuse/report.html").read_text()
    assert 'id="conditions"' in page
    assert "PyDESeq2" in page


def levels_were_reached(copy, query, truth, parents):
    """The columns of levels agree with each other, with the truth and with the table."""
    coarse = query["cell_type_at_1"].astype(str)
    assert (coarse == truth.replace(parents)).mean() > 0.75
    level, backoff = query["cell_type_level"], query["cell_type_backoff"].astype(str)
    assert (backoff[level == 2] == query["cell_type"].astype(str)[level == 2]).all()
    assert (backoff[level == 1] == coarse[level == 1]).all()
    assert (backoff[level == 0] == "unassigned").all()
    levels = pd.read_csv(copy.folder / "results/reuse/annotation/levels.tsv", sep="\t")
    of_query = levels[levels["cells"] == "query"].set_index("level")["reached"]
    assert of_query["2"] == pytest.approx((level == 2).mean())
    assert of_query["1"] == of_query["back-off"] == pytest.approx((level == 1).mean())
    page = (copy.folder / "results/reuse/report.html").read_text()
    assert "Levels of the labels" in page


def test_a_reference_without_counts_gives_the_labels_of_one_with_counts(copy, demo, small):
    made = ad.read_h5ad(copy.folder / "resources/demo/pbmc_ref.h5ad")
    made.X = made.X.astype(np.float32)
    sc.pp.normalize_total(made, target_sum=1e6)
    sc.pp.log1p(made, base=2)
    made.write_h5ad(copy.folder / "logs.h5ad")
    head = "sample\tpath\trole\tbatch\tlabels\tmin_genes\texpression\n"
    rows = ("pbmc_ref", "../logs.h5ad", "reference", "A", "cell_type", "150", "log1p")
    queries = [
        (f"pbmc_q{i}", f"../resources/demo/pbmc_q{i}", "query", batch, "", "150", "")
        for i, batch in ((1, "B"), (2, "C"))
    ]
    text = head + "".join("\t".join(row) + "\n" for row in (rows, *queries))
    (copy.folder / "config/logs.tsv").write_text(text)
    # With a saved prior: nothing depends on which cells are held out from training.
    keys = {**small, "prior": {"path": "results/demo/prior"}, "annotate": {}}
    config = copy.config("logs", atlas="logs", samples="config/logs.tsv", **keys)
    copy.run("--configfile", config)
    atlas, raw = read(copy, "logs"), read(demo, "demo")
    assert not list(atlas.layers)
    assert "pbmc_ref" in atlas.uns["dice_atlas"]["without_counts"]
    assert atlas.obs_names.tolist() == raw.obs_names.tolist()
    reference = atlas.obs["role"] == "reference"
    assert atlas.obs["total_counts"].isna().tolist() == reference.tolist()
    assert abs(atlas[:, raw.var_names].X - raw.X).max() < 1e-4
    for voter, least in {"pca": 1.0, "dice": 0.9, "linear": 1.0}.items():
        # The demo's own prior was trained after another batch correction: PCs of its own.
        labels, expected = (d.obs[f"cell_type_in_{voter}"].astype(str) for d in (atlas, raw))
        assert (labels == expected)[~reference].mean() >= least, voter
    page = (copy.folder / "results/logs/report.html").read_text()
    assert "of pbmc_ref: log-normalised expression" in page
    assert "The log-normalised expression of pbmc_ref was brought to the same total" in page
    # What takes counts is refused before anything runs.
    keys |= {"denoise": {"likelihood": "poisson"}}
    config = copy.config("poisson", atlas="poisson", samples="config/logs.tsv", **keys)
    output = copy.run("-n", "--configfile", config, ok=False)
    assert "denoise.likelihood: seen poisson, a distribution of counts" in output


def test_reference_without_labels_and_the_papers_preset_and_gibbs(copy, small):
    plain = (*REFERENCE[:4], "", "", "150")
    samples = sheet(copy, "plain", plain, QUERY)
    keys = {**small, "prior": {**small["prior"], "preset": "paper"}}
    keys["denoise"] = {"method": "gibbs", "iterations": 2, "repeats": 2, "shards": 2}
    keys["cluster"] = {**small["cluster"], "embedding": "harmony", "flavor": "igraph"}
    keys["qc"] = {"doublets": "off"}
    config = copy.config("plain", atlas="plain", samples=samples, **keys)
    copy.run("--configfile", config, "--", "results/plain/atlas.h5ad")
    atlas = read(copy, "plain")
    assert set(atlas.obs["cell_type"]) == {"unassigned"}
    assert atlas.obs["doublet_score"].isna().all()
    assert ad.read_h5ad(copy.folder / "results/plain/clusters/graph.h5ad").uns["embedding"] == (
        "harmony"
    )
    assert json.loads((copy.folder / "results/plain/prior/card.json").read_text())["preset"] == (
        "paper"
    )


@pytest.mark.parametrize("likelihood", ["gaussian_per_gene", "student_t", "negative_binomial"])
def test_other_likelihoods_see_the_genes(copy, small, likelihood):
    samples = sheet(copy, "likelihood", REFERENCE, QUERY)
    keys = {**small, "atlas": "likelihood", "samples": samples}
    keys["denoise"] = {"likelihood": likelihood, "iterations": 4, "repeats": 2, "shards": 2}
    target = "results/likelihood/denoise/denoised.h5ad"
    copy.run("--configfile", copy.config("likelihood", **keys), "--", target)
    denoised = ad.read_h5ad(copy.folder / target)
    assert f"the likelihood {likelihood} has no closed form" in denoised.uns["dice"]["note"]
    latents = ad.read_h5ad(copy.folder / "results/likelihood/latent/latents.h5ad")
    found, start = denoised.obsm["X_dice"], latents.obsm["X_harmony"]
    assert np.isfinite(found).all()
    # The same cells, denoised: nearer to where they started than to any average cell.
    assert np.corrcoef(found[:, 0], start[:, 0])[0, 1] > 0.9


def test_labels_of_the_pca_space_alone(copy, small):
    samples = sheet(copy, "pca", REFERENCE, QUERY)
    keys = {**small, "annotate": {"voters": ["pca"], "final": "pca"}}
    config = copy.config("pca", atlas="pca", samples=samples, **keys)
    planned = copy.planned("--configfile", config)
    assert planned["find_anchors"] == planned["transfer_labels"] == 1
    assert not {"vote_linear", "combine_voters", "call_labels"} & set(planned)
    targets = ["results/pca/annotation/pca/calls.tsv.gz", "results/pca/prior/card.json"]
    copy.run("--configfile", config, "--", *targets)
    folder = copy.folder / "results/pca"
    calls = pd.read_csv(folder / "annotation/pca/calls.tsv.gz", sep="\t")
    assert len(calls) == 174
    assert calls["score"].between(0, 1).all()
    assert calls["p_reference"].between(0, 1).all()
    # What calibrates that is new to the prior, whatever the space of the labels.
    card = json.loads((folder / "prior/card.json").read_text())
    assert (card["n_cells"], card["n_held_out"]) == (263, 88)


def test_labels_of_each_sample_by_itself_are_those_of_a_run_of_it_alone(copy, small):
    other = ("q2", "../resources/demo/pbmc_q2", "query", "C", "", "", "150")
    names = ("calls", "predictions", "calibration")
    voters = {"voters": ["pca", "linear"], "consensus": ["pca", "linear"]}
    keys = {**small, "annotate": {"per": "sample", "final": "consensus", **voters}}
    config = copy.config("per", atlas="per", samples=sheet(copy, "per", REFERENCE, QUERY, other),
                         **keys)  # fmt: skip
    targets = [f"results/per/annotation/pca/{n}.tsv.gz" for n in names]
    calls = "results/per/annotation/consensus/calls.tsv.gz"
    copy.run("--configfile", config, "--", *targets, calls)
    keys["annotate"] = {"voters": ["pca"], "final": "pca"}
    config = copy.config("own", atlas="own", samples=sheet(copy, "own", REFERENCE, QUERY), **keys)
    copy.run("--configfile", config, "--", "results/own/annotation/pca/calls.tsv.gz")

    def table(atlas, name):
        path = copy.folder / f"results/{atlas}/annotation/pca/{name}.tsv.gz"
        return pd.read_csv(path, sep="\t", keep_default_na=False)

    for name in names:
        whole, alone = table("per", name), table("own", name)
        mine = whole[whole["cell"].isin(alone["cell"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, alone)
        assert not whole["cell"].duplicated().any()
        assert whole["cell"].str.startswith("q2_").sum() > 100
    consensus = pd.read_csv(copy.folder / calls, sep="\t", keep_default_na=False)
    assert consensus["cell"].tolist() == table("per", "calls")["cell"].tolist()
    same = consensus["predicted"] == table("per", "calls")["predicted"]
    assert 0.7 < same.mean() < 1
    assert consensus["score"].between(0, 1).all()
    assert table("per", "calls")["cell"].str[:2].drop_duplicates().tolist() == ["q1", "q2"]


def test_a_labelled_reference_alone_is_an_atlas_of_its_own(copy, small):
    samples = sheet(copy, "reference", REFERENCE)
    copy.run("--configfile", copy.config("reference", atlas="reference", samples=samples, **small))
    obs = read(copy, "reference").obs
    assert obs["cell_type"].nunique() == 7
    assert "unassigned" not in set(obs["cell_type"])
    assert obs["cell_type_score"].isna().all()
    assert (copy.folder / "results/reference/report.html").stat().st_size > 100_000


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clusters": {}}, "unknown key 'clusters'; did you mean 'cluster'?"),
        ({"latent": {"k": 1}}, "latent.k: seen 1, expected auto, or a whole number, 2 or more"),
        ({"samples": "none.tsv"}, "none.tsv does not exist"),
        ({"annotate": {"voters": ["pca"], "final": "dice"}}, "annotate.final: seen 'dice'"),
    ],
    ids=["unknown", "range", "sheet", "conflict"],
)
def test_a_wrong_config_is_one_clear_error_before_anything_runs(copy, keys, message):
    output = copy.run("--configfile", copy.config("wrong", atlas="wrong", **keys), ok=False)
    assert message in output
    assert "Traceback" not in output
    assert not (copy.folder / "results/wrong").exists()


def test_input_that_is_not_raw_counts_is_refused_and_leaves_nothing_behind(copy):
    data = ad.read_h5ad(copy.folder / "resources/demo/pbmc_ref.h5ad")
    data.X = np.log1p(data.X.toarray())
    data.write_h5ad(copy.folder / "logged.h5ad")
    samples = sheet(copy, "logged", ("s", "../logged.h5ad", "query", "A", "", "", ""))
    config = copy.config("logged", atlas="logged", samples=samples)
    output = copy.run("--configfile", config, ok=False)
    assert "logged.h5ad" in output
    assert "log" in output.split("Error:")[1]
    assert list((copy.folder / "results/logged/samples").rglob("*.h5ad")) == []


@pytest.mark.skipif("torch.cuda.is_available()", reason="there is a CUDA device")
def test_cuda_without_a_device_is_an_error_and_no_fallback(copy, small):
    samples = sheet(copy, "cuda", QUERY)
    config = copy.config("cuda", atlas="alone", samples=samples, device="cuda", **small)
    output = copy.run("--configfile", config, ok=False)
    assert "torch sees no CUDA device" in output
