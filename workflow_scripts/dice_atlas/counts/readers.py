"""`read_counts`: a sample's counts from whatever format they come in."""

from collections.abc import Collection
from pathlib import Path

import anndata as ad
import h5py
import pandas as pd

from dice_atlas.counts.check import CHECKS, of_some
from dice_atlas.counts.formats import FORMATS, KNOWN, Format
from dice_atlas.counts.stored import Stored, Wanted, as_counts, plain_names
from dice_atlas.errors import InputError, reading
from dice_atlas.registry import load

# Cells whose counts a look at a file reads.
LOOKED_AT = 500


def read_counts(
    path: str | Path,
    subset: str = "",
    slot: str = "",
    expression: str = "",
    columns: Collection[str] | None = None,
) -> ad.AnnData:
    """Raw counts of one sample, or its log-normalised expression.

    Parameters
    ----------
    path : in one of `FORMATS`.
    subset : cells to keep, "column=value|value;other!=value" on obs columns; "" = all. Only they
        need to be raw counts, with barcodes that stand once.
    slot : X, raw, or the name of a layer, for formats that have them; "" = the best one.
    expression : a key of `check.CHECKS`; "" = raw counts.
    columns : of obs that are needed; None = all.

    Returns
    -------
    AnnData
        `X`: CSR int32, cells x genes (of log1p float32, see `logged`). obs: index = barcodes,
        columns as in the file. var: index = unique gene symbols, column `gene_id` = Ensembl id or
        "". uns `format`: what was read; `decided`: what was decided about the file.

    Raises
    ------
    InputError
        The file is of no known format, is damaged, does not hold what is wanted, has no obs
        columns for a subset, or a barcode stands twice.
    """
    path = Path(path)
    check = CHECKS[expression]
    with reading(path, KNOWN):
        stored = read_stored(path, Wanted(subset, slot, columns, check))
        return as_counts(stored, path, check)


def look_at_counts(
    path: str | Path,
    subset: str = "",
    slot: str = "",
    expression: str = "",
    columns: Collection[str] | None = None,
) -> tuple[ad.AnnData, pd.DataFrame]:
    """`read_counts` of some cells alone, where the format allows it, and obs of all cells.

    Returns
    -------
    counts : of some cells. Zeros alone, or ones alone, are no fault of so few.
    obs : one row per cell, index = barcodes.

    Raises
    ------
    InputError
        See `read_counts`.
    """
    path = Path(path)
    check = CHECKS[expression]
    with reading(path, KNOWN):
        stored = read_stored(path, Wanted(subset, slot, columns, check, LOOKED_AT))
        found = as_counts(stored, path, of_some(check))
        return found, stored.obs.set_axis(plain_names(stored.obs.index), axis=0)


def read_stored(path: Path, wanted: Wanted) -> Stored:
    """What the reader of a file's format returns.

    Raises
    ------
    InputError
        The file is of no known format, or of one without what is wanted.
    """
    kind = recognise(path)
    if wanted.subset and not kind.has_obs:
        raise no_obs(path)
    if wanted.slot and not kind.has_slots:
        raise no_slots(path)
    stored: Stored = load(kind.reader)(path, wanted)
    return stored


def recognise(path: Path) -> Format:
    """The format of a file, by its contents where possible.

    Raises
    ------
    InputError
        The file does not exist or is of no known format.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; expected {KNOWN}; correct `path` in the sheet")
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{path}: is empty (0 bytes), expected {KNOWN}; copy it again")
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


def read_obs(path: str | Path, columns: Collection[str] | None = None) -> pd.DataFrame:
    """The columns of the cells by barcode, without their counts.

    Parameters
    ----------
    path : in one of `FORMATS` that have such columns.
    columns : that are needed; None = all.

    Raises
    ------
    InputError
        The file is of no known format, is damaged, or has no obs columns.
    """
    path = Path(path)
    with reading(path, KNOWN):
        kind = recognise(path)
        if not kind.has_obs:
            raise no_obs(path)
        obs = load(kind.obs_reader)(path, columns)
        return obs.set_axis(plain_names(obs.index), axis=0)


def no_slots(path: Path) -> InputError:
    """The error of a format with one matrix alone."""
    with_slots = ", ".join(kind.title for kind in FORMATS if kind.has_slots)
    return InputError(
        f"{path}: a file of this kind has one matrix alone, expected {with_slots}; leave `slot` "
        "empty in the sample sheet"
    )


def no_obs(path: Path) -> InputError:
    """The error of a format without columns of the cells."""
    with_obs = ", ".join(kind.title for kind in FORMATS if kind.has_obs)
    return InputError(
        f"{path}: a file of this kind has no obs columns, expected {with_obs}; give labels as a "
        "csv with the columns barcode,label, and leave `subset` empty"
    )
