"""Readers of Cell Ranger's output: mtx folders (v2, v3; gzipped or not) and h5 files."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp

from dice_atlas.counts.features import GENE_TYPES, OTHER_TYPES, normal
from dice_atlas.counts.genes import is_ensembl
from dice_atlas.counts.hdf5 import open_hdf5
from dice_atlas.counts.some_rows import some_sparse, spread_rows
from dice_atlas.counts.stored import Stored, Wanted
from dice_atlas.counts.tables import BARCODE
from dice_atlas.counts.text_files import (
    is_gzip,
    require_text,
    rows_of,
    without_numbers,
)
from dice_atlas.errors import InputError, reading

ALL = Wanted()

FILES = "matrix.mtx, barcodes.tsv and features.tsv (v3) or genes.tsv (v2), each plain or .gz"
MARKET = "a Matrix Market file"
FIRST_ENTRIES = 200_000  # that a look at a matrix reads
LOOKED_AT = 200  # rows, to know what a column holds
LINES = "text of tab-separated lines"


def is_mtx_folder(path: Path) -> bool:
    """Whether a path is a folder, which is then read as 10x's."""
    return path.is_dir()


def read_mtx_folder(folder: Path, wanted: Wanted = ALL) -> Stored:
    """The counts of a 10x folder.

    The three files may share a prefix, as in GEO's supplementary files.

    Parameters
    ----------
    folder : of one sample.
    wanted : how many cells; the format has neither columns of them nor several matrices.

    Raises
    ------
    InputError
        A file is missing, there more than once or cannot be read, or the matrix is not genes x
        cells of the other two.
    """
    matrix, prefix = find_matrix(folder)
    barcodes = find_file(folder, prefix, ("barcodes.tsv",))
    genes = find_file(folder, prefix, ("features.tsv", "genes.tsv"))
    version = "10x mtx v3" if "features.tsv" in genes.name else "10x mtx v2"
    counts = read_matrix(matrix) if wanted.most is None else first_entries(matrix)
    n_genes, n_cells = counts.shape
    names = barcode_column(small_table(barcodes, n_cells))
    var = gene_columns(small_table(genes, n_genes))
    if counts.shape != (len(var), len(names)):
        turned = counts.shape == (len(names), len(var))
        raise InputError(
            f"{matrix}: seen {counts.shape[0]} x {counts.shape[1]}, expected {len(var)} genes "
            f"({genes.name}) x {len(names)} cells ({barcodes.name}); "
            + ("transpose the matrix" if turned else "these files do not belong together")
        )
    obs = pd.DataFrame(index=pd.Index(names, dtype=object))
    if wanted.most is None:
        return Stored(counts.T.tocsr(), obs, var, version)
    rows = np.unique(counts.col)[: wanted.most]
    return Stored(counts.T.tocsr()[rows], obs, var, version, rows=rows)


def find_matrix(folder: Path) -> tuple[Path, str]:
    """The folder's one matrix file and the prefix of its name."""
    found = sorted(p for p in folder.iterdir() if p.name.endswith(("matrix.mtx", "matrix.mtx.gz")))
    if len(found) != 1:
        seen = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        what = "more than one matrix.mtx" if found else "no matrix.mtx(.gz)"
        raise InputError(
            f"{folder}: {what} (seen: {seen}), expected {FILES}; give the folder of one sample, "
            "such as outs/filtered_feature_bc_matrix"
        )
    return found[0], found[0].name.split("matrix.mtx")[0]


def find_file(folder: Path, prefix: str, names: tuple[str, ...]) -> Path:
    """The file of the folder that has one of the names after the prefix, plain or .gz."""
    for name in names:
        for suffix in ("", ".gz"):
            path = folder / f"{prefix}{name}{suffix}"
            if path.is_file() or path.is_symlink():
                return path
    seen = ", ".join(sorted(p.name for p in folder.iterdir())[:6])
    raise InputError(
        f"{folder}: no {prefix}{' or '.join(names)} (seen: {seen}), expected {FILES}; "
        "copy the missing file into the folder"
    )


