"""Which cells are held out: a fixed share of every class, by their names alone."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from dice_atlas.counts.keys import cell_keys
from dice_atlas.holdout import calibration_cells, repeated_cells, training_rows


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
        {
            "role": ["reference"] * 40 + ["query"] * 10,
            "label": ["a"] * 40 + [""] * 10,
            "cell_key": [f"c{i}" for i in range(50)],
        },
    )
    assert training_rows(cells, False).tolist() == [True] * 40 + [False] * 10
    rows = training_rows(cells, True)
    held = calibration_cells(cells["cell_key"][:40], cells["label"][:40])
    assert sorted(set(range(40)) - set(np.flatnonzero(rows))) == held.tolist()
    assert len(held) == 10


def test_a_saved_prior_says_which_cells_it_was_not_trained_on(caplog):
    keys = [f"c{i}" for i in range(40)]
    labels = ["a"] * 20 + ["b"] * 18 + [""] * 2
    listed = ["c3", "c25", "c39", "elsewhere"]  # the last two have no label, are not there
    assert calibration_cells(keys, labels, listed).tolist() == [3, 25]
    by_hash = calibration_cells(keys, labels)
    assert calibration_cells(keys, labels, ["elsewhere"]).tolist() == by_hash.tolist()
    assert "lists none of the 40 reference cells" in caplog.text


def test_a_listed_class_keeps_cells_that_give_labels():
    keys = [f"c{i}" for i in range(40)]
    labels = ["a"] * 20 + ["b"] * 20
    held = calibration_cells(keys, labels, keys[:20])  # a part of what the prior was made of
    assert len(held) == 5
    assert held.max() < 20


def test_a_cell_given_twice_is_held_out_twice():
    keys = [f"c{i}" for i in range(21)] * 2
    held = calibration_cells(keys, ["a"] * 42)
    assert set(held[held < 21]) == set(held[held >= 21] - 21)
    assert 10 <= len(held) <= 12


def test_keys_are_of_barcode_and_content_alone():
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, (30, 50))
    barcodes = [f"AC{i}" for i in range(30)]
    keys = cell_keys(sp.csr_matrix(counts), barcodes)
    assert len(set(keys)) == 30
    assert all(len(key) == 16 for key in keys)
    order = rng.permutation(50)
    # The order of genes and the type of values say nothing, zeros in other genes neither.
    for same in (counts[:, order].astype(np.float32), np.hstack([counts, np.zeros((30, 5))])):
        assert cell_keys(sp.csr_matrix(same), barcodes) == keys
    # Nor does what was done to them: their order within a cell is the same.
    totals = counts.sum(axis=1, keepdims=True)
    logged = np.log1p(counts / totals * 1e4).astype(np.float32)
    assert cell_keys(sp.csr_matrix(logged[:, order]), barcodes) == keys
    many = rng.poisson(1.0, (30, 2000))  # cells of one barcode, as several samples have them
    assert len(set(cell_keys(sp.csr_matrix(many), ["x"] * 30))) == 30
    assert cell_keys(sp.csr_matrix((2, 5)), ["x", "y"])  # cells without any count
    counts[3, np.flatnonzero(counts[3] == 1)[0]] += 1
    again = cell_keys(sp.csr_matrix(counts), barcodes)
    assert [i for i in range(30) if again[i] != keys[i]] == [3]
    assert cell_keys(sp.csr_matrix(counts), ["x", *barcodes[1:]])[0] != keys[0]


def test_the_same_cells_in_reference_and_query_are_found():
    rng = np.random.default_rng(0)

    def sample(name, role, barcodes, seed=1):
        counts = np.random.default_rng(seed).integers(500, 5000, (len(barcodes), 2))
        return pd.DataFrame(
            {"sample": name, "role": role, "n_genes": counts[:, 0], "total_counts": counts[:, 1]},
            index=[f"{name}_{barcode}" for barcode in barcodes],
        )

    barcodes = [f"AC{i}" for i in range(100)]
    reference = sample("r_1", "reference", barcodes)
    other = sample("q", "query", barcodes, seed=2)  # other cells with the same barcodes
    assert repeated_cells(pd.concat([reference, other])) == []
    copy = sample("q", "query", barcodes)
    part = copy.iloc[rng.permutation(100)[:30]]
    assert repeated_cells(pd.concat([reference, part])) == [("r_1", "q", 30)]
    assert repeated_cells(pd.concat([reference.iloc[:40], copy.iloc[25:]])) == []  # 15 of 40
    assert repeated_cells(reference) == []
