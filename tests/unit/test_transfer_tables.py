"""Tables of labels of other tools as voters: whose each row is, its scores, its weight."""

import sys
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.errors import InputError
from dice_atlas.holdout import calibration_cells
from dice_atlas.texts import near_equal
from dice_atlas.transfer.calls import NO_LABEL
from dice_atlas.transfer.celltypist import label_table, normalized
from dice_atlas.transfer.consensus import combine, probabilities
from dice_atlas.transfer.level_calls import call_at_levels
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.settings import CallSettings
from dice_atlas.transfer.tables import SURE, read_voter_table, rows_of_cells, scores_of, vote

LABELS = ["A", "B", "C"]
SUFFIXES = {"r": "", "q1": "", "q2": ""}


@pytest.fixture
def cells():
    """A reference of 24 cells and two query samples of 8, with barcodes of their own."""
    sample = np.repeat(["r", "q1", "q2"], [24, 8, 8])
    barcodes = [f"B{i:02d}-1" for i in range(40)]
    role = np.where(sample == "r", "reference", "query")
    return pd.DataFrame(
        {"sample": sample, "role": role, "cell_key": barcodes, "barcode": barcodes,
         "label": np.where(sample == "r", np.resize(LABELS, 40), "")},
        index=[f"{s}_{b}" for s, b in zip(sample, barcodes, strict=True)],
    )  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def made(text):
        (tmp_path / "t.csv").write_text(text)
        return read_voter_table(str(tmp_path / "t.csv"), "annotate.tables.t")

    return made


def text_of(cells, *columns, label="A", score=""):
    rows = [
        ",".join([*(str(row[c]) for c in columns), label, *([score] if score else [])])
        for row in cells.to_dict("records")
    ]
    return "\n".join([",".join([*columns, "label", *(["score"] if score else [])]), *rows]) + "\n"


def test_rows_are_found_by_barcode_and_the_reference_need_not_be_there(read, cells):
    query = cells[cells["role"] == "query"]
    table = read(text_of(query[::-1], "barcode"))
    rows = rows_of_cells(table, cells, SUFFIXES, "t.csv")
    assert (rows[:24] == -1).all()
    assert table["barcode"].iloc[rows[24:]].tolist() == query["barcode"].tolist()


def test_single_barcodes_that_agree_by_chance_are_not_the_references(read, cells):
    few = pd.concat([cells[:3], cells[24:]])
    rows = rows_of_cells(read(text_of(few, "barcode")), cells, SUFFIXES, "t.csv")
    assert (rows[:24] == -1).all()


def test_a_column_sample_tells_equal_barcodes_apart(read, cells):
    cells["barcode"] = [f"B{i:02d}-1" for i in [*range(24), *range(8), *range(8)]]
    cells.index = cells["sample"] + "_" + cells["barcode"]
    query = cells[cells["role"] == "query"]
    with pytest.raises(InputError, match=r"stand more than once .* add a column `sample`"):
        read(text_of(query, "barcode"))
    with pytest.raises(InputError, match=r"cells of the samples share barcodes .* column `sample`"):
        rows_of_cells(read(text_of(query[:8], "barcode")), cells, SUFFIXES, "t.csv")
    table = read(text_of(query, "sample", "barcode"))
    rows = rows_of_cells(table, cells, SUFFIXES, "t.csv")
    assert rows[24:].tolist() == list(range(16))
    # Without rows of a sample, its cells have no label.
    one = read(text_of(query[:8], "sample", "barcode"))
    assert rows_of_cells(one, cells, SUFFIXES, "t.csv")[24:].tolist() == [*range(8), *[-1] * 8]


def test_a_query_sample_of_which_half_is_missing_is_refused(read, cells):
    with pytest.raises(InputError, match="lists 2 of the 8 cells"):
        rows_of_cells(read(text_of(cells[24:34], "barcode")), cells, SUFFIXES, "t.csv")