def small_table(path: Path, n: int) -> list[list[str]]:
    """The n rows of a file of barcodes or features, without header and numbers of the rows.

    No symbol is taken for a NaN.
    """
    with reading(path, LINES):
        return without_numbers(without_header(rows_of(path, LINES), n))


def without_header(rows: list[list[str]], n: int) -> list[list[str]]:
    """The rows without a first one that names the columns, where the matrix has one fewer."""
    return rows[1:] if len(rows) == n + 1 else rows


def barcode_column(rows: list[list[str]]) -> list[str]:
    """The first column whose values look like barcodes; else the first."""
    columns = range(len(rows[0]) if rows else 0)
    at = 0
    if len(columns) > 1:
        likely = (i for i in columns if share(rows, i, lambda v: BARCODE.match(v) is not None))
        at = next(likely, 0)
    return [row[at] for row in rows]


def gene_columns(rows: list[list[str]]) -> pd.DataFrame:
    """`gene_ids`, `name` and types, of features.tsv or genes.tsv, by what the columns hold.

    Further columns (the positions of Cell Ranger ARC) are not needed. Without Ensembl ids the
    columns are ids, symbols and types, as 10x orders them.
    """
    order = list(range(len(rows[0]) if rows else 1))
    types = next((i for i in reversed(order[1:]) if are_types(rows, i)), None)
    if types is not None:
        order.remove(types)
    ids = next((i for i in order if share(rows, i, lambda v: bool(is_ensembl([v])[0]))), order[0])
    order.remove(ids)
    symbols = order.pop(0) if order else ids
    types = order.pop(0) if types is None and order else types
    frame = pd.DataFrame({"gene_ids": [row[ids] for row in rows]}, dtype=object)
    frame["name"] = [row[symbols] for row in rows]
    if types is not None:
        frame["feature_types"] = [row[types] for row in rows]
    return frame


