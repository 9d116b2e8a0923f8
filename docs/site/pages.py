"""What mkdocs makes the site of: the repository's pages, and the files that they link to."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("*.md", "docs/*.md", "config/*.md", "workflow_scripts/*.md")
LINK = re.compile(r"\]\(([^)\s#:]+)[^)\s:]*\)")
CODE = re.compile(r"`[^`]*`")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """The pages under their paths in the repository: links are the same as on a git host."""
    pages = [page for pattern in PAGES for page in sorted(ROOT.glob(pattern))]
    linked = {page.parent / target for page in pages for target in LINK.findall(page.read_text())}
    inside = {path.resolve() for path in linked if path.is_file()} - set(pages)
    inside |= {ROOT / style for style in config.extra_css}
    made = Files(
        [
            File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path))
            for path in [*pages, *sorted(inside)]
        ]
    )
    # Those of the theme.
    for file in files:
        if not Path(str(file.abs_src_path)).is_relative_to(ROOT / "docs"):
            made.append(file)
    return made


def on_page_markdown(markdown: str, **_: Any) -> str:
    """What git hosts read otherwise: marks around tables, and escaped pipes in a table's code."""
    lines = COMMENT.sub("", markdown).splitlines()
    return "\n".join(
        CODE.sub(lambda code: code[0].replace("\\|", "|"), line) if line.startswith("|") else line
        for line in lines
    )
