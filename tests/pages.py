"""The pages of the documentation: the Python and the commands that stand in them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".", "docs", "config", "workflow_scripts")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
PROGRAMS = "snakemake|make|snakedeploy|apptainer|docker"


def python_of(page: str) -> list[str]:
    """Blocks of Python of docs/<page>.md, for the demo."""
    text = (ROOT / f"docs/{page}.md").read_text().replace("results/my_study", "results/demo")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def commands() -> list[str]:
    """Commands in blocks and in lines of text; what has changed is no command for a reader."""
    found: set[str] = set()
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        text = page.read_text()
        # Of a block without its comments, and of a text without its line breaks.
        lines = re.findall(rf"^ {{4,}}((?:{PROGRAMS}) .*?)(?: +#.*)?$", text, re.MULTILINE)
        within = re.findall(rf"`((?:{PROGRAMS}) [^`]+)`", text)
        found.update(lines, (" ".join(code.split()) for code in within))
    return sorted(found)
