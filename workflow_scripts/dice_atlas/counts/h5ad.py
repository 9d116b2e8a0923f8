"""Reader of anndata's own files, h5ad and zarr; only the one matrix that is raw counts is read."""

import logging
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import read_elem

from dice_atlas.counts.check import problem_of
from dice_atlas.counts.dense import read_dense
from dice_atlas.counts.stored import Stored
from dice_atlas.counts.subset import kept_rows, take
from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)

SLOTS = ("X", "layers/counts", "raw/X")
PROBE = 200_000  # values looked at before a matrix is read as a whole


def is_h5ad(path: Path) -> bool:
    """Whether an HDF5 file is anndata's, by its groups."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return {"obs", "var"} <= set(file)


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group (version 2 or 3)."""
    return path.is_dir() and any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def read_h5ad(path: Path, subset: str) -> Stored:
    """The raw counts of an h5ad file.

    The counts are the first of `X`, `layers['counts']` and `raw.X` that is raw in the cells of
    the subset.

    Parameters
    ----------
    path : of any version of anndata.
    subset : see `readers.read_counts`.

    Raises
    ------
    InputError
        None of these matrices is there and raw, or see `subset.keep_mask`.
    """
    with h5py.File(path, "r") as file:
        if "encoding-type" not in file.attrs:
            return read_old_h5ad(path, subset)
        return read_group(file, path, subset, "h5ad")


def read_zarr(path: Path, subset: str) -> Stored:
    """The raw counts of a zarr folder; see `read_h5ad`.

    Raises
    ------
    InputError
        The folder is none that anndata wrote, or see `read_h5ad`.
    """
    return read_group(open_zarr(path), path, subset, "zarr")


def open_zarr(path: Path) -> Any:
    """The zarr group of a folder that anndata wrote.

    Raises
    ------
    InputError
        The folder holds no obs or no var.
    """
    import zarr  # takes half a second

    group = zarr.open_group(path, mode="r")
    if not {"obs", "var"} <= set(group):
        raise InputError(
            f"{path}: a zarr folder without obs and var (seen: "
            f"{', '.join(sorted(group)) or 'nothing'}), expected one that anndata's write_zarr made"
        )
    return group


def read_group(group: Any, path: Path, subset: str, kind: str) -> Stored:
    """The raw counts of an open h5py file or zarr group."""
    obs = read_elem(group["obs"])
    rows = kept_rows(obs, subset, path)
    stored = {name: group[name] for name in SLOTS if name in group}
    chosen, counts = choose_slot(path, stored, rows)
    var = read_elem(group["raw/var" if chosen == "raw/X" else "var"])
    return Stored(counts, take(obs, rows), named(var), f"{kind} {slot_name(chosen)}")


def read_old_h5ad(path: Path, subset: str) -> Stored:
    """The same for files of anndata before 0.7, which it alone knows to read."""
    adata = ad.read_h5ad(path)
    rows = kept_rows(adata.obs, subset, path)
    stored = {"X": adata.X, "layers/counts": adata.layers.get("counts")}
    if adata.raw is not None:
        stored["raw/X"] = adata.raw.X
    chosen, counts = choose_slot(path, {k: v for k, v in stored.items() if v is not None}, rows)
    var = adata.raw.var if chosen == "raw/X" else adata.var
    return Stored(counts, take(adata.obs, rows), named(var), f"h5ad {slot_name(chosen)}")


def choose_slot(
    path: Path, stored: dict[str, Any], rows: np.ndarray | None
) -> tuple[str, sp.csr_matrix]:
    """The first slot that holds raw counts, and the chosen rows of its matrix."""
    problems = []
    for name, matrix in stored.items():
        # Most matrices that are no counts show it in their first values.
        problem = problem_of(probe(matrix, rows))
        if not problem:
            counts = read_matrix(matrix, rows)
            problem = problem_of(counts.data, counts)
        if not problem:
            logger.info("%s: the counts are in %s", path, slot_name(name))
            return name, counts
        problems.append(f"in {slot_name(name)} {problem}")
    raise InputError(
        f"{path}: no raw counts in X, layers['counts'] or raw.X; "
        + ("; ".join(problems) or "it has none of these matrices")
        + "; expected whole numbers, 0 or more; store the raw counts in layers['counts']"
    )


def slot_name(name: str) -> str:
    """A slot as anndata's users write it."""
    return {"layers/counts": "layers['counts']", "raw/X": "raw.X"}.get(name, name)


def probe(stored: Any, rows: np.ndarray | None) -> np.ndarray:
    """Some of the first values of a matrix on disk or in memory; none where they are scattered."""
    if is_group(stored) or sp.issparse(stored):
        if rows is None:
            return np.asarray(data_of(stored)[:PROBE])
        return np.empty(0)
    n_rows = max(1, PROBE // max(1, stored.shape[1]))
    if rows is None:
        return np.ravel(stored[:n_rows])
    # Of a zarr array, rows by their numbers are asked for so.
    chosen = stored.oindex if hasattr(stored, "oindex") else stored
    return np.ravel(chosen[rows[:n_rows]])


def data_of(stored: Any) -> Any:
    """The non-zero values of a sparse matrix on disk or in memory."""
    return stored["data"] if is_group(stored) else stored.data


def read_matrix(stored: Any, rows: np.ndarray | None) -> sp.csr_matrix:
    """The chosen rows of a matrix as CSR; a dense one on disk is read in blocks."""
    if is_group(stored):
        matrix = read_elem(stored).tocsr()
    elif sp.issparse(stored):
        matrix = stored.tocsr()
    else:
        matrix = read_dense(lambda start, stop: stored[start:stop], stored.shape)
    return matrix if rows is None else matrix[rows]


def named(var: pd.DataFrame) -> pd.DataFrame:
    """The table with its index as the column `name`, in place of a column of that name."""
    return var.assign(name=var.index.to_numpy(object)).reset_index(drop=True)


def read_obs_h5ad(path: Path) -> pd.DataFrame:
    """The obs table of an h5ad file alone."""
    with h5py.File(path, "r") as file:
        modern = "encoding-type" in file.attrs
        if modern:
            return read_elem(file["obs"])
    return ad.read_h5ad(path, backed="r").obs


def read_obs_zarr(path: Path) -> pd.DataFrame:
    """The obs table of a zarr folder alone; see `open_zarr`."""
    return read_elem(open_zarr(path)["obs"])


def is_group(stored: Any) -> bool:
    """Whether a matrix on disk is sparse: a group of arrays, in HDF5 or zarr."""
    return isinstance(stored, h5py.Group) or hasattr(stored, "group_keys")
