"""The report's numbers and tables, and how its inputs are read."""

from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from dice_atlas.files import write_table
from dice_atlas.numerics import blocks
from dice_atlas.report import (
    annotation,
    expression,
    input_tables,
)
from dice_atlas.report import tables as page_tables
from dice_atlas.report.data import read_report_data, read_table, top_markers
from dice_atlas.transfer.conformal import best_scores


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
