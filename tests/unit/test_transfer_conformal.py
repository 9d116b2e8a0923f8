"""Prediction sets: the quantile by hand, coverage on simulated data, small classes."""

import logging

import numpy as np
import pytest
from dice_atlas.transfer.conformal import (
    calibrate,
    class_thresholds,
    conformal_p_values,
    conformal_quantile,
    nonconformity,
    prediction_sets,
)

LABELS = ["a", "b", "c"]


def simulated(n, rng, sharp=(1.0, 3.0, 0.5)):
    """Exchangeable cells of three classes whose scores are more or less sharp."""
    truth = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    logits = rng.standard_normal((n, 3))
    logits[np.arange(n), truth] += np.asarray(sharp)[truth]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, scores


def test_quantile_by_hand():
    values = np.arange(1, 10) / 10  # n = 9
    assert conformal_quantile(values, 0.9) == 0.9  # ceil(10 x 0.9) = 9th
    assert conformal_quantile(values, 0.5) == 0.5
    assert conformal_quantile(values[:8], 0.9) == np.inf  # ceil(8.1) = 9 > 8
    assert conformal_quantile(np.empty(0), 0.5) == np.inf


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_coverage_holds_in_every_class(coverage):
    rng = np.random.default_rng(0)
    covered, best = np.zeros(3), np.zeros(3)
    size, repeats = 0.0, 40
    for _ in range(repeats):
        truth, scores = simulated(400, rng)
        thresholds = class_thresholds([LABELS[i] for i in truth], scores, LABELS, coverage)
        truth, scores = simulated(4000, rng)
        sets = prediction_sets(scores, thresholds)
        right = sets[np.arange(truth.size), truth]
        covered += [right[truth == i].mean() / repeats for i in range(3)]
        first = scores.argmax(axis=1) == truth
        best += [first[truth == i].mean() / repeats for i in range(3)]
        size += sets.sum(axis=1).mean() / repeats
    # On average over calibrations: at least the coverage, at most 1 / (n + 1) more, or the share
    # of cells whose best label, which is always in the set, is the true one.
    assert (covered >= coverage - 0.012).all()
    assert (covered <= np.maximum(coverage + 1 / 30, best) + 0.012).all()
    # All three labels in every set would cover, too.
    assert size < {0.8: 1.9, 0.9: 2.3, 0.95: 2.6}[coverage]


def test_nonconformity_is_the_distance_behind_the_best_score():
    scores = np.array([[0.6, 0.3, 0.0], [0.0, 0.0, 0.0], [0.2, 0.2, 0.05]])
    expected = [[0, 0.5, 1], [1, 1, 1], [0, 0, 0.75]]
    np.testing.assert_allclose(nonconformity(scores), expected)
    # Scores that are all lower do not change a set; the best label is always in it.
    thresholds = np.array([0.1, 0.5, 0.2])
    sets = prediction_sets(scores, thresholds)
    assert sets.tolist() == [[True, True, False], [False] * 3, [True, True, False]]
    assert (prediction_sets(scores / 3, thresholds) == sets).all()


def test_small_classes_take_the_pooled_threshold(caplog):
    truth = ["a"] * 19 + ["b"] * 3
    scores = np.zeros((22, 3))
    scores[:, 2] = 1.0
    scores[:19, 0] = 1 - np.arange(19) / 100
    scores[19:, 1] = 0.4
    with caplog.at_level(logging.WARNING):
        thresholds = class_thresholds(truth, scores, LABELS, 0.9)
    assert thresholds[0] == pytest.approx(0.17)  # 18th of 19
    assert thresholds[1] == thresholds[2] == pytest.approx(0.6)  # 21st of 22
    assert "2 of 3 labels" in caplog.text
    assert "b (3), c (0)" in caplog.text


def test_without_calibration_every_label_is_in_the_set(caplog):
    with caplog.at_level(logging.WARNING):
        thresholds = class_thresholds([], np.empty((0, 3)), LABELS, 0.9)
    assert prediction_sets(np.array([[1.0, 0, 0]]), thresholds).all()
    assert "too few as well" in caplog.text


def test_rounding_of_equal_scores_does_not_empty_the_set():
    thresholds = class_thresholds(["a"] * 20, np.tile([1.0, 0, 0], (20, 1)), LABELS, 0.9)
    sets = prediction_sets(np.array([[0.5 - 1e-9, 0.5, 0], [0.1, 0.9, 0.0]]), thresholds)
    assert sets.tolist() == [[True, True, False], [False, True, False]]


