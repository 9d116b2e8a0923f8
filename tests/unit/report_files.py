"""Inputs of the report for a run of a given kind, and the page that is made of them."""

import json
from html.parser import HTMLParser

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from dice_atlas.atlas.doubt import doubts
from dice_atlas.conditions.results import (
    GENE_COLUMNS,
    SHARE_COLUMNS,
    add_findings,
    by_weighting,
)
from dice_atlas.conditions.settings import WEIGHTINGS
from dice_atlas.counts.criteria import METRICS, REASONS
from dice_atlas.files import write_table
from dice_atlas.report import (
    findings,
    html,
)
from dice_atlas.report.data import read_report_data
from dice_atlas.transfer.explain import cluster_agreement, label_genes
from factories import BATCH, NO_QC

LABELS = ["T cell", "B & <plasma>", "NA"]

CONFIG = {
    "atlas": "small",
    "seed": 0,
    "genes": {"n_top": 20, "mode": "joint"},
    "normalization": {"target_sum": 10000, "max_value": 10},
    "batch": BATCH,
    "latent": {"k": "auto"},
    "prior": {"path": None},
    "denoise": {"method": "exact", "likelihood": "gaussian", "noise_variance": 1.0, "samples": 20,
                "precision": "float32", "iterations": 100, "repeats": 10,
                "rho": {"start": 5.0, "end": 0.5, "schedule": "linear"}},
    "annotate": {"voters": ["pca", "dice"], "consensus": ["dice"], "final": "dice", "per": "all",
                 "risk": 0.1,
                 "reduction": "pcaproject",
                 "nfeatures": 2000, "dims": 30, "k.anchor": 5, "k.filter": 200, "k.score": 30,
                 "max.features": 200, "k.weight": 50, "sd.weight": 1, "seurat_version": "v4",
                 "exact_up_to": 50_000, "unassigned_below": 0.5, "outside_below": 0,
                 "coverage": 0.9},
    "cluster": {"embedding": "dice", "n_neighbors": 15, "exact_up_to": 100_000,
                "flavor": "leidenalg", "resolutions": [0.5, 1.0], "choose": "auto"},
    "augment": {"below": 30, "target": 60, "spread": 0.5},
    "figures": {"palette": {}},
    "report": {"title": None, "n_markers": 2, "genes": [], "max_mb": 12, "max_cells": 200_000},
}  # fmt: skip

OF_TRANSFERS = ("calibration.tsv.gz", "label_genes.tsv", "cluster_labels.tsv", "shift.tsv")

QC_LIMITS = {**NO_QC, "min_genes": 200, "max_mito_percent": 15, "n_mads": np.nan}


