"""Text as programs write it: gzipped or not, whatever the name says, in several encodings."""

import codecs
import csv
import gzip
import io
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)

BYTES = 1 << 20  # read at once
GZIP = b"\x1f\x8b"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF8 = "utf-8-sig"
WESTERN = "cp1252"  # Windows' kind of latin-1
CONTROLS = bytes(set(range(32)) - set(b"\t\n\r"))
# How files begin that are no text.
BINARY = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x89HDF": "an HDF5 file",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
}
SEPARATORS = "\t,; "


@dataclass(frozen=True)
class Text:
    """A file of text.

    Attributes
    ----------
    path : of the file.
    zipped : whether its bytes are gzip's.
    encoding : of its letters.
    """

    path: Path
    zipped: bool
    encoding: str

    def open(self) -> TextIO:
        """The text, its line ends as they are."""
        return io.TextIOWrapper(open_bytes(self.path), encoding=self.encoding, newline="")


def is_gzip(path: Path) -> bool:
    """Whether a file is gzipped, by its first bytes: names are changed by browsers."""
    with open(path, "rb") as file:
        return file.read(len(GZIP)) == GZIP


def open_bytes(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked."""
    if is_gzip(path):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return open(path, "rb")


def text_of(path: Path) -> Text:
    """How the text of a file is written; the whole of it is looked at.

    Raises
    ------
    InputError
        It is no text.
    OSError, EOFError, zlib.error
        It cannot be read, or is damaged.
    """
    with open_bytes(path) as file:
        return Text(path, isinstance(file, gzip.GzipFile), encoding_of(file, path))


def encoding_of(file: BinaryIO, path: Path) -> str:
    """UTF-8, UTF-16, or else the letters of Western Europe, which is said.

    A file is none of the latter if some of it is UTF-8 beyond ASCII, or if it ends amid a letter.
    """
    block = file.read(BYTES)
    for start, what in BINARY.items():
        if block.startswith(start):
            raise no_text(path, f"it is {what}", "save or unpack it as csv or tsv")
    wide = utf16(block)
    decoder = codecs.getincrementaldecoder(wide or UTF8)()
    foreign = False
    while block:
        if not wide and b"\0" in block:
            raise no_text(path, "a NUL byte stands in the text", "copy it again, or save it so")
        # Most files are ASCII, which needs no decoding.
        if wide or not block.isascii() or decoder.getstate()[0]:
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                if wide or foreign or not error.object[: error.start].isascii():
                    raise no_text(path, said(error), "save it so") from None
                return western(file, error, path)
            foreign = foreign or not text.isascii()
            if wide and "\0" in text:
                raise no_text(path, "a NUL character stands in the text", "save it so")
        block = file.read(BYTES)
    if decoder.getstate()[0]:
        raise no_text(path, "it ends amid a letter", "is it cut off? Copy it again")
    return wide or UTF8


def utf16(block: bytes) -> str:
    """Which UTF-16 a text begins as, with a byte order mark or without; "" where it does not."""
    if block.startswith(UTF16):
        return "utf-16"
    start = block[:200]
    for name, zeros, letters in (
        ("utf-16-le", start[1::2], start[::2]),
        ("utf-16-be", start[::2], start[1::2]),
    ):
        if len(zeros) > 1 and not any(zeros) and all(letters):
            return name
    return ""


def western(file: BinaryIO, error: UnicodeDecodeError, path: Path) -> str:
    """The encoding of a text that is no UTF-8, after a look at the rest of it."""
    block = error.object
    around = re.split(rb"[\t,;\r\n]", block[max(0, error.start - 40) : error.start])[-1]
    around += re.split(rb"[\t,;\r\n]", block[error.start : error.start + 40])[0]
    while block:
        try:
            block.decode(WESTERN)
        except UnicodeDecodeError:
            raise no_text(path, said(error), "save it so") from None
        if len(block.translate(None, CONTROLS)) < len(block):
            raise no_text(path, "it has control characters", "copy it again, or save it so")
        block = file.read(BYTES)
    logger.warning(
        "%s: is no UTF-8 and read as Western European text, such as %r; if that is wrong, save it "
        "as UTF-8",
        path, around.decode(WESTERN).strip("\"' "),
    )  # fmt: skip
    return WESTERN


def said(error: UnicodeDecodeError) -> str:
    """What stands at the place where a text cannot be read."""
    return f"seen the byte {error.object[error.start]:#04x}"


def no_text(path: Path, seen: str, mend: str) -> InputError:
    """The error of a file that is no text."""
    return InputError(f"{path}: cannot be read as text: {seen}, expected UTF-8 text; {mend}")


def require_text(path: Path) -> None:
    """Refuse a file with a NUL: scipy's reader of matrices crashes there.

    Raises
    ------
    InputError
        The file has one.
    """
    with open_bytes(path) as file:
        while block := file.read(BYTES):
            if b"\0" in block:
                raise no_text(path, "a NUL byte stands in the text", "copy it again")


def rows_of(path: Path, expected: str) -> list[list[str]]:
    """The rows of a small table without a header that is known, as text.

    Fields are separated by tabs, or else by what stands equally often in every line: commas,
    semicolons or blanks. R's write.table quotes text: such files are read too.

    Parameters
    ----------
    path : of the table.
    expected : what it should be, for messages.

    Raises
    ------
    InputError
        The file is no text or empty, or its rows differ in length by more than a header may.
    """
    with text_of(path).open() as file:
        lines = [line for line in file.read().splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: is empty, expected {expected}; copy it again")
    # Unquoted, a quotation mark is part of a name (5" is a prime end).
    quoted = lines[-1].startswith('"')
    rows = quoted_rows(lines) if quoted else plain_rows(lines)
    while len(rows[-1]) > 1 and all(not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]  # a separator at the end of every line
    widths = [len(row) for row in rows[1:]] or [len(rows[0])]
    ragged = next((i for i, width in enumerate(widths) if width != widths[0]), None)
    if ragged is not None:
        raise InputError(
            f"{path}: line {ragged + 2} has {widths[ragged]} fields and line 2 {widths[0]}, "
            "expected as many in every line; is it cut off? Copy it again"
        )
    # The row numbers that R writes have no name in its header.
    if len(rows) > 1 and len(rows[0]) == widths[0] - 1:
        return [rows[0], *(row[1:] for row in rows[1:])]
    if len(rows[0]) != widths[0]:
        raise InputError(
            f"{path}: line 1 has {len(rows[0])} fields and line 2 {widths[0]}, expected as many in "
            "every line; copy it again"
        )
    return rows


def plain_rows(lines: list[str]) -> list[list[str]]:
    """The fields of lines without quotes."""
    separator = "\t"
    if "\t" not in lines[-1]:
        for other in SEPARATORS[1:]:
            # The first line may be a header without a name of the row numbers.
            number = lines[-1].count(other)
            if number and all(line.count(other) == number for line in lines[1:]):
                separator = other
                break
    return [line.split(separator) for line in lines]


def quoted_rows(lines: list[str]) -> list[list[str]]:
    """The fields of lines with quotes, by the first separator that finds several in the last."""
    separator = next(
        (s for s in SEPARATORS if len(next(csv.reader(lines[-1:], delimiter=s))) > 1), "\t"
    )
    return list(csv.reader(lines, delimiter=separator))


def without_numbers(rows: list[list[str]]) -> list[list[str]]:
    """The rows without a first field that is their number, from 0 or 1, as R and pandas write."""
    if len(rows) < 2 or len(rows[0]) < 2 or rows[0][0] not in ("0", "1"):
        return rows
    first = int(rows[0][0])
    numbered = all(row[0] == str(i) for i, row in enumerate(rows, first))
    return [row[1:] for row in rows] if numbered else rows
