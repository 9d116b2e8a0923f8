"""The report from small files of every kind of run: its numbers, its texts, its page."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import anndata as ad
import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml
from dice_atlas.atlas.doubt import doubts
from dice_atlas.conditions.results import (
    GENE_COLUMNS,
    SHARE_COLUMNS,
    add_findings,
    by_weighting,
)
from dice_atlas.conditions.settings import WEIGHTINGS, CompareSettings
from dice_atlas.counts.criteria import METRICS, REASONS
from dice_atlas.features import correctors
from dice_atlas.files import write_table
from dice_atlas.numerics import blocks
from dice_atlas.plots import categories, placement, points, style
from dice_atlas.report import (
    annotation,
    answer,
    changed_settings,
    confidence_tables,
    disputes,
    evidence,
    expression,
    figures,
    findings,
    html,
    input_tables,
    lying_apart,
    maps,
    methods,
)
from dice_atlas.report import tables as page_tables
from dice_atlas.report.data import read_report_data, read_table, top_markers
from dice_atlas.report.figure_data import table_of
from dice_atlas.transfer.conformal import best_scores
from dice_atlas.transfer.explain import cluster_agreement, label_genes
from dice_atlas.viewer import cells
from factories import BATCH, NO_QC
from matplotlib.colors import to_rgb
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

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


@pytest.fixture
def make_files(tmp_path, root):
    """Inputs of the rule, by name, for a run of a given kind."""
    return lambda **kind: make_report_files(tmp_path, root, **kind)


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


@pytest.mark.parametrize("backend", ["svg", "pdf"])
def test_figures_are_agg_s_whatever_the_backend(make_files, tmp_path, backend):
    plt.switch_backend(backend)
    outside, axes = plt.subplots()
    with pytest.raises(TypeError, match=r"expected Agg's canvas.*plots.style.styled"):
        placement.write_names(axes, {"A": np.zeros(2)})
    plt.close(outside)
    data = read_report_data(make_files(), 2)
    path = tmp_path / "umap.png"
    figures.save_png(figures.drawings(data, 2)["umap_types"](), path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"


def test_the_page_made_again_is_the_same_file(make_files, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "DPI", 50)
    files = make_files()
    pages = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rendered(files, tmp_path / name)
        pages.append(next((tmp_path / name).glob("*.html")).read_bytes())
    assert pages[0] == pages[1]


def test_the_page_needs_nothing_but_itself(make_files, tmp_path):
    page = rendered(make_files(), tmp_path)
    # Links to the files beside the page; tests/workflow/test_demo.py follows them.
    own = {link for link in page.links if not link.startswith(("#", "data:"))}
    assert {"atlas.h5ad", "doubtful.tsv.gz", "figures/"} < own
    assert not [link for link in own if link.startswith(("/", ".")) or ":" in link]
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    assert len(anchors) == 9
    assert "conditions" not in page.ids
    assert "DESeq2" not in page.words
    assert anchors <= page.ids
    assert len(page.images) == 12
    for picture in page.images:
        assert picture["src"].startswith("data:image/png;base64,")
        assert picture["alt"]
        assert int(picture["width"]) > 90
    with Image.open(tmp_path / "figures" / "umap_types.png") as picture:
        assert picture.mode == "P"
        shown = {(image["width"], image["height"]) for image in page.images}
        assert (str(picture.width // 2), str(picture.height // 2)) in shown
    assert not {"plasma", "iframe"} & set(page.tags)
    # The map's data, and its script.
    assert page.tags.count("script") == 4
    assert "B & <plasma>" in page.words
    # What was read from the file, and what was not.
    assert "matrix passed over r h5ad raw.X raw.X X: <negative>" in page.words
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"umap_types", "confusion", "reliability", "markers", "composition"} <= names


def test_characters_that_nobody_sees_are_written_out(make_files, tmp_path, monkeypatch):
    monkeypatch.setitem(
        CONFIG, "report", CONFIG["report"] | {"title": "a\u202eb\u200bc <i>", "max_cells": 100}
    )
    monkeypatch.setattr(cells, "LEAST_OF_CLUSTER", 5)
    page = rendered(make_files(), tmp_path)
    assert "a\\u202eb\\u200bc <i>" in page.words
    assert not {"\u202e", "\u200b"} & set(page.words)
    assert "i" not in page.tags
    # Of more cells than the page may hold, a part is drawn, and the page says so.
    assert re.search(r"This page holds 1\d\d of the 240 cells: all cells whose label", page.words)


KINDS = {
    "no transfer": ({"transfer": False}, "No labels were transferred", "cell_type_score"),
    "no truth": ({"truth": False}, "The query cells have no truth", "labels right"),
    "one cluster": ({"clusters": 1}, "There is one cluster only", "log2 fold change"),
    "one sample": (
        {"transfer": False, "one_sample": True, "clusters": 1},
        "All cells are of one batch",
        "Reference and query hardly",
    ),
    "no doublets": ({"doublets": False}, "Raw counts of 3 samples", "Doublets were called"),
    "gibbs": ({"gibbs": True}, "by split Gibbs sampling", "closed form"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_parts_that_are_absent_leave_no_hole(make_files, tmp_path, kind, monkeypatch):
    monkeypatch.setattr(figures, "DPI", 50)
    settings, there, absent = KINDS[kind]
    if kind == "one sample":
        # One role: no mixing of roles to measure.
        files = make_files(**settings)
        table = pd.read_csv(files["metrics"], sep="\t").assign(value=np.nan, note="one role only")
        write_table(table, files["metrics"])
    else:
        files = make_files(**settings)
    page = rendered(files, tmp_path)
    assert there in page.words
    assert absent not in page.words
    if kind == "one sample":
        assert "nothing to measure" in page.words
        assert "A truncated SVD of the cells gave" in page.words
    assert not re.search(r"\bnan\b|\bNone\b(?!:)", page.words)
    fewer = {"no transfer": 4, "no truth": 1, "one cluster": 1, "one sample": 6}
    expected = 12 - fewer.get(kind, 0)
    assert len(list((tmp_path / "figures").glob("*.png"))) == expected


@pytest.mark.parametrize("transfer", [True, False])
def test_captions_speak_of_what_is_there(make_files, tmp_path, transfer, monkeypatch):
    monkeypatch.setattr(figures, "DPI", 50)
    files = make_files(transfer=transfer)
    if not transfer:
        table = pd.read_csv(files["resolutions"], sep="\t").assign(reference_ari=np.nan)
        write_table(table, files["resolutions"])
    page = rendered(files, tmp_path)
    for part in ("Score and entropy: dark cells", "The agreement with the reference is that"):
        assert (part in page.words) == transfer


# What is true of labels that were transferred alone.
OF_A_TRANSFER = (
    "Transferred labels against", "prediction set holds", "possible label", "cell_type_score",
    "the transferred label", "changed none", "for comparison", "Clusters describe the cells",
)  # fmt: skip


@pytest.mark.parametrize("transfer", [False, True])
def test_marker_lists_are_shown_for_what_they_are(make_files, tmp_path, transfer, monkeypatch):
    monkeypatch.setattr(figures, "DPI", 50)
    files = make_files(transfer=transfer, lists=True)
    metrics = pd.DataFrame(
        {"protocol": "blind", "cells": "query", "embedding": "markers", "n_cells": 140,
         "metric": ["accuracy", "recall:T cell"], "value": [0.25, 0.5], "note": ["", "70 cell(s)"]}
    )  # fmt: skip
    confusion = {"space": ["markers"] * 2, "truth": ["T cell"] * 2,
                 "predicted": ["T cell", "unassigned"], "cells": [35, 105]}  # fmt: skip
    for name, table in (("metrics", metrics), ("confusion", pd.DataFrame(confusion))):
        before = pd.read_csv(files[name], sep="\t", keep_default_na=False)
        write_table(pd.concat([before, table]), files[name])
    page = rendered(files, tmp_path)
    assert "marker-lists" in page.ids
    for part in (
        "Marker lists label 1 of 3 clusters with 1 type: 38% of all cells.",
        "Cluster 1 fits several marker lists about as well: B & <plasma> or NK.",
        "Clusters that no marker list fits: 2.",
        "left out: mast.", "single ones: NK (1).", "in another way: KIT (Kit).",
        "The data have 4 of the 5 genes of the lists. Missing: KIT.",
        "0.0003 CD3D, CD19 (absent)",
        "Clusters were labelled by marker lists of 3 cell types.",
    ):  # fmt: skip
        assert part in page.words, part
    assert (tmp_path / "figures/marker_lists.png").exists()
    data = read_report_data(files, 2)
    assert table_of("marker_lists", None, data)["effect"].tolist() == [
        3.0, 2.0, 1.0, 2.0, 1.0, 0.0, 1.0, 0.0, -1.0
    ]  # fmt: skip
    # The figure's data are those of the labels that it shows.
    drawn = table_of("confusion", None, data)
    assert drawn["cells"].sum() == (140 if transfer else 35 + 105)
    assert (
        "Of the 140 query cells with a given truth, 25% have the right label" in page.words
    ) == (not transfer)
    assert ("Labels by marker lists against the given truth" in page.words) == (not transfer)
    assert (tmp_path / "figures/confusion.png").exists()
    said = [part for part in OF_A_TRANSFER if part in page.words]
    assert said == (list(OF_A_TRANSFER[:-1]) if transfer else [])
    assert "marker_score" in page.words
    assert not re.search(r"\bnan\b", page.words)


def test_the_summary_is_counted_from_the_cells(make_files):
    data = read_report_data(make_files(), 2)
    text = answer.summary(data)
    assert "240 cells, 100 of 1 reference sample and 140 of 2 query samples, in 3 clusters" in text
    query = data.obs[100:]
    sure = sum(
        kind != "unassigned" and kind == names
        for kind, names in zip(query["cell_type"], query["cell_type_set"], strict=True)
    )
    assert f"{sure / 140:.0%} of the query cells have one possible label" in text
    assert "10% are unassigned" in text
    assert (
        "Of the 126 query cells with a given truth that the reference has, 80% have the right label"
        in text
    )
    boxes = {what: value for value, what, _ in answer.facts(data)}
    assert boxes["cells"] == "240"
    assert boxes["unassigned"] == "10%"


def test_warnings_name_what_deserves_a_look(make_files):
    data = read_report_data(make_files(gibbs=True), 2)
    text = " ".join(texts_of(data))
    for part in (
        "Sample q1: 25% of its cells look like doublets (marked, not removed)",
        "Sample q2: only 60 of 200 cells",
        "Reference and query are one batch each",
        "hardly mix in the embedding (iLISI 1.05",
        "Gibbs in place of exact",
        "Prediction sets hold the truth in 50% of the cells",
        "in the PCA space are right more often: 99.0% against 87.5%",
        "B & <plasma> (0)",
        "around which few find an anchor (cell_type_p_reference below 0.01; 1% are to be "
        "expected), by sample: q2 (23%)",
    ):
        assert part in text
    assert (
        "Sample q2 lies apart from the reference: voters agree in 61% of cases (93%); the mean "
        "score is 0.70 (0.88); the anchor support is 0.41 (0.90). In brackets"
    ) in text
    assert "The coverage of the prediction sets (90%) is not promised there." in text
    assert "Sample q1 lies apart" not in text
    assert "Sample r: only" not in text
    assert "lie apart" not in text
    data.obs.loc[data.obs["sample"] == "q1", "cell_type_p_reference"] = np.nan
    apart = " ".join(texts_of(replace(data)))
    assert "lie apart from the reference as a whole (another technology or quality)" in apart
    assert "promise less: q1." in apart
    # The fixture's truth of these cells is "unassigned".
    assert "14 query cells have a truth that the reference lacks: unassigned." in text


def test_a_voter_is_better_only_if_its_best_labels_are(make_files):
    data = read_report_data(make_files(), 2)
    (told,) = evidence.better_voter(data)
    assert told.action == "To use them: annotate.final: pca."
    final = data.settings.voters.final
    row = {"cells": "query", "metric": "accuracy_top", "note": ""}
    for own, n_told in ((0.99, 0), (0.9, 1)):
        rows = [row | {"embedding": name, "value": v} for name, v in ((final, own), ("pca", 0.99))]
        more = replace(data, metrics=pd.concat([data.metrics, pd.DataFrame(rows)]))
        assert len(list(evidence.better_voter(more))) == n_told


def test_synthetic_cells_of_rare_labels_are_shown_beside_other_remedies(make_files, tmp_path):
    files = make_files()
    assert page_tables.augment_table(read_report_data(files, 2)) is None
    classes = pd.DataFrame({"label": LABELS, "real_cells": [90, 80, 9],
                            "learnt_from": [70, 60, 7], "synthetic_cells": [0, 0, 51]})  # fmt: skip
    macro = {"none": 0.70, "class weights": 0.82, "oversampling": 0.81, "synthetic cells": 0.65}
    rows = [
        (remedy, "logistic regression", label, metric, value, 9)
        for remedy, f1 in macro.items()
        for label, metric, value in (("NA", "recall", f1 - 0.2), ("", "macro_f1", f1))
    ]
    rows += [("none", "15 neighbours", "NA", "recall", 0.0, 9)]
    columns = ["remedy", "classifier", "label", "metric", "value", "cells"]
    write_table(classes, tmp_path / "classes.tsv")
    write_table(pd.DataFrame(rows, columns=columns), tmp_path / "scores.tsv")
    files |= {"augmented": [tmp_path / "classes.tsv"], "augment_scores": [tmp_path / "scores.tsv"]}
    data = read_report_data(files, 2)
    shown = page_tables.augment_table(data)
    assert shown.columns[3:] == [f"right: {name}" for name in macro]
    assert shown.rows[0] == ["NA", "9", "51", "50%", "62%", "61%", "45%"]
    assert shown.rows[1][3:] == ["0.700", "0.820", "0.810", "0.650"]
    assert shown.best == {(1, 4)}
    assert "51 synthetic cells of labels with fewer than 30" in methods.transfer(data)
    query = data.obs["role"] == "query"
    share = np.where(query, np.where(data.obs["cell_type"] == "NA", 0.9, 0.0), np.nan)
    data = replace(data, obs=data.obs.assign(cell_type_synthetic=share))
    lower, resting = evidence.synthetic(data)
    assert "lower the macro F1" in lower.text
    assert "from 0.700 to 0.650" in lower.text
    n = int((query & (data.obs["cell_type"] == "NA")).sum())
    rest = f"labels of {n} query cells rest mostly on synthetic reference cells: NA ({n})"
    assert rest in resting.text


def test_a_sample_that_lies_apart_has_one_entry_that_says_what_to_do(make_files, monkeypatch):
    by_risk = {"unassigned_below": None, "risk": 0.1}
    monkeypatch.setitem(CONFIG, "annotate", {**CONFIG["annotate"], **by_risk})
    data = read_report_data(make_files(), 2)
    (one,) = lying_apart.entries(data)
    assert one.text.endswith(
        "Neither the risk asked for (10%) nor the coverage of the prediction sets (90%) is "
        "promised there."
    )
    assert one.action == (
        "Look at the markers of its labels before you use them. A reference nearer to the sample "
        "helps; asking for surer labels helps little."
    )
    data.obs.loc[data.obs["sample"] == "q2", "cell_type_p_reference"] = np.nan
    (one,) = lying_apart.entries(replace(data))
    assert "the mean score is 0.70" in one.text
    assert "cannot be told there (no p_reference)" in one.text
    data.obs["cell_type_p_reference"] = np.nan
    both = list(lying_apart.entries(replace(data)))
    assert [dict(entry.pick)["sample"] for entry in both] == [("q2",), ("q1",)]
    assert lying_apart.samples(replace(data)) == ["q1", "q2"]


@pytest.mark.parametrize("apart", [True, False])
def test_no_label_is_called_confident_where_the_guarantee_is_not_given(make_files, tmp_path, apart):
    files = make_files(truth=False)
    if not apart:
        path = files["shift"][0]
        path.write_text(path.read_text().replace("True", "False"))
    words = rendered(files, tmp_path).words
    assert ("guarantees of risk and coverage are not given for q2: it lies apart" in words) == apart
    for sure in ("confident labels", "a confident label", "anchors confident median", "reliable ."):
        assert (sure in words) != apart, sure
    for careful in ("have one possible label (assigned", "anchors one possible label median",
                    "assigned label: one possible label"):  # fmt: skip
        assert (careful in words) == apart, careful


def test_truth_counts_where_the_reference_has_the_type_in_answer_and_tile(make_files):
    data = read_report_data(make_files(), 2)
    assert "have one possible label; of these, 100% are right" in answer.answer(data)
    # A third of the cells has a truth by another name, and a fifth of the others a wrong one.
    sure = data.query.index[page_tables.confident(data.query)]
    data.truth[sure[::3]] = "T lymphocyte"
    data.truth[sure[1::3]] = "NA"
    known = data.truth[sure[np.arange(len(sure)) % 3 > 0]]
    right = (data.query["cell_type"][known.index] == known).mean()
    assert (
        f"; of the {len(known)} of these with a true type that the reference has, {right:.0%} are "
        "right"
    ) in answer.answer(data)
    (tile,) = [remark for _, what, remark in answer.facts(data) if what == "labels right"]
    assert tile == "of 126 with a true type that the reference has; 14 have another"
    of_types = {"cells": "query", "embedding": "dice", "value": 0.0, "note": "1180 cell(s)"}
    rows = [{**of_types, "metric": f"set_coverage:{name}"} for name in ("T lymphocyte", "NA")]
    data.metrics = pd.concat([data.metrics, pd.DataFrame(rows)])
    assert disputes.short_types(data) == [("NA", 0.0, 1180)]


def test_odd_references_are_named(make_files):
    data = read_report_data(make_files(), 2)
    assert not [*findings.repeated(data), *findings.labelled(data)]
    copy = data.obs[data.obs["role"] == "reference"].assign(role="query", sample="copy")
    data.obs = pd.concat([data.obs, copy.set_axis([f"copy_{name}" for name in copy.index])])
    # Names are <sample>_<barcode>; these of the test have no sample before them.
    (twice,) = findings.repeated(data)
    assert "Samples r (reference) and copy (query) have 100 cells" in twice.text
    few = data.obs["role"] == "reference"
    data.obs.loc[data.obs.index[few][:80], "cell_type"] = "unassigned"
    del data.__dict__["reference"]
    (few,) = findings.labelled(data)
    assert "Only 20 of the 100 reference cells have a label" in few.text


def test_methods_say_what_was_done(make_files):
    text = " ".join(methods.methods(read_report_data(make_files(), 2)))
    for part in (
        "fewer than 200 genes or more than 15% mitochondrial counts",
        "8 highly variable genes",
        "700 steps in 15 s on cpu",
        "Gaussian noise of variance 1 per scaled gene, rho 0.5, so noise level 1.118",
        "Labels of 100 reference cells were transferred to 140 query cells",
        "held-out loss 0.500; a background of 0.1",
        "the pooled covariance of the reference within types",
        "resolution 0.5 was chosen by the labels of the reference",
    ):
        assert part in text


@pytest.mark.parametrize("lists", [False, True])
def test_references_are_those_of_the_text(make_files, lists):
    texts = methods.methods(read_report_data(make_files(lists=lists), 2))
    found = [text.split(",")[0].split(" ")[0] for text in methods.references(texts)]
    # Batches of the fixture were not corrected, and its voters are not calibrated.
    expected = ["Meier", "Stuart", "Traag", "McInnes", "Wolock", "Wolf", "Andreatta", "Ianevski",
                "Mölder"]  # fmt: skip
    assert found == [name for name in expected if lists or name not in ("Andreatta", "Ianevski")]


@pytest.mark.parametrize(
    ("choose", "labels", "expected"),
    [
        ("auto", True, "by the labels of the reference"),
        ("auto", False, "without labels"),
        ("stability", True, "without labels"),
        (0.5, True, "by hand"),
    ],
)
def test_methods_say_who_chose_the_resolution(make_files, choose, labels, expected):
    data = read_report_data(make_files(), 2)
    found = data.resolutions if labels else data.resolutions.assign(reference_ari=np.nan)
    data = replace(data, resolutions=found)
    data.config["cluster"]["choose"] = choose
    assert methods.choice_of_resolution(data).startswith(expected)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.5, 0.6, 0.7], "of which none was better than the mixture that it starts from"),
        ([0.7, 0.5, 0.6], "weights of step 350 kept"),
        ([0.7, 0.6, 0.5], ""),
        ([np.nan] * 3, ""),
    ],
)
def test_methods_say_which_weights_were_kept(make_files, losses, expected):
    data = read_report_data(make_files(), 2)
    loss = pd.DataFrame({"step": [0, 350, 700], "train_loss": 1.0, "validation_loss": losses})
    data = replace(data, loss=loss)
    assert methods.weights_kept(data).startswith(expected)
    assert bool(methods.weights_kept(data)) == bool(expected)
    assert methods.weights_kept(data) in methods.denoising(data)


def test_methods_name_a_space_by_what_was_done_to_it(make_files):
    data = read_report_data(make_files(), 2)
    data.config["cluster"]["embedding"] = "harmony"
    for applied, expected in ((True, "batch-corrected space"), (False, "uncorrected space")):
        data = replace(data, correction={**data.correction, "applied": applied})
        assert expected in methods.clustering(data)


@pytest.mark.parametrize("final", ["linear", "consensus"])
def test_voters_without_anchors_are_not_spoken_of_as_if_they_had_some(
    make_files, monkeypatch, final
):
    changed = {"voters": ["dice", "linear"], "consensus": ["dice", "linear"], "final": final,
               "outside_below": 0.01, "unassigned_below": None}  # fmt: skip
    monkeypatch.setitem(CONFIG, "annotate", {**CONFIG["annotate"], **changed})
    data = read_report_data(make_files(), 2)
    data.calibration["support"] = np.nan if final == "linear" else 0.5
    data.obs["cell_type_n_anchors"] = 0
    data.obs["cell_type_p_reference"] = np.nan if final == "linear" else 0.5
    texts = " ".join([*texts_of(data), answer.unassigned_rules(data)])
    assert "anchors" not in texts
    assert ("p_reference" in texts) == (final == "consensus")
    assert "lie apart" not in texts
    said = methods.transfer(data)
    assert "logistic regression" in said
    assert ("best mean probability" in said) == (final == "consensus")


def test_the_rules_of_unassigned_cells_are_said_as_they_are(make_files, monkeypatch):
    by_risk = {"unassigned_below": None, "risk": 0.1, "outside_below": 0}
    monkeypatch.setitem(CONFIG, "annotate", {**CONFIG["annotate"], **by_risk})
    files = make_files()
    for least, said in ((0.0, "no rule applies"), (0.4321, "score below 0.43"),
                        (np.inf, "no score meets the risk asked for")):  # fmt: skip
        data = read_report_data(files, 2)
        data.__dict__["least_score"] = least
        assert answer.unassigned_rules(data) == said
        assert "inf" not in methods.transfer(data)
    data = read_report_data(files, 2)
    data.__dict__["least_score"] = 0.4321
    data.config["annotate"]["outside_below"] = 0.05
    data.__dict__.pop("settings", None)
    assert answer.unassigned_rules(data) == "score below 0.43, or p_reference below 0.05"
    data.obs["cell_type_p_reference"] = np.nan
    data.__dict__.pop("query")
    assert answer.unassigned_rules(data) == "score below 0.43 (p_reference not available)"
    data.config["annotate"]["per"] = "sample"
    data.__dict__.pop("settings")
    assert "sample by sample" in answer.unassigned_rules(data)


def test_labels_without_an_id_are_named(make_files):
    data = read_report_data(make_files(), 2)
    n = len(data.labels)
    assert data.ontology == f"1 of {n} labels have an id of the Cell Ontology."
    data.provenance["ontology"] = np.array(["B is ambiguous: x, y", "C is no name"], dtype=object)
    assert data.ontology.endswith(
        "B is ambiguous: x, y; C is no name. Ids can be given in annotate.ontology."
    )


def test_methods_say_what_was_approximated(make_files):
    data = read_report_data(make_files(), 2)
    assert "number of cells" not in methods.methods(data)[-1]
    data.provenance["approximations"] = np.array(["a, and b", "c"], dtype=object)
    assert methods.methods(data)[-1] == "Because of the number of cells: a, and b; c."


@pytest.mark.parametrize("per", ["all", "sample"])
def test_methods_say_that_samples_were_labelled_by_themselves(make_files, monkeypatch, per):
    monkeypatch.setitem(CONFIG, "annotate", {**CONFIG["annotate"], "per": per})
    data = read_report_data(make_files(), 2)
    assert data.query["sample"].nunique() > 1
    assert ("to each sample by itself" in methods.transfer(data)) == (per == "sample")


def test_metric_table_marks_the_best_by_its_direction_and_notes_once():
    rows = [
        ("silhouette", "pca", 0.2, ""), ("silhouette", "dice", 0.4, "a few"),
        ("clisi", "pca", 1.5, "all"), ("clisi", "dice", 1.2, "all"),
        ("ari", "pca", 0.50001, "all"), ("ari", "dice", 0.50002, "all"),
        ("n_clusters", "pca", 5, "all"), ("n_clusters", "dice", 6, "all"),
    ]  # fmt: skip
    metrics = pd.DataFrame(rows, columns=["metric", "embedding", "value", "note"])
    metrics["cells"] = "query"
    made = page_tables.metric_table(metrics, page_tables.SEPARATION, ("pca", "dice"), ["query"])
    assert made.best == {(0, 2), (1, 2)}
    assert [row[1:] for row in made.rows] == [
        ["0.200", "0.400"], ["1.500", "1.200"], ["5", "6"], ["0.500", "0.500"],
    ]  # fmt: skip
    assert made.notes == ["dice: a few", "all"]
    assert made.rows[1][0] == "cLISI ↓ [2]"
    metrics["note"] = "all"
    again = page_tables.metric_table(metrics, page_tables.SEPARATION, ("pca", "dice"), ["query"])
    assert (again.general, again.notes) == (["all"], [])


@pytest.mark.parametrize(
    ("share", "n", "text"),
    [(0.5, 10, "50%"), (0.123, 2000, "12.3%"), (1, 5, "100%"), (0, 5000, "0%"),
     (0.999, 300, ">99%"), (0.9999, 30000, ">99.9%"), (0.001, 300, "<1%"), (np.nan, 0, "–")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_none_or_all(share, n, text):
    assert page_tables.percent(share, n) == text


def test_numbers_and_fold_changes():
    assert page_tables.number(1234567) == "1,234,567"
    assert page_tables.number(244.5) == "244.5"
    assert page_tables.number(1.0, 2) == "1.00"
    assert page_tables.number(float("nan")) == "–"
    assert page_tables.fold_change(2.0) == "+2.0"
    assert page_tables.fold_change(30.0) == ">10"


def test_only_genes_that_are_up_are_markers(make_files):
    markers = read_table(make_files()["markers"])
    top = top_markers(markers, 2).groupby("cluster")["gene"].agg(list)
    assert top.to_dict() == {"0": ["G1", "G3"], "1": ["G2", "G4"], "2": ["G3", "G5"]}


def test_tables_are_read_as_they_stand(tmp_path):
    frame = pd.DataFrame({"label": ["NA", "01"], "cluster": ["1", "10"], "value": [np.nan, 2.5]})
    write_table(frame, tmp_path / "t.tsv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.tsv"), frame)


def test_expression_by_cluster_is_that_of_the_dense_matrix(make_files):
    path = make_files()["atlas"]
    atlas = ad.read_h5ad(path)
    clusters = atlas.obs["cluster"].astype(str).to_numpy()
    found = expression.mean_expression(path, ["G7", "none", "G2"], {"cluster": clusters}, 0)[
        "cluster"
    ]
    dense = pd.DataFrame(atlas[:, ["G7", "G2"]].X.toarray(), columns=["G7", "G2"])
    mean = dense.groupby(clusters).mean().stack()
    share = (dense > 0).groupby(clusters).mean().stack()
    found = found.set_index(["cluster", "gene"])
    np.testing.assert_allclose(found["mean"], mean[found.index], rtol=1e-5)
    np.testing.assert_allclose(found["share"], share[found.index])
    assert found["cells"].groupby(level=0).first().sum() == atlas.n_obs


def test_the_methods_name_the_corrector_that_ran(make_files, monkeypatch):
    data = read_report_data(make_files(), 2)
    data.correction.update(applied=True, notes=["reference: corrected"])
    assert (
        "50 principal components were corrected by Harmony (Korsunsky et al. 2019; theta 2, sigma "
        "0.1, lambda estimated, at most 10 iterations): reference: corrected. "
    ) in methods.features(data)
    own = SimpleNamespace(described=lambda: "strength 3")
    other = correctors.Corrector("Mender", "A et al. 2025", lambda batch: own, "none:none")
    monkeypatch.setattr(correctors, "CORRECTORS", {**correctors.CORRECTORS, "mender": other})
    data.provenance["config"]["batch"]["method"] = "mender"
    del data.settings
    text = methods.features(data)
    assert "corrected by Mender (A et al. 2025; strength 3): reference: corrected. " in text
    assert "Harmony" not in text


def test_the_atlas_is_opened_once_for_all_blocks(make_files, monkeypatch):
    path, opened = make_files()["atlas"], []
    clusters = ad.read_h5ad(path).obs["cluster"].astype(str).to_numpy()
    expected = expression.mean_expression(path, ["G7", "G2"], {"cluster": clusters}, 0)["cluster"]

    def open_file(*arguments, **keywords):
        opened.append(arguments)
        return h5py.File(*arguments, **keywords)

    monkeypatch.setattr(blocks, "h5py", SimpleNamespace(File=open_file))
    monkeypatch.setattr(expression, "BLOCK_ROWS", 50)
    monkeypatch.setattr(expression.drawn_blocks, "__defaults__", (expression.MOST_CELLS, 50))
    found = expression.mean_expression(path, ["G7", "G2"], {"cluster": clusters}, 0)["cluster"]
    pd.testing.assert_frame_equal(found, expected)
    assert len(opened) == 1


def test_blocks_of_a_large_atlas_are_a_seeded_choice():
    starts = expression.drawn_blocks(1_000_000, 3)
    assert len(starts) * expression.BLOCK_ROWS == expression.MOST_CELLS
    assert (np.diff(starts) >= expression.BLOCK_ROWS).all()
    assert (starts == expression.drawn_blocks(1_000_000, 3)).all()
    assert expression.drawn_blocks(450, 3).tolist() == [0, 200, 400]


def test_wilson_is_the_closed_form():
    k, n, z = 7, 9, 1.959963984540054
    p = k / n
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(annotation.wilson([k], [n]).ravel(), [center - half, center + half])


def test_best_scores_are_the_largest_and_right_where_the_label_is(make_files):
    frame = read_report_data(make_files(), 2).calibration
    score, right = best_scores(frame)
    assert (score == frame[["score:T cell", "score:NA"]].max(axis=1)).all()
    assert (right == (frame["label"] == "T cell")).all()


def test_labels_short_of_the_coverage_are_those_that_many_of_their_own_cells_lack():
    rng = np.random.default_rng(1)
    label = np.repeat(["a", "b", "few"], [40, 40, 3])
    scores = pd.DataFrame({"score:a": rng.uniform(0.6, 1, 83), "score:few": 0.0})
    scores["score:b"] = np.where(np.arange(83) % 4 == 0, 0.0, 0.5)
    frame = scores.assign(label=label)
    assert evidence.short_of_coverage(frame, 0.9) == {"b": "30 of 40"}


def test_confusion_has_one_order_and_unassigned_last():
    table = pd.DataFrame(
        {"space": "dice", "truth": ["a", "b", "b", "c"], "cells": [2, 9, 1, 1],
         "predicted": ["unassigned", "b", "a", "new"]}
    )  # fmt: skip
    counts = annotation.confusion_counts(table, "dice")
    assert counts.index.tolist() == ["b", "a", "c"]
    assert counts.columns.tolist() == ["b", "a", "new", "unassigned"]
    assert counts.to_numpy().sum() == 13


def test_qc_table_leaves_out_what_was_not_used(make_files):
    qc = read_report_data(make_files(doublets=False), 2).qc
    few = input_tables.qc_table(qc)
    assert few.columns == ["sample", *qc["sample"]]
    titles = [row[0] for row in few.rows]
    assert "removed: few genes" in titles
    assert not {"doublet rate", "removed: outlier", "limit: MADs"} & set(titles)
    used = input_tables.qc_table(qc.assign(n_mads=3.0, doublets="remove"))
    assert {"removed: doublet", "removed: outlier", "limit: MADs"} <= {r[0] for r in used.rows}
    # Many samples are rows, with the same fields.
    many = input_tables.qc_table(pd.concat([qc] * 3))
    assert many.columns == ["sample", *titles]
    fields = zip(*(row[1:] for row in few.rows), strict=True)
    assert many.rows[:3] == [[name, *own] for name, own in zip(qc["sample"], fields, strict=True)]


def test_settings_that_differ_from_the_defaults_are_told():
    config = {"seed": 1, "qc": {"min_genes": 200, "a": None}, "cluster": {"resolutions": [1, 2]},
              "annotate": {"rename": {"A": "B"}, "risk": 0.1}}  # fmt: skip
    defaults = {"seed": 0, "qc": {"min_genes": 200, "a": None}, "cluster": {"resolutions": [1]},
                "annotate": {"rename": {}, "risk": 0.1}}  # fmt: skip
    sheet = {"s": {"qc": {"min_genes": 50}}, "t": {"qc": {}}}
    assert changed_settings.settings_table(config, defaults, sheet).rows == [
        ["seed", "1", "0"],
        ["cluster.resolutions", "[1, 2]", "[1]"],
        ["annotate.rename", "{A: B}", "{}"],
        ["qc.min_genes (s)", "50", "200"],
    ]
    assert changed_settings.settings_table(config, config, {"t": {"qc": {}}}) is None


def test_the_config_of_the_page_can_be_used_again():
    config = {"qc": {"doublets": "off", "min_genes": 200}, "resolutions": [0.5, 1.0],
              "palette": {"NK": "#D55E00"}, "path": None, "name": "no", "γδ T": "1e3"}  # fmt: skip
    text = changed_settings.config_text(config)
    assert yaml.safe_load(text) == config
    assert len(text.splitlines()) == len(config)


def test_the_truth_has_the_names_that_the_labels_have(make_files, tmp_path):
    files = make_files()
    table = pd.DataFrame({"label": ["NA", "T cell"], "level_1": ["not available", ""]})
    write_table(table, tmp_path / "names.tsv")
    before = read_report_data(files, 2).truth
    after = read_report_data({**files, "label_levels": [tmp_path / "names.tsv"]}, 2).truth
    assert (before == "T cell").any()
    assert after.index.tolist() == before.index[before != "T cell"].tolist()
    assert (after == before[after.index].replace("NA", "not available")).all()


def test_a_rule_that_cannot_apply_is_not_told_as_one(make_files):
    files = make_files()
    held = len(read_report_data(files, 2).calibration)
    for least, applies in ((1.01 / (1 + held), True), (0.99 / (1 + held), False), (0, False)):
        data = read_report_data(files, 2)
        data.config["annotate"]["outside_below"] = least
        data.__dict__.pop("settings", None)
        data.calibration["support"] = 0.5
        assert bool(data.least_p_reference) == applies
        assert ("p_reference below" in answer.unassigned_rules(data)) == applies
        told = any("is never below" in text for text in texts_of(data))
        assert told == (least > 0 and not applies)


@pytest.mark.parametrize("kind", [{}, {"transfer": False}, {"truth": False}, {"lists": True}])
def test_every_entry_of_the_list_has_cells_or_says_what_to_do(make_files, kind):
    for one in findings.look_first(read_report_data(make_files(**kind), 2)):
        assert one.pick or one.action, one.text


def test_sets_and_samples_are_those_of_the_cells(make_files):
    data = read_report_data(make_files(), 2)
    sets = data.query["cell_type_set"]
    table = confidence_tables.set_table(data)
    shown = {row[0].replace(" | ", "|").replace("(empty)", ""): int(row[1]) for row in table.rows}
    sizes = sets.map(lambda text: len(text.split("|")) if text else 0)
    assert shown == sets[sizes != 1].value_counts().to_dict()
    samples = confidence_tables.sample_table(data)
    assert [row[0] for row in samples.rows] == list(data.query["sample"].unique())
    for row in samples.rows:
        own = data.query["sample"] == row[0]
        assert row[1] == str(own.sum())
        assert row[6] == f"{sizes[own].mean():.2f}"
    data.obs["cell_type_set"] = "NA"
    data.__dict__.pop("query")
    assert confidence_tables.set_table(data) is None


def test_a_mostly_unassigned_cluster_has_no_agreement_and_disputes_are_named(make_files):
    data = read_report_data(make_files(), 2)
    own = data.cluster_labels["space"] == data.settings.voters.final
    first = data.cluster_labels.index[own][0]
    changed = {"label": "unassigned", "agreement": 0.61, "unassigned": 0.61}
    data.cluster_labels.loc[first, list(changed)] = list(changed.values())
    table = page_tables.agreement_table(data, {data.clusters[1]})
    assert table.rows[0][2:6] == ["unassigned", "no", "–", "61%"]
    assert table.rows[1][3] == "yes"


def test_names_on_a_map_do_not_overlap_and_stay_inside():
    rng = np.random.default_rng(2)
    low, high = np.zeros(2), np.array([560.0, 400.0])
    anchors = rng.uniform(200, 300, (12, 2))
    sizes = np.stack([rng.uniform(40, 150, 12), np.full(12, 15.0)], axis=1)
    found = placement.place(anchors, sizes, low, high, rng.normal(250, 40, (500, 2)))
    for i in range(12):
        for j in range(i):
            assert placement.overlap(found[i], sizes[i], found[j], sizes[j]) == 0
    assert (found - sizes / 2 >= low).all()
    assert (found + sizes / 2 <= high).all()


def test_a_name_alone_stays_where_it_belongs_and_leaves_points_free():
    low, high, size = np.zeros(2), np.full(2, 200.0), np.array([[40.0, 12.0]])
    anchor = np.array([[100.0, 100.0]])
    nothing = np.empty((0, 2))
    assert (placement.place(anchor, size, low, high, nothing) == anchor).all()
    cloud = np.random.default_rng(0).uniform(85, 115, (2000, 2))
    moved = placement.place(anchor, size, low, high, cloud)[0]
    cover = placement.Cover(cloud, low, high)
    assert cover.share(anchor[0] - size[0] / 2, anchor[0] + size[0] / 2) > 0.6
    assert cover.share(moved - size[0] / 2, moved + size[0] / 2) < 0.1
    assert np.abs(moved - anchor[0]).max() < 60


def test_the_densest_place_of_a_ring_is_on_the_ring():
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 2000)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert np.linalg.norm(placement.densest(ring)) > 0.9
    assert np.linalg.norm(np.median(ring, axis=0)) < 0.2


def test_colours_are_those_of_the_label_and_grey_is_unassigned():
    names = [f"type {i}" for i in range(45)]
    colors = style.palette([*names, "unassigned"])
    assert len({colors[name] for name in names}) == 45
    assert colors["unassigned"] == style.UNASSIGNED_COLOR
    assert style.palette(names)["type 3"] == colors["type 3"]
    assert style.natural(["10", "9", "b", "a"]) == ["9", "10", "a", "b"]


# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
}  # fmt: skip


def seen_by(colors, matrix):
    """Colours (#RRGGBB) as such a reader sees them, in CIELAB."""
    rgb = np.array([to_rgb(color) for color in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(matrix).T, 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("vision", VISION)
def test_ten_types_and_unassigned_are_told_apart_by_colour_blind_readers(vision):
    colors = [*style.TYPE_COLORS[:10], style.UNASSIGNED_COLOR]
    lab = seen_by(colors, VISION[vision])
    apart = deltaE_ciede2000(lab[:, None], lab[None])
    assert apart[np.triu_indices(11, 1)].min() >= 10


def test_many_types_with_levels_are_shades_of_the_hue_of_their_parent():
    sizes = {"T": 5, "B": 4, "Myeloid": 3, "NK": 1}
    parents = {f"{one} {i}": one for one, n in sizes.items() for i in range(n)}
    names = [name for i, name in enumerate(parents) for _ in range(20 - i)]
    obs = pd.DataFrame({"cell_type": [*names, "unassigned", "T 0"]})
    obs["cell_type_at_1"] = [*map(parents.get, names), "T", "B"]  # one cell's level differs
    found = categories.category_colors(obs)
    colors = found["cell_type"]
    assert colors["NK 0"] == style.TYPE_COLORS[3]
    assert found["cell_type_at_1"]["T"] == style.TYPE_COLORS[0]
    assert colors["unassigned"] == style.UNASSIGNED_COLOR
    seen = {name: rgb2lab(np.array([to_rgb(colors[name])]))[0] for name in parents}
    for one in ("T", "B", "Myeloid"):
        own = np.array([seen[name] for name in parents if parents[name] == one])
        apart = deltaE_ciede2000(own[:, None], own[None])
        assert apart[np.triu_indices(len(own), 1)].min() >= 10
        hue = np.arctan2(own[:, 2], own[:, 1])
        assert np.ptp(np.unwrap(np.sort(hue))) < 0.6  # radians of CIELAB
        assert (np.diff(own[:, 0]) > 0).all()  # the most frequent is the darkest
    few = obs[obs["cell_type"].isin(["T 0", "T 1", "B 0"])]
    assert categories.category_colors(few)["cell_type"]["T 1"] == style.TYPE_COLORS[1]
    flat = categories.category_colors(obs[["cell_type"]])["cell_type"]
    assert [flat[name] for name in list(parents)[:12]] == list(style.TYPE_COLORS[:12])


def test_points_drawn_are_a_seeded_subset():
    rows = points.drawn_rows(80_000, 0)
    assert len(set(rows)) == points.MOST_POINTS
    assert (rows == points.drawn_rows(80_000, 0)).all()
    assert (rows != points.drawn_rows(80_000, 1)).any()


def test_a_batch_that_is_the_sample_is_drawn_once():
    obs = pd.DataFrame({"sample": ["a", "b"], "batch": ["1", "2"], "role": "query"})
    assert list(maps.origins(obs)) == ["sample"]
    assert list(maps.origins(obs.assign(sample=["a", "a"]))) == ["sample", "batch"]


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


def test_conditions_have_a_section_where_they_were_compared(make_files, tmp_path):
    compare = CompareSettings("condition", "donor", (), "query", "ctrl", 10, 0.05)
    page = rendered(make_files(clusters=1) | write_conditions(tmp_path), tmp_path, compare)
    assert {"conditions", "figure-condition-genes", "figure-condition-shares"} <= page.ids
    assert "#conditions" in page.links
    assert "B & <plasma> 4 + 4 1,200 + 90 20 2 0 1 2" in page.words
    assert "fewer than 2 pairs" in page.words
    assert "+0.25 [+0.25, +0.25] 0.01 yes yes" in page.words
    assert "on the condition, with a coefficient for each replicate (pairs), type by type" in (
        page.words
    )
    assert "PyDESeq2: a python package" in page.words


LEVELS_TABLE = """\
cells,n_cells,level,labels,labelled,right,coverage,set_size,reached
held out,40,1,2,1,0.95,0.975,1.05,0.1
held out,40,2,3,0.9,0.875,0.925,1.25,0.8
held out,40,back-off,,0.9,0.9,,,0.1
query,140,1,2,1,,,1.5,0.25
query,140,2,3,0.9,,,2,0.7
query,140,back-off,,0.95,,,,0.25
"""


def test_levels_show_where_there_are_some(make_files, tmp_path):
    files = make_files()
    rendered(files, tmp_path)
    title = "<h3>Levels of the labels</h3>"
    assert title not in (tmp_path / "report.html").read_text()
    table = tmp_path / "levels.tsv"
    table.write_text(LEVELS_TABLE.replace(",", "\t"))
    files["levels"] = [table]
    rows = page_tables.level_table(read_report_data(files, 2)).rows
    assert rows[0] == ["held out", "40", "1", "2", "100%", "95%", "98%", "1.05", "10%"]
    assert rows[5][2:] == ["back-off", "–", "95%", "–", "–", "–", "25%"]
    rendered(files, tmp_path)
    assert title in (tmp_path / "report.html").read_text()
