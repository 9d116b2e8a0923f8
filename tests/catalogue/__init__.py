"""The messages that users meet: how each comes about, what it means, what mends it.

Each module of this folder has a list `ENTRIES`, and its docstring is a heading of
docs/troubleshooting.md. To add a message, add an entry to a list, or a module; then run
docs/update_troubleshooting.py. tests/unit/test_catalogue.py runs `make` of every entry and looks
for the message in what it raises: the page cannot go stale.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class Entry:
    """A message.

    Attributes
    ----------
    message : as users see it; "..." stands for what differs from case to case.
    cause : why it comes, in one sentence.
    mend : what to do, in one sentence.
    make : brings it about in an empty folder, which is the working directory.
    """

    message: str
    cause: str
    mend: str
    make: Callable[[Path], object]

    def is_in(self, text: str) -> bool:
        """Whether a text has the message."""
        pattern = ".*?".join(map(re.escape, self.message.split("...")))
        return re.search(pattern, text, re.DOTALL) is not None


def modules() -> list[ModuleType]:
    """The modules of the catalogue, in the order of the page: that of their `ORDER`."""
    names = [found.name for found in pkgutil.iter_modules(__path__)]
    found = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return sorted(found, key=lambda module: (module.ORDER, module.__name__))


def tables() -> str:
    """The tables of docs/troubleshooting.md."""
    parts = []
    for module in modules():
        rows = [
            f"| {cell(entry.message)} | {entry.cause} | {entry.mend} |" for entry in module.ENTRIES
        ]
        head = ["| message | cause | what to do |", "|---|---|---|"]
        parts.append("\n".join([f"## {module.__doc__.strip()}", "", *head, *rows]))
    return "\n\n".join(parts)


def cell(text: str) -> str:
    """A message as code in a table of Markdown."""
    mark = "``" if "`" in text else "`"
    return f"{mark}{text}{mark}".replace("|", "\\|")