def share(rows: list[list[str]], column: int, is_such: Callable[[str], bool]) -> bool:
    """Whether most values of a column are such, by a part of its rows."""
    part = rows[:: max(1, len(rows) // LOOKED_AT)]
    return sum(is_such(row[column].strip()) for row in part) > len(part) / 2


def are_types(rows: list[list[str]], column: int) -> bool:
    """Whether a column holds types of features: most are known ones, and few differ."""
    few = len({row[column] for row in rows}) <= max(1, len(rows) / 2)
    return few and share(rows, column, is_type)


def is_type(text: str) -> bool:
    """Whether a text is a type of features."""
    name = normal(text)
    return name in GENE_TYPES or OTHER_TYPES.search(name) is not None


def read_matrix(path: Path) -> sp.coo_matrix:
    """A Matrix Market file as it stands (genes x cells).

    Raises
    ------
    InputError
        It cannot be read, or see `read_header`.
    """
    with reading(path, MARKET):
        read_header(path)
        require_text(path)
        with named_as_it_is(path) as source:
            return sp.coo_matrix(scipy.io.mmread(source))


def read_header(path: Path) -> tuple[int, int, str]:
    """Rows, columns and layout of a Matrix Market file.

    Raises
    ------
    InputError
        The file claims more values than it can hold, or has none.
    """
    with named_as_it_is(path) as source:
        rows, columns, claimed, layout, values = scipy.io.mminfo(source)[:5]
    if values == "pattern":
        raise InputError(
            f"{path}: is of type pattern and says whether a gene was found, not how often, "
            "expected counts; write the matrix with its values (integer)"
        )
    # The shortest entry is "1 1 1" and a line's end; deflate makes a file 1,032 times smaller.
    shortest = 2 if layout == "array" else 6
    room = path.stat().st_size * (1032 if is_gzip(path) else 1) / shortest
    if claimed > room + 1:
        raise InputError(
            f"{path}: its header claims {claimed:,} values of {rows:,} x {columns:,}, but the "
            f"file is too small for them, expected {MARKET} that is whole; copy it again"
        )
    return rows, columns, layout


def first_entries(path: Path) -> sp.coo_matrix:
    """The first entries of a Matrix Market file, in a matrix of its whole size (genes x cells).

    A file that lists all values, zeros too, is read as a whole.

    Raises
    ------
    InputError
        See `read_matrix`.
    """
    with reading(path, MARKET):
        rows, columns, layout = read_header(path)
        if layout == "array":
            return read_matrix(path)
        with gzip.open(path, "rt") if is_gzip(path) else path.open() as text:
            entries = (line for line in text if line.strip() and not line.startswith("%"))
            next(entries)  # the sizes
            some = [line.split() for line in islice(entries, FIRST_ENTRIES)]
        table = np.array(some, dtype=float).reshape(-1, 3)
        genes, cells = (table[:, i].astype(int) - 1 for i in (0, 1))
        return sp.coo_matrix((table[:, 2], (genes, cells)), shape=(rows, columns))


@contextmanager
def named_as_it_is(path: Path) -> Iterator[Path]:
    """A matrix under a name that ends in .gz where it is gzipped: scipy knows it by that alone."""
    zipped = is_gzip(path)
    if zipped == (path.suffix == ".gz"):
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / ("matrix.mtx.gz" if zipped else "matrix.mtx")
        link.symlink_to(path.resolve())
        yield link


def is_tenx_h5(path: Path) -> bool:
    """Whether an HDF5 file is Cell Ranger's: a `matrix` group (v3) or one per genome (v2)."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        groups = [value for value in file.values() if isinstance(value, h5py.Group)]
        return any("barcodes" in group and "indptr" in group for group in groups)


def read_tenx_h5(path: Path, wanted: Wanted = ALL) -> Stored:
    """The counts of a 10x h5 file.

    Parameters
    ----------
    path : of one sample and one genome.
    wanted : how many cells; the format has neither columns of them nor several matrices.

    Raises
    ------
    InputError
        The file has no features, or several genomes.
    ValueError
        Its sparse matrix is none.
    """
    with open_hdf5(path) as file:
        version = "10x h5 v3" if "matrix" in file else "10x h5 v2"
        genomes = [name for name in file if isinstance(file[name], h5py.Group)]
        if version == "10x h5 v2" and len(genomes) > 1:
            raise InputError(
                f"{path}: holds {len(genomes)} genomes ({', '.join(genomes)}), expected one; "
                "write the one you want as its own file"
            )
        group = file["matrix" if version == "10x h5 v3" else genomes[0]]
        if version == "10x h5 v3" and "features" not in group:
            raise InputError(
                f"{path}: the group matrix has no features (seen: {', '.join(group)}), "
                "expected a feature-barcode matrix of Cell Ranger; give its "
                "filtered_feature_bc_matrix.h5"
            )
        if version == "10x h5 v3":
            features = group["features"]
            names = {"gene_ids": "id", "name": "name", "feature_types": "feature_type"}
        else:
            features, names = group, {"gene_ids": "genes", "name": "gene_names"}
        var = pd.DataFrame({key: texts(features[name]) for key, name in names.items()})
        obs = pd.DataFrame(index=pd.Index(texts(group["barcodes"]), dtype=object))
        n_genes, n_cells = map(int, group["shape"][:])
        # Stored by columns of genes x cells, that is, by rows of cells x genes.
        values, columns, starts = (group[name] for name in ("data", "indices", "indptr"))
        few = spread_rows(n_cells, wanted.most)
        if few is None:
            counts = sp.csr_matrix((values[:], columns[:], starts[:]), shape=(n_cells, n_genes))
            counts.check_format(full_check=True)
        else:
            counts = some_sparse(starts[:], values, columns, few, (n_cells, n_genes))
    return Stored(counts, obs, var, version, rows=few)


def texts(stored: h5py.Dataset) -> list[str]:
    """Stored text as plain strings."""
    return [name.decode() if isinstance(name, bytes) else str(name) for name in stored[:]]
