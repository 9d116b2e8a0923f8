"""Every message of the catalogue comes about, and docs/troubleshooting.md has it."""

import runpy

import catalogue
import pytest
from dice_atlas.errors import InputError

ENTRIES = [
    pytest.param(entry, id=f"{module.__name__.split('.')[1]}: {entry.message[:40]}")
    for module in catalogue.modules()
    for entry in module.ENTRIES
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_message_comes_about(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        text = str(entry.make(tmp_path))
    except InputError as error:
        text = str(error)
    assert entry.is_in(text), f"{entry.message!r} is not in {text!r}"


def test_entries_are_sentences():
    for param in ENTRIES:
        entry = param.values[0]
        for text in (entry.cause, entry.mend):
            assert text.endswith("."), text
            assert "\n" not in text
            assert "|" not in text
        assert "\n" not in entry.message
        assert "`" not in entry.message or "`samples`" in entry.message


def test_the_page_is_written_from_the_catalogue(root):
    updated = runpy.run_path(str(root / "docs/update_troubleshooting.py"))["updated"]
    page = (root / "docs/troubleshooting.md").read_text()
    assert page == updated(page), "run docs/update_troubleshooting.py"
