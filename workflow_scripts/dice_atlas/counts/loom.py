"""Reader of loom files."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.dense import read_dense
from dice_atlas.counts.hdf5 import open_hdf5
from dice_atlas.counts.slots import Slot, choose_slot, require_slot
from dice_atlas.counts.some_rows import rows_to_read, some_dense
from dice_atlas.counts.stored import Stored, Wanted
from dice_atlas.counts.subset import kept_rows, take
from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)

PROBE = 200_000  # values looked at before a matrix is read as a whole
CELL_NAMES = ("CellID", "cell_id", "obs_names", "barcode", "barcodes", "cell_names")
GENE_NAMES = ("Gene", "gene", "gene_names", "gene_name", "var_names", "Symbol", "GeneName")


def is_loom(path: Path) -> bool:
    """Whether an HDF5 file is a loom file, by its groups."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return {"matrix", "row_attrs", "col_attrs"} <= set(file)


def read_loom(path: Path, wanted: Wanted) -> Stored:
    """The counts of a loom file: its main matrix, or the layer that has them.

    Parameters
    ----------
    path : of the file.
    wanted : see `Wanted`.

    Raises
    ------
    InputError
        The file names no cells or no genes, or see `slots.choose_slot` and `subset.keep_mask`.
    """
    with open_hdf5(path) as file:
        obs = loom_obs(file, path)
        rows = kept_rows(obs, wanted.subset, path)
        var = attributes(file["row_attrs"])
        name = first_of(GENE_NAMES, var, f"{path}, row attributes")
        stored = {"matrix": file["matrix"]}
        layers = file.get("layers", {})
        stored |= {f"layers[{key!r}]": layers[key] for key in layers}
        shape = len(obs), len(var)
        read, few = rows_to_read(len(obs), rows, wanted.most)
        alone = few is not None
        slots = [loom_slot(key, matrix, shape, read, alone) for key, matrix in stored.items()]
        slots = require_slot(slots, "matrix" if wanted.slot == "X" else wanted.slot, path)
        slot, counts, decided = choose_slot(slots, path, wanted.check)
    genes, kind = var.assign(name=var[name]), f"loom {slot.name}"
    return Stored(counts, take(obs, rows), genes, kind, decided, few)


def loom_slot(
    name: str, matrix: h5py.Dataset, shape: tuple[int, int], rows: Any, few: bool = False
) -> Slot:
    """A matrix of a loom file, not read yet; stored as genes x cells.

    Parameters
    ----------
    name : `matrix`, or a layer.
    shape : cells and genes that the attributes name.
    rows : positions of the wanted cells; None for all.
    few : whether no others may be read.
    """
    fault = ""
    if matrix.shape != shape[::-1]:
        size = " x ".join(map(str, matrix.shape)) or "a single value"
        fault = f"is of size {size}, the attributes name {shape[1]} genes x {shape[0]} cells"
    some = slice(0, max(1, PROBE // max(1, shape[0])))

    def cells(start: int, stop: int) -> np.ndarray:
        return matrix[:, start:stop].T  # a block of columns holds whole cells

    def read() -> sp.csr_matrix:
        if few:
            return some_dense(cells, rows)
        counts = read_dense(cells, shape)
        return counts if rows is None else counts[rows]

    return Slot(
        name, shape[1], name == "matrix", False, fault,
        lambda: np.ravel(matrix[some] if rows is None else matrix[some][:, rows]),
        lambda: float(read().sum()), read,
    )  # fmt: skip


def loom_obs(file: h5py.File, path: Path) -> pd.DataFrame:
    """The column attributes of an open loom file, index: names of the cells."""
    obs = attributes(file["col_attrs"])
    return obs.set_index(first_of(CELL_NAMES, obs, f"{path}, column attributes"))


def attributes(group: h5py.Group) -> pd.DataFrame:
    """The one-dimensional attributes of a loom file's rows or columns.

    One that cannot be read, or is of another length than most, is left out: nobody may need it.
    """
    columns = {}
    for name in group:
        try:
            stored = group[name]
            if isinstance(stored, h5py.Dataset) and stored.ndim == 1:
                values = stored[:]
                is_text = values.dtype.kind in "SO"
                columns[name] = stored.asstr("utf-8")[:].astype(object) if is_text else values
        except Exception:
            logger.info("the attribute %s cannot be read and is left out", name, exc_info=True)
    lengths = [len(values) for values in columns.values()]
    usual = max(set(lengths), key=lengths.count) if lengths else 0
    return pd.DataFrame({name: v for name, v in columns.items() if len(v) == usual})


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


def read_obs_loom(path: Path, columns: Collection[str] | None) -> pd.DataFrame:
    """The column attributes of a loom file alone, all of them; see `read_loom`."""
    with open_hdf5(path) as file:
        return loom_obs(file, path)
