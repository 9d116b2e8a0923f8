"""Renamed labels, levels of labels, and cells that back off, against brute force and simulation."""

import numpy as np
import pandas as pd
import pytest
from dice_atlas.atlas.columns import level_columns
from dice_atlas.errors import InputError
from dice_atlas.files import write_table
from dice_atlas.scoring.levels import BACKOFF, HELD_OUT, QUERY, level_table
from dice_atlas.transfer.calls import call
from dice_atlas.transfer.level_calls import backed_off, call_at_levels, held_out_calls
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.relations import relate
from dice_atlas.transfer.settings import CallSettings, LevelSettings

NAMES = ["CD4 T", "CD8 T", "NK", "B"]
PARENTS = {"CD4 T": "T", "CD8 T": "T", "T": "T/NK", "NK": "T/NK"}
SETTINGS = CallSettings(None, 0.0, 0.9, 0.1)


def levels_of(table):
    table = table.set_index("label")
    return Levels(tuple(table[name].to_dict() for name in table))


def reference(*rows):
    cells = pd.DataFrame(rows, columns=["sample", "label", "label_parents"])
    return cells


def plain(*labels):
    return reference(*(("r", label, "") for label in labels))


@pytest.fixture
def levels():
    return levels_of(relate(LevelSettings({}, PARENTS), plain(*NAMES), []))


@pytest.fixture(scope="module")
def tables():
    """Predictions and calibration of exchangeable cells: CD4 and CD8 T are often confused."""
    rng = np.random.default_rng(1)
    n, held = 4000, 2000
    truth = rng.choice(4, n, p=[0.3, 0.3, 0.2, 0.2])
    mean = np.array([[2.0, 1.2, 0.3, 0], [1.2, 2.0, 0.6, 0], [0.4, 0.9, 2.0, 0], [0, 0, 0, 2.5]])
    power = np.exp(1.3 * mean[truth] + rng.normal(size=(n, 4)))
    score = power / power.sum(axis=1, keepdims=True)
    names = np.array(NAMES, dtype=object)
    table = pd.DataFrame(
        {"cell": [f"c{i}" for i in range(n)], "sample": "s", "label": names[truth],
         "role": np.where(np.arange(n) < held, "reference", "query"),
         "predicted": names[score.argmax(axis=1)], "support": np.nan}
    )  # fmt: skip
    scores = pd.DataFrame(score, columns=[f"score:{name}" for name in NAMES])
    calibration = pd.concat([table, scores], axis=1)
    predictions = calibration[held:].reset_index(drop=True).drop(columns=["label", "support"])
    predictions["score"], predictions["n_anchors"] = score[held:].max(axis=1), 7
    return predictions, calibration, names[truth[held:]]


def test_labels_of_different_depth_begin_at_one_coarsest_level(levels):
    assert levels.finest == 3
    assert levels.at(1, NAMES) == ["T/NK", "T/NK", "T/NK", "B"]
    assert levels.at(2, NAMES) == ["T", "T", "NK", "B"]
    assert levels.at(3, NAMES) == NAMES
    # A label of a truth at a coarse level, and one that nobody knows.
    assert levels.at(3, ["T"]) == ["T"]
    assert levels.at(1, ["T", "new"]) == ["T/NK", "new"]


def test_scores_of_a_coarse_label_are_the_sums_of_its_children(tables, levels):
    predictions, calibration, _ = tables
    for table in (predictions, calibration):
        for level in (1, 2):
            merged = levels.merged(table, level)
            scores = table[[f"score:{name}" for name in NAMES]]
            expected = scores.T.groupby(levels.at(level, NAMES), sort=False).sum().T
            found = merged[[f"score:{name}" for name in expected]]
            np.testing.assert_allclose(found, expected)
            assert (merged["predicted"] == expected.idxmax(axis=1)).all()
    merged = levels.merged(predictions, 2)
    moved = merged["predicted"] != levels.at(2, predictions["predicted"])
    assert 0 < moved.sum() < 400
    assert (merged["n_anchors"] == np.where(moved, 0, 7)).all()
    assert (levels.merged(calibration, 1)["label"] == levels.at(1, calibration["label"])).all()


def test_without_levels_everything_stays_as_it_is(tables):
    predictions, calibration, _ = tables
    assert Levels.read([]).merged(predictions) is predictions
    found = call_at_levels(predictions, calibration, SETTINGS, Levels())
    pd.testing.assert_frame_equal(found, call(predictions, calibration, SETTINGS))
    shares = np.ones((2, 4))
    assert Levels().merged_shares(shares, NAMES)[0] is shares


