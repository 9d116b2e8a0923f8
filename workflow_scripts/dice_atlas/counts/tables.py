"""Reader of dense count tables as GEO has them: rows are genes, columns are cells."""

import csv
import gzip
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.formats import TABLE_SUFFIXES
from dice_atlas.counts.genes import is_ensembl
from dice_atlas.counts.stored import Stored, Wanted
from dice_atlas.errors import DAMAGED, InputError, one_line, reading

logger = logging.getLogger(__name__)

BLOCK = 10_000_000  # values in memory at once
BYTES = 1 << 20  # read at once
BARCODE = re.compile(r"^(?:.*[_.:#-])?[ACGTN]{8,}(?:[-_.].*)?$")
WHITE = " "
NAMED = {"\t": "tabs", ";": "semicolons", ",": "commas", WHITE: "blanks"}
MISSING = ("", "NA", "NaN")
FEATURE_COUNTS = ("Geneid", "Chr", "Start", "End", "Strand", "Length")
# A column with values for so many genes is no cell, if a typical cell has values for fewer than
# half of them, and the genes are too many for chance.
NEARLY_ALL, HALF, MANY_GENES = 0.99, 0.5, 50
# Genes that nearly every human or mouse table has, in upper case.
COMMON_GENES = (
    "ACTB", "B2M", "CD3D", "CD74", "EEF1A1", "FAU", "FTH1", "FTL", "GAPDH", "HSP90AB1", "MALAT1",
    "MT-CO1", "MT-ND1", "PTPRC", "RPL10", "RPL13", "RPLP0", "RPLP1", "RPS18", "RPS27", "RPS6",
    "TMSB4X", "TPT1", "TUBA1B", "UBC", "VIM",
)  # fmt: skip


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its suffix."""
    return path.is_file() and path.name.lower().endswith(TABLE_SUFFIXES)


class Layout(NamedTuple):
    """How a table is written.

    Attributes
    ----------
    separator : between fields; `WHITE` for runs of blanks.
    skipped : lines above the first gene.
    cells : names of the cells.
    columns : their positions among the fields.
    width : fields of a row.
    decided : what was left out.
    """

    separator: str
    skipped: int
    cells: list[str]
    columns: list[int]
    width: int
    decided: dict[str, str]


def read_table(path: Path, wanted: Wanted | None = None) -> Stored:
    """The counts of a table of genes x cells.

    The table is read in blocks of rows and is never dense as a whole. The orientation is not
    guessed from the shape: rows are genes; a table that is visibly turned is refused.

    Parameters
    ----------
    path : with one of `TABLE_SUFFIXES`.
    wanted : not used: the format has neither columns of the cells nor several matrices.

    Raises
    ------
    InputError
        The file cannot be read, has no row or too few columns, rows of unequal length or text
        among the numbers, is visibly cells x genes, or has a column that no cell could be.
    """
    layout = read_layout(path)
    with reading(path, "a table of genes x cells, as text"):
        require_text(path)
    check_cells(layout.cells, path)
    genes, blocks = [], []
    for block in row_blocks(path, layout):
        genes += block.index.tolist()
        blocks.append(sp.csr_matrix(block.to_numpy()))
        check_genes(genes[:1000], path)
    if not blocks:
        raise InputError(f"{path}: a header and no row, expected one row per gene; copy it again")
    counts = sp.vstack(blocks, format="csr").T.tocsr()
    check_columns(counts, layout.cells, path)
    warn_of_cut(path)
    obs = pd.DataFrame(index=pd.Index(layout.cells, dtype=object))
    kind = f"{path.name.split('.', 1)[-1]} table"
    return Stored(counts, obs, pd.DataFrame({"name": genes}), kind, layout.decided)


def open_text(path: Path) -> TextIO:
    """A table as text, gzipped or plain."""
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", newline="", encoding="utf-8-sig")


def require_text(path: Path) -> None:
    """Refuse a file with a NUL: readers end a name there, and scipy's of matrices crashes.

    Raises
    ------
    ValueError
        The file has one.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        while block := file.read(BYTES):
            if b"\0" in block:
                raise ValueError("a NUL byte stands in the text")


