"""Write the messages in docs/troubleshooting.md from the catalogue that the tests use.

PYTHONPATH=workflow_scripts:tests python docs/update_troubleshooting.py
"""

from pathlib import Path

import catalogue

PAGE = Path(__file__).with_name("troubleshooting.md")
START, END = "<!-- messages: start -->\n", "<!-- messages: end -->\n"


def updated(page: str) -> str:
    """The page with the messages between their marks."""
    before, rest = page.split(START)
    return before + START + catalogue.tables() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
