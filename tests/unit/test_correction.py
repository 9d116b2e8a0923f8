"""Which cells are corrected together, and what a corrector is given."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dice_atlas.errors import InputError
from dice_atlas.features import correctors
from dice_atlas.features.correction import correct_batches
from dice_atlas.features.correctors import CORRECTORS, BatchSettings, Corrector, HarmonySettings
from dice_atlas.registry import load
from factories import BATCH, batch_settings

OWN = HarmonySettings(2.0, 0.1, None, 10)
SETTINGS = BatchSettings("tenfold", ("batch", "site"), "within_role", 3, 0.1, OWN)
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

    def tenfold(pcs, cells, settings, seed, threads):
        calls.append((cells.to_dict("list"), settings, seed, threads))
        return 10 * pcs, [f"all {len(pcs)} times ten"] if len(pcs) == 10 else []

    made = Corrector("Tenfold", "", HarmonySettings.from_config, "here:tenfold")
    monkeypatch.setattr(correctors, "CORRECTORS", {**CORRECTORS, "tenfold": made})
    monkeypatch.setattr("dice_atlas.features.correction.load", {"here:tenfold": tenfold}.get)
    # Of so few cells every batch would be said to be small.
    monkeypatch.setattr("dice_atlas.features.correction.FEW_CELLS", 0)
    return calls


def test_each_role_by_itself_for_the_keys_that_vary_in_it(asked):
    corrected, notes = correct_batches(PCS, CELLS, SETTINGS, seed=7, threads=3)
    np.testing.assert_array_equal(corrected, 10 * PCS)
    assert asked == [
        ({"batch": ["a", "b"] * 3}, OWN, 7, 3),
        ({"site": ["x", "x", "y", "y"]}, OWN, 7, 3),
    ]
    assert notes == [
        "reference: corrected (batch: 2 batches, 6 cells)",
        "query: corrected (site: 2 batches, 4 cells)",
    ]


def test_all_together(asked):
    joint = replace(SETTINGS, scope="joint")
    corrected, notes = correct_batches(PCS, CELLS, joint, 0)
    np.testing.assert_array_equal(corrected, 10 * PCS)
    assert asked == [(CELLS[["batch", "site"]].to_dict("list"), OWN, 0, 0)]
    assert notes == [
        "reference and query: corrected (batch: 3 batches; site: 2 batches, 10 cells); "
        "all 10 times ten"
    ]


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


def harmonized(batches, n):
    """Harmony within the reference, for the batches of its n cells."""
    cells = pd.DataFrame({"role": "reference", "batch": batches})
    pcs = np.random.default_rng(0).standard_normal((n, 5))
    return correct_batches(pcs, cells, batch_settings(), 0, 1)


@pytest.mark.parametrize("n", [2, 3, 40])
def test_batches_of_one_cell_are_refused(n):
    """On 2 cells in 2 batches Harmony never ends; barcodes are no batches."""
    with pytest.raises(InputError, match=rf"{n} cells of the reference have {n} batches.*barcodes"):
        harmonized([f"AC{i}" for i in range(n)], n)


def test_small_batches_and_removed_variance_are_said(caplog):
    _, notes = harmonized([f"b{i // 2}" for i in range(40)], 40)
    assert "20 of 20 batches in batch have fewer than 20 cells" in notes[0]
    assert "the correction removed" in notes[0]
    assert "are these batches?" in caplog.text
    _, notes = harmonized(["a", "b"] * 50, 100)
    assert notes == ["reference: corrected (batch: 2 batches, 100 cells)"]


def test_settings_are_those_of_the_config():
    changed = {"scope": "joint", "theta": 1.0, "sigma": 0.2, "lambda": 3.0, "max_iter": 5}
    own = HarmonySettings(1.0, 0.2, 3.0, 5)
    expected = BatchSettings("harmony", ("batch",), "joint", 50, 0.2, own)
    assert BatchSettings.from_config(BATCH | changed) == expected
    assert own.described() == "theta 1, sigma 0.2, lambda 3, at most 5 iterations"
    assert "lambda estimated" in batch_settings().own.described()


@pytest.mark.parametrize("method", CORRECTORS)
def test_every_corrector_keeps_the_protocol(method):
    """It moves two shifted batches together and says notes as sentences."""
    rng = np.random.default_rng(0)
    batches = pd.DataFrame({"batch": np.repeat(["a", "b"], 60)})
    pcs = rng.standard_normal((120, 4)) + 3.0 * (batches["batch"] == "b").to_numpy()[:, None]
    settings = batch_settings(method=method)
    corrected, notes = load(CORRECTORS[method].function)(pcs, batches, settings.own, 0, 1)
    assert corrected.shape == pcs.shape
    assert all(isinstance(note, str) for note in notes)
    before, after = (np.linalg.norm(x[:60].mean(0) - x[60:].mean(0)) for x in (pcs, corrected))
    assert after < 0.8 * before
    again, _ = load(CORRECTORS[method].function)(pcs, batches, settings.own, 0, 1)
    np.testing.assert_array_equal(again, corrected)
