"""The pages of the documentation: links lead somewhere, settings are valid, tables are current."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from dice_atlas.settings import (
    validate_config,
)
from pages import FENCE, PAGES, ROOT, commands

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
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


ITEM = re.compile(r"([-*]|\d+\.) ")


def unclear_lists(text: str) -> list[str]:
    """Lists that git hosts and mkdocs read differently: after a text, or nested by under four."""
    found = re.findall(r"^ {1,3}(?:[-*]|\d+\.) .*$", text, re.MULTILINE)
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if not line.startswith(("#", "<!--"))]
        items = [line for line in lines if ITEM.match(line)]
        if items and not ITEM.match(lines[0]):
            found.append(items[0])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lists_are_lists_on_every_host(page):
    found = unclear_lists(FENCE.sub("", page.read_text()))
    assert not found, "write a blank line before a list, and nest by four"


def test_unclear_lists_are_seen():
    assert unclear_lists("Text:\n- a\n- b") == ["- a"]
    assert unclear_lists("1. a\n\n    more\n2. b") == ["2. b"]
    assert unclear_lists("1. a\n   - b") == ["   - b"]
    assert not unclear_lists("# Head\n1. a\n   goes on\n    - b\n2. c\n\nText - none")


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


def test_make_knows_every_target_of_a_page():
    asked = [
        command.replace("<folder>", "x") for command in commands() if command.startswith("make ")
    ]
    assert {"make demo", "make handover", "make docs"} <= set(asked)
    for command in asked:
        _, *arguments = shlex.split(command)
        subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)


# What a page loads by itself; a canonical address is none.
LOADED = re.compile(
    r"""<(?!link rel="canonical")(?:script|img|link)[^>]*?(?:src|href)=["'](?:https?:)?//"""
    r"""|(?:url\(|@import)\s*["']?(?:https?:)?//"""
)


def test_the_site_is_whole_and_asks_for_nothing_from_a_network(tmp_path):
    mkdocs = ROOT / ".venv-docs/bin/mkdocs"
    if not mkdocs.exists():
        pytest.skip("there is no .venv-docs (make docs)")
    build = [mkdocs, "build", "--strict", "--config-file", ROOT / "docs/site/mkdocs.yml"]
    ran = subprocess.run(
        [*build, "--site-dir", tmp_path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    made = {path.relative_to(tmp_path).with_suffix(".md") for path in tmp_path.rglob("*.html")}
    names = (page.relative_to(ROOT).as_posix().replace("README", "index") for page in PAGES)
    assert {Path(name) for name in names} <= made
    assert LOADED.search('<script src="https://x.org/a.js">')
    assert LOADED.search("@import url(//x.org)")
    for file in [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]:
        assert not LOADED.search(file.read_text()), file


def test_settings_are_found():
    assert any("rename" in text for text in settings(ROOT / "docs/howto.md"))


# What stands in these pages comes from files of the repository alone.
UPDATES = (
    "annotation", "benchmarks", "cluster", "conditions", "howto", "readme", "scale", "synthesis",
)  # fmt: skip


def test_tables_are_those_of_their_files(root, tmp_path):
    shutil.copytree(root / "docs", tmp_path / "docs")
    shutil.copy(root / "README.md", tmp_path)
    scripts = [str(tmp_path / f"docs/update_{name}.py") for name in UPDATES]
    code = """
import runpy, sys
scripts, sys.argv[1:] = sys.argv[1:], []
for script in scripts:
    runpy.run_path(script, run_name="__main__")
"""
    paths = os.pathsep.join([str(root / "workflow_scripts"), str(tmp_path / "docs")])
    env = os.environ | {"PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code, *scripts], env=env, check=True, timeout=120)
    for page in ["README.md", *(f"docs/{path.name}" for path in (root / "docs").glob("*.md"))]:
        made, stands = (tmp_path / page).read_text(), (root / page).read_text()
        assert made == stands, f"{page}: run the docs/update_*.py of its tables"