def write_atlas(folder, rng, transfer, clusters, one_sample, gibbs):
    """atlas.h5ad of 240 cells; the last tenth of the query is unassigned."""
    n = 240
    kind = rng.integers(0, 3, n)
    query = np.ones(n, bool) if one_sample else np.arange(n) >= 100
    label = np.array(LABELS, dtype=object)[kind] if transfer else np.full(n, "", dtype=object)
    lost = query & (np.arange(n) >= 226)
    blank = np.full(n, "", dtype=object)
    sets = np.where(np.arange(n) % 4 == 0, "T cell|NA", label)
    obs = pd.DataFrame(
        {
            "sample": np.where(query, np.where(one_sample | (np.arange(n) < 180), "q1", "q2"), "r"),
            "role": np.where(query, "query", "reference"),
            "batch": np.where(query, "b", "a"),
            "n_genes": 300,
            "total_counts": rng.integers(500, 5000, n),
            "cell_type": np.where(lost, "unassigned", label) if transfer else "unassigned",
            "cell_type_best": np.where(query & transfer, label, ""),
            "cell_type_score": np.where(query & transfer, np.where(lost, 0.3, 0.8), np.nan),
            "cell_type_entropy": np.where(query & transfer, 0.4, np.nan),
            "cell_type_set": np.where(query & ~lost & transfer, sets, blank),
            "cell_type_n_anchors": np.where(query & transfer, 20, 0),
            "cell_type_p_reference": np.where(query & transfer, np.where(lost, 0.001, 0.5), np.nan),
            "cell_type_rule": np.where(lost, "score_below_0.5", ""),
            "cell_type_ontology_term_id": np.where(label == "T cell", "CL:0000084", ""),
            "dice_uncertainty": rng.uniform(5, 9, n),
            "cluster": (kind % clusters).astype(str),
        },
        index=[f"c{i}" for i in range(n)],
    )
    obs["cell_type_doubt"] = doubts(obs, "dice") if transfer else ""
    counts = sp.random(n, 12, 0.5, "csr", dtype=np.float32, rng=rng)
    dice = {
        "method": "gibbs" if gibbs else "exact",
        "likelihood": "gaussian",
        "noise_variance": {"reference": 1.0, "query": 1.0},
        "samples": 20,
        "s": {"reference": 1.118, "query": 1.118},
        "iterations": {"reference": 22 if gibbs else 0, "query": 22 if gibbs else 0},
        "note": "3 genes are missing: Gibbs in place of exact" if gibbs else "",
    }
    about = {
        "samples": json.dumps({"r": {"qc": {"min_genes": 150}}, "q1": {"qc": {}}}),
        "config": json.dumps(CONFIG), "seed": 0, "dice": json.dumps(dice),
        "versions": {"scanpy": "1.11.5", "snakemake": "9.27.1"},
        "inputs": json.dumps({"r": {
            "path": "r.h5ad", "format": "h5ad raw.X", "sha256": "0" * 64,
            "decided": {"matrix": "raw.X", "passed_over": "X: <negative>", "labels": ""},
        }}),
    }  # fmt: skip
    umap = np.stack([3 * kind, kind % 2], axis=1) + rng.normal(0, 0.3, (n, 2))
    atlas = ad.AnnData(
        counts, obs=obs, uns={"dice_atlas": about}, 
        obsm={"X_umap": umap.astype(np.float32),
              "X_dice": (umap @ rng.normal(size=(2, 4))).astype(np.float32)},
        var=pd.DataFrame({"highly_variable": True, "n_cells": counts.getnnz(axis=0)},
                         index=[f"G{i}" for i in range(12)]),
    )  # fmt: skip
    atlas.write_h5ad(folder / "atlas.h5ad")
    return obs


