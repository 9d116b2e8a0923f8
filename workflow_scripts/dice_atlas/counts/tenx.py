"""Readers of Cell Ranger's output: mtx folders (v2, v3; gzipped or not) and h5 files."""

import csv
import gzip
from pathlib import Path

import h5py
import pandas as pd
import scipy.io
import scipy.sparse as sp

from dice_atlas.counts.hdf5 import open_hdf5
from dice_atlas.counts.stored import Stored, Wanted
from dice_atlas.counts.tables import require_text
from dice_atlas.errors import InputError, reading

ALL = Wanted()

FILES = "matrix.mtx, barcodes.tsv and features.tsv (v3) or genes.tsv (v2), each plain or .gz"


def is_mtx_folder(path: Path) -> bool:
    """Whether a path is a folder, which is then read as 10x's."""
    return path.is_dir()


def read_mtx_folder(folder: Path, wanted: Wanted = ALL) -> Stored:
    """The counts of a 10x folder.

    The three files may share a prefix, as in GEO's supplementary files.

    Parameters
    ----------
    folder : of one sample.
    wanted : not used: the format has neither columns of the cells nor several matrices.

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
    counts = read_matrix(matrix)
    n_genes, n_cells = counts.shape
    names = [row[0] for row in without_header(tsv_rows(barcodes), n_cells)]
    var = gene_columns(without_header(tsv_rows(genes), n_genes))
    if counts.shape != (len(var), len(names)):
        turned = counts.shape == (len(names), len(var))
        raise InputError(
            f"{matrix}: seen {counts.shape[0]} x {counts.shape[1]}, expected {len(var)} genes "
            f"({genes.name}) x {len(names)} cells ({barcodes.name}); "
            + ("transpose the matrix" if turned else "these files do not belong together")
        )
    obs = pd.DataFrame(index=pd.Index(names, dtype=object))
    return Stored(counts.T.tocsr(), obs, var, version)


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
            if path.is_file():
                return path
    seen = ", ".join(sorted(p.name for p in folder.iterdir())[:6])
    raise InputError(
        f"{folder}: no {prefix}{' or '.join(names)} (seen: {seen}), expected {FILES}; "
        "copy the missing file into the folder"
    )


def tsv_rows(path: Path) -> list[list[str]]:
    """Rows of a tsv(.gz) as text (no symbol is taken for a NaN).

    R's write.table quotes text and separates by blanks: such files are read too.

    Raises
    ------
    InputError
        The file cannot be read, is empty, or its rows differ in length by more than a header may.
    """
    expected = "UTF-8 text of tab-separated lines"
    with reading(path, expected):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            lines = [line for line in file.read().splitlines() if line.strip()]
        if not lines:
            raise InputError(f"{path}: is empty, expected {expected}; copy it again")
        quoted = lines[-1].startswith('"')
        separator = "\t" if "\t" in lines[-1] or not quoted else " "
        # Unquoted, a quotation mark is part of a name (5" is a prime end).
        rows = (
            list(csv.reader(lines, delimiter=separator))
            if quoted
            else [line.split(separator) for line in lines]
        )
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


def without_header(rows: list[list[str]], n: int) -> list[list[str]]:
    """The rows without a first one that names the columns, where the matrix has one fewer."""
    return rows[1:] if len(rows) == n + 1 else rows


def gene_columns(rows: list[list[str]]) -> pd.DataFrame:
    """`gene_ids`, `name` and the third column as types, of features.tsv or genes.tsv.

    Further columns (the positions of Cell Ranger ARC) are not needed.
    """
    width = len(rows[0]) if rows else 1
    frame = pd.DataFrame({"gene_ids": [row[0] for row in rows]}, dtype=object)
    frame["name"] = [row[1] for row in rows] if width > 1 else frame["gene_ids"]
    if width > 2:
        frame["feature_types"] = [row[2] for row in rows]
    return frame


def read_matrix(path: Path) -> sp.coo_matrix:
    """A Matrix Market file as it stands (genes x cells).

    Raises
    ------
    InputError
        It cannot be read, or claims more values than it can hold.
    """
    expected = "a Matrix Market file"
    with reading(path, expected):
        rows, columns, claimed = scipy.io.mminfo(path)[:3]
        # The shortest entry is "1 1 1" and a line's end; deflate makes a file 1,032 times smaller.
        room = path.stat().st_size * (1032 if path.suffix == ".gz" else 1) / 6
        if claimed > room + 1:
            raise InputError(
                f"{path}: its header claims {claimed:,} values of {rows:,} x {columns:,}, but the "
                f"file is too small for them, expected {expected} that is whole; copy it again"
            )
        require_text(path)
        return sp.coo_matrix(scipy.io.mmread(path))


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
    wanted : not used: the format has neither columns of the cells nor several matrices.

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
        parts = tuple(group[name][:] for name in ("data", "indices", "indptr"))
        counts = sp.csr_matrix(parts, shape=(n_cells, n_genes))
        counts.check_format(full_check=True)
    return Stored(counts, obs, var, version)


def texts(stored: h5py.Dataset) -> list[str]:
    """Stored text as plain strings."""
    return [name.decode() if isinstance(name, bytes) else str(name) for name in stored[:]]
