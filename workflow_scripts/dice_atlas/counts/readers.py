"""`read_counts`: a sample's counts from whatever format they come in."""

import logging
from pathlib import Path

import anndata as ad
import h5py
import pandas as pd

from dice_atlas.counts.check import check_raw_counts
from dice_atlas.counts.genes import gene_table, merge_repeated, text
from dice_atlas.counts.hdf5 import Counts, read_h5ad, read_loom, read_obs_h5ad, read_obs_loom
from dice_atlas.counts.tables import TABLE_SUFFIXES, read_table
from dice_atlas.counts.tenx import is_tenx_h5, read_mtx_folder, read_tenx_h5
from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)

READERS = {"mtx": read_mtx_folder, "tenx_h5": read_tenx_h5, "table": read_table}
READERS_WITH_OBS = {"h5ad": read_h5ad, "loom": read_loom}
KNOWN = "a 10x folder (matrix.mtx), 10x .h5, .h5ad, .loom, or a .csv/.tsv(.gz) of genes x cells"


def read_counts(path: str | Path, subset: str = "") -> ad.AnnData:
    """Raw counts of one sample.

    Parameters
    ----------
    path : a 10x folder or h5 file (v2, v3), an h5ad or loom file, or a table of genes x cells.
    subset : cells to keep, "column=value|value;other=value" on obs columns; "" = all. Only they
        need to be raw counts, with barcodes that stand once.

    Returns
    -------
    AnnData
        `X`: CSR int32, cells x genes. obs: index = barcodes, columns as in the file. var: index =
        unique gene symbols, column `gene_id` = Ensembl id or "". uns `format`: what was read.

    Raises
    ------
    InputError
        If the file is of no known format, is damaged, holds no raw counts, or a barcode stands
        twice.
    """
    path = Path(path)
    try:
        counts, obs, var, kind = read_any(path, subset)
    except OSError as error:
        raise unreadable(path, error) from error
    barcodes = pd.Index(text(obs.index.to_series()).to_numpy(object), dtype=object)
    require_unique(barcodes, path)
    X = check_raw_counts(counts, f"{path} ({kind})")
    genes = gene_table(var["name"].tolist(), var.drop(columns="name"), str(path))
    X, genes = merge_repeated(X, genes, str(path))
    logger.info("%s (%s): %d cells x %d genes, %d non-zero", path, kind, *X.shape, X.nnz)
    return ad.AnnData(X, obs=obs.set_axis(barcodes, axis=0), var=genes, uns={"format": kind})


def read_any(path: Path, subset: str) -> Counts:
    """Counts (cells x genes, not checked yet), obs, var (with `name`) and format."""
    kind = recognise(path)
    if kind in READERS_WITH_OBS:
        return READERS_WITH_OBS[kind](path, subset)
    if subset:
        raise no_obs(path)
    return READERS[kind](path)


def recognise(path: Path) -> str:
    """The kind of a file (mtx, tenx_h5, h5ad, loom, table), by its contents where possible."""
    if path.is_dir():
        return "mtx"
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected {KNOWN}; correct `path` in the sheet")
    if path.name.lower().endswith(TABLE_SUFFIXES):
        return "table"
    if path.name.lower().endswith((".mtx", ".mtx.gz")):
        return mtx_file(path)
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: neither HDF5 nor a table by its suffix, expected {KNOWN}")
    if is_tenx_h5(path):
        return "tenx_h5"
    with h5py.File(path, "r") as file:
        if {"matrix", "row_attrs", "col_attrs"} <= set(file):
            return "loom"
        if {"obs", "var"} <= set(file):
            return "h5ad"
        seen = ", ".join(list(file)[:6]) or "nothing"
    raise InputError(f"{path}: an HDF5 file of unknown kind (seen: {seen}), expected {KNOWN}")


def mtx_file(path: Path) -> str:
    raise InputError(
        f"{path}: one file of a 10x folder, expected the folder that also has the barcodes and "
        f"the genes; set `path` to {path.parent}"
    )


def read_obs(path: str | Path) -> pd.DataFrame:
    """The obs columns of an h5ad or loom file, by barcode, without its counts."""
    path = Path(path)
    try:
        kind = recognise(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if kind not in READERS_WITH_OBS:
        raise no_obs(path)
    obs = read_obs_h5ad(path) if kind == "h5ad" else read_obs_loom(path)
    return obs.set_axis(pd.Index(text(obs.index.to_series()).to_numpy(object)), axis=0)


def unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be read ({error}), expected {KNOWN}; is it cut off? Copy it again"
    )


def no_obs(path: Path) -> InputError:
    return InputError(
        f"{path}: a file of this kind has no obs columns, expected h5ad or loom; give labels as a "
        "csv with the columns barcode,label, and leave `subset` empty"
    )


def require_unique(barcodes: pd.Index, path: Path) -> None:
    repeated = barcodes[barcodes.duplicated()]
    if len(repeated):
        raise InputError(
            f"{path}: {len(repeated)} barcode(s) stand more than once (such as {repeated[0]!r}), "
            "expected each cell once; if cells of several captures were joined, add the "
            "capture's name to each barcode"
        )