def read_layout(path: Path) -> Layout:
    """How a table is written, by its first lines.

    Comments (#) above the header are skipped. R writes no name over the row names: both kinds are
    read. Of featureCounts' tables the columns about the genes are left out.

    Raises
    ------
    InputError
        The first lines are no such table.
    """
    try:
        with open_text(path) as stream:
            comments, line = 0, stream.readline()
            while line.startswith("#") and "\t" not in line.partition(" ")[0]:
                comments, line = comments + 1, stream.readline()
            second = stream.readline()
    except DAMAGED as error:
        mend = "copy it again"
        if isinstance(error, gzip.BadGzipFile):
            mend = "if it is not compressed, remove .gz from its name, else copy it again"
        raise InputError(f"{path}: cannot be read as text ({error}); {mend}") from error
    if not line.strip():
        raise InputError(f"{path}: is empty, expected a table of genes x cells; copy it again")
    separator = separator_of(line, second, path)
    header, first = fields(line, separator), fields(second, separator)
    width = len(first)
    while len(header) > 1 and len(header) == len(first) and not header[-1] and not first[-1]:
        header.pop()  # a spreadsheet's empty columns
        first.pop()
    if len(header) < 2 or len(first) < 2:
        raise InputError(
            f"{path}: {len(first)} column(s), expected the gene name and at least one cell, "
            "separated by tabs, commas, semicolons or blanks; check the first lines"
        )
    if len(header) not in (len(first), len(first) - 1):
        raise InputError(
            f"{path}: the header has {len(header)} fields and the first row {len(first)}, expected "
            "as many, or one fewer (no name over the gene names); check the first lines"
        )
    cells = header if len(header) < len(first) else header[1:]
    columns, decided = list(range(1, len(first))), {}
    if tuple(header[: len(FEATURE_COUNTS)]) == FEATURE_COUNTS:
        columns, cells = columns[len(FEATURE_COUNTS) - 1 :], cells[len(FEATURE_COUNTS) - 1 :]
        decided["left_out"] = f"featureCounts' columns {', '.join(FEATURE_COUNTS[1:])}"
    check_numbers(cells, [first[column] for column in columns], path)
    return Layout(separator, comments + 1, cells, columns, width, decided)


def separator_of(header: str, first: str, path: Path) -> str:
    """What separates the fields: that of the file's suffix, or what the lines have in its place."""
    by_suffix = "," if path.name.lower().endswith((".csv", ".csv.gz")) else "\t"
    for separator in (by_suffix, "\t", ";", ",", WHITE):
        if len(fields(header, separator)) > 1 and len(fields(first, separator)) > 1:
            if separator != by_suffix:
                logger.info("%s: fields are separated by %s", path, NAMED[separator])
            return separator
    return by_suffix


def fields(line: str, separator: str) -> list[str]:
    """The fields of a line."""
    text = line.rstrip("\r\n")
    if separator == WHITE:
        text, separator = " ".join(text.split()), " "
    return next(csv.reader([text], delimiter=separator), [])


def check_numbers(cells: list[str], first: list[str], path: Path) -> None:
    """Refuse text and numbers with commas in the first row, with the names of their columns.

    Raises
    ------
    InputError
        A value is no number.
    """
    with_comma = [value for value in first if re.fullmatch(r"-?[\d.]*,[\d,]+", value.strip())]
    if with_comma:
        raise InputError(
            f"{path}: seen numbers with a comma (such as {with_comma[0]!r}), expected plain whole "
            "numbers; write the table again without decimal or thousands commas"
        )
    texts = [
        f"{cell} ({value!r})"
        for cell, value in zip(cells, first, strict=True)
        if value.strip() not in MISSING and not is_number(value)
    ]
    if texts:
        raise InputError(
            f"{path}: the first row cannot be read as numbers: it has text in the column(s) "
            f"{', '.join(texts[:5])}, expected one column of gene names and then numbers only; "
            "remove further columns of text"
        )


