"""What a reader is told to look at first: text, grade, the cells that it is about, what to do."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from dice_atlas.texts import shown

# Worst first: results may be wrong; something to check; good to know.
GRADES = ("serious", "check", "note")

# Columns and the values that a cell must have in each, as the page's script reads them.
Pick = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Finding:
    """One entry of the list.

    Attributes
    ----------
    text : what was found.
    grade : one of `GRADES`.
    pick : the cells that it is about; none: no cells in particular.
    action : what to do, in one sentence; may be "".
    color : the column that its button colours the map by; "": the colours stay.
    """

    text: str
    grade: str = "check"
    pick: Pick = ()
    action: str = ""
    color: str = ""


def pick(**columns: str | list[str]) -> Pick:
    """The cells that have one of the given values in every column."""
    return tuple(
        (name, (values,) if isinstance(values, str) else tuple(values))
        for name, values in columns.items()
    )


def pick_json(cells: Pick) -> str:
    """A pick for an attribute of the page; values are written as the page shows them."""
    return json.dumps([[name, [shown(value) for value in values]] for name, values in cells])


def graded(found: Iterator[str | Finding], grade: str) -> list[Finding]:
    """What a check yields; a text alone has the grade of its check."""
    return [Finding(one, grade) if isinstance(one, str) else one for one in found]


def plural(n: int, word: str) -> str:
    """The number and the word, "s" where it is not one."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def listed(names: list[str], most: int = 8) -> str:
    """Names in one line, the rest of a long list counted."""
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])
