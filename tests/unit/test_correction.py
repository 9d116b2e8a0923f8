"""Which cells are corrected together, and what a corrector is given."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dice_atlas.errors import InputError
from dice_atlas.features.correction import CORRECTORS, BatchSettings, correct_batches

SETTINGS = BatchSettings("tenfold", ("batch", "site"), "within_role", 3, 2.0, 0.1, None, 10)
CELLS = pd.DataFrame(
    {
        "role": ["reference"] * 6 + ["query"] * 4,
        "batch": ["a", "b"] * 3 + ["c"] * 4,
        "site": ["x"] * 6 + ["x", "x", "y", "y"],
    }
)
PCS = np.arange(30.0).reshape(10, 3)


@pytest.fixture
def asked(monkeypatch):
    """Batches that the corrector was asked for; it takes the PCs times ten."""
    calls = []

    def tenfold(pcs, batches, settings, seed, threads):
        calls.append((batches.to_dict("list"), settings, seed, threads))
        return 10 * pcs

    monkeypatch.setattr(
        "dice_atlas.features.correction.CORRECTORS", {**CORRECTORS, "tenfold": tenfold}
    )
    return calls


def test_each_role_by_itself_for_the_keys_that_vary_in_it(asked):
    corrected, notes = correct_batches(PCS, CELLS, SETTINGS, seed=7, threads=3)
    np.testing.assert_array_equal(corrected, 10 * PCS)
    assert asked == [
        ({"batch": ["a", "b"] * 3}, SETTINGS, 7, 3),
        ({"site": ["x", "x", "y", "y"]}, SETTINGS, 7, 3),
    ]
    assert notes == [
        "reference: corrected (batch: 2 batches, 6 cells)",
        "query: corrected (site: 2 batches, 4 cells)",
    ]


def test_all_together(asked):
    joint = replace(SETTINGS, scope="joint")
    corrected, notes = correct_batches(PCS, CELLS, joint, 0)
    np.testing.assert_array_equal(corrected, 10 * PCS)
    assert asked == [(CELLS[["batch", "site"]].to_dict("list"), joint, 0, 0)]
    assert notes == ["reference and query: corrected (batch: 3 batches; site: 2 batches, 10 cells)"]


def test_a_group_of_one_batch_stays_and_so_does_the_input(asked):
    before = PCS.copy()
    corrected, notes = correct_batches(PCS, CELLS, replace(SETTINGS, keys=("batch",)), 0)
    np.testing.assert_array_equal(corrected[:6], 10 * PCS[:6])
    np.testing.assert_array_equal(corrected[6:], PCS[6:])
    assert notes[1] == "query: one batch only, not corrected"
    np.testing.assert_array_equal(PCS, before)


def test_no_scope_asks_no_corrector(asked):
    corrected, _ = correct_batches(PCS, CELLS, replace(SETTINGS, scope="none"), 0)
    np.testing.assert_array_equal(corrected, PCS)
    assert asked == []


def test_the_mapped_query_is_not_given_to_the_corrector(asked):
    pcs = np.random.default_rng(0).standard_normal((10, 3))
    corrected, notes = correct_batches(pcs, CELLS, replace(SETTINGS, scope="mapped"), 0)
    assert [batches for batches, *_ in asked] == [{"batch": ["a", "b"] * 3}]
    np.testing.assert_array_equal(corrected[:6], 10 * pcs[:6])
    # Batches of the query are pairs of its keys: c x and c y.
    assert notes[-1] == "query: mapped on the reference (2 batches, 4 cells)"


def test_a_key_that_is_no_column_is_named(asked):
    with pytest.raises(InputError, match=r"batch\.keys: donor is no column of the cells; "):
        correct_batches(PCS, CELLS, replace(SETTINGS, keys=("batch", "donor")), 0)
    assert asked == []


def test_settings_are_those_of_the_config():
    section = {
        "method": "harmony", "keys": ["batch"], "scope": "joint", "n_pcs": 50, "theta": 1.0,
        "sigma": 0.2, "lambda": 3.0, "max_iter": 5,
    }  # fmt: skip
    expected = BatchSettings("harmony", ("batch",), "joint", 50, 1.0, 0.2, 3.0, 5)
    assert BatchSettings.from_config(section) == expected
