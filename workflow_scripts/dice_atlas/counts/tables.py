"""Reader of dense count tables as GEO has them: rows are genes, columns are cells."""

import csv
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.features import COUNTERS
from dice_atlas.counts.formats import TABLE_SUFFIXES
from dice_atlas.counts.genes import is_ensembl
from dice_atlas.counts.stored import Stored, Wanted
from dice_atlas.counts.text_files import Text, text_of
from dice_atlas.errors import DAMAGED, InputError, one_line, reading

logger = logging.getLogger(__name__)

BLOCK = 10_000_000  # values in memory at once
BARCODE = re.compile(r"^(?:.*[_.:#-])?[ACGTN]{8,}(?:[-_.].*)?$")
WHITE = " "
NAMED = {"\t": "tabs", ";": "semicolons", ",": "commas", WHITE: "blanks"}
MISSING = ("", "NA", "NaN")
EMPTY = '\t ,;"\r\n'  # all that an empty line of a spreadsheet has
FEATURE_COUNTS = ("Geneid", "Chr", "Start", "End", "Strand", "Length")
# A column with values for so many genes is no cell, if a typical cell has values for fewer than
# half of them, and the genes are too many for chance. Of so many cells, genes that none of them
# has do not count.
NEARLY_ALL, HALF, MANY_GENES, MANY_CELLS, SOME_CELLS = 0.99, 0.5, 50, 20, 10
# What is derived from the other columns or rows is so for this many genes or cells at least.
FEWEST_GENES, FEWEST_CELLS = 10, 3
# Rows of a table that are no genes, at most.
MOST_COUNTERS = 20
# A column that holds this share of what all others hold together, and differs from their sum by no
# more than the second, is a sum of more cells.
LARGE_SHARE, LIKE_THE_SUM = 0.4, 0.1
# Columns that sum up the cells, as tables by hand name them: lower case, without "_", "." and " ".
SUMMARIES = frozenset((
    "totalcount", "totalcounts", "totalreads", "totalumi", "totalumis", "ncells", "numcells",
    "max", "min", "median", "average", "avg", "aveexpr", "std", "stdev", "var", "variance", "bulk",
    "pseudobulk", "rowsum", "rowsums", "rowmeans", "unnamed:0",
))  # fmt: skip
# Genes that nearly every human or mouse table has, in upper case.
COMMON_GENES = (
    "ACTB", "B2M", "CD3D", "CD74", "EEF1A1", "FAU", "FTH1", "FTL", "GAPDH", "HSP90AB1", "MALAT1",
    "MT-CO1", "MT-ND1", "PTPRC", "RPL10", "RPL13", "RPLP0", "RPLP1", "RPS18", "RPS27", "RPS6",
    "TMSB4X", "TPT1", "TUBA1B", "UBC", "VIM",
)  # fmt: skip


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its suffix."""
    return path.is_file() and path.name.lower().endswith(TABLE_SUFFIXES)


class Sums(NamedTuple):
    """What a table's values add up to, per gene and per cell.

    Attributes
    ----------
    genes, cells : sums of the values.
    genes_found, cells_found : numbers of values that are not zero.
    """

    genes: np.ndarray
    cells: np.ndarray
    genes_found: np.ndarray
    cells_found: np.ndarray


def sums_of(counts: sp.csr_matrix) -> Sums:
    """Sums of a matrix of cells x genes."""
    return Sums(
        np.ravel(counts.sum(axis=0)),
        np.ravel(counts.sum(axis=1)),
        counts.getnnz(axis=0),
        np.diff(counts.indptr),
    )


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
    tail : positions of fields without a name, which must be empty.
    """

    separator: str
    skipped: int
    cells: list[str]
    columns: list[int]
    width: int
    decided: dict[str, str]
    tail: list[int]


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
    with reading(path, "a table of genes x cells, as text"):
        text = text_of(path)
        layout = read_layout(text)
    check_cells(layout.cells, path)
    genes, blocks = [], []
    for block in row_blocks(text, layout):
        genes += block.index.tolist()
        blocks.append(sp.csr_matrix(block.to_numpy()))
        check_genes(genes[:1000], path)
    if not blocks:
        raise InputError(f"{path}: a header and no row, expected one row per gene; copy it again")
    counts = sp.vstack(blocks, format="csr").T.tocsr()
    sums = sums_of(counts)
    check_columns(counts, sums, layout.cells, path)
    warn_of_cut(text)
    summaries = summary_rows(counts, sums, genes)
    if summaries:
        said = ", ".join(genes[i] for i in summaries)
        layout.decided["set_apart"] = f"rows that sum up the others: {said}"
        logger.warning("%s: %s; they are left out", path, layout.decided["set_apart"])
        kept = [i for i in range(len(genes)) if i not in summaries]
        counts, genes = counts[:, kept], [genes[i] for i in kept]
    obs = pd.DataFrame(index=pd.Index(layout.cells, dtype=object))
    kind = f"{path.name.split('.', 1)[-1]} table"
    return Stored(counts, obs, pd.DataFrame({"name": genes}), kind, layout.decided)


