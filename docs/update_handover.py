"""Put the table of what opened the exports into docs/handover.md.

    python docs/update_handover.py results/handover.xml

The file is what `pytest --junitxml` writes of tests/workflow/test_handover.py; `make handover` does
both.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree

from update_benchmarks import markdown, rewrite

PAGE = Path(__file__).resolve().parent / "handover.md"
COLUMNS = ("export", "tool", "command", "result")


def checks(report: Path) -> str:
    """A row of each test; a test that did not run or failed stops this."""
    rows = []
    for case in ElementTree.parse(report).iter("testcase"):
        seen = {p.get("name"): p.get("value") for p in case.iter("property")}
        if set(seen) != set(COLUMNS):
            found = [item.get("message") for item in case if item.tag != "properties"]
            sys.exit(f"{case.get('name')} did not pass: {'; '.join(map(str, found))}")
        rows.append([str(seen[name]) for name in COLUMNS])
    return markdown(["export", "checked with", "command", "seen"], rows)


if __name__ == "__main__":
    rewrite(PAGE, {"checks": checks(Path(sys.argv[1]))})