def test_the_suffix_of_the_sheet_holds_for_tables_too(read, cells):
    table = read(text_of(cells[24:], "barcode").replace("-1,", "-3,"))
    suffixes = {"r": "", "q1": "-3", "q2": "-3"}
    assert rows_of_cells(table, cells, suffixes, "t.csv")[24:].tolist() == list(range(16))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("barcode,score\na,1\n", "no column label"),
        ("barcode,label,score\na,A,1.5\n", "column score: seen '1.5', expected numbers from 0"),
        ("barcode,label,score:A\na,A,\n", "column score:A: seen ''"),
        ("barcode,label\na,x|y\n", "which joins the labels of a prediction set"),
    ],
)
def test_bad_tables_are_refused(read, text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_a_single_score_leaves_its_rest_to_the_other_labels():
    table = pd.DataFrame({"label": ["A", "B", "", "C"], "score": [0.8, np.nan, 0.9, 0.1]})
    expected = [
        [0.8, 0.1, 0.1], [(1 - SURE) / 2, SURE, (1 - SURE) / 2], [0, 0, 0], [0.05, 0.05, 0.1],
    ]  # fmt: skip
    np.testing.assert_allclose(scores_of(table, LABELS), expected)
    np.testing.assert_allclose(scores_of(table[["label"]], ["A"]), [[SURE], [0], [0], [0]])


def test_scores_of_all_labels_are_taken_as_they_are():
    table = pd.DataFrame({"label": ["A"], "score:B": [0.2], "score:A": [0.7], "score:x": [0.1]})
    np.testing.assert_allclose(scores_of(table, LABELS), [[0.7, 0.2, 0]])


def test_a_table_with_reference_cells_is_calibrated_by_the_held_out_ones(read, cells):
    table = read(text_of(cells, "barcode", label="B", score="0.6"))
    rows = rows_of_cells(table, cells, SUFFIXES, "t.csv")
    predictions, calibration = vote(table, rows, cells, Levels(), "t")
    assert predictions["cell"].tolist() == cells.index[24:].tolist()
    assert predictions["score"].eq(0.6).all()
    held = calibration[calibration["role"] == "reference"]
    expected = calibration_cells(cells["cell_key"][:24], cells["label"][:24])
    assert held["cell"].tolist() == cells.index[expected].tolist()
    assert held["label"].tolist() == cells["label"].iloc[expected].tolist()
    assert calibration["cell"].tolist()[len(held) :] == predictions["cell"].tolist()


def test_labels_get_the_names_of_the_reference_or_none(read, cells):
    text = text_of(cells[24:], "barcode", label="b cells")
    table = read(text.replace("B39-1,b cells", "B39-1,debris"))
    rows = rows_of_cells(table, cells, SUFFIXES, "t.csv")
    with pytest.raises(InputError, match=r"annotate\.rename") as error:
        vote(table, rows, cells, Levels(), "annotate.tables.t")
    assert "'b cells'" in str(error.value)
    assert "'debris'" in str(error.value)
    levels = Levels(({"b cells": "B", "debris": ""},))
    predictions, calibration = vote(table, rows, cells, levels, "t")
    assert predictions["predicted"].tolist() == ["B"] * 15 + [""]
    assert calibration.empty
    settings = CallSettings(None, 0.01, 0.9)
    calls = call_at_levels(predictions, calibration, settings, levels, NO_LABEL)
    assert calls["rule"].tolist() == [""] * 15 + [NO_LABEL]


def other_voter(cells):
    """A voter that gives A 0.7, with its held-out cells."""
    scores = pd.DataFrame({"score:A": 0.7, "score:B": 0.2, "score:C": 0.1}, index=range(16))
    query = pd.DataFrame({"cell": cells.index[24:], "predicted": "A", "score": 0.7, "n_anchors": 0})
    held = pd.DataFrame(
        {"cell": cells.index[:10], "sample": "r", "role": "reference",
         "label": ["A"] * 7 + ["B"] * 2 + ["C"], "predicted": "A", "support": np.nan}
    )  # fmt: skip
    of_query = held.iloc[[0] * 16].assign(role="query", label="", cell=list(cells.index[24:]))
    calibration = pd.concat([held, of_query], ignore_index=True)
    again = scores.iloc[[0] * 26].reset_index(drop=True)
    return pd.concat([query, scores], axis=1), pd.concat([calibration, again], axis=1)


def test_a_table_without_reference_cells_votes_with_its_scores_as_they_are(read, cells):
    own = other_voter(cells)
    table = read(text_of(cells[24:39], "barcode", label="B", score="0.9"))
    rows = rows_of_cells(table, cells, SUFFIXES, "t.csv")
    tool = vote(table, rows, cells, Levels(), "t")
    both = [{"own": a, "tool": b} for a, b in zip(own, tool, strict=True)]
    predictions, calibration, voters = combine(*both, tables=["tool"])
    of_tool = voters.set_index("voter").loc["tool"]
    assert of_tool["temperature"] == 1
    assert of_tool["held_out_cells"] == 0
    t = voters.set_index("voter").loc["own", "temperature"]
    first = probabilities(np.array([[0.7, 0.2, 0.1]]), t)
    second = probabilities(np.array([[0.05, 0.9, 0.05]]), 1.0)
    columns = [f"score:{label}" for label in LABELS]
    found = predictions[columns].to_numpy()
    np.testing.assert_allclose(found[:15], np.repeat((first + second) / 2, 15, axis=0))
    # It abstains where it lists nothing, and where the sets are calibrated.
    np.testing.assert_allclose(found[15:], first)
    np.testing.assert_allclose(calibration[columns], np.repeat(first, 26, axis=0))
    # Any other voter that could not be calibrated is left out.
    without = combine(*both)[0][columns].to_numpy()
    np.testing.assert_allclose(without, np.repeat(first, 16, axis=0))


def test_names_that_are_nearly_equal():
    known = ["CD4 T cell", "B cells", "Monocyte", "cd4-t-cells"]
    assert near_equal("CD4 T cells", known) == ["CD4 T cell", "cd4-t-cells"]
    assert near_equal("b CELL", known) == ["B cells"]
    assert near_equal("Monocites", known) == ["Monocyte"]
    assert near_equal("Platelet", known) == []


def test_expression_for_celltypist_is_scanpys():
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(1.5, (20, 30)).astype(np.float32))
    data = ad.AnnData(counts.copy())
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    np.testing.assert_allclose(normalized(counts).toarray(), data.X.toarray(), rtol=1e-5)
    assert normalized(counts * 0).toarray().max() == 0


