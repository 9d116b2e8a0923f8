"""The names that users meet are the same in the library, in the docs and in the sheet's checks."""

import runpy

import pytest
from dice_atlas import names
from dice_atlas.counts.criteria import METRIC_NAMES
from dice_atlas.sheet import RESERVED_COLUMNS


def test_the_page_of_outputs_has_the_librarys_columns(root):
    update = runpy.run_path(str(root / "docs/update_outputs.py"))
    page = (root / "docs/outputs.md").read_text()
    assert page == update["updated"](page), "run docs/update_outputs.py"
    shown = set().union(*update["TABLES"].values())
    assert shown == {*names.OBS, *METRIC_NAMES, *names.OBSM}


def test_columns_that_the_workflow_writes_are_reserved():
    written = {*names.OBS, *METRIC_NAMES} - {"sample", "role", "batch"}
    assert written < RESERVED_COLUMNS


@pytest.mark.parametrize("labels", [[], ["b"], ["b", "a c", "d"]])
def test_a_set_of_labels_is_read_back(labels):
    assert names.split_set(names.joined(labels)) == sorted(labels)
