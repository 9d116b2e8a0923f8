"""Write the tables of columns in docs/outputs.md from the library's own names.

PYTHONPATH=workflow_scripts python docs/update_outputs.py
"""

from pathlib import Path

from dice_atlas import names
from dice_atlas.counts.criteria import METRICS

PAGE = Path(__file__).with_name("outputs.md")
TABLES = {
    "origin": names.ORIGIN,
    "quality": {metric.name: metric.description for metric in METRICS} | names.QUALITY,
    "label": names.LABEL,
    "confidence": names.CONFIDENCE,
    "posterior": names.POSTERIOR,
    "cluster": names.CLUSTER,
    "obsm": names.OBSM,
}


def table(columns: dict[str, str]) -> str:
    """A Markdown table of names and descriptions."""
    rows = [f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in columns.items()]
    return "\n".join(["| name | contents |", "|---|---|", *rows])


def updated(page: str) -> str:
    """The page with the tables between their marks."""
    for name, columns in TABLES.items():
        start, end = f"<!-- {name}: start -->\n", f"\n<!-- {name}: end -->"
        before, rest = page.split(start)
        page = before + start + table(columns) + end + rest.split(end)[1]
    return page


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