def write_tables(folder, rng, obs, transfer, truth, clusters, doublets):
    """The tables beside the atlas."""
    samples = obs.groupby("sample", sort=False).first()
    write_table(
        pd.DataFrame(
            [
                {"sample": name, "role": row["role"], "batch": row["batch"], "cells_in": 200,
                 "genes_measured": 12 if name != "q2" else 30,
                 "cells_kept": int((obs["sample"] == name).sum()),
                 **{f"removed_{reason}": 0 for reason in REASONS}, "removed_min_genes": 3,
                 **{f"median_{metric.short}": 1.5 for metric in METRICS}, "median_genes": 300.0,
                 "doublet_rate": 0.25 if doublets else np.nan,
                 "doublet_threshold": 0.3 if doublets else np.nan, **QC_LIMITS,
                 "doublets": "annotate" if doublets else "off"}
                for name, row in samples.iterrows()
            ]
        ), folder / "qc.tsv",
    )  # fmt: skip
    query = obs[obs["role"] == "query"]
    right = {"accuracy": 0.875, "accuracy_known": 0.8, "set_coverage_known": 0.5}
    found = [("query", "dice", name, value, "") for name, value in right.items()] if truth else []
    found += [("query", "pca", "accuracy", 0.99, "two left out")] if truth else []
    found += [("all", name, "ilisi_role", 1.05, "") for name in ("pca", "dice")]
    metrics = pd.DataFrame(found, columns=["cells", "embedding", "metric", "value", "note"])
    write_table(metrics.assign(protocol="blind", n_cells=len(query)), folder / "metrics.tsv")
    confusion = pd.crosstab(query["cell_type"], query["cell_type"]).melt(
        ignore_index=False, value_name="cells", var_name="predicted"
    )
    confusion.index.name = "truth"
    confusion = confusion.reset_index().assign(space="dice")[lambda t: t["cells"] > 0]
    write_table(confusion if truth else confusion[:0], folder / "confusion.tsv")
    markers = pd.DataFrame(
        [
            {"cluster": str(c), "rank": r, "gene": f"G{c + r}", "score": 9.0, "p_adjusted": 0.0,
             "log2_fold_change": (30.0, -1.0, 2.0)[r - 1], "share_in": 0.9, "share_out": 0.1}
            for c in range(clusters) for r in (1, 2, 3)
        ]
    )  # fmt: skip
    write_table(markers if clusters > 1 else markers[:0], folder / "markers.tsv.gz")
    score = rng.uniform(0.4, 1, 60)
    calibration = pd.DataFrame(
        {"cell": "x", "role": "reference",
         "label": np.where(rng.uniform(size=60) < score, "T cell", "NA"),
         "predicted": "T cell", "score:T cell": score, "score:B & <plasma>": 0.0,
         "score:NA": 1 - score}
    )  # fmt: skip
    write_table(calibration.assign(support=0.5), folder / "calibration.tsv.gz")
    resolutions = {"resolution": [0.5, 1.0], "n_clusters": [clusters, 9], "stability": [1.0, 0.8],
                   "silhouette": [np.nan, 0.4], "reference_ari": [0.8, 0.5],
                   "chosen": [True, False]}  # fmt: skip
    write_table(pd.DataFrame(resolutions), folder / "resolutions.tsv")
    steps = {"step": [1, 2], "train_loss": [1.0, 0.5], "validation_loss": [0.9, 0.6]}
    write_table(pd.DataFrame(steps), folder / "loss.tsv")
    if transfer:
        write_explanations(folder, rng, obs)
    genes = {"gene": [f"G{i}" for i in range(12)], "selected": [i < 8 for i in range(12)]}
    write_table(pd.DataFrame(genes), folder / "genes.tsv")


def write_explanations(folder, rng, obs):
    """label_genes.tsv and cluster_labels.tsv, as the rule writes them."""
    cells = obs[["role"]].assign(label=obs["cell_type"].where(obs["role"] == "reference", ""))
    query = obs[obs["role"] == "query"].rename_axis("cell").reset_index()
    clusters = obs["cluster"].astype(str)
    calls = {"pca": query, "dice": query}
    write_table(cluster_agreement(cells, calls, clusters), folder / "cluster_labels.tsv")
    labelled = cells["label"] != ""
    labels = cells["label"][labelled].to_numpy(dtype=str)
    embedding = (
        rng.normal(size=(len(labels), 5)) + np.unique(labels, return_inverse=True)[1][:, None]
    )
    names = np.array([f"G{i}" for i in range(12)])
    genes = label_genes(embedding, labels, np.linalg.qr(rng.normal(size=(12, 5)))[0], names)
    write_table(genes, folder / "label_genes.tsv")
    shift = {"sample": ["q1", "q2"], "cells": [80, 60], "agreement": [0.95, 0.61],
             "agreement_held_out": [0.94, 0.93], "score": [0.9, 0.7], "score_held_out": [0.9, 0.88],
             "support": [np.nan, 0.41], "support_held_out": 0.9, "low_p": [np.nan, 0.31],
             "shift": [0.0, 0.2], "apart": [False, True]}  # fmt: skip
    write_table(pd.DataFrame(shift), folder / "shift.tsv")


