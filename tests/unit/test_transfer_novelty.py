"""Cells that the reference has nothing like: support by hand, and types left out."""

import numpy as np
import pandas as pd
import pytest
from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.novelty import (
    LEAST_SUPPORT,
    anchor_support,
    reference_p_values,
    relative_support,
)
from dice_atlas.transfer.search import find
from dice_atlas.transfer.spaces import ExpressionSpace
from factories import ANCHORS, WEIGHTS, cells_to_label, expression_of_types


def test_support_by_hand():
    line = np.array([[0.0], [1.0], [2.1], [10.0], [11.0]])
    anchors = Anchors(np.array([0, 1, 1]), np.array([0, 1, 1]), np.ones(3))
    # Three nearest, itself among them: {0, 1, 2}, {1, 0, 2}, {2, 1, 0}, {3, 4, 2}, {4, 3, 2}.
    expected = [2 / 3, 2 / 3, 2 / 3, 0, 0]
    np.testing.assert_allclose(anchor_support(anchors, line, 3, 100), expected)
    assert anchor_support(anchors, line, 30, 100).tolist() == [0.4] * 5


def test_relative_support_by_hand():
    held = np.arange(80) < 40
    predicted = np.tile(np.repeat(["a", "b"], 20), 2)
    support = np.concatenate([np.full(40, 0.8), np.full(20, 0.4), np.full(20, 0.72)])
    assert relative_support(support, predicted, ~held, held) == pytest.approx((0.5 + 0.9) / 2)
    few = ~held & (np.arange(80) < 65)  # five cells of b say nothing
    assert relative_support(support, predicted, few, held) == pytest.approx(0.5)
    assert np.isnan(relative_support(support, predicted, np.arange(80) > 75, held))


def test_p_values_are_not_given_in_a_sample_that_lies_apart(caplog):
    rng = np.random.default_rng(0)
    sample = np.repeat(["r", "near", "apart"], 200)
    table = pd.DataFrame(
        {
            "cell": [f"c{i}" for i in range(600)],
            "sample": sample,
            "role": np.where(sample == "r", "reference", "query"),
            "predicted": rng.choice(["a", "b", "c"], 600),
            "support": rng.uniform(0.5, 1, 600) * np.where(sample == "apart", 0.5, 1),
        }
    )
    found = reference_p_values(table)
    assert np.isnan(found[200:]).all()
    assert (
        f"apart lies apart from the reference as a whole (less than {LEAST_SUPPORT}" in caplog.text
    )
    # Those of the other sample are uniform.
    for level in (0.05, 0.25, 0.5):
        assert (found[:200] <= level).mean() == pytest.approx(level, abs=0.1)
    assert found[:200].min() >= 1 / 201


# Four types of which neighbouring ones share some of their genes.
RATE = np.full((4, 120), 0.6)
for kind in range(4):
    RATE[kind, 15 * kind : 15 * kind + 20] = 2.5


@pytest.mark.parametrize("left_out", list("ABCD"))
def test_a_type_that_the_reference_lacks_is_found_and_the_others_are_not(left_out):
    small, others = [], []
    for seed in range(3):
        labels, data = expression_of_types(RATE, (0.4, 0.25, 0.2, 0.15), 900, seed)
        query = np.arange(len(labels)) >= 500
        kept = query | (labels != left_out)
        labels, data, query = labels[kept], data[kept], query[kept]
        cells = cells_to_label(labels, query, seed)
        _, _, calibration = find(ExpressionSpace(data, dims=10), cells, ANCHORS, WEIGHTS)
        p_values = reference_p_values(calibration)
        new = labels[query] == left_out
        small.append((p_values[new] < 0.05).mean())
        others.append((p_values[~new] < 0.05).mean())
    assert np.mean(small) > 0.8
    assert np.mean(others) < 0.07
