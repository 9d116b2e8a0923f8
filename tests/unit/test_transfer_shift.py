"""How far samples lie apart: nothing for cells like the reference's, what is planted else."""

import numpy as np
import pandas as pd
import pytest
from dice_atlas.transfer.shift import COLUMNS, agreements, like_query, shift_table


def voters(n_held, samples, rng):
    """Calibration tables of two voters and their mean; each sample has its own share of errors.

    Types A and B: voters err less on A. `samples` gives, by name, the number of cells, the share of
    A and a factor of the errors.
    """
    groups = {"held": (n_held, 0.5, 1.0), **samples}
    parts: dict[str, list] = {"one": [], "two": [], "consensus": []}
    for name, (n, share, factor) in groups.items():
        truth = np.where(rng.uniform(size=n) < share, "A", "B")
        error = np.where(truth == "A", 0.02, 0.1) * factor
        wrong = {v: rng.uniform(size=n) < error for v in ("one", "two")}
        wrong["consensus"] = wrong["one"] & wrong["two"]
        for voter, mistaken in wrong.items():
            label = np.where(mistaken, np.where(truth == "A", "B", "A"), truth)
            score = np.clip(1 - error + rng.normal(0, 0.01, n), 0.5, 1)
            parts[voter].append(
                pd.DataFrame(
                    {"cell": [f"{name}{i}" for i in range(n)], "sample": name, "predicted": label,
                     "role": "reference" if name == "held" else "query",
                     "label": truth if name == "held" else "",
                     "support": np.nan if voter == "one" else rng.uniform(0.5, 1, n) / factor,
                     "score:A": np.where(label == "A", score, 1 - score),
                     "score:B": np.where(label == "B", score, 1 - score)}
                )
            )  # fmt: skip
    return {voter: pd.concat(tables, ignore_index=True) for voter, tables in parts.items()}


def test_a_planted_shift_is_seen_and_other_shares_of_types_are_none():
    samples = {"same": (3000, 0.5, 1.0), "mostly_b": (3000, 0.05, 1.0), "far": (3000, 0.5, 4.0)}
    table = shift_table(voters(4000, samples, np.random.default_rng(0)), "consensus")
    assert list(table.columns) == list(COLUMNS)
    found = table.set_index("sample")
    assert found["cells"].tolist() == [3000] * 3
    assert (found.loc[["same", "mostly_b"], "shift"].abs() < 0.02).all()
    assert found["apart"].tolist() == [False, False, True]
    # Of A and B, each with two independent errors of 4 times the size.
    expected = 1 - np.mean([2 * p * (1 - p) for p in (0.08, 0.4)])
    assert found.loc["far", "agreement"] == pytest.approx(expected, abs=0.02)
    assert found.loc["far", "agreement_held_out"] > 0.85
    assert found.loc["same", "low_p"] == pytest.approx(0.05, abs=0.02)
    assert found.loc["far", "low_p"] > 0.9
    # Shares are those of the sample.
    assert found.loc["mostly_b", "agreement_held_out"] < found.loc["same", "agreement_held_out"]


def test_one_voter_and_no_held_out_cells():
    tables = voters(500, {"q": (300, 0.5, 1.0)}, np.random.default_rng(1))
    alone = shift_table({"one": tables["one"]}, "one")
    assert alone.loc[0, ["agreement", "support", "low_p"]].isna().all()
    assert abs(alone.loc[0, "shift"]) < 0.02
    none = {voter: own[own["role"] == "query"] for voter, own in tables.items()}
    assert shift_table(none, "consensus").empty


def test_few_anchors_alone_set_a_sample_apart():
    rng = np.random.default_rng(2)
    tables = voters(2000, {"thin": (1000, 0.5, 1.0), "like": (1000, 0.5, 1.0)}, rng)
    for own in tables.values():
        own.loc[own["sample"] == "thin", "support"] *= 0.8
    found = shift_table(tables, "consensus").set_index("sample")
    assert found["apart"].to_dict() == {"thin": True, "like": False}
    assert (found["shift"].abs() < 0.02).all()


def test_agreement_is_that_of_pairs_and_cells_are_matched_by_name():
    rows = {"a": "xyz", "b": "xyy", "c": "xxz"}
    tables = {v: pd.DataFrame({"cell": list("123"), "predicted": list(own)})
              for v, own in rows.items()}  # fmt: skip
    tables["b"] = tables["b"].iloc[::-1]
    assert agreements(tables, pd.Index(list("123"))).tolist() == [1, 1 / 3, 1 / 3]


def test_held_out_cells_are_weighted_as_the_query_is():
    held = np.array(["A", "A", "B", "B"])
    values = np.array([1.0, 0.5, 0.0, 0.2])
    query = np.array(["A", "B", "B", "C"])
    expected = (0.75 + 0.1 + 0.1 + values.mean()) / 4
    assert like_query(values, held, query) == pytest.approx(expected)