def write_lists(folder, transfer, lists):
    """Tables of marker lists, which label the cells where no labels were transferred."""
    names = ("marker_scores", "marker_calls", "marker_genes")
    if not lists:
        return {name: [] for name in names}
    calls = {"cluster": ["0", "1", "2"], "cells": [90, 80, 70],
             "label": ["T cell", "unassigned", "unassigned"],
             "rule": ["", "several_marker_lists_fit", "no_marker_list_fits"],
             "types": ["T cell", "B & <plasma>|NK", ""], "q": [0.0003, 0.01, 0.4],
             "carried_by": ["CD3D, CD19 (absent)", "NKG7", ""]}  # fmt: skip
    scores = [
        {"cluster": str(c), "type": kind, "n_genes": 4, "score": 0.2, "effect": 3.0 - c - i,
         "strength": 0.6, "z": 1.0, "p": 0.01, "q": 0.01 if c + i < 2 else 0.9}
        for c in range(3) for i, kind in enumerate(("T cell", "B & <plasma>", "NK"))
    ]  # fmt: skip
    genes = {"type": ["T cell"] * 3 + ["NK", "mast"],
             "gene": ["CD3D", "CD3E", "CD19", "NKG7", "KIT"],
             "sign": [1, 1, -1, 1, 1], "found": ["CD3D", "CD3E", "CD19", "NKG7", ""],
             "similar": ["", "", "", "", "Kit"]}  # fmt: skip
    for name, table in zip(names, (scores, calls, genes), strict=True):
        write_table(pd.DataFrame(table), folder / f"{name}.tsv")
    if not transfer:
        atlas = ad.read_h5ad(folder / "atlas.h5ad")
        label = dict(zip(calls["cluster"], calls["label"], strict=True))
        atlas.obs["cell_type"] = atlas.obs["cluster"].astype(str).map(label)
        atlas.write_h5ad(folder / "atlas.h5ad")
    return {name: [folder / f"{name}.tsv"] for name in names}


def write_qc_cells(folder, rng, obs, doublets):
    """qc_cells.tsv.gz of each sample, as in qc.tsv: 200 cells, of which 3 had few genes."""
    paths = []
    for sample, n_kept in obs["sample"].value_counts(sort=False).items():
        kept = np.arange(200) < n_kept
        reason = np.where(kept, "", np.where(np.arange(200) >= 197, "min_genes", "mad"))
        cells = pd.DataFrame({
            "cell": [f"{sample}_{i}" for i in range(200)],
            "n_genes": np.where(reason == "min_genes", 100, rng.integers(200, 900, 200)),
            "total_counts": rng.integers(500, 5000, 200), "percent_mito": rng.uniform(0, 14, 200),
            "percent_ribo": rng.uniform(10, 30, 200), "percent_spike": 0.0,
            "doublet_score": rng.uniform(0, 0.5, 200) if doublets else np.nan,
            "kept": kept, "reason": reason,
        })  # fmt: skip
        paths.append(folder / f"qc_cells_{sample}.tsv.gz")
        write_table(cells, paths[-1])
    return paths


def write_truth(folder, obs):
    """truth.tsv.gz, of which confusion.tsv was made: the truth of every label is the label."""
    query = obs[obs["role"] == "query"]
    table = pd.DataFrame({"cell": query.index, "truth": query["cell_type"].to_numpy()})
    write_table(table, folder / "truth.tsv.gz")
    return [folder / "truth.tsv.gz"]


def texts_of(data):
    """The texts of the findings."""
    return [one.text for one in findings.look_first(data)]


def make_report_files(
    folder,
    root,
    transfer=True,
    truth=True,
    clusters=3,
    one_sample=False,
    doublets=True,
    gibbs=False,
    lists=False,
):
    """Inputs of the rule, by name, for a run of a given kind."""
    rng = np.random.default_rng(0)
    obs = write_atlas(folder, rng, transfer, clusters, one_sample, gibbs)
    write_tables(folder, rng, obs, transfer, truth and transfer, clusters, doublets)
    np.savez(folder / "loadings.npz", singular_values=np.linspace(10, 1, 20), k=5)
    notes = {"method": "harmony", "applied": False, "scope": "within_role",
             "notes": np.array(["one batch only"])}  # fmt: skip
    ad.AnnData(obs=obs[[]], uns={"correction": notes}).write_h5ad(folder / "corrected.h5ad")
    card = {
        "preset": "fast",
        "noise": "within_type",
        "settings": {"background": 0.1},
        "augmentation": "labels",
        "n_cells": 100,
        "steps": 700,
        "seconds": 15.2,
        "device": "cpu",
        "held_out_loss": 0.5,
        "dice_atlas": "0.1.0",
    }
    (folder / "card.json").write_text(json.dumps(card))
    tables = ("metrics", "qc", "confusion", "resolutions", "loss", "genes")
    return {
        "atlas": folder / "atlas.h5ad", "loadings": folder / "loadings.npz",
        "corrected": folder / "corrected.h5ad", "card": folder / "card.json",
        "markers": folder / "markers.tsv.gz",
        "qc_cells": write_qc_cells(folder, rng, obs, doublets),
        **{name.split(".")[0]: [folder / name] if transfer else [] for name in OF_TRANSFERS},
        "templates": [
            root / "resources" / name
            for name in ("report.html.j2", "page.css", "macros.html.j2")
        ] + sorted((root / "resources/report").iterdir()),
        **{name: folder / f"{name}.tsv" for name in tables},
        "augmented": [], "augment_scores": [],
        "condition_genes": [], "condition_shares": [], "condition_types": [],
        "levels": [], "label_levels": [],
        **write_lists(folder, transfer, lists),
        "truth": write_truth(folder, obs) if transfer and truth else [],
    }  # fmt: skip


