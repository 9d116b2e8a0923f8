"""Small tables as spreadsheets and editors write them: separators, encodings, empty columns."""

import codecs
import csv
import re
from pathlib import Path

from dice_atlas.errors import InputError, barred

NAMED = {"\t": "tab", ",": "comma", ";": "semicolon"}
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# How files begin that are no text.
BINARY = {
    b"PK\x03\x04": "an Excel or LibreOffice workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzipped file",
    b"\x89HDF": "an HDF5 file",
}
MEND = "save it as csv or tsv, in Excel as 'CSV UTF-8'"
Rows = list[tuple[int, dict[str, str]]]


def read_table(path: Path, wanted: tuple[str, ...] = ()) -> tuple[list[str], Rows]:
    """Header and numbered non-empty rows; lines that start with # are comments.

    Parameters
    ----------
    path : separated by tabs, commas or semicolons, in UTF-8 or UTF-16.
    wanted : columns that the header should have, by which the separator is known.

    Returns
    -------
    columns, rows
        Names, and (line of the file, value by column). Columns and rows that are empty
        everywhere are left out.

    Raises
    ------
    InputError
        The file is no text or is empty, a quote is not closed, or a row has another number of
        values than the header.
    """
    numbered = [
        (number, line)
        for number, line in enumerate(lines_of(read_text(path)), 1)
        if line.strip('\t ,;"') and line[0] != "#"
    ]
    hint = re.fullmatch(r"\"?sep=(.)\"?[\t ,;]*", numbered[0][1]) if numbered else None
    numbered = numbered[1:] if hint else numbered  # Excel's own line about the separator
    if not numbered:
        raise InputError(f"{path} is empty; expected a header line and one row per sample")
    first, header = numbered[0]
    separator = hint[1] if hint else separator_of(header, wanted)
    columns = fields(header, separator, f"{path}, line {first}")
    rows = [
        (number, padded(fields(line, separator, f"{path}, line {number}"), len(columns)))
        for number, line in numbered[1:]
    ]
    names = filled_columns(columns, [values for _, values in rows])
    used = columns[: max(names, default=-1) + 1]
    for number, values in rows:
        check_width(values, used, separator, f"{path}, line {number}")
    table = [(n, {columns[i]: values[i] or "" for i in names}) for n, values in rows]
    return [columns[i] for i in names], table


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark.

    Raises
    ------
    InputError
        It cannot be read, or is no text in UTF-8 or UTF-16.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        if why := barred(error, path):
            raise InputError(why) from None
        raise InputError(f"{path} cannot be read ({error.strerror}); expected a file") from None
    for start, what in BINARY.items():
        if content.startswith(start):
            raise InputError(f"{path} is {what}, expected text; {MEND}")
    encoding = "utf-16" if content.startswith(UTF16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}: is not UTF-8 text (seen the byte {content[error.start]:#04x}); "
            f"{MEND}"
        ) from None
    if "\0" in text:
        raise InputError(f"{path} has NUL characters, expected text in UTF-8; {MEND}")
    return text


def lines_of(text: str) -> list[str]:
    """The lines of a text that Windows, Unix or an old Mac wrote."""
    return re.split(r"\r\n|\n|\r", text)


def separator_of(header: str, wanted: tuple[str, ...]) -> str:
    """What separates the fields: what finds most of the wanted columns, tabs before commas."""
    found = {}
    for separator in NAMED:
        names = [name.strip().strip('"') for name in header.split(separator)]
        found[separator] = (len(set(wanted) & set(names)), len(names) > 1)
    return max(found, key=lambda separator: found[separator])


def fields(line: str, separator: str, where: str) -> list[str]:
    """The values of a line, without blanks around them.

    Raises
    ------
    InputError
        A quote is not closed in the line.
    """
    try:
        read = next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error as error:
        raise InputError(
            f"{where}: a quoted value is not closed in its line ({error}); expected one row per "
            'line, and "" for a quote inside of quotes'
        ) from None
    return [value.strip() for value in read]


def padded(values: list[str], width: int) -> list[str | None]:
    """The values of a row, None for those that it does not reach; empty ones beyond are cut."""
    while len(values) > width and not values[-1]:
        values.pop()
    return [*values, *[None] * (width - len(values))]


def filled_columns(columns: list[str], rows: list[list[str | None]]) -> list[int]:
    """Positions of the columns that have a name or a value somewhere."""
    return [i for i, name in enumerate(columns) if name or any(row[i] for row in rows)]


def check_width(values: list[str | None], columns: list[str], separator: str, where: str) -> None:
    """Refuse a row of another width than the header.

    Raises
    ------
    InputError
        It has values beyond the last column, or lacks some. Editors cut tabs at a line's end, so
        that a tsv may lack its last ones.
    """
    there = sum(value is not None for value in values)
    name = NAMED.get(separator, repr(separator))
    if any(values[len(columns) :]):
        raise InputError(
            f"{where}: {there} values for {len(columns)} columns; is the separator ({name}) "
            "inside a value? Then put the value in quotes"
        )
    if there < len(columns) and separator != "\t":
        raise InputError(
            f"{where}: {there} values for {len(columns)} columns; is the file cut off? Write a "
            f"{name} for an empty value, too"
        )


def is_cut(path: Path) -> bool:
    """Whether the last line of a text has no end: its writing may have been cut short."""
    text = read_text(path)
    return bool(text) and text[-1] not in "\r\n"
