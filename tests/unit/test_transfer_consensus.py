"""The linear voter, calibration by temperature, the consensus, and labels by risk."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dice_atlas.errors import InputError
from dice_atlas.numerics.sketch import subsample_per_label
from dice_atlas.transfer import linear
from dice_atlas.transfer.calls import call
from dice_atlas.transfer.conformal import labelled_and_wrong, risk_threshold
from dice_atlas.transfer.consensus import best_temperature, combine, log_loss, probabilities
from dice_atlas.transfer.linear import linear_scores, vote
from dice_atlas.transfer.settings import CallSettings
from factories import CALLS
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.preprocessing import StandardScaler


@pytest.fixture(scope="module")
def cells():
    """Expression of 300 cells of three types, the last ten genes of which differ, and their obs."""
    rng = np.random.default_rng(0)
    kind = rng.choice(3, 300, p=[0.6, 0.3, 0.1])
    mean = np.ones((3, 40))
    mean[1, 30:], mean[2, 35:] = 3, 5
    expression = sp.csr_matrix(np.log1p(rng.poisson(mean[kind])))
    role = np.where(np.arange(300) < 200, "reference", "query")
    label = np.where(role == "reference", np.array(["A", "B", "C"])[kind], "")
    names = [f"c{i}" for i in range(300)]
    obs = pd.DataFrame(
        {"sample": role, "role": role, "label": label, "cell_key": names}, index=names
    )
    return expression, obs, np.array(["A", "B", "C"])[kind]


def test_the_linear_voter_is_scikit_learns_regression_of_scaled_expression(cells):
    expression, obs, _ = cells
    rows, asked = np.arange(200), np.arange(200, 300)
    found = linear_scores(expression, obs["label"].to_numpy(str), rows, asked, ["C", "A", "B"], 0)
    scaler = StandardScaler().fit(expression[rows].toarray())
    # Standard deviations of n - 1.
    dense = scaler.transform(expression.toarray()) * np.sqrt(199 / 200)
    model = LogisticRegression(C=linear.C, class_weight="balanced", max_iter=5000, tol=1e-8)
    model.fit(dense[rows], obs["label"].to_numpy(str)[rows])
    expected = model.predict_proba(dense[asked])[:, [2, 0, 1]]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_linear_voter_holds_cells_out_and_knows_labels_without_a_cell(cells):
    expression, obs, truth = cells
    predictions, calibration = vote(expression, obs, None, 0)
    assert predictions["cell"].tolist() == obs.index[200:].tolist()
    assert (predictions["predicted"] == truth[200:]).mean() > 0.9
    held = calibration[calibration["role"] == "reference"]
    assert len(held) == pytest.approx(50, abs=2)
    assert (held["label"] == obs.loc[held["cell"], "label"].to_numpy()).all()
    assert calibration["support"].isna().all()
    # The two models differ: the second has not seen the held-out cells.
    again = calibration[calibration["role"] == "query"]["score:A"].to_numpy()
    assert not np.allclose(again, predictions["score:A"])
    labels = obs["label"].to_numpy(str)
    only = np.flatnonzero(labels == "B")
    scores = linear_scores(expression, labels, only, np.arange(3), ["A", "B"], 0)
    assert scores.tolist() == [[0, 1]] * 3


def test_of_many_cells_each_label_gives_its_share():
    labels = np.repeat(["A", "B", "C"], [8000, 1900, 100])
    rows = subsample_per_label(labels, 1000, 3, linear.LEAST_CELLS)
    assert pd.Series(labels[rows]).value_counts().to_dict() == {"A": 800, "B": 190, "C": 100}
    assert (np.diff(rows) > 0).all()
    assert (subsample_per_label(labels, 1000, 3, linear.LEAST_CELLS) == rows).all()


def test_probabilities_and_their_loss():
    scores = np.array([[0.8, 0.2, 0.0], [0.1, 0.9, 0.0]])
    plain = (scores + 1e-3) / (scores + 1e-3).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(scores, 1.0), plain)
    np.testing.assert_allclose(probabilities(scores, 1e6), 1 / 3, atol=1e-5)
    truth = np.array([0, 2])
    assert log_loss(scores, truth, 1.0) == pytest.approx(
        sklearn_log_loss(truth, plain, labels=[0, 1, 2])
    )


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_of_known_probabilities_is_found(true):
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.full(4, 5.0), 20_000)
    truth = (p.cumsum(axis=1) > rng.random((len(p), 1))).argmax(axis=1)
    # Scores whose power of 1 / true are the probabilities.
    scores = p**true / (p**true).sum(axis=1, keepdims=True)
    assert best_temperature(scores, truth) == pytest.approx(true, rel=0.06)
    assert best_temperature(scores[:0], truth[:0]) == 1.0


def tables(scores, calibration, labels, support=np.nan, n_anchors=0):
    """predictions and calibration of one voter with the labels x and y."""
    columns = {"score:x": 0, "score:y": 1}
    predicted = np.array(["x", "y"])
    predictions = pd.DataFrame(
        {"cell": [f"q{i}" for i in range(len(scores))], "predicted": predicted[scores.argmax(1)],
         "score": scores.max(1), "n_anchors": n_anchors}
        | {name: scores[:, i] for name, i in columns.items()}
    )  # fmt: skip
    both = np.vstack([calibration, scores])
    n = len(calibration)
    table = pd.DataFrame(
        {"cell": [*(f"r{i}" for i in range(n)), *predictions["cell"]], "sample": "s",
         "role": np.where(np.arange(len(both)) < n, "reference", "query"),
         "label": [*labels, *[""] * len(scores)], "predicted": predicted[both.argmax(1)],
         "support": support}
        | {name: both[:, i] for name, i in columns.items()}
    )  # fmt: skip
    return predictions, table


def two_voters():
    rng = np.random.default_rng(2)
    truth = rng.integers(2, size=400)
    good = np.where(rng.random(400) < 0.95, truth, 1 - truth)
    poor = np.where(rng.random(400) < 0.6, truth, 1 - truth)
    one = [np.eye(2)[x] * 0.98 + 0.01 for x in (good, poor)]
    asked = np.array([[0.9, 0.1], [0.1, 0.9]])
    labels = np.array(["x", "y"])[truth]
    return (
        tables(asked, one[0], labels, support=0.5, n_anchors=7),
        tables(asked[::-1], one[1], labels),
    )


def test_the_consensus_is_the_mean_of_calibrated_probabilities():
    anchors, plain = two_voters()
    predictions, calibration, voters = combine(
        {"dice": anchors[0], "linear": plain[0]}, {"dice": anchors[1], "linear": plain[1]}
    )
    assert voters["accuracy"].iloc[0] > 0.9 > 0.7 > voters["accuracy"].iloc[1]
    # A voter that is often wrong is softened, so that the better one decides.
    assert voters["temperature"].iloc[1] > 2 > voters["temperature"].iloc[0]
    assert predictions["predicted"].tolist() == ["x", "y"]
    columns = ["score:x", "score:y"]
    expected = np.mean(
        [probabilities(own[0][columns].to_numpy(), t)
         for own, t in zip((anchors, plain), voters["temperature"], strict=True)],
        axis=0,
    )  # fmt: skip
    np.testing.assert_allclose(predictions[columns], expected)
    np.testing.assert_allclose(predictions["score"], expected.max(axis=1))
    np.testing.assert_allclose(calibration[columns].iloc[-2:], expected)
    # Anchors and support are those of the voter that has them.
    assert predictions["n_anchors"].tolist() == [7, 7]
    assert (calibration["support"] == 0.5).all()
    calls = call(predictions, calibration, CALLS)
    assert calls["p_reference"].notna().all()


def test_one_voter_alone_keeps_its_labels_and_other_cells_are_refused():
    anchors, plain = two_voters()
    predictions, _, _ = combine({"dice": anchors[0]}, {"dice": anchors[1]})
    assert (predictions["predicted"] == anchors[0]["predicted"]).all()
    other = plain[0].assign(cell=["q1", "q0"])
    with pytest.raises(InputError, match=r"predictions.tsv.gz of linear and of dice do not hold"):
        combine({"dice": anchors[0], "linear": other}, {"dice": anchors[1], "linear": plain[1]})


def test_a_voter_that_could_not_be_calibrated_abstains():
    anchors, plain = two_voters()
    predictions, calibration, voters = combine(
        {"dice": anchors[0], "linear": plain[0]},
        {"dice": anchors[1].iloc[:0], "linear": plain[1]},
    )
    row = voters.set_index("voter").loc["dice"]
    assert row[["temperature", "held_out_cells"]].tolist() == [1, 0]
    assert np.isnan(row["accuracy"])
    assert calibration["support"].isna().all()
    # Only the other one is heard, alike in both tables.
    own, _, _ = combine({"linear": plain[0]}, {"linear": plain[1]})
    columns = ["score:x", "score:y"]
    pd.testing.assert_frame_equal(predictions[columns], own[columns])
    np.testing.assert_allclose(calibration[columns].iloc[-2:], own[columns])
    # Without any calibration all vote as they are.
    none = {name: own[1].iloc[:0] for name, own in (("dice", anchors), ("linear", plain))}
    again, empty, _ = combine({"dice": anchors[0], "linear": plain[0]}, none)
    assert empty.empty
    assert list(empty) == list(calibration)
    np.testing.assert_allclose(again[columns], 0.5)


def test_a_voter_abstains_where_it_has_no_score():
    anchors, plain = two_voters()
    anchors[0].loc[0, ["score:x", "score:y"]] = 0.0
    predictions, _, voters = combine(
        {"dice": anchors[0], "linear": plain[0]}, {"dice": anchors[1], "linear": plain[1]}
    )
    t = voters.set_index("voter")["temperature"]
    columns = ["score:x", "score:y"]
    alone = probabilities(plain[0][columns].to_numpy(), t["linear"])
    np.testing.assert_allclose(predictions[columns].iloc[0], alone[0])
    # Where nobody has any, there is no label; a label that nobody scores has no part.
    predictions, _, _ = combine({"dice": anchors[0]}, {"dice": anchors[1]})
    assert predictions.loc[0, columns].tolist() == [0, 0]
    assert predictions["predicted"].tolist() == ["", "y"]
    anchors[0].loc[1, columns] = [0.0, 0.4]
    predictions, _, _ = combine({"dice": anchors[0]}, {"dice": anchors[1]})
    assert predictions.loc[1, "score:x"] == 0


def test_query_cells_that_no_voter_was_calibrated_beside_have_no_p_value():
    anchors, plain = two_voters()
    fewer = [own[1][own[1]["cell"] != "q1"] for own in (anchors, plain)]
    predictions, calibration, _ = combine(
        {"dice": anchors[0], "linear": plain[0]}, {"dice": fewer[0], "linear": fewer[1]}
    )
    calls = call(predictions, calibration, CALLS)
    assert calls["p_reference"].isna().tolist() == [False, True]
    assert calls["prediction_set"].iloc[1] == ""
    assert (calls["cell_type"] == predictions["predicted"]).all()


def test_few_held_out_cells_hardly_move_the_temperature():
    scores = np.array([[0.6, 0.4]] * 4)
    assert 0.6 < best_temperature(scores[:1], np.array([0])) < 1
    assert best_temperature(scores, np.zeros(4, int)) > 0.3
    assert best_temperature(scores[:1], np.array([1])) < 1.5


def test_a_voter_without_anchors_has_no_p_values():
    _, (predictions, calibration) = two_voters()
    calls = call(predictions, calibration, CALLS)
    assert calls["p_reference"].isna().all()
    assert (calls["cell_type"] != "unassigned").all()


def test_cells_of_one_score_get_their_labels_together():
    score = np.array([0.5, 0.9, 0.7, 0.7])
    least, cells, wrong = labelled_and_wrong(score, np.array([True, True, False, True]))
    assert least.tolist() == [0.9, 0.7, 0.5]
    assert cells.tolist() == [1, 3, 4]
    assert wrong.tolist() == [0, 1, 1]


def test_risk_threshold_by_hand(caplog):
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, True, True, False, True])
    # (w + 1) / (n + 1): 1/2, 1/3, 1/4, 2/5, 2/6
    assert risk_threshold(score, right, 0.34) == 0.0
    assert risk_threshold(score, right, 0.3) == 0.7
    assert risk_threshold(score[::-1], right[::-1], 0.3) == 0.7
    # Cells of one score are taken or left together.
    assert risk_threshold(np.array([0.9, 0.7, 0.7, 0.7]), right[:4], 0.34) == np.inf
    assert "no score of held-out cells" in caplog.text
    caplog.clear()
    assert risk_threshold(score, right, 0.1) == 0.0
    assert "5 held-out cells are too few" in caplog.text


@pytest.mark.parametrize("risk", [0.05, 0.1, 0.2])
def test_new_cells_reach_the_risk_asked_for(risk):
    rng = np.random.default_rng(3)
    reached, labelled = [], []
    for _ in range(200):
        score = rng.random((2, 400))
        right = rng.random((2, 400)) < 0.4 + 0.6 * score
        assigned = score[1] >= risk_threshold(score[0], right[0], risk)
        reached.append((~right[1][assigned]).mean() if assigned.any() else 0.0)
        labelled.append(assigned.mean())
    assert np.mean(reached) <= risk + 0.01
    # A label is right with probability 0.4 + 0.6 score: the mean from a score s on is 0.7 + 0.3 s.
    possible = 1 - (0.3 - risk) / 0.3
    assert np.mean(labelled) == pytest.approx(possible, abs=0.12)


def test_labels_go_by_the_risk_unless_a_score_is_given():
    (predictions, calibration), _ = two_voters()
    strict = CallSettings(None, 0, 0.8, risk=0.02)
    assert (call(predictions, calibration, strict)["cell_type"] == "unassigned").all()
    loose = CallSettings(None, 0, 0.8, risk=0.2)
    assert (call(predictions, calibration, loose)["cell_type"] == predictions["predicted"]).all()
    # The threshold comes from a table of eight digits: rounding takes no label away.
    third = predictions.assign(score=2 / 3)
    kept = call(third, calibration, CallSettings(0.66666667, 0, 0.8))
    assert (kept["cell_type"] == predictions["predicted"]).all()
    by_score = call(predictions, calibration, CallSettings(0.95, 0, 0.8))
    assert by_score["rule"].tolist() == ["score_below_0.95"] * 2
