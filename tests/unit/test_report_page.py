"""The report's page, from small files of every kind of run."""

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from dice_atlas.conditions.settings import CompareSettings
from dice_atlas.files import write_table
from dice_atlas.plots import placement
from dice_atlas.report import (
    evidence,
    figures,
    methods,
)
from dice_atlas.report import tables as page_tables
from dice_atlas.report.data import read_report_data
from dice_atlas.report.figure_data import table_of
from dice_atlas.viewer import cells
from PIL import Image
from report_files import (
    CONFIG,
    LABELS,
    rendered,
    write_conditions,
)


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


@pytest.mark.parametrize("apart", [True, False])
def test_no_label_is_called_confident_where_the_guarantee_is_not_given(make_files, tmp_path, apart):
    files = make_files(truth=False)
    if not apart:
        path = files["shift"][0]
        path.write_text(path.read_text().replace("True", "False"))
    words = rendered(files, tmp_path).words
    assert ("guarantees of risk and coverage are not given for q2: it lies apart" in words) == apart
    for sure in (
        "confident labels",
        "a confident label",
        "anchors confident median",
        "assigned label: confident",
    ):
        assert (sure in words) != apart, sure
    for careful in ("have one possible label (assigned", "anchors one possible label median",
                    "assigned label: one possible label"):  # fmt: skip
        assert (careful in words) == apart, careful


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
