"""Weights, class scores and calls, in closed form."""

import logging

import numpy as np
import pandas as pd
import pytest
from dice_atlas.errors import InputError
from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.calls import calls_table, entropy
from dice_atlas.transfer.labels import predictions_table, transfer_labels
from dice_atlas.transfer.scores import winners
from dice_atlas.transfer.settings import WeightSettings
from dice_atlas.transfer.weights import anchor_weights
from scipy.stats import entropy as scipy_entropy

# Query cells on a line; cells 0, 1 and 2 have anchors, cell 1 two of them.
LINE = np.array([[0.0], [1.0], [4.0], [0.5]])
ANCHORS = Anchors(np.array([0, 1, 2, 3]), np.array([0, 1, 1, 2]), np.array([1.0, 0.5, 1.0, 1.0]))


def test_weights_in_closed_form():
    weights = anchor_weights(ANCHORS, LINE, WeightSettings(3)).toarray()
    # Cell 3: anchor cells 0 and 1 at 0.5, 2 at 3.5; the farthest weighs nothing, and only
    # three anchors count: those of 0 and 1.
    d = 1 - 0.5 / 3.5
    raw = 1 - np.exp(-np.array([d * 1.0, d * 0.5, d * 1.0, 0.0]) / 4)
    np.testing.assert_allclose(weights[3], raw / raw.sum())
    # Cell 2: itself at 0, then 1 at 3, 0 at 4.
    raw = 1 - np.exp(-np.array([0.0, 0.25 * 0.5, 0.25 * 1.0, 1.0]) / 4)
    np.testing.assert_allclose(weights[2], raw / raw.sum())
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_the_number_of_anchors_is_capped():
    # k = 2 nearest anchor cells, and two anchors: cell 0's and the first of cell 1's.
    weights = anchor_weights(ANCHORS, LINE, WeightSettings(2)).toarray()
    assert weights[0].tolist() == [1.0, 0, 0, 0]
    # Cell 2: its own anchor; cell 1 is the farthest of the two and weighs nothing.
    assert weights[2].tolist() == [0, 0, 0, 1.0]
    many = Anchors(np.arange(4), np.array([0, 0, 0, 1]), np.ones(4))
    np.testing.assert_allclose(
        anchor_weights(many, LINE, WeightSettings(2)).toarray()[0], [0.5, 0.5, 0, 0]
    )


def test_sd_weight_changes_the_kernel():
    weights = anchor_weights(ANCHORS, LINE, WeightSettings(3, 2.0)).toarray()
    d = 1 - 0.5 / 3.5
    raw = 1 - np.exp(-np.array([d * 1.0, d * 0.5, d * 1.0, 0.0]))
    np.testing.assert_allclose(weights[3], raw / raw.sum())


def test_weights_of_seurat_v3():
    # Cell 3: anchors 0, 1 and 2 (the last two of cell 1) at 0.5, anchor 3 at 3.5; the first is
    # dropped and the farthest weighs nothing.
    weights = anchor_weights(ANCHORS, LINE, WeightSettings(3, 1.0, "v3")).toarray()
    d = 1 - 0.5 / 3.5
    raw = 1 - np.exp(-np.array([0.0, d * 0.5, d * 1.0, 0.0]) / 2)
    np.testing.assert_allclose(weights[3], raw / raw.sum())
    wide = anchor_weights(ANCHORS, LINE, WeightSettings(3, 2.0, "v3")).toarray()
    raw = 1 - np.exp(-np.array([0.0, d * 0.5, d * 1.0, 0.0]) / 8)
    np.testing.assert_allclose(wide[3], raw / raw.sum())
    one = Anchors(np.array([0]), np.array([1]), np.ones(1))
    assert (
        anchor_weights(one, LINE, WeightSettings(50, 1.0, "v3")).toarray().tolist() == [[1.0]] * 4
    )


def test_k_weight_is_cut_to_the_anchor_cells(caplog):
    with caplog.at_level(logging.WARNING):
        found = anchor_weights(ANCHORS, LINE, WeightSettings(50)).toarray()
    assert "3 query cells have anchors: 3 is used" in caplog.text
    np.testing.assert_array_equal(found, anchor_weights(ANCHORS, LINE, WeightSettings(3)).toarray())


