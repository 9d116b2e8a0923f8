"""Readers of Cell Ranger's output: mtx folders (v2, v3; gzipped or not) and h5 files."""

import csv
from pathlib import Path

import h5py
import pandas as pd
import scanpy as sc
import scipy.io
import scipy.sparse as sp

from dice_atlas.counts.stored import Stored
from dice_atlas.errors import DAMAGED, InputError

FILES = "matrix.mtx, barcodes.tsv and features.tsv (v3) or genes.tsv (v2), each plain or .gz"


def is_mtx_folder(path: Path) -> bool:
    """Whether a path is a folder, which is then read as 10x's."""
    return path.is_dir()


def read_mtx_folder(folder: Path, subset: str = "") -> Stored:
    """The counts of a 10x folder.

    The three files may share a prefix, as in GEO's supplementary files.

    Parameters
    ----------
    folder : of one sample.
    subset : not used: the format has no columns of the cells.

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
    names = [row[0] for row in tsv_rows(barcodes)]
    var = read_genes(genes)
    counts = read_matrix(matrix)
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
    """Rows of a headerless tsv(.gz), unquoted, as text (no symbol is taken for a NaN)."""
    try:
        table = pd.read_csv(
            path, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, *DAMAGED) as error:
        raise InputError(
            f"{path}: cannot be read ({error}), expected tab-separated lines; copy it again"
        ) from error
    return table.to_numpy(object).tolist()


def read_genes(path: Path) -> pd.DataFrame:
    """`gene_ids`, `name` and, from version 3 on, `feature_types` of features.tsv or genes.tsv."""
    rows = tsv_rows(path)
    width = len(rows[0])
    frame = pd.DataFrame({"gene_ids": [row[0] for row in rows]})
    frame["name"] = [row[1] for row in rows] if width > 1 else frame["gene_ids"]
    if width > 2:
        frame["feature_types"] = [row[2] for row in rows]
    return frame


def read_matrix(path: Path) -> sp.coo_matrix:
    """A Matrix Market file as it stands (genes x cells).

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        return sp.coo_matrix(scipy.io.mmread(path))
    except (ValueError, OverflowError, *DAMAGED) as error:
        raise InputError(
            f"{path}: cannot be read as a Matrix Market file ({error}); is it cut off? "
            "Copy or unpack it again"
        ) from error


def is_tenx_h5(path: Path) -> bool:
    """Whether an HDF5 file is Cell Ranger's: a `matrix` group (v3) or one per genome (v2)."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        groups = [value for value in file.values() if isinstance(value, h5py.Group)]
        return any("barcodes" in group and "indptr" in group for group in groups)


def read_tenx_h5(path: Path, subset: str = "") -> Stored:
    """The counts of a 10x h5 file.

    Parameters
    ----------
    path : of one sample and one genome.
    subset : not used: the format has no columns of the cells.

    Raises
    ------
    InputError
        The file has no features, or several genomes.
    """
    with h5py.File(path, "r") as file:
        version = "10x h5 v3" if "matrix" in file else "10x h5 v2"
        if "matrix" in file and "features" not in file["matrix"]:
            raise InputError(
                f"{path}: the group matrix has no features (seen: {', '.join(file['matrix'])}), "
                "expected a feature-barcode matrix of Cell Ranger; give its "
                "filtered_feature_bc_matrix.h5"
            )
        genomes = list(file)
    if version == "10x h5 v2" and len(genomes) > 1:
        raise InputError(
            f"{path}: holds {len(genomes)} genomes ({', '.join(genomes)}), expected one; "
            "write the one you want as its own file"
        )
    adata = sc.read_10x_h5(path, gex_only=False)
    var = adata.var.assign(name=adata.var_names.to_numpy(object)).reset_index(drop=True)
    obs = pd.DataFrame(index=pd.Index(adata.obs_names.to_numpy(object), dtype=object))
    return Stored(adata.X, obs, var, version)
