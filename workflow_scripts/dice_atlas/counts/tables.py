"""Reader of dense count tables as GEO has them: rows are genes, columns are cells."""

import csv
import gzip
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.formats import TABLE_SUFFIXES
from dice_atlas.counts.genes import is_ensembl
from dice_atlas.counts.stored import Stored
from dice_atlas.errors import DAMAGED, InputError

BLOCK = 10_000_000  # values in memory at once
BARCODE = re.compile(r"^(?:.*[_.:#-])?[ACGTN]{8,}(?:[-_.].*)?$")
# Genes that nearly every human or mouse table has, in upper case.
COMMON_GENES = (
    "ACTB", "B2M", "CD3D", "CD74", "EEF1A1", "FAU", "FTH1", "FTL", "GAPDH", "HSP90AB1", "MALAT1",
    "MT-CO1", "MT-ND1", "PTPRC", "RPL10", "RPL13", "RPLP0", "RPLP1", "RPS18", "RPS27", "RPS6",
    "TMSB4X", "TPT1", "TUBA1B", "UBC", "VIM",
)  # fmt: skip


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its suffix."""
    return path.is_file() and path.name.lower().endswith(TABLE_SUFFIXES)


def read_table(path: Path, subset: str = "") -> Stored:
    """The counts of a table of genes x cells.

    The table is read in blocks of rows and is never dense as a whole. The orientation is not
    guessed from the shape: rows are genes; a table that is visibly turned is refused.

    Parameters
    ----------
    path : with one of `TABLE_SUFFIXES`, which says the separator.
    subset : not used: the format has no columns of the cells.

    Raises
    ------
    InputError
        The file cannot be read, has no row or too few columns, rows of unequal length or text
        among the numbers, or is visibly cells x genes.
    """
    separator = "," if path.name.lower().endswith((".csv", ".csv.gz")) else "\t"
    cells = read_header(path, separator)
    check_cells(cells, path)
    genes, blocks = [], []
    for block in row_blocks(path, separator, len(cells)):
        genes += block.index.tolist()
        blocks.append(sp.csr_matrix(block.to_numpy()))
        check_genes(genes[:1000], path)
    if not blocks:
        raise InputError(f"{path}: a header and no row, expected one row per gene; copy it again")
    counts = sp.vstack(blocks, format="csr").T.tocsr()
    obs = pd.DataFrame(index=pd.Index(cells, dtype=object))
    kind = f"{path.name.split('.', 1)[-1]} table"
    return Stored(counts, obs, pd.DataFrame({"name": genes}), kind)


def read_header(path: Path, separator: str) -> list[str]:
    """Names of the cells. R writes no name over the row names: both kinds are read."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter=separator)
            header, first = next(reader, []), next(reader, [])
    except DAMAGED as error:
        raise InputError(f"{path}: cannot be read as text ({error}); copy it again") from error
    if len(header) < 2 or len(first) < 2:
        kind = "comma" if separator == "," else "tab"
        raise InputError(
            f"{path}: {len(first)} column(s), expected the gene name and at least one cell, "
            f"separated by {kind}s (by the file's suffix); rename the file to .csv or .tsv"
        )
    if len(header) not in (len(first), len(first) - 1):
        raise InputError(
            f"{path}: the header has {len(header)} fields and the first row {len(first)}, expected "
            "as many, or one fewer (no name over the gene names); check the first lines"
        )
    return header if len(header) < len(first) else header[1:]


def row_blocks(path: Path, separator: str, n_cells: int) -> Iterable[pd.DataFrame]:
    """Blocks of rows: index = gene names, columns = cells, numbers."""
    try:
        # Column names are given, or pandas would rename repeated ones.
        yield from pd.read_csv(
            path,
            sep=separator,
            header=None,
            skiprows=1,
            index_col=0,
            names=range(n_cells + 1),
            dtype={0: str, **dict.fromkeys(range(1, n_cells + 1), np.float64)},
            na_filter=True,
            keep_default_na=False,
            na_values={column: ["", "NA", "NaN"] for column in range(1, n_cells + 1)},
            chunksize=max(1, BLOCK // n_cells),
            encoding="utf-8-sig",
        )
    except (ValueError, pd.errors.ParserError, *DAMAGED) as error:
        raise InputError(
            f"{path}: a row cannot be read ({error}), expected one column of gene names and then "
            "numbers only, as many in every row; is it cut off, or has it further columns of text?"
        ) from error


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