def read_layout(text: Text) -> Layout:
    """How a table is written, by its first lines.

    Comments (#) and empty lines above the header are skipped. R writes no name over the row names:
    both kinds are read. Of featureCounts' tables the columns about the genes are left out.

    Raises
    ------
    InputError
        The first lines are no such table.
    """
    path = text.path
    skipped, line, second = first_lines(text)
    if not line:
        raise InputError(f"{path}: is empty, expected a table of genes x cells; copy it again")
    separator = separator_of(line, second, path)
    header, first = fields(line, separator), fields(second, separator)
    width = len(first)
    header, first = trimmed(header, first)
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
    tail = list(range(len(first), width))
    return Layout(separator, skipped, cells, columns, width, decided, tail)


def first_lines(text: Text) -> tuple[int, str, str]:
    """How many lines end with the header, the header, and the first row; "" for one not there."""
    comments: list[tuple[int, str]] = []
    lines: list[tuple[int, str]] = []
    with text.open() as stream:
        for number, line in enumerate(iter(stream.readline, ""), 1):
            if not line.strip(EMPTY):
                continue
            if line.startswith("#") and not lines:
                comments.append((number, line))
            else:
                lines.append((number, line))
            if len(lines) == 2:
                break
    lines += [(0, "")] * (2 - len(lines))
    if comments and (not lines[0][1] or is_header(comments[-1][1], lines[0][1])):
        lines.insert(0, comments[-1])
    return lines[0][0], lines[0][1], lines[1][1]


def is_header(line: str, below: str) -> bool:
    """Whether a line with a # names the columns of the row below: as many fields, then numbers."""
    if "\t" in line.partition(" ")[0]:
        return True
    separator = find_separator(line, below, "")
    header, first = trimmed(fields(line, separator), fields(below, separator))
    return 1 < len(header) == len(first) and all(
        value.strip() in MISSING or is_number(value) for value in first[1:]
    )


def trimmed(header: list[str], first: list[str]) -> tuple[list[str], list[str]]:
    """Header and first row without the empty fields that spreadsheets and programs write last."""
    header, first = header[:], first[:]
    while len(header) > 1 and len(first) > 1 and not header[-1] and not first[-1]:
        header.pop()
        first.pop()
    while len(header) > max(len(first), 1) and not header[-1]:
        header.pop()
    # A barcode in the first place is no name over the genes: the last cell's value is missing.
    while len(first) > len(header) and not first[-1] and not BARCODE.match("".join(header[:1])):
        first.pop()
    return header, first


def separator_of(header: str, first: str, path: Path) -> str:
    """What separates the fields: that of the file's suffix, or what the lines have in its place."""
    by_suffix = "," if path.name.lower().endswith((".csv", ".csv.gz")) else "\t"
    separator = find_separator(header, first, by_suffix)
    if separator != by_suffix:
        logger.info("%s: fields are separated by %s", path, NAMED[separator])
    return separator


