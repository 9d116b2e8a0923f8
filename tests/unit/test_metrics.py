"""Metrics against closed forms, other libraries and loops over the definition."""

import harmonypy
import numpy as np
import pandas as pd
import pytest
from dice_atlas.metrics.calibration import expected_calibration_error, reliability_curve
from dice_atlas.metrics.classification import classification_scores
from dice_atlas.metrics.knn_accuracy import knn_accuracy
from dice_atlas.metrics.lisi import (
    Surroundings,
    mean_lisi,
    mean_lisi_nearest,
    perplexity_weights,
)
from dice_atlas.metrics.partition import partition_agreement
from dice_atlas.metrics.prediction_sets import prediction_set_scores
from dice_atlas.metrics.silhouette import mean_silhouette, silhouette_values
from dice_atlas.numerics import neighbors
from dice_atlas.scoring.groups import cluster_scores, label_scores, mixing_scores, transfer_scores
from dice_atlas.scoring.partitions import query_partition
from factories import CLUSTER, blobs
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from sklearn.metrics import silhouette_samples


@pytest.fixture(scope="module")
def mixed():
    """Three overlapping clusters with their labels."""
    return blobs(3, 100, 5, seed=2, distance=3.0)


def test_notes_say_where_neighbours_are_approximate(mixed, monkeypatch):
    points, labels = mixed
    obs = pd.DataFrame({"role": ["reference", "query"] * 150, "batch": "A"})

    def notes():
        scores = label_scores(points, labels) | mixing_scores(points, obs)
        scores |= cluster_scores(labels, query_partition(points, CLUSTER, 0)[0])
        scores |= knn_accuracy(points, labels, points[:20], labels[:20])
        return {name: score.note for name, score in scores.items()}

    exact = notes()
    assert not any("approximate" in note for note in exact.values())
    monkeypatch.setattr(neighbors, "EXACT_UP_TO", 299)
    without = {"silhouette", "ilisi_batch"}  # no neighbours; undefined
    for name, note in notes().items():
        added = "" if name in without else "neighbours among 300 cells are approximate"
        assert note == "; ".join(filter(None, (exact[name], added)))


def test_silhouettes_are_scikit_learns(mixed):
    points, labels = mixed[0].astype(float), mixed[1].copy()
    expected = silhouette_samples(points, labels, metric="cosine")
    np.testing.assert_allclose(silhouette_values(points, labels), expected, atol=1e-12)
    assert mean_silhouette(points, labels).value == pytest.approx(expected.mean())
    # A class of one cell, a cell at the origin, and duplicates.
    labels[0], points[1], points[2:5] = 9, 0, points[2]
    expected = silhouette_samples(points, labels, metric="cosine")
    np.testing.assert_allclose(silhouette_values(points, labels), expected, atol=1e-12)


def test_silhouettes_of_equal_cells_are_zero_and_one_label_has_none():
    points = np.ones((6, 3)) / 3
    with pytest.raises(ValueError, match="all 6 cells have one label; expected two or more"):
        silhouette_values(points, np.zeros(6))
    np.testing.assert_array_equal(silhouette_values(points, [0, 0, 0, 1, 1, 1]), 0)


def test_silhouette_says_when_it_has_no_value(mixed):
    points, labels = mixed
    assert mean_silhouette(points, np.zeros(300)).note == "one class only"
    assert np.isnan(mean_silhouette(points[:3], np.arange(3)).value)
    few = labels.copy()
    few[0] = 9
    assert "1 class(es) of one cell" in mean_silhouette(points, few).note


@pytest.mark.parametrize("perplexity", [5, 30])
def test_lisi_is_harmonypys(mixed, perplexity):
    points, labels = mixed
    batch = np.arange(300) % 2
    theirs = harmonypy.compute_lisi(
        points, pd.DataFrame({"label": labels, "batch": batch}), ["label", "batch"], perplexity
    ).mean(axis=0)
    ours = mean_lisi(Surroundings.of(points), {"label": labels, "batch": batch}, perplexity)
    assert ours["label"].value == pytest.approx(theirs[0], rel=1e-9)
    assert ours["batch"].value == pytest.approx(theirs[1], rel=1e-9)
    assert ours["label"].note == ""