def test_a_class_that_its_own_cells_miss_is_not_put_into_every_set(caplog):
    truth = ["a"] * 30 + ["b"] * 30
    scores = np.zeros((60, 2))
    scores[:30, 0] = 1.0
    scores[30:50] = [0.5, 0.4]
    scores[50:, 0] = 1.0  # a third of b's cells find no anchor of b
    with caplog.at_level(logging.WARNING):
        thresholds = class_thresholds(truth, scores, ["a", "b"], 0.9)
    assert "cannot be reached for b" in caplog.text
    assert "are 20 of 30; 10 have no evidence for it" in caplog.text
    sets = prediction_sets(np.array([[1.0, 0.0], [0.9, 0.1]]), thresholds)
    assert sets.tolist() == [[True, False], [True, True]]


def test_a_rare_class_does_not_spoil_the_sets_of_all_others(caplog):
    # Of 20 cells of "rare" the third worst scores 0.02 for it: so do nearly all others.
    rng = np.random.default_rng(0)
    truth = ["common"] * 1000 + ["rare"] * 20
    rare = np.r_[rng.uniform(0.02, 0.4, 1000), np.full(17, 0.9), np.full(3, 0.02)]
    scores = np.column_stack([1 - rare, rare])
    with caplog.at_level(logging.WARNING):
        thresholds = class_thresholds(truth, scores, ["common", "rare"], 0.9)
    assert "cannot be reached for rare" in caplog.text
    assert "are 17 of 20; more would put it into too many other sets" in caplog.text
    assert "for common" not in caplog.text
    sets = prediction_sets(scores, thresholds)
    assert sets[:1000, 1].sum() == 10 * 20
    assert sets[:1000, 0].all()
    # The limit is what keeps it out; with twenty times as many cells of its own it is none.
    free = calibrate(truth, scores, ["common", "rare"], 0.9, np.inf)
    assert prediction_sets(scores, free.thresholds)[:1000, 1].all()
    assert not free.short()
    often = ["common"] * 1000 + ["rare"] * 400
    more = np.concatenate([scores[:1000], np.tile(scores[1000:], (20, 1))])
    assert (calibrate(often, more, ["common", "rare"], 0.9).thresholds == free.thresholds).all()


def test_rare_classes_that_share_a_threshold_are_limited_and_named_together(caplog):
    rng = np.random.default_rng(0)
    truth = ["common"] * 2000 + ["a"] * 7 + ["b"] * 7
    scores = np.zeros((2014, 3))
    scores[:2000, 1:] = rng.uniform(0.02, 0.3, (2000, 2))
    scores[2000:2007, 1] = scores[2007:, 2] = 0.9
    scores[[2005, 2012], [1, 2]] = 0.03
    scores[:, 0] = 1 - scores.max(axis=1)
    labels = ["common", "a", "b"]
    with caplog.at_level(logging.WARNING):
        thresholds = class_thresholds(truth, scores, labels, 0.9)
    assert "2 of 3 labels" in caplog.text
    sets = prediction_sets(scores, thresholds)
    # Ten for each of the fourteen cells that the threshold rests on.
    assert sets[:2000, 1:].sum(axis=0).tolist() == [140, 140]
    assert "for a: its calibration cells that have it in their set are 6 of 7" in caplog.text
    assert "for b: its calibration cells that have it in their set are 6 of 7" in caplog.text


def test_small_classes_reach_the_coverage_as_a_group():
    """Twenty hard classes of few cells beside an easy large one, whose threshold is no guide."""
    rng = np.random.default_rng(0)
    labels = [f"l{i}" for i in range(21)]

    def simulate(n):
        truth = np.where(rng.random(n) < 0.7, 0, rng.integers(1, 21, n))
        logits = rng.standard_normal((n, 21))
        logits[np.arange(n), truth] += np.where(truth == 0, 8.0, 2.0)
        return truth, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    covered = []
    for _ in range(30):
        truth, scores = simulate(200)
        thresholds = class_thresholds([labels[i] for i in truth], scores, labels, 0.9)
        truth, scores = simulate(4000)
        right = prediction_sets(scores, thresholds)[np.arange(truth.size), truth]
        covered.append((right[truth == 0].mean(), right[truth > 0].mean()))
    easy, hard = np.mean(covered, axis=0)
    assert easy > 0.89
    assert hard > 0.89


def test_p_values_are_uniform_for_exchangeable_values():
    rng = np.random.default_rng(0)
    by_hand = conformal_p_values(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 3.0, 4.0]))
    assert by_hand.tolist() == [1.0, 0.75, 0.5, 0.25]
    found = [conformal_p_values(rng.normal(size=99), rng.normal(size=20)) for _ in range(400)]
    for level in (0.01, 0.05, 0.5):
        assert (np.concatenate(found) <= level).mean() == pytest.approx(
            level, abs=0.03 * level**0.5
        )
    assert np.isnan(conformal_p_values(np.empty(0), np.ones(2))).all()
