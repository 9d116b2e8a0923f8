"""Readers of h5ad and loom files; only the one matrix that is raw counts is read."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import read_elem

from dice_atlas.counts.check import problem_of
from dice_atlas.counts.subset import keep_mask
from dice_atlas.errors import InputError
from dice_atlas.numerics.blocks import row_slices

logger = logging.getLogger(__name__)

Counts = tuple[sp.csr_matrix, pd.DataFrame, pd.DataFrame, str]
SLOTS = ("X", "layers/counts", "raw/X")
PROBE = 200_000  # values looked at before a matrix is read as a whole
BLOCK = 20_000_000  # values of a dense matrix in memory at once
CELL_NAMES = ("CellID", "cell_id", "obs_names", "barcode", "barcodes", "cell_names")
GENE_NAMES = ("Gene", "gene", "gene_names", "gene_name", "var_names", "Symbol", "GeneName")


def read_h5ad(path: Path, subset: str) -> Counts:
    """Counts (cells x genes), obs, var and format of an h5ad file.

    The counts are the first of `X`, `layers['counts']` and `raw.X` that is raw in the cells of
    the subset.
    """
    with h5py.File(path, "r") as file:
        if "encoding-type" not in file.attrs:
            return read_old_h5ad(path, subset)
        obs = read_elem(file["obs"])
        rows = kept_rows(obs, subset, path)
        stored = {name: file[name] for name in SLOTS if name in file}
        chosen, counts = choose_slot(path, stored, rows)
        var = read_elem(file["raw/var" if chosen == "raw/X" else "var"])
    return counts, take(obs, rows), named(var), f"h5ad {slot_name(chosen)}"


def read_old_h5ad(path: Path, subset: str) -> Counts:
    """The same for files of anndata before 0.7, which it alone knows to read."""
    adata = ad.read_h5ad(path)
    rows = kept_rows(adata.obs, subset, path)
    stored = {"X": adata.X, "layers/counts": adata.layers.get("counts")}
    if adata.raw is not None:
        stored["raw/X"] = adata.raw.X
    chosen, counts = choose_slot(path, {k: v for k, v in stored.items() if v is not None}, rows)
    var = adata.raw.var if chosen == "raw/X" else adata.var
    return counts, take(adata.obs, rows), named(var), f"h5ad {slot_name(chosen)}"


def kept_rows(obs: pd.DataFrame, subset: str, path: Path) -> np.ndarray | None:
    """Positions of the subset's cells; None for all cells."""
    return np.flatnonzero(keep_mask(obs, subset, str(path))) if subset else None


def take(obs: pd.DataFrame, rows: np.ndarray | None) -> pd.DataFrame:
    return obs if rows is None else obs.iloc[rows]


def choose_slot(
    path: Path, stored: dict[str, Any], rows: np.ndarray | None
) -> tuple[str, sp.csr_matrix]:
    """The first slot that holds raw counts, and its wanted rows."""
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
    return {"layers/counts": "layers['counts']", "raw/X": "raw.X"}.get(name, name)


def probe(stored: Any, rows: np.ndarray | None) -> np.ndarray:
    """Some of the first values of a matrix on disk or in memory; none where they are scattered."""
    if is_sparse(stored):
        if rows is None:
            return np.asarray(data_of(stored)[:PROBE])
        return np.empty(0)
    n_rows = max(1, PROBE // max(1, stored.shape[1]))
    return np.ravel(stored[:n_rows] if rows is None else stored[rows[:n_rows]])


def is_sparse(stored: Any) -> bool:
    return isinstance(stored, h5py.Group) or sp.issparse(stored)


def data_of(stored: Any) -> Any:
    return stored["data"] if isinstance(stored, h5py.Group) else stored.data


def read_matrix(stored: Any, rows: np.ndarray | None) -> sp.csr_matrix:
    """The wanted rows of a matrix as CSR; a dense one on disk is read in blocks."""
    if isinstance(stored, h5py.Group):
        matrix = read_elem(stored).tocsr()
    elif sp.issparse(stored):
        matrix = stored.tocsr()
    else:
        matrix = read_dense(lambda start, stop: stored[start:stop], stored.shape)
    return matrix if rows is None else matrix[rows]


def read_dense(rows: Callable[[int, int], np.ndarray], shape: tuple[int, int]) -> sp.csr_matrix:
    """CSR of a dense matrix on disk, of which `rows(start, stop)` reads some rows."""
    step = max(1, BLOCK // max(1, shape[1]))
    blocks = [sp.csr_matrix(rows(part.start, part.stop)) for part in row_slices(shape[0], step)]
    return sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix(shape, dtype=np.int32)


def named(var: pd.DataFrame) -> pd.DataFrame:
    """The table with its index as the column `name`, in place of a column of that name."""
    return var.assign(name=var.index.to_numpy(object)).reset_index(drop=True)


def read_loom(path: Path, subset: str) -> Counts:
    """Counts (cells x genes), obs, var and format of a loom file (its main matrix)."""
    with h5py.File(path, "r") as file:
        matrix, obs = file["matrix"], loom_obs(file, path)
        rows = kept_rows(obs, subset, path)
        var = attributes(file["row_attrs"])
        name = first_of(GENE_NAMES, var, f"{path}, row attributes")
        # Stored as genes x cells: a block of columns holds whole cells.
        counts = read_dense(lambda start, stop: matrix[:, start:stop].T, matrix.shape[::-1])
    counts = counts if rows is None else counts[rows]
    return counts, take(obs, rows), var.assign(name=var[name]), "loom"


def loom_obs(file: h5py.File, path: Path) -> pd.DataFrame:
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


def first_of(wanted: tuple[str, ...], frame: pd.DataFrame, where: str) -> str:
    for name in wanted:
        if name in frame:
            return name
    raise InputError(
        f"{where}: none of {', '.join(wanted)}; seen: {', '.join(frame.columns) or 'nothing'}; "
        f"store the names as {wanted[0]}"
    )


def read_obs_h5ad(path: Path) -> pd.DataFrame:
    """The obs table of an h5ad file alone."""
    with h5py.File(path, "r") as file:
        modern = "encoding-type" in file.attrs
        if modern:
            return read_elem(file["obs"])
    return ad.read_h5ad(path, backed="r").obs


def read_obs_loom(path: Path) -> pd.DataFrame:
    """The column attributes of a loom file alone."""
    with h5py.File(path, "r") as file:
        return loom_obs(file, path)