def test_lisi_with_few_cells_lowers_the_perplexity():
    points = np.random.default_rng(0).normal(size=(31, 3))
    found = mean_lisi(Surroundings.of(points), {"a": np.arange(31) % 2})["a"]
    assert found.note.startswith("perplexity 10: 31 cells")
    assert 1 < found.value <= 2
    assert np.isnan(mean_lisi(Surroundings.of(points[:3]), {"a": np.arange(3)})["a"].value)


def test_weights_have_the_perplexity():
    distances = np.sort(np.random.default_rng(0).gamma(5, 2, size=(50, 90)), axis=1)
    weights = perplexity_weights(distances, 30)
    np.testing.assert_allclose(np.exp(entropy(weights, axis=1)), 30, rtol=1e-4)
    # Equal distances leave nothing to weigh by; far ones do not underflow.
    np.testing.assert_allclose(perplexity_weights(np.full((1, 10), 3.0), 5), 0.1)
    assert np.isfinite(perplexity_weights(1e5 + 1e3 * distances, 30)).all()


def test_nearest_lisi_by_a_loop_over_the_definition(mixed):
    points, labels = mixed
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    values = []
    for row in distances:
        near = labels[np.argsort(row)[:9]]
        shares = np.array([(near == label).mean() for label in set(labels)])
        values.append(1 / (shares**2).sum())
    near = Surroundings.of(points)
    assert mean_lisi_nearest(near, labels).value == pytest.approx(np.mean(values))
    assert mean_lisi_nearest(Surroundings.of(points[:5]), labels[:5]).note.startswith(
        "4 neighbours"
    )
    assert mean_lisi_nearest(near, np.zeros(300)).value == pytest.approx(1.0)
    with pytest.raises(ValueError, match="91 neighbours asked for, 90 are known"):
        mean_lisi_nearest(near, labels, 91)


def test_partition_scores_in_closed_form():
    truth = np.array(["a"] * 4 + ["b"] * 4)
    clusters = np.array(["0"] * 4 + ["1"] * 2 + ["2"] * 2)
    # I = H(truth) = ln 2; H(clusters) = 1.5 ln 2.
    found = partition_agreement(truth, clusters)
    assert found["nmi"].value == pytest.approx(2 / 2.5)
    assert found["v_measure"].value == pytest.approx(2 / 2.5)
    assert found["nmi_max"].value == pytest.approx(1 / 1.5)
    # Pairs together in both 8, in truth 12, in clusters 8, of 28.
    expected = 12 * 8 / 28
    assert found["ari"].value == pytest.approx((8 - expected) / ((12 + 8) / 2 - expected))
    assert all(s.value == 1 for s in partition_agreement(truth, truth).values())
    assert "one class only" in partition_agreement(np.zeros(8), clusters)["ari"].note


def test_classification_by_hand():
    truth = np.array(["a", "a", "a", "a", "b", "b", "c"])
    called = np.array(["a", "a", "a", "unassigned", "b", "d", "unassigned"])
    found = classification_scores(truth, called)
    assert found["accuracy"].value == pytest.approx(4 / 7)
    assert found["accuracy_assigned"].value == pytest.approx(4 / 5)
    assert found["unassigned"].value == pytest.approx(2 / 7)
    assert found["recall:a"].value == pytest.approx(3 / 4)
    assert found["recall:b"].value == pytest.approx(1 / 2)
    assert found["recall:c"] == (0.0, "1 cell(s)")
    assert found["balanced_accuracy"].value == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    # Precision is 1 for a and b: F1 = 2 r / (1 + r).
    assert found["macro_f1"].value == pytest.approx((6 / 7 + 2 / 3 + 0) / 3)
    assert found["macro_f1"].note == "1 class(es) of one cell"
    assert "recall:d" not in found


def test_classification_without_cells_or_calls():
    assert np.isnan(classification_scores(np.array([]), np.array([]))["accuracy"].value)
    none = classification_scores(np.array(["a", "b"]), np.array(["unassigned"] * 2))
    assert np.isnan(none["accuracy_assigned"].value)
    assert none["unassigned"].value == 1


def test_prediction_sets_by_hand():
    found = prediction_set_scores(np.array(["a", "b", "c d", "a"]), ["a", "a|b", "c|d", ""])
    assert found["set_coverage"].value == 0.5
    assert found["set_size"].value == 1.25
    assert found["set_ambiguous"].value == 0.5
    assert found["set_empty"].value == 0.25
    assert found["set_coverage:a"] == (0.5, "2 cell(s)")
    assert found["set_coverage:b"] == (1.0, "1 cell(s)")