def find_separator(header: str, first: str, likely: str) -> str:
    """The separator that finds several fields in both lines, the likely one first and else."""
    for separator in filter(None, (likely, *NAMED)):
        if len(fields(header, separator)) > 1 and len(fields(first, separator)) > 1:
            return separator
    return likely or "\t"


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


def row_blocks(text: Text, layout: Layout) -> Iterable[pd.DataFrame]:
    """Blocks of rows: index = gene names, columns = cells, numbers.

    Raises
    ------
    InputError
        A row cannot be read.
    """
    columns, path = layout.columns, text.path
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
            compression="gzip" if text.zipped else None,
            encoding=text.encoding,
        )
        # Not by `usecols`, which would let rows pass that have too many fields.
        with read as blocks:
            for block in blocks:
                require_empty(block, layout.tail, path)
                yield block if len(columns) == layout.width - 1 else block[columns]
    except (ValueError, pd.errors.ParserError, *DAMAGED) as error:
        raise InputError(
            f"{path}: a row cannot be read ({one_line(error)}), expected one column of gene names "
            "and then numbers only, as many in every row; is it cut off, or has it further columns "
            "of text?"
        ) from error


def require_empty(block: pd.DataFrame, tail: list[int], path: Path) -> None:
    """Refuse values in columns without a name.

    Raises
    ------
    InputError
        A row has one.
    """
    filled = block[tail].fillna("").ne("").any(axis=1) if tail else pd.Series(dtype=bool)
    if filled.any():
        raise InputError(
            f"{path}: the row of {block.index[int(np.argmax(filled))]!r} has a value beyond the "
            "last column of the header, expected one value per cell; name every column"
        )


def check_columns(counts: sp.csr_matrix, sums: Sums, cells: list[str], path: Path) -> None:
    """Refuse columns that no cell could be: a length of every gene, row numbers, sums of cells.

    Parameters
    ----------
    counts, sums : cells x genes, and what they add up to.
    cells : their names.
    path : of the file, for messages.

    Raises
    ------
    InputError
        A column is named as a summary, is derived from the others, or has a value for nearly every
        gene where the others have one for few.
    """
    named = [name for name in cells if re.sub(r"[_. ]", "", name.lower()) in SUMMARIES]
    if named:
        raise InputError(
            f"{path}: {', '.join(named[:5])}: seen among the names of the cells, expected cells "
            "alone; such a column sums up the cells of a gene: remove it"
        )
    if len(cells) < 3:
        return
    require_no_sums(derived_columns(counts, sums), cells, path)
    found = sums.cells_found
    n_genes = counts.shape[1]
    if len(cells) > MANY_CELLS:
        n_genes = int(np.count_nonzero(sums.genes_found))
    typical = np.median(found) / max(n_genes, 1)
    odd = np.flatnonzero(found >= NEARLY_ALL * n_genes)
    if typical < HALF and odd.size and n_genes >= MANY_GENES:
        raise InputError(
            f"{path}: the column(s) {', '.join(cells[i] for i in odd[:5])} have a value for nearly "
            f"every gene, a typical cell for {100 * typical:.0f} %, expected cells alone; "
            "remove columns that say something about the genes"
        )
    require_no_sums(sum_of_cells(counts, sums), cells, path)


def require_no_sums(found: dict[int, str], cells: list[str], path: Path) -> None:
    """Refuse columns that sum up others.

    Raises
    ------
    InputError
        There is one.
    """
    if found:
        said = ", ".join(f"{cells[i]} is {what}" for i, what in list(found.items())[:5])
        raise InputError(
            f"{path}: {said}, expected a column per cell; remove columns that sum up the cells"
        )