def test_celltypists_probabilities_become_a_table(tmp_path, monkeypatch, read):
    obs = pd.DataFrame({"sample": "q", "barcode": ["a", "b"]}, index=["q_a", "q_b"])
    counts = sp.csr_matrix(np.array([[1, 3], [2, 2]], dtype=np.int32))
    ad.AnnData(counts, obs=obs).write_h5ad(tmp_path / "filtered.h5ad")
    scores = pd.DataFrame({"A": [0.2, 0.4], "B, x": [0.9, 0.3]}, index=obs.index)

    def annotate(cells, model, majority_voting):
        assert cells.obs_names.tolist() == scores.index.tolist()
        np.testing.assert_allclose(np.expm1(cells.X.toarray()), [[2500, 7500], [5000, 5000]], 1e-4)
        assert (model, majority_voting) == ("m.pkl", False)
        return SimpleNamespace(probability_matrix=scores)

    monkeypatch.setitem(sys.modules, "celltypist", SimpleNamespace(annotate=annotate))
    table = label_table(tmp_path / "filtered.h5ad", "m.pkl")
    assert table["label"].tolist() == ["B, x", "A"]
    back = read(table.to_csv(index=False))
    assert back["score:B, x"].tolist() == [0.9, 0.3]
    assert back[["sample", "barcode"]].to_numpy().tolist() == [["q", "a"], ["q", "b"]]
