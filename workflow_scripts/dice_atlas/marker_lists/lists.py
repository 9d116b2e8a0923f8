"""Lists of marker genes, as users give them. Imports are light, for the Snakefile."""

import csv
from collections.abc import Iterator
from pathlib import Path

from dice_atlas.errors import InputError, reading
from dice_atlas.names import SEPARATOR, UNASSIGNED
from dice_atlas.texts import hidden

# Ways to write the sign of a gene; the minus of a typesetter too.
SIGNS = {"": 1, "+": 1, "1": 1, "+1": 1, "1.0": 1, "-": -1, "-1": -1, "-1.0": -1,
         "\u2212": -1, "\u22121": -1}  # fmt: skip
SEPARATORS = "\t,;"
EXPECTED = "a table (csv or tsv) with the columns type, gene and, if need be, sign"
# Genes of each type and their signs: 1 of a gene that the type has, -1 of one that it lacks.
MarkerList = dict[str, dict[str, int]]


def read_marker_list(path: str | Path) -> MarkerList:
    """The genes of each type, in the order of the file.

    Parameters
    ----------
    path : csv or tsv with the columns `type`, `gene` and maybe `sign`; others are not read. Lines
        that start with # are comments.

    Raises
    ------
    InputError
        The file cannot be read, lacks a column or has no row, or a row of it is wrong.
    """
    found: MarkerList = {}
    lines: dict[tuple[str, str], int] = {}
    for line, row in rows_of(Path(path)):
        where = f"{path}, line {line}"
        name, gene, sign = row["type"], row["gene"], sign_of(row.get("sign", ""), where)
        check_type(name, where)
        if not gene or hidden(gene):
            raise InputError(
                f"{where}: seen the gene {gene!r}, expected a name; write it, or remove the line"
            )
        before = lines.setdefault((name, gene), line)
        if before != line:
            both = found[name][gene] != sign
            raise InputError(
                f"{path}, lines {before} and {line}: {gene} "
                + (f"is both + and - for {name}" if both else f"stands twice for {name}")
                + ", expected each gene of a type once; remove one of the lines"
            )
        found.setdefault(name, {})[gene] = sign
    check_types(found, path)
    return found


def sign_of(text: str, where: str) -> int:
    """A sign as it is written, as 1 or -1.

    Raises
    ------
    InputError
        It is none.
    """
    if text not in SIGNS:
        raise InputError(
            f"{where}: seen the sign {text!r}, expected + or 1 for a gene that the type has, - or "
            "-1 for one that it lacks"
        )
    return SIGNS[text]


def check_types(found: MarkerList, path: str | Path) -> None:
    """Refuse lists that cannot be scored, and names that are probably one.

    Raises
    ------
    InputError
        There is no type, a type has no gene of sign +, or two types differ in case alone.
    """
    if not found:
        raise InputError(f"{path}: has no row below its header, expected one gene at least")
    spelled: dict[str, str] = {}
    for name, genes in found.items():
        if max(genes.values()) < 0:
            raise InputError(
                f"{path}: all genes of {name} have the sign -, expected at least one that the type "
                "has (+); add one"
            )
        other = spelled.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(
                f"{path}: the types {other} and {name} differ in case alone, expected one spelling "
                "of a type; correct one of them"
            )


def check_type(name: str, where: str) -> None:
    """Refuse names that the results cannot hold as labels.

    Raises
    ------
    InputError
        It is empty, reserved, or has a character that it may not have.
    """
    if not name or name.lower() == UNASSIGNED or SEPARATOR in name or hidden(name):
        raise InputError(
            f"{where}: seen the type {name!r}, expected a name that is not {UNASSIGNED!r} and has "
            f"neither {SEPARATOR!r} nor a character that nobody sees; rename it"
        )


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows as {column: text}, with the numbers of their lines."""
    with reading(path, EXPECTED):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    kept = [
        (i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")
    ]
    if not kept:
        raise InputError(f"{path}: is empty, expected {EXPECTED}")
    header = kept[0][1]
    separator = max(SEPARATORS, key=header.count)
    columns = fields(kept[0], separator, path)
    missing = [name for name in ("type", "gene") if name not in columns]
    if missing:
        raise InputError(
            f"{path}: no column {' and '.join(missing)} (seen: {', '.join(columns)}), expected "
            f"{EXPECTED}; correct its first line"
        )
    for line in kept[1:]:
        values = fields(line, separator, path)
        if len(values) != len(columns):
            raise InputError(
                f"{path}, line {line[0]}: has {len(values)} fields and the header {len(columns)}, "
                "expected as many; put a value that has the separator into quotes"
            )
        if any(values):
            yield line[0], dict(zip(columns, values, strict=True))


def fields(line: tuple[int, str], separator: str, path: Path) -> list[str]:
    """Fields of a line without blanks around them."""
    try:
        (values,) = csv.reader([line[1]], delimiter=separator, strict=True)
    except (csv.Error, ValueError):
        raise InputError(
            f"{path}, line {line[0]}: a quoted value is not closed, expected a quote behind it; "
            "correct the line"
        ) from None
    return [" ".join(value.split()) for value in values]
