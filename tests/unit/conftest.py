"""Fixtures of several files of unit tests."""

import pytest
from report_files import make_report_files


@pytest.fixture
def make_files(tmp_path, root):
    """Inputs of the rule, by name, for a run of a given kind."""
    return lambda **kind: make_report_files(tmp_path, root, **kind)