def derived_columns(counts: sp.csr_matrix, sums: Sums) -> dict[int, str]:
    """Columns that follow from the others, and what of them they are.

    Parameters
    ----------
    counts, sums : cells x genes, of three cells or more, and what they add up to.
    """
    totals, depths, per_gene, n_found = sums
    expressed = per_gene > 0
    if np.count_nonzero(expressed) < FEWEST_GENES:
        return {}
    deepest = int(np.argmax(depths))
    derived = {}
    # Each has a value for every gene that any cell has: few columns do.
    for i in np.flatnonzero(n_found == np.count_nonzero(expressed)):
        own = 2 * depths[i] == depths.sum(), depths[i] == (per_gene[expressed] - 1).sum()
        deep = i == deepest and depths[i] > 1.5 * np.sort(depths)[-2]
        if not any(own) and not deep:
            continue
        row = np.ravel(counts[[i]].toarray())
        if own[0] and np.array_equal(row, totals - row):
            derived[int(i)] = "the sum of the others"
        elif own[1] and np.array_equal(row, np.where(expressed, per_gene - 1, 0)):
            derived[int(i)] = "the number of cells that have the gene"
        elif deep:
            others = counts[np.delete(np.arange(counts.shape[0]), i)]
            if np.array_equal(row, np.ravel(others.max(axis=0).toarray())):
                derived[int(i)] = "the largest value of the others"
    return derived


def sum_of_cells(counts: sp.csr_matrix, sums: Sums) -> dict[int, str]:
    """The column that is a sum of more cells than the table has, or of cells filtered since.

    Its genes have the shares that they have in all other cells, which no single cell has.
    """
    depths = sums.cells
    deepest = int(np.argmax(depths))
    rest = depths.sum() - depths[deepest]
    many = len(depths) > SOME_CELLS and counts.shape[1] >= MANY_GENES
    if not many or not depths[deepest] >= LARGE_SHARE * rest > 0:
        return {}
    row = np.ravel(counts[[deepest]].toarray())
    others = (sums.genes - row) * (depths[deepest] / rest)
    alike = np.abs(row - others).sum() / 2 <= LIKE_THE_SUM * depths[deepest]
    return {deepest: "a sum of cells"} if alike else {}


def summary_rows(counts: sp.csr_matrix, sums: Sums, genes: list[str]) -> list[int]:
    """Rows that are no genes but the sum of all others, or the number of genes that a cell has.

    Parameters
    ----------
    counts, sums : cells x genes, and what they add up to.
    genes : their names.
    """
    totals, _, per_gene, n_found = sums
    if len(totals) < FEWEST_GENES or np.count_nonzero(n_found) < FEWEST_CELLS:
        return []
    top = int(np.argmax(totals))
    # A gene with a third of all counts is rare, and rows of counters are looked for only then.
    large = 3 * totals[top] >= totals.sum()
    full = np.flatnonzero(per_gene == np.count_nonzero(n_found))
    likely = full[np.abs(totals[full] - n_found.sum()) <= MOST_COUNTERS * len(n_found)]
    if not large and not likely.size:
        return []
    plain = np.array([COUNTERS.match(name.strip()) is None for name in genes])
    columns = counts.tocsc()

    def values(i: int) -> np.ndarray:
        return np.ravel(columns[:, [i]].toarray())

    def apart(rows: list[int]) -> sp.csc_matrix:
        """The rows that count as genes without some."""
        return columns[:, np.flatnonzero(plain & ~np.isin(np.arange(len(plain)), rows))]

    summaries: list[int] = []
    for without in ([top], []) if large else ([],):
        found = [
            int(i)
            for i in likely
            if i not in without
            and np.abs(values(i) - n_found).max() <= MOST_COUNTERS
            and np.array_equal(values(i), apart([i, *without]).getnnz(axis=1))
        ]
        summaries = found
        if without and np.array_equal(values(top), np.ravel(apart([top, *found]).sum(axis=1))):
            summaries = [*found, top]
            break
    return sorted(summaries)


def warn_of_cut(text: Text) -> None:
    """Say that a table has no end of its last line: its writing may have been cut short."""
    if text.zipped:  # has a checksum
        return
    with open(text.path, "rb") as file:
        if not file.seek(0, 2):
            return
        file.seek(-1, 2)
        # The last letter of UTF-16 may end in a zero.
        if text.encoding.startswith("utf-16") and file.read(1) == b"\0":
            file.seek(-2, 2)
        else:
            file.seek(-1, 2)
        if file.read(1) not in b"\r\n":
            logger.warning("%s: its last line has no end; is the file whole?", text.path)


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
