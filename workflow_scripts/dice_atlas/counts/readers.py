"""`read_counts`: a sample's counts from whatever format they come in."""

from pathlib import Path

import anndata as ad
import h5py
import pandas as pd

from dice_atlas.counts.formats import FORMATS, KNOWN, Format
from dice_atlas.counts.genes import text
from dice_atlas.counts.stored import as_counts
from dice_atlas.errors import DAMAGED, InputError
from dice_atlas.registry import load


def read_counts(path: str | Path, subset: str = "") -> ad.AnnData:
    """Raw counts of one sample.

    Parameters
    ----------
    path : in one of `FORMATS`.
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
        The file is of no known format, is damaged, holds no raw counts, has no obs columns for a
        subset, or a barcode stands twice.
    """
    path = Path(path)
    try:
        kind = recognise(path)
        if subset and not kind.has_obs:
            raise no_obs(path)
        stored = load(kind.reader)(path, subset)
    except DAMAGED as error:
        raise unreadable(path, error) from error
    return as_counts(stored, path)


def recognise(path: Path) -> Format:
    """The format of a file, by its contents where possible.

    Raises
    ------
    InputError
        The file does not exist or is of no known format.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; expected {KNOWN}; correct `path` in the sheet")
    for kind in FORMATS:
        if load(kind.recognise)(path):
            return kind
    if path.name.lower().endswith((".mtx", ".mtx.gz")):
        raise InputError(
            f"{path}: one file of a 10x folder, expected the folder that also has the barcodes and "
            f"the genes; set `path` to {path.parent}"
        )
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: neither HDF5 nor a table by its suffix, expected {KNOWN}")
    with h5py.File(path, "r") as file:
        seen = ", ".join(list(file)[:6]) or "nothing"
    raise InputError(f"{path}: an HDF5 file of unknown kind (seen: {seen}), expected {KNOWN}")


def read_obs(path: str | Path) -> pd.DataFrame:
    """The columns of the cells by barcode, without their counts.

    Parameters
    ----------
    path : in one of `FORMATS` that have such columns.

    Raises
    ------
    InputError
        The file is of no known format, is damaged, or has no obs columns.
    """
    path = Path(path)
    try:
        kind = recognise(path)
        if not kind.has_obs:
            raise no_obs(path)
        obs = load(kind.obs_reader)(path)
    except DAMAGED as error:
        raise unreadable(path, error) from error
    return obs.set_axis(pd.Index(text(obs.index.to_series()).to_numpy(object)), axis=0)


def unreadable(path: Path, error: Exception) -> InputError:
    """The error of a damaged file."""
    return InputError(
        f"{path}: cannot be read ({error}), expected {KNOWN}; is it cut off? Copy it again"
    )


def no_obs(path: Path) -> InputError:
    """The error of a format without columns of the cells."""
    with_obs = ", ".join(kind.title for kind in FORMATS if kind.has_obs)
    return InputError(
        f"{path}: a file of this kind has no obs columns, expected {with_obs}; give labels as a "
        "csv with the columns barcode,label, and leave `subset` empty"
    )