def test_weights_without_information_are_uniform(caplog):
    same = np.zeros((3, 2))
    anchors = Anchors(np.array([0, 1]), np.array([0, 1]), np.ones(2))
    with caplog.at_level(logging.WARNING):
        assert (
            anchor_weights(anchors, same, WeightSettings(2)).toarray().tolist() == [[0.5, 0.5]] * 3
        )
    assert "3 query cells have anchors of weight 0 only" in caplog.text
    no_score = Anchors(ANCHORS.reference, ANCHORS.query, np.zeros(4))
    weights = anchor_weights(no_score, LINE, WeightSettings(3)).toarray()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert set(np.round(weights[3][:3], 12)) == {round(1 / 3, 12)}


def test_scores_add_up_over_labels():
    result = transfer_labels(ANCHORS, LINE, ["B", "T", "B", "NK"], WeightSettings(3))
    weights = anchor_weights(ANCHORS, LINE, WeightSettings(3)).toarray()
    assert result.labels == ["B", "T", "NK"]
    np.testing.assert_allclose(result.scores[:, 0], weights[:, 0] + weights[:, 2])
    np.testing.assert_allclose(result.scores[:, 1], weights[:, 1])
    assert result.n_anchors[3].tolist() == [2, 1, 0]


def test_cells_without_label_take_part_but_have_no_column():
    result = transfer_labels(ANCHORS, LINE, ["", "T", "", ""], WeightSettings(3))
    assert result.labels == ["T"]
    weights = anchor_weights(ANCHORS, LINE, WeightSettings(3)).toarray()
    np.testing.assert_allclose(result.scores[:, 0], weights[:, 1])
    assert (result.scores < 1).all()
    with pytest.raises(InputError, match="no reference cell has a label"):
        transfer_labels(ANCHORS, LINE, [""] * 4)


def test_winner_is_the_earlier_label_at_a_tie_and_none_without_score():
    scores = np.array([[0.2, 0.4, 0.4], [0.0, 0.0, 0.0]])
    assert winners(scores, ["a", "b", "c"]).tolist() == ["b", ""]


def test_predictions_and_calls():
    result = transfer_labels(ANCHORS, LINE, ["B", "T", "B", "NK"], WeightSettings(3))
    table = predictions_table(["c0", "c1", "c2", "c3"], result)
    assert table.columns.tolist() == [
        *("cell", "predicted", "score", "n_anchors"),
        *("score:B", "score:T", "score:NK"),
    ]
    assert table["predicted"].tolist() == ["B", "B", "NK", "B"]
    np.testing.assert_allclose(table["score"], result.scores.max(axis=1))
    sets = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=bool)
    calls = calls_table(table, sets, np.full(4, np.nan), 0.8, 0.01)
    assert calls["prediction_set"].tolist() == ["B|T", "B", "", "B|NK|T"]
    assert calls.loc[0, "second"] == "T"
    low = table["score"] < 0.8
    assert 0 < low.sum() < 4
    assert (calls["cell_type"] == "unassigned").tolist() == low.tolist()
    assert set(calls.loc[low, "rule"]) == {"score_below_0.8"}
    assert set(calls.loc[~low, "rule"]) == {""}
    assert calls["predicted"].tolist() == table["predicted"].tolist()
    outside = calls_table(table, sets, np.array([0.5, 0.009, 0.01, 0.02]), 0.0, 0.01)
    assert outside["rule"].tolist() == ["", "p_reference_below_0.01", "", ""]
    assert (outside["cell_type"] == "unassigned").tolist() == [False, True, False, False]


def test_a_cell_without_labelled_anchors_is_unassigned_at_any_threshold():
    table = pd.DataFrame(
        {"cell": ["c"], "predicted": [""], "score": [0.0], "n_anchors": [0], "score:B": [0.0]}
    )
    calls = calls_table(table, np.array([[False]]), np.ones(1), 0.0, 0.0)
    assert calls.loc[0, ["cell_type", "rule"]].tolist() == ["unassigned", "no_labelled_anchor"]
    assert calls.loc[0, "second"] == ""


def test_entropy_is_scipys():
    scores = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [0.2, 0.2, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(entropy(scores)[:3], scipy_entropy(scores[:3], axis=1))
    assert entropy(scores)[3] == pytest.approx(np.log(3))
