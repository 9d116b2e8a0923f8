"""What is promised of query cells like the reference's, from counts to calls."""

import numpy as np
from dice_atlas.holdout import calibration_cells
from dice_atlas.transfer.calls import call, transfer
from dice_atlas.transfer.labels import predictions_table
from dice_atlas.transfer.search import find
from dice_atlas.transfer.spaces import ExpressionSpace
from factories import ANCHORS, CALLS, WEIGHTS, cells_to_label, expression_of_types

COVERAGE = CALLS.coverage
N_REFERENCE, N_QUERY = 500, 400
# Two types that are hard to tell apart, and a rarer, clear one.
RATE = np.full((3, 120), 0.6)
RATE[0, :10] = RATE[1, 5:15] = 2.0
RATE[2, 30:50] = 2.5


def test_coverage_holds_in_every_class_of_simulated_counts():
    covered, held, best = [], [], []
    for seed in range(20):
        labels, data = expression_of_types(RATE, (0.6, 0.25, 0.15), N_REFERENCE + N_QUERY, seed)
        reference = np.arange(len(labels)) < N_REFERENCE
        cells = cells_to_label(labels, ~reference, seed)
        space = ExpressionSpace(data, dims=10)
        anchors, weights, calibration = find(space, cells, ANCHORS, WEIGHTS)
        predictions = predictions_table(weights.obs_names, transfer(anchors, weights, WEIGHTS))
        calls = call(predictions, calibration, CALLS)
        truth = labels[~reference]
        sets = calls["prediction_set"].str.split("|")
        right = np.array([t in given for t, given in zip(truth, sets, strict=True)])
        covered.append([right[truth == label].mean() for label in "ABC"])
        first = (calls["predicted"] == truth).to_numpy()
        best.append([first[truth == label].mean() for label in "ABC"])
        chosen = labels[:N_REFERENCE][calibration_cells(cells.index[reference], labels[reference])]
        held.append([(chosen == label).sum() for label in "ABC"])
    # Split-conformal prediction: between the coverage and 1 / (n + 1) more, on average; the best
    # label is in every set.
    found, most = np.mean(covered, axis=0), COVERAGE + 1 / (np.mean(held, axis=0) + 1)
    assert (found >= COVERAGE - 0.03).all()
    assert (found <= np.maximum(most, np.mean(best, axis=0)) + 0.03).all()