def test_joined_labels_are_what_one_label_of_the_sum_would_be(tables, tmp_path):
    predictions, calibration, _ = tables
    rename = {"CD4 T": "T cell", "CD8 T": "T cell"}
    table = relate(LevelSettings(rename, {}), plain(*NAMES), ["T cell"])
    write_table(table, tmp_path / "levels.tsv")
    joined = Levels.read([tmp_path / "levels.tsv"])
    found = call_at_levels(predictions, calibration, SETTINGS, joined)
    assert "backoff" not in found
    by_hand = []
    for own in (predictions, calibration):
        own = own.copy()
        own["score:T cell"] = own.pop("score:CD4 T") + own.pop("score:CD8 T")
        columns = [name for name in own if name.startswith("score:")]
        own["predicted"] = own[columns].idxmax(axis=1).str.removeprefix("score:")
        own = own.replace({"label": rename})
        by_hand.append(own.assign(score=own[columns].max(axis=1)))
    expected = call(*by_hand, SETTINGS)
    for name in ("cell_type", "prediction_set", "second"):
        assert (found[name] == expected[name]).all(), name
    # Twice is once: a consensus is read again with the same names.
    again = joined.merged(joined.merged(predictions))
    pd.testing.assert_frame_equal(again, joined.merged(predictions))


def test_a_cell_backs_off_to_the_finest_label_that_covers_its_set(levels):
    rows = [
        # set, fine label, at 2, at 1 -> back-off, level
        ("CD4 T", "CD4 T", "T", "T/NK", "CD4 T", 3),
        ("CD4 T|CD8 T", "CD4 T", "T", "T/NK", "T", 2),
        ("CD4 T|NK", "CD4 T", "T", "T/NK", "T/NK", 1),
        ("CD4 T|NK", "CD4 T", "T", "unassigned", "unassigned", 0),
        ("B|NK", "B", "B", "B", "unassigned", 0),
        ("CD8 T", "unassigned", "T", "T/NK", "T", 2),
        ("CD4 T|CD8 T", "CD4 T", "NK", "T/NK", "T/NK", 1),
        ("B", "NK", "NK", "T/NK", "unassigned", 0),
        ("", "unassigned", "unassigned", "unassigned", "unassigned", 0),
    ]
    columns = ["prediction_set", "cell_type", "at_2", "at_1", "backoff", "level"]
    calls = pd.DataFrame(rows, columns=columns)
    found = backed_off(calls, levels)
    pd.testing.assert_frame_equal(found, calls[["backoff", "level"]])


def test_coverage_and_risk_hold_at_each_level_and_the_back_off_is_seldom_wrong(tables, levels):
    predictions, calibration, truth = tables
    calls = call_at_levels(predictions, calibration, SETTINGS, levels)
    known = pd.DataFrame({"cell": predictions["cell"], "truth": truth})
    table = level_table(calls, calibration, known, SETTINGS, levels).set_index(["cells", "level"])
    for kind in (HELD_OUT, QUERY):
        own = table.loc[kind]
        assert (own.loc[["1", "2", "3"], "coverage"] > 0.88).all()
        assert (own.loc[["1", "2", "3"], "right"] > 0.88).all()
        assert own["labels"].dropna().tolist() == [2, 3, 4]
        assert own.loc["3", "set_size"] > own.loc["2", "set_size"] >= own.loc["1", "set_size"]
        # Coarser levels leave fewer cells without a label.
        assert own.loc["1", "labelled"] > own.loc["3", "labelled"] + 0.1
        assert own.loc[BACKOFF, "labelled"] == pytest.approx(own["reached"].iloc[:3].sum())
        assert own.loc[BACKOFF, "reached"] > 0.1
    # Wrong only where the set lacks the truth: at most a tenth of all cells.
    wrong = [
        level > 0 and levels.at(level, [true])[0] != name
        for name, level, true in zip(calls["backoff"], calls["level"], truth, strict=True)
    ]
    assert np.mean(wrong) < 0.12
    assert table.loc[(QUERY, BACKOFF), "right"] > table.loc[(QUERY, "3"), "right"] - 0.02


