"""Text that users write, and the characters in it that no file, figure or page can hold."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

# Unicode's categories of characters that nobody sees: controls, formats (such as U+202E, which
# turns the direction of what follows), separators of lines and paragraphs, and halves of
# surrogate pairs, which no UTF-8 holds.
HIDDEN = ("Cc", "Cf", "Zl", "Zp", "Cs")
# What Snakemake takes for a wildcard in a path.
WILDCARD = re.compile(r"\{[^{}]*\}")


def hidden(text: str) -> str:
    """The first character of a text that nobody sees, as U+202E; "" where there is none."""
    if text.isascii() and text.isprintable():  # nearly always
        return ""
    found = next((letter for letter in text if unicodedata.category(letter) in HIDDEN), "")
    return f"U+{ord(found):04X}" if found else ""


def shown(text: str) -> str:
    """The text with its hidden characters written out, but for line ends and tabs."""
    if not hidden(text):
        return text
    return "".join(
        f"\\u{ord(letter):04x}"
        if letter not in "\n\t" and unicodedata.category(letter) in HIDDEN
        else letter
        for letter in text
    )


def near_equal(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that a name may stand for: other case, blanks, plural, a slip."""
    bare = {other: re.sub(r"[\s_.,/-]+", "", other.casefold()).removesuffix("s") for other in known}
    own = re.sub(r"[\s_.,/-]+", "", name.casefold()).removesuffix("s")
    same = [other for other, text in bare.items() if text == own]
    close = difflib.get_close_matches(own, list(bare.values()), cutoff=0.75)
    return (same or [other for other, text in bare.items() if text in close])[:3]


def with_near(name: str, known: Iterable[str]) -> str:
    """A name in quotes, with the known ones that are nearly equal."""
    near = near_equal(name, known)
    return repr(name) + (f" (near: {', '.join(map(repr, near))})" if near else "")


def column_problem(name: str) -> str:
    """Why a name cannot be that of a column in an h5ad file; "" where it can."""
    if not name.strip("."):
        return "HDF5 takes it for a folder"
    if "/" in name:
        return "HDF5 takes the part before the / for a folder"
    if name.startswith("__"):
        return "anndata keeps names with __ for itself"
    if hidden(name):
        return f"it has the character {hidden(name)}, which nobody sees"
    return ""


def unusable_path(path: str) -> str:
    """Why Snakemake cannot take a path as an input; "" where it can."""
    found = WILDCARD.search(path)
    return (
        f"seen {path!r}, but Snakemake takes {found[0]} in a path for a wildcard; rename the file "
        "or folder, or give it another name with a link (ln -s)"
        if found
        else ""
    )
