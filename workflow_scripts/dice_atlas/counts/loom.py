"""Reader of loom files."""

from pathlib import Path

import h5py
import pandas as pd

from dice_atlas.counts.dense import read_dense
from dice_atlas.counts.stored import Stored
from dice_atlas.counts.subset import kept_rows, take
from dice_atlas.errors import InputError

CELL_NAMES = ("CellID", "cell_id", "obs_names", "barcode", "barcodes", "cell_names")
GENE_NAMES = ("Gene", "gene", "gene_names", "gene_name", "var_names", "Symbol", "GeneName")


def is_loom(path: Path) -> bool:
    """Whether an HDF5 file is a loom file, by its groups."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return {"matrix", "row_attrs", "col_attrs"} <= set(file)


def read_loom(path: Path, subset: str) -> Stored:
    """The main matrix of a loom file.

    Parameters
    ----------
    path : of the file.
    subset : see `readers.read_counts`.

    Raises
    ------
    InputError
        The file names no cells or no genes, or see `subset.keep_mask`.
    """
    with h5py.File(path, "r") as file:
        matrix, obs = file["matrix"], loom_obs(file, path)
        rows = kept_rows(obs, subset, path)
        var = attributes(file["row_attrs"])
        name = first_of(GENE_NAMES, var, f"{path}, row attributes")
        # Stored as genes x cells: a block of columns holds whole cells.
        counts = read_dense(lambda start, stop: matrix[:, start:stop].T, matrix.shape[::-1])
    counts = counts if rows is None else counts[rows]
    return Stored(counts, take(obs, rows), var.assign(name=var[name]), "loom")


def loom_obs(file: h5py.File, path: Path) -> pd.DataFrame:
    """The column attributes of an open loom file, index: names of the cells."""
    obs = attributes(file["col_attrs"])
    return obs.set_index(first_of(CELL_NAMES, obs, f"{path}, column attributes"))


def attributes(group: h5py.Group) -> pd.DataFrame:
    """The one-dimensional attributes of a loom file's rows or columns."""
    columns = {}
    for name, stored in group.items():
        if stored.ndim == 1:
            values = stored[:]
            is_text = values.dtype.kind in "SO"
            columns[name] = stored.asstr()[:].astype(object) if is_text else values
    return pd.DataFrame(columns)


def first_of(names: tuple[str, ...], frame: pd.DataFrame, where: str) -> str:
    """The first of the names that is a column.

    Raises
    ------
    InputError
        None is.
    """
    for name in names:
        if name in frame:
            return name
    raise InputError(
        f"{where}: none of {', '.join(names)}; seen: {', '.join(frame.columns) or 'nothing'}; "
        f"store the names as {names[0]}"
    )


def read_obs_loom(path: Path) -> pd.DataFrame:
    """The column attributes of a loom file alone; see `read_loom`."""
    with h5py.File(path, "r") as file:
        return loom_obs(file, path)
