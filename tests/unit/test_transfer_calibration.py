"""What is promised of query cells like the reference's, from counts to calls."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dice_atlas.cells import calibration_cells
from dice_atlas.transfer.dataset import log_normalize
from dice_atlas.transfer.spaces import ExpressionSpace
from dice_atlas.transfer.transfer import predictions_table
from find_anchors import find
from transfer_labels import call, transfer

COVERAGE = 0.8
ANNOTATE = {
    "k.anchor": 5, "k.filter": None, "k.score": 30, "max.features": 200, "k.weight": 50,
    "sd.weight": 1, "seurat_version": "v4", "exact_up_to": 10_000, "unassigned_below": 0.5,
    "outside_below": 0, "coverage": COVERAGE,
}  # fmt: skip
N_REFERENCE, N_QUERY = 500, 400


def expression(seed):
    """Two types that are hard to tell apart, and a rarer, clear one: labels, log-normalised."""
    rng = np.random.default_rng(seed)
    n = N_REFERENCE + N_QUERY
    kinds = rng.choice(3, n, p=(0.6, 0.25, 0.15))
    rate = np.full((3, 120), 0.6)
    rate[0, :10] = rate[1, 5:15] = 2.0
    rate[2, 30:50] = 2.5
    counts = rng.poisson(rate[kinds] * rng.uniform(0.6, 1.4, (n, 1)))
    return np.array(["A", "B", "C"])[kinds], log_normalize(
        sp.csr_matrix(counts), counts.sum(axis=1)
    )


def test_coverage_holds_in_every_class_of_simulated_counts():
    covered, held = [], []
    for seed in range(20):
        labels, data = expression(seed)
        reference = np.arange(len(labels)) < N_REFERENCE
        cells = pd.DataFrame(
            {
                "sample": "s",
                "role": np.where(reference, "reference", "query"),
                "label": np.where(reference, labels, ""),
            },
            index=[f"c{seed}_{i}" for i in range(len(labels))],
        )
        anchors, weights, calibration = find(ExpressionSpace(data, dims=10), cells, ANNOTATE)
        predictions = predictions_table(weights.obs_names, transfer(anchors, weights, ANNOTATE))
        calls = call(predictions, calibration, ANNOTATE)
        truth = labels[~reference]
        sets = calls["prediction_set"].str.split("|")
        right = np.array([t in given for t, given in zip(truth, sets, strict=True)])
        covered.append([right[truth == label].mean() for label in "ABC"])
        chosen = labels[:N_REFERENCE][calibration_cells(cells.index[reference], labels[reference])]
        held.append([(chosen == label).sum() for label in "ABC"])
    # Split-conformal prediction: between the coverage and 1 / (n + 1) more, on average.
    found, most = np.mean(covered, axis=0), COVERAGE + 1 / (np.mean(held, axis=0) + 1)
    assert (found >= COVERAGE - 0.03).all()
    assert (found <= most + 0.03).all()
    assert found == pytest.approx(COVERAGE, abs=0.1)