def is_number(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def row_blocks(path: Path, layout: Layout) -> Iterable[pd.DataFrame]:
    """Blocks of rows: index = gene names, columns = cells, numbers.

    Raises
    ------
    InputError
        A row cannot be read.
    """
    columns = layout.columns
    try:
        # Column names are given, or pandas would rename repeated ones.
        read = pd.read_csv(
            path,
            sep=r"\s+" if layout.separator == WHITE else layout.separator,
            header=None,
            skiprows=layout.skipped,
            index_col=0,
            names=range(layout.width),
            dtype=dict.fromkeys(range(layout.width), str) | dict.fromkeys(columns, np.float64),
            na_filter=True,
            keep_default_na=False,
            na_values={column: list(MISSING) for column in columns},
            chunksize=max(1, BLOCK // layout.width),
            encoding="utf-8-sig",
        )
        # Not by `usecols`, which would let rows pass that have too many fields.
        with read as blocks:
            for block in blocks:
                yield block if len(columns) == layout.width - 1 else block[columns]
    except (ValueError, pd.errors.ParserError, *DAMAGED) as error:
        raise InputError(
            f"{path}: a row cannot be read ({one_line(error)}), expected one column of gene names "
            "and then numbers only, as many in every row; is it cut off, or has it further columns "
            "of text?"
        ) from error


def check_columns(counts: sp.csr_matrix, cells: list[str], path: Path) -> None:
    """Refuse columns that no cell could be: a length or position of every gene, row numbers.

    Parameters
    ----------
    counts : cells x genes.
    cells : their names.
    path : of the file, for messages.

    Raises
    ------
    InputError
        A column has a value for nearly every gene where the others have one for few.
    """
    found = np.diff(counts.indptr) / max(counts.shape[1], 1)
    if len(cells) < 3 or np.median(found) >= HALF:
        return
    odd = np.flatnonzero(found >= NEARLY_ALL)
    if odd.size and counts.shape[1] >= MANY_GENES:
        raise InputError(
            f"{path}: the column(s) {', '.join(cells[i] for i in odd[:5])} have a value for nearly "
            f"every gene, a typical cell for {100 * np.median(found):.0f} %, expected cells alone; "
            "remove columns that say something about the genes"
        )


def warn_of_cut(path: Path) -> None:
    """Say that a table has no end of its last line: its writing may have been cut short."""
    if path.suffix == ".gz":  # has a checksum
        return
    with open(path, "rb") as file:
        if not file.seek(0, 2):
            return
        file.seek(-1, 2)
        if file.read(1) not in b"\r\n":
            logger.warning("%s: its last line has no end; is the file whole?", path)


def check_genes(names: list[str], path: Path) -> None:
    """Refuse row names that are cell barcodes."""
    barcodes = [name for name in names if BARCODE.match(str(name))]
    if len(barcodes) > len(names) / 2:
        raise turned(path, f"the row names look like cell barcodes (such as {barcodes[0]!r})")


def check_cells(names: list[str], path: Path) -> None:
    """Refuse column names that are genes."""
    ensembl = is_ensembl(names)
    common = [name for name in names if name.upper() in COMMON_GENES]
    if ensembl.mean() > 0.5 or len(common) >= 3:
        example = common[0] if common else names[int(np.argmax(ensembl))]
        raise turned(path, f"the column names look like genes (such as {example!r})")


def turned(path: Path, seen: str) -> InputError:
    """The error of a table of cells x genes."""
    return InputError(
        f"{path}: {seen}, expected rows = genes and columns = cells; transpose the table, for "
        "example with pandas.read_csv(..., index_col=0).T.to_csv(...)"
    )