def test_calibration_by_hand():
    score = np.array([0.95, 0.95, 0.95, 0.95, 0.15, 0.15, 0.0, 1.0])
    right = np.array([1, 1, 1, 0, 0, 1, 0, 1], dtype=bool)
    # Bins (0.9, 1]: 5 cells, mean 0.96, 0.8 right; (0.1, 0.2]: 2, 0.15, 0.5; [0, 0.1]: 1, 0, 0.
    expected = (5 * 0.16 + 2 * 0.35 + 0) / 8
    assert expected_calibration_error(score, right).value == pytest.approx(expected)
    curve = reliability_curve(score, right)
    assert curve["cells"].tolist() == [1, 2, 5]
    np.testing.assert_allclose(curve["low"], [0, 0.1, 0.9])


def test_calibrated_scores_have_a_small_error():
    rng = np.random.default_rng(0)
    score = rng.random(50_000)
    assert expected_calibration_error(score, rng.random(50_000) < score).value < 0.01
    assert expected_calibration_error(score, rng.random(50_000) < score**3).value > 0.1


def test_knn_accuracy_by_brute_force(mixed):
    points, labels = mixed
    order = np.random.default_rng(0).permutation(300)
    reference, query = order[:200], order[200:]
    found = knn_accuracy(points[reference], labels[reference], points[query], labels[query])
    near = np.argsort(cdist(points[query], points[reference]), axis=1)[:, :15]
    votes = np.array([np.bincount(labels[reference][row], minlength=3) for row in near])
    right = votes.argmax(axis=1) == labels[query]
    assert found["knn_accuracy"].value == pytest.approx(right.mean())
    recall = [right[labels[query] == label].mean() for label in range(3)]
    assert found["knn_balanced_accuracy"].value == pytest.approx(np.mean(recall))
    few = knn_accuracy(points[:4], labels[:4], points[:2], labels[:2])["knn_accuracy"]
    assert "4 neighbours" in few.note
    assert np.isnan(knn_accuracy(points[:0], labels[:0], points, labels)["knn_accuracy"].value)


def test_transfer_scores_tell_labels_that_the_reference_lacks():
    truth = np.array(["a", "a", "b", "new"], dtype=object)
    calls = pd.DataFrame(
        {
            "cell_type": ["a", "unassigned", "b", "b"],
            "predicted": ["a", "a", "b", "b"],
            "prediction_set": ["a", "a|b", "b", "b"],
            "score": [0.9, 0.4, 0.8, 0.7],
        }
    )
    found = transfer_scores(truth, calls, np.array(["a", "b"]))
    assert found["accuracy"].value == 0.5
    assert "1 cells have a truth that the reference lacks: new" in found["accuracy"].note
    assert found["accuracy_known"].value == pytest.approx(2 / 3)
    assert found["accuracy_top"].value == 0.75
    assert found["set_coverage"].value == 0.75
    assert found["set_coverage_known"].value == 1
    everything = transfer_scores(truth[:3], calls[:3], np.array(["a", "b"]))
    assert everything["accuracy"].note == ""


def test_mixing_is_two_when_two_roles_are_one_cloud_and_one_when_they_are_two():
    points, labels = blobs(2, 200, 4, seed=0, distance=30)
    alternating = np.where(np.arange(400) % 2, "query", "reference")
    obs = pd.DataFrame({"role": alternating, "batch": "A"})
    mixed = mixing_scores(points, obs)
    assert mixed["ilisi_role"].value > 1.8
    assert mixed["ilisi_batch"].note == "one batch only"
    apart = mixing_scores(points, pd.DataFrame({"role": labels.astype(str), "batch": alternating}))
    assert apart["ilisi_role"].value == pytest.approx(1.0)


def test_clusters_of_few_cells_are_not_scored(mixed):
    points, labels = mixed
    few, scan = query_partition(points[:10], CLUSTER, 0)
    found = cluster_scores(labels[:10].astype(str), few)
    assert scan.empty
    assert np.isnan(found["ari"].value)
    assert "not clustered" in found["ari"].note
