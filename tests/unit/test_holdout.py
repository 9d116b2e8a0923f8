"""Which cells are held out: a fixed share of every class, by their names alone."""

import numpy as np
import pandas as pd
from dice_atlas.holdout import calibration_cells, training_rows


def test_a_share_of_every_class_is_held_out():
    labels = np.array(["a"] * 40 + ["b"] * 4 + ["c"] * 3 + [""] * 10, dtype=object)
    names = [f"cell{i}" for i in range(len(labels))]
    held = labels[calibration_cells(names, labels)]
    assert [int((held == label).sum()) for label in ("a", "b", "c", "")] == [10, 1, 0, 0]
    assert calibration_cells(names[-10:], labels[-10:]).tolist() == []


def test_order_and_other_cells_do_not_change_which_cells_are_held_out():
    rng = np.random.default_rng(0)
    names = np.array([f"s_{i:04}" for i in range(400)])
    labels = rng.choice(["a", "b"], 400).astype(object)
    held = set(names[calibration_cells(names, labels)])
    order = rng.permutation(400)
    assert set(names[order][calibration_cells(names[order], labels[order])]) == held
    # Quality control that removes a tenth of the cells moves hardly any other.
    kept = np.sort(order[:360])
    again = set(names[kept][calibration_cells(names[kept], labels[kept])])
    assert len(again - held) <= 12
    assert len(again) == round(0.25 * (labels[kept] == "a").sum()) + round(
        0.25 * (labels[kept] == "b").sum()
    )


def test_the_held_out_cells_are_a_random_sample():
    names = [f"s_{i:05}" for i in range(20_000)]
    held = calibration_cells(names, ["a"] * 20_000)
    assert len(held) == 5000
    # Mean of a random quarter of 0..n-1: its standard deviation is n / sqrt(12 * 5000) * sqrt(3/4).
    assert abs(held.mean() - 9999.5) < 4 * 20_000 / np.sqrt(12 * 5000)


def test_the_calibration_cells_are_not_fitted_on():
    cells = pd.DataFrame(
        {"role": ["reference"] * 40 + ["query"] * 10, "label": ["a"] * 40 + [""] * 10},
        index=[f"c{i}" for i in range(50)],
    )
    assert training_rows(cells, False).tolist() == [True] * 40 + [False] * 10
    rows = training_rows(cells, True)
    held = calibration_cells(cells.index[:40], cells["label"][:40])
    assert sorted(set(range(40)) - set(np.flatnonzero(rows))) == held.tolist()
    assert len(held) == 10
