"""The report's tables and texts from small inputs; the page itself is looked at in the demo."""

import numpy as np
import pandas as pd
import pytest
from dice_atlas.report import annotation, html, maps, stages, style
from dice_atlas.report.data import ReportData
from render_report import draw


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    n = 120
    query = np.arange(n) >= 60
    kinds = np.array(["T cell", "B & plasma", "rare"])[rng.choice(3, n, p=[0.6, 0.38, 0.02])]
    obs = pd.DataFrame(
        {
            "sample": np.where(query, "q", "r"),
            "role": np.where(query, "query", "reference"),
            "batch": "a",
            "cell_type": np.where(query & (np.arange(n) % 10 == 0), "unassigned", kinds),
            "cell_type_score": np.where(query, rng.uniform(0.3, 1, n), np.nan),
            "cell_type_entropy": np.where(query, 0.5, np.nan),
            "cell_type_set": np.where(query, np.where(np.arange(n) % 2, kinds, "T cell|rare"), ""),
            "cell_type_n_anchors": np.where(query, 5, 0),
            "dice_uncertainty": rng.uniform(5, 9, n),
            "cluster": np.where(kinds == "T cell", "0", "1"),
        },
        index=[f"c{i}" for i in range(n)],
    )
    score = rng.uniform(0.4, 1, 40)
    return ReportData(
        obs=obs,
        umap=rng.standard_normal((n, 2)),
        metrics=pd.DataFrame(
            {
                "protocol": "blind",
                "cells": "query",
                "embedding": ["pca", "dice", "pca", "dice", "dice"],
                "metric": ["silhouette", "silhouette", "clisi", "clisi", "accuracy_assigned"],
                "value": [0.2, 0.4, 1.5, 1.2, 0.875],
                "n_cells": 60,
                "note": ["", "", "", "", "three cells left out"],
            }
        ),
        qc=pd.DataFrame(
            {"sample": ["r", "q"], "cells_in": [60, 200], "cells_kept": [60, 60],
             "doublet_rate": [0.01, 0.25], "mad_min_n_genes": [np.nan, np.nan]}
        ),
        confusion=pd.DataFrame(
            {"space": "dice", "truth": ["T cell", "rare"], "predicted": "T cell", "cells": [9, 1]}
        ),
        resolutions=pd.DataFrame(
            {"resolution": [0.5, 1.0], "n_clusters": [2, 3], "stability": [1.0, 0.8],
             "silhouette": [0.5, 0.4], "chosen": ["True", "False"]}
        ),
        markers=pd.DataFrame(
            {"cluster": ["0", "0", "1"], "rank": [1, 2, 1], "gene": ["CD3D", "LYZ", "MS4A1"],
             "log2_fold_change": [2.0, -1.0, 30.0], "share_in": 0.9, "share_out": 0.1}
        ),
        loss=pd.DataFrame(
            {"step": [1, 2], "train_loss": [1.0, 0.5], "validation_loss": [0.9, 0.6]}
        ),
        genes=pd.DataFrame({"gene": ["CD3D"], "selected": ["True"]}),
        calibration=pd.DataFrame(
            {"cell": "x", "label": np.where(rng.uniform(size=40) < score, "T cell", "rare"),
             "predicted": "T cell", "score:T cell": score, "score:rare": 1 - score}
        ),
        singular_values=np.linspace(10, 1, 20),
        k=5,
        harmony={"notes": ["one batch only"]},
        provenance={
            "config": {
                "seed": 0,
                "annotate": {"final": "dice", "spaces": ["dice"], "unassigned_below": 0.5,
                             "coverage": 0.9},
            }
        },
    )  # fmt: skip


def test_summary_counts_what_is_there(data):
    text = html.summary(data)
    assert "120 cells: 60 reference cells of 1 sample and 60 query cells of 1 sample" in text
    assert "90.0% of the query cells have a label" in text
    assert "87.5% of the assigned cells are right" in text


def test_warnings_name_what_deserves_a_look(data):
    text = " ".join(html.warnings(data))
    assert "Sample q: 25% of its cells look like doublets" in text
    assert "only 60 of 200 cells" in text
    assert "rare (" in text
    assert "Sample r" not in text


def test_metric_table_marks_the_better_one_by_its_direction(data):
    table = html.metric_table(data.metrics, html.SEPARATION, html.EMBEDDINGS, ("query",))
    assert "<strong>0.400</strong>" in table
    assert "<strong>1.200</strong>" in table
    assert "<strong>1.500</strong>" not in table
    assert html.footnotes(data.metrics) == ["accuracy_assigned: three cells left out"]


def test_table_escapes_text_and_formats_numbers():
    frame = pd.DataFrame({"a<b": ["<script>"], "n": [1234567], "zero": [0], "none": [np.nan]})
    made = html.table(frame)
    assert "<script>" not in made
    assert "&lt;script&gt;" in made
    assert "1,234,567" in made
    assert ">0<" in made
    assert "–" in made


def test_markers_are_up_only_and_infinite_changes_are_capped(data):
    assert stages.top_markers(data.markers, 5)["gene"].tolist() == ["CD3D", "MS4A1"]
    made = html.marker_table(data, 5)
    assert "CD3D (+2.0; 90% / 10%)" in made
    assert "MS4A1 (&gt; 10;" in made


def test_best_scores_are_the_largest_ones_and_right_where_the_label_is(data):
    score, right = annotation.best_scores(data.calibration)
    frame = data.calibration
    assert (score == frame[["score:T cell", "score:rare"]].max(axis=1)).all()
    assert (right == (frame["label"] == "T cell")).all()


def test_every_figure_is_drawn_with_and_without_a_transfer(data, tmp_path):
    with_transfer = draw(data, 5, tmp_path / "with")
    assert {"reliability", "confusion", "markers"} <= set(with_transfer)
    data.calibration = None
    data.confusion = data.confusion.iloc[:0]
    data.markers = data.markers.iloc[:0]
    without = draw(data, 5, tmp_path / "without")
    assert set(with_transfer) - set(without) == {"reliability", "confusion", "markers"}
    for path in [*with_transfer.values(), *without.values()]:
        assert html.image(path)["width"] > 200


def test_points_drawn_are_a_seeded_subset():
    assert len(maps.drawn_rows(80_000, 0)) == maps.MOST_POINTS
    assert (maps.drawn_rows(10, 3) == maps.drawn_rows(10, 3)).all()
    assert style.natural(["10", "9", "b", "a"]) == ["9", "10", "a", "b"]
    assert style.palette(["x", "unassigned"])["unassigned"] == style.GREY
