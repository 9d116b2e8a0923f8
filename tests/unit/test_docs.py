"""The pages of the documentation: links lead somewhere, settings are valid."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml
from dice_atlas.settings import (
    validate_config,
)

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("config/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Blocks of settings stand indented by four, or more within a list.
BLOCK = re.compile(r"(?:^ {4,}\S.*\n)+", re.MULTILINE)
# Placeholders that no test can fill in.
SHORTENED = "..."


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as git hosts make them."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text) for text in headings)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def settings(page: Path) -> list[str]:
    """Blocks of a page that are settings of the config."""
    sections = yaml.safe_load((ROOT / "config/config.yaml").read_text()).keys() | {"compare"}
    first = re.compile(rf"^({'|'.join(sections)}):")
    blocks = BLOCK.findall(FENCE.sub("", page.read_text()))
    texts = [textwrap.dedent(block) for block in blocks]
    return [text for text in texts if first.match(text)]


def by_key(text: str) -> list[dict]:
    """Settings of a block; several examples of one key are examples of their own."""
    parts = re.split(r"^(?=\w)", text, flags=re.MULTILINE)
    keys = [part.split(":")[0] for part in parts if part]
    if len(set(keys)) == len(keys):
        return [yaml.safe_load(text)]
    return [yaml.safe_load(part) for part in parts if part]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_are_valid(page):
    for text in settings(page):
        if SHORTENED in text:
            continue
        for config in by_key(text):
            whole = {"atlas": "mine", "samples": "mine.csv", **config}
            try:
                validate_config(whole, ROOT / "config/schemas/config.schema.json")
            except Exception as error:
                raise AssertionError(f"{text}\n{error}") from None


def test_settings_are_found():
    assert any("rename" in text for text in settings(ROOT / "docs/howto.md"))