class Page(HTMLParser):
    """Links, images, ids and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.images, self.ids, self.text, self.tags = [], [], set(), [], []
        self.feed(text)
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.links += [found["href"]] if "href" in found else []
        self.images += [found] if tag == "img" else []
        self.ids |= {found["id"]} if "id" in found else set()

    def handle_data(self, data):
        # What a reader sees: no script, no style.
        if self.tags and self.tags[-1] not in ("script", "style"):
            self.text.append(data)

    def handle_endtag(self, tag):
        self.tags += [f"/{tag}"] if tag in ("script", "style") else []


def rendered(files, folder, compare=None) -> Page:
    settings = html.ReportSettings.from_config(CONFIG["report"], 0, {})
    data = read_report_data(files, settings.n_markers, compare)
    html.write_report(data, files, folder / "report.html", folder / "figures", settings, "small")
    return Page((folder / "report.html").read_text())


def write_conditions(folder):
    """Tables of a comparison: one type with findings, of which some hold, and one too small."""
    rng = np.random.default_rng(0)
    genes = pd.DataFrame(
        {name: rng.uniform(0.2, 1, 20) for name in GENE_COLUMNS}, index=[f"G{i}" for i in range(20)]
    )
    genes.loc[["G0", "G1"], ["p_value", "p_adjusted"]] = 1e-40
    less = genes.copy()
    less.loc["G1", "p_adjusted"] = 0.5
    found = by_weighting({"label": genes, "certain": less, "expected": genes}, GENE_COLUMNS)
    found = add_findings(found, "log2_fold_change", 0.05).rename_axis("gene").reset_index()
    found.insert(0, "condition", "stim")
    found.insert(1, "cell_type", "B & <plasma>")
    shares = pd.DataFrame({name: [0.25, np.nan] for name in SHARE_COLUMNS},
                          index=["B & <plasma>", "NA"])  # fmt: skip
    shares.loc["B & <plasma>", "p_adjusted"] = 0.01
    shares = by_weighting(dict.fromkeys(WEIGHTINGS, shares), SHARE_COLUMNS)
    shares = add_findings(shares, "log2_odds_ratio", 0.05).rename_axis("cell_type").reset_index()
    shares["reason"] = ["", "3 cells in all replicates"]
    shares.insert(0, "condition", "stim")
    types = pd.DataFrame(
        [
            {"condition": "stim", "cell_type": name, "weighting": weighting, "paired": True,
             "replicates_baseline": 4, "replicates_condition": 4, "cells_baseline": 1200,
             "cells_condition": 90.5, "genes": 20, "up": 2, "down": 0,
             "holding": 1 if weighting == "certain" else 2,
             "reason": "" if name != "NA" else "fewer than 2 pairs"}
            for name in ("B & <plasma>", "NA") for weighting in WEIGHTINGS
        ]
    )  # fmt: skip
    tables = {"condition_genes": found, "condition_shares": shares, "condition_types": types}
    for name, table in tables.items():
        write_table(table, folder / f"{name}.tsv")
    return {name: [folder / f"{name}.tsv"] for name in tables}