def test_held_out_cells_are_judged_by_others(tables, levels):
    _, calibration, _ = tables
    held = calibration[:7].assign(role="reference")
    found = held_out_calls(held, SETTINGS, levels)
    assert sorted(found["cell"]) == sorted(held["cell"])
    order = held.set_index("cell").loc[found["cell"], "label"]
    assert (found["label"] == order.to_numpy()).all()
    # Of too few cells nothing is said.
    assert held_out_calls(held[:4], SETTINGS, levels).empty
    table = level_table(
        call_at_levels(tables[0], held[:0], SETTINGS, levels), held[:0], pd.DataFrame(),
        SETTINGS, levels,
    )  # fmt: skip
    assert table["cells"].unique().tolist() == [QUERY]
    assert table["right"].isna().all()


def test_columns_of_the_sheet_are_levels_too():
    cells = reference(
        ("r", "naive", "lymphoid|B cell"), ("r", "memory", "lymphoid|B cell"),
        ("q", "memory", "|B cell"), ("r", "B cell", "lymphoid|B cell"), ("r", "Mono", "|"),
        ("r", "", "lymphoid|"),
    )  # fmt: skip
    found = levels_of(relate(LevelSettings({}, {}), cells, ["Mono", "pDC", ""]))
    labels = ["naive", "memory", "B cell", "Mono", "pDC"]
    assert found.at(1, labels) == ["lymphoid", "lymphoid", "lymphoid", "Mono", "pDC"]
    assert found.at(2, labels) == ["B cell", "B cell", "B cell", "Mono", "pDC"]
    assert found.at(3, labels) == labels
    # More levels by the config, other names, and a label that no reference has.
    settings = LevelSettings({"naive": "naive B", "pDC": ""}, {"Mono": "myeloid"})
    more = levels_of(relate(settings, cells, ["pDC"]))
    assert more.at(3, ["naive", "naive B", "pDC"]) == ["naive B", "naive B", ""]
    assert more.at(1, ["naive", "Mono"]) == ["lymphoid", "myeloid"]


@pytest.mark.parametrize(
    ("settings", "cells", "message"),
    [
        (({}, {}), [("r", "a", "X"), ("s", "a", "Y")],
         r"'a' belongs to 'X' \(1 cells of r\) and to 'Y' \(1 cells of s\)"),
        (({}, {"a": "Y"}), [("r", "a", "X")], r"'a' belongs to 'X' .* and to 'Y' \(annotate.par"),
        (({"b": "a"}, {"a": "X", "b": "Y"}), [("r", "a", ""), ("r", "b", "")], "'a' belongs to"),
        (({}, {"a": "X", "X": "a"}), [("r", "a", "")], "is its own ancestor"),
        (({"B-cell": "b"}, {}), [("r", "B cells", "")], r"'B-cell' \(near: 'B cells'\)"),
        (({}, {"b cell": "X"}), [("r", "B cells", "")], r"annotate.parents: 'b cell' \(near"),
        (({"a": ""}, {}), [("r", "a", "")], "'a' of the reference would have no name"),
        (({"a": "x|y"}, {}), [("r", "a", "")], "which joins the labels of a prediction set"),
    ],
)  # fmt: skip
def test_labels_that_do_not_relate_are_refused(settings, cells, message):
    with pytest.raises(InputError, match=message):
        relate(LevelSettings(*settings), reference(*cells), [])


def test_parents_from_a_file(tmp_path):
    path = tmp_path / "parents.tsv"
    path.write_text("label\tparent\nCD4 T\tT\nCD8 T\tT\nNK\t\n")
    table = relate(LevelSettings({}, str(path)), plain(*NAMES), [])
    assert table.set_index("label").loc["CD8 T"].tolist() == ["T", "CD8 T"]


def test_the_atlas_has_the_levels_of_all_cells(tables, levels):
    predictions, calibration, _ = tables
    calls = call_at_levels(predictions, calibration, SETTINGS, levels)
    own = pd.Series(["CD4 T", "unassigned"], index=["r1", "r2"])
    cell_type = pd.concat([own, calls.set_index("cell")["cell_type"]])
    found = level_columns(cell_type, calls, levels)
    assert found.loc["r1"].tolist() == ["T/NK", "T", "CD4 T", 3]
    assert found.loc["r2"].tolist() == ["unassigned", "unassigned", "unassigned", 0]
    query = found.loc[calls["cell"]]
    for name, column in {"at_1": "at_1", "at_2": "at_2", "backoff": "backoff"}.items():
        assert (query[f"cell_type_{column}"].to_numpy() == calls[name].to_numpy()).all()
    assert (query["cell_type_level"].to_numpy() == calls["level"].to_numpy()).all()
