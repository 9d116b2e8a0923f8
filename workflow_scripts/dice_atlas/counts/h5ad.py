"""Readers of anndata's and mudata's own files: h5ad, zarr, h5mu."""

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import read_elem

from dice_atlas.counts.dense import read_dense
from dice_atlas.counts.features import OTHER_TYPES, TYPE_COLUMNS, normal, with_types_of
from dice_atlas.counts.genes import ID_COLUMNS, SYMBOL_COLUMNS, with_names_of
from dice_atlas.counts.hdf5 import open_hdf5
from dice_atlas.counts.slots import Slot, choose_slot, require_slot
from dice_atlas.counts.some_rows import (
    SomeRows,
    rows_to_read,
    some_dense,
    some_of_columns,
    some_sparse,
)
from dice_atlas.counts.stored import Stored, Wanted
from dice_atlas.counts.subset import kept_rows, take
from dice_atlas.errors import InputError
from dice_atlas.numerics.blocks import row_slices

logger = logging.getLogger(__name__)

PROBE = 200_000  # values looked at before a matrix is read as a whole
BLOCK = 1 << 22  # values summed or read at once
# How some rows are read, by anndata's name of the encoding.
SOME_OF: dict[str, SomeRows] = {"csr_matrix": some_sparse, "csc_matrix": some_of_columns}
# Layers that hold the counts by their name; those of other names may hold anything.
COUNT_LAYERS = re.compile(r"counts?|umis?|^raw$")
# ... unless they say what was done to them.
CHANGED = re.compile(
    r"norm|log|scale|cpm|tpm|fpkm|bin|rank|size|correct|imput|smooth|denois|spliced|ambig|"
    r"(^|_)n_?counts?$"
)
# Names of the modality that is gene expression.
MODALITIES = ("rna", "gex", "gene expression", "gene_expression", "expression", "scrna")


def is_h5ad(path: Path) -> bool:
    """Whether an HDF5 file is anndata's, by its groups."""
    return has_members(path, {"obs", "var"})


def is_h5mu(path: Path) -> bool:
    """Whether an HDF5 file is mudata's, by its groups."""
    return has_members(path, {"mod"})


def has_members(path: Path, names: set[str]) -> bool:
    """Whether an HDF5 file has all of these at its top."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return names <= set(file)


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group (version 2 or 3)."""
    return path.is_dir() and any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def read_h5ad(path: Path, wanted: Wanted) -> Stored:
    """The counts of an h5ad file of any version of anndata; see `read_group`.

    Raises
    ------
    InputError
        See `slots.choose_slot`, `hdf5.open_hdf5` and `subset.keep_mask`.
    """
    with open_hdf5(path) as file:
        if "encoding-type" in file.attrs:
            return read_group(file, path, wanted, "h5ad")
    # Files of anndata before 0.7, which it alone knows to read.
    return read_loaded(ad.read_h5ad(path), path, wanted)


def read_zarr(path: Path, wanted: Wanted) -> Stored:
    """The counts of a zarr folder; see `read_group`.

    Raises
    ------
    InputError
        The folder is none that anndata wrote, or see `read_h5ad`.
    """
    return read_group(open_zarr(path), path, wanted, "zarr")


def read_h5mu(path: Path, wanted: Wanted) -> Stored:
    """The counts of the gene expression in an h5mu file; see `read_group`.

    Raises
    ------
    InputError
        No modality is gene expression, or see `read_h5ad`.
    """
    with open_modality(path) as (file, group):
        return read_group(group, path, wanted, f"h5mu {group.name}", shared=file["obs"])


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
    for name in ("X", "raw/X", "layers"):
        if name in group:
            require_chunks(group[name], path)
    return group


def require_chunks(stored: Any, path: Path) -> None:
    """Refuse a sparse matrix of which files are missing, which zarr would read as zeros.

    Of a dense one, blocks of zeros need not be there: it is said how many are not.

    Raises
    ------
    InputError
        A file of a sparse matrix is missing.
    """
    if is_group(stored):
        # Where the rows begin is 0 throughout in a matrix of zeros.
        empty = "indptr" in stored and not stored["indices"].size
        for name in stored:
            if not (empty and name == "indptr"):
                require_chunks(stored[name], path)
        return
    missing, n_blocks = missing_blocks(stored)
    if not missing or not stored.size:
        return
    said = f"{path}: {missing} of {n_blocks} blocks of {stored.name} are not there"
    if stored.ndim == 1:
        raise InputError(f"{said}, expected all of them; the folder is not whole: copy it again")
    logger.warning("%s and are taken as zeros; is the folder whole?", said)


def missing_blocks(stored: Any) -> tuple[int, int]:
    """Files of a zarr array that are not there, and how many there should be.

    zarr counts the chunks in a shard; what is on disk is the shard.
    """
    shards = getattr(stored, "shards", None)
    if shards is None:
        return stored.nchunks - stored.nchunks_initialized, stored.nchunks
    size = int(np.prod([s // c for s, c in zip(shards, stored.chunks, strict=True)]))
    n_shards = int(np.prod([-(-n // s) for n, s in zip(stored.shape, shards, strict=True)]))
    return n_shards - stored.nchunks_initialized // size, n_shards


@contextmanager
def open_modality(path: Path) -> Iterator[tuple[h5py.File, h5py.Group]]:
    """An h5mu file and its modality that is gene expression.

    Raises
    ------
    InputError
        No modality has one of the `MODALITIES` names, and it is not the only one.
    """
    with open_hdf5(path) as file:
        names = list(file["mod"])
        named = [name for name in names if name.lower() in MODALITIES]
        other = [name for name in names if OTHER_TYPES.search(normal(name))]
        if len(named or names) != 1 or (other and not named):
            raise InputError(
                f"{path}: holds the modalities {', '.join(names) or '(none)'}, expected one that "
                "is called rna; write it as an h5ad of its own, or rename it"
            )
        yield file, file["mod"][(named or names)[0]]


def read_group(group: Any, path: Path, wanted: Wanted, kind: str, shared: Any = None) -> Stored:
    """The counts of an open h5py or zarr group that anndata wrote.

    They are searched in X, raw.X and all layers (`slots.choose_slot`).

    Parameters
    ----------
    group : with obs, var and matrices.
    path, wanted : of the sample.
    kind : of the file, for messages.
    shared : obs of an h5mu, where columns are looked for that the modality lacks.
    """
    obs = cell_table(group["obs"], wanted.columns, shared)
    rows = kept_rows(obs, wanted.subset, path)
    var = frame(group["var"], NAMING)
    raw_var = frame(group["raw/var"], NAMING) if "raw/var" in group else None
    stored = {"X": group["X"]} if "X" in group else {}
    if raw_var is not None and "raw/X" in group:
        stored["raw.X"] = group["raw/X"]
    layers = group.get("layers", {})
    # A link that points nowhere has a name and no value.
    found = {name: layers.get(name) for name in layers}
    stored |= {f"layers[{name!r}]": layer for name, layer in found.items() if layer is not None}
    return finish(stored, obs, var, raw_var, rows, path, wanted, kind)


def read_loaded(adata: ad.AnnData, path: Path, wanted: Wanted) -> Stored:
    """The same of a file that anndata has read."""
    obs, var = decoded_table(adata.obs), decoded_table(adata.var)
    rows = kept_rows(obs, wanted.subset, path)
    stored = {"X": adata.X} if adata.X is not None else {}
    if adata.raw is not None:
        stored["raw.X"] = adata.raw.X
    stored |= {f"layers[{name!r}]": adata.layers[name] for name in adata.layers}
    raw_var = None if adata.raw is None else decoded_table(adata.raw.var)
    return finish(stored, obs, var, raw_var, rows, path, wanted, "h5ad")


def finish(
    stored: Mapping[str, Any],
    obs: pd.DataFrame,
    var: pd.DataFrame,
    raw_var: pd.DataFrame | None,
    rows: np.ndarray | None,
    path: Path,
    wanted: Wanted,
    kind: str,
) -> Stored:
    """The chosen matrix with the names of its cells and genes.

    Parameters
    ----------
    stored : matrices by slot, on disk or in memory.
    obs, var, raw_var : of the file; raw_var belongs to raw.X alone.
    rows : of the wanted cells; None for all.
    path, wanted, kind : see `read_group`.
    """
    tables = {"raw.X": raw_var}
    read, few = rows_to_read(len(obs), rows, wanted.most)
    slots = []
    for name, matrix in stored.items():
        table = tables.get(name, var)
        assert table is not None
        slots.append(slot_of(name, matrix, (len(obs), len(table)), read, few is not None))
    slots = require_slot(slots, wanted.slot, path)
    slot, counts, decided = choose_slot(slots, path, wanted.check)
    own, other = (raw_var, var) if slot.name == "raw.X" else (var, raw_var)
    assert own is not None
    genes = with_types_of(with_names_of(own, other), other)
    named = genes.assign(name=genes.index.to_numpy(object)).reset_index(drop=True)
    return Stored(counts, take(obs, rows), named, f"{kind} {slot.name}", decided, few)


def slot_of(
    name: str, matrix: Any, shape: tuple[int, int], rows: np.ndarray | None, few: bool = False
) -> Slot:
    """A matrix on disk or in memory, not read yet.

    Parameters
    ----------
    name : as users write it.
    shape : cells and genes that the file's tables name.
    rows : that are read; None for all.
    few : whether nothing beside them may be read.
    """
    seen = shape_of(matrix)
    fault = ""
    if seen != shape:
        size = " x ".join(map(str, seen)) or "a single value"
        fault = f"is of size {size}, the tables name {shape[0]} cells x {shape[1]} genes"
    layer = name.removeprefix("layers['").removesuffix("']").lower()
    named = bool(COUNT_LAYERS.search(layer)) and not CHANGED.search(layer) and layer != name.lower()
    usual = named or name in ("X", "raw.X")

    def read() -> sp.csr_matrix:
        return read_few(matrix, rows) if few and rows is not None else read_matrix(matrix, rows)

    return Slot(
        name, shape[1], usual, named, fault, lambda: probe(matrix, rows),
        lambda: float(read().sum()) if few else total(matrix), read,
    )  # fmt: skip


def shape_of(stored: Any) -> tuple[int, ...]:
    """The shape of a matrix on disk or in memory."""
    found = stored.attrs.get("shape", ()) if is_group(stored) else getattr(stored, "shape", ())
    return tuple(int(size) for size in found)


def probe(stored: Any, rows: np.ndarray | None) -> np.ndarray:
    """Some of the first values of a matrix on disk or in memory; none where they are scattered."""
    if is_group(stored) or sp.issparse(stored):
        if rows is None:
            return np.asarray(data_of(stored)[:PROBE])
        return np.empty(0, dtype=data_of(stored).dtype)
    n_rows = max(1, PROBE // max(1, stored.shape[1]))
    if rows is None:
        return np.ravel(stored[:n_rows])
    # Of a zarr array, rows by their numbers are asked for so.
    chosen = stored.oindex if hasattr(stored, "oindex") else stored
    return np.ravel(chosen[rows[:n_rows]])


def total(stored: Any) -> float:
    """The sum of a matrix on disk or in memory, of all its cells."""
    values = data_of(stored) if is_group(stored) or sp.issparse(stored) else stored
    width = int(np.prod(values.shape[1:], dtype=np.int64)) or 1
    parts = row_slices(values.shape[0], max(1, BLOCK // width))
    return float(sum(np.asarray(values[part]).sum(dtype=np.float64) for part in parts))


def data_of(stored: Any) -> Any:
    """The non-zero values of a sparse matrix on disk or in memory."""
    return stored["data"] if is_group(stored) else stored.data


def read_matrix(stored: Any, rows: np.ndarray | None) -> sp.csr_matrix:
    """The chosen rows of a matrix as CSR; a dense one on disk is read in blocks.

    Raises
    ------
    ValueError
        A sparse matrix whose indices are not in order or out of range: it would crash later.
    """
    kind = stored.attrs.get("encoding-type") if is_group(stored) else None
    if rows is not None and kind in SOME_OF:
        return read_chosen(stored, rows, SOME_OF[kind])
    if is_group(stored) or sp.issparse(stored):
        matrix = read_elem(stored) if is_group(stored) else stored
        matrix.check_format(full_check=True)
        matrix = matrix.tocsr()
    else:
        matrix = read_dense(lambda start, stop: stored[start:stop], stored.shape)
    return matrix if rows is None else matrix[rows]


def read_chosen(stored: Any, rows: np.ndarray, some: SomeRows) -> sp.csr_matrix:
    """Some rows (positions, rising) of a sparse group of an h5ad or a zarr, by one of `SOME_OF`."""
    n_rows, n_columns = shape_of(stored)
    starts, values, indices = stored["indptr"][:], stored["data"], stored["indices"]
    return some(starts, values, indices, rows, (n_rows, n_columns))


def read_few(stored: Any, rows: np.ndarray) -> sp.csr_matrix:
    """A few rows of a matrix; of a dense one on disk they alone are read, as of a sparse one."""
    if is_group(stored) or sp.issparse(stored):
        return read_matrix(stored, rows)
    return some_dense(lambda start, stop: stored[start:stop], rows)


NAMING = frozenset((*ID_COLUMNS, *SYMBOL_COLUMNS, *TYPE_COLUMNS))


def frame(group: Any, columns: Collection[str] | None) -> pd.DataFrame:
    """A stored data frame, of which only these columns (in any case) are read; None: all.

    A column that nobody needs may be of a kind that nobody can read. `attrs["columns"]` names all.
    """
    if not is_group(group) or "_index" not in group.attrs:
        return decoded_table(read_elem(group))
    available = [str(name) for name in group.attrs.get("column-order", ())]
    kept = [name for name in available if columns is None or name.lower() in columns]
    index = decoded(read_elem(group[group.attrs["_index"]]))
    table = pd.DataFrame({name: column(group, name) for name in kept}, index=pd.Index(index))
    table.attrs["columns"] = available
    return table


def column(group: Any, name: str) -> Any:
    """A column of a stored data frame, text as text.

    anndata before 0.8 kept the categories of a column beside it, and named them in its attributes.
    """
    stored = group[name]
    check_blocks(stored)
    values = decoded(read_elem(stored))
    if is_group(stored) or "categories" not in stored.attrs:
        return values
    categories = decoded(read_elem(group[stored.attrs["categories"]]))
    return pd.Categorical.from_codes(values, categories)


def check_blocks(stored: Any) -> None:
    """Say which blocks of a zarr column are not there, which zarr reads as zeros.

    zarr leaves out blocks of zeros, so that a column of one category has no codes on disk.

    Raises
    ------
    InputError
        Names or all codes of several categories are missing.
    """
    if is_group(stored):
        n_categories = stored["categories"].size if "categories" in stored else 0
        for name in stored:
            if name != "codes" or n_categories > 1:
                check_blocks(stored[name])
        return
    if not hasattr(stored, "nchunks_initialized") or not stored.size:
        return
    missing, n_blocks = missing_blocks(stored)
    if not missing:
        return
    said = f"{missing} of {n_blocks} blocks of {stored.name} are not there"
    if stored.name.endswith("/categories") or (
        missing == n_blocks and stored.name.endswith("/codes")
    ):
        raise InputError(
            f"{said}, expected all of them; the folder is not whole: copy it again (or, if all "
            "cells are of the first category, remove the unused ones)"
        )
    if stored.name.endswith("/codes") or missing < n_blocks:
        logger.warning("%s and are taken as zeros; is the folder whole?", said)


def decoded(values: Any) -> Any:
    """Text that is stored as bytes (fixed-length strings of HDF5), as text."""
    if isinstance(values, pd.Categorical):
        return values.rename_categories(decoded(values.categories.to_numpy()))
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if kind == "S":
        return np.char.decode(values, "utf-8").astype(object)
    if kind == "O" and any(isinstance(value, bytes) for value in values):
        plain = [v.decode("utf-8") if isinstance(v, bytes) else v for v in values]
        return np.array(plain, dtype=object)
    return values


def decoded_table(table: pd.DataFrame) -> pd.DataFrame:
    """A data frame with text as text; see `decoded`."""
    columns = {name: decoded(table[name].array) for name in table}
    index = pd.Index(decoded(table.index.to_numpy()), name=table.index.name)
    return pd.DataFrame(columns, index=index)


def cell_table(group: Any, columns: Collection[str] | None, shared: Any = None) -> pd.DataFrame:
    """obs with these columns; of an h5mu, with those of its shared obs that the modality lacks."""
    wanted = None if columns is None else {name.lower() for name in columns}
    own = frame(group, wanted)
    if shared is None:
        return own
    further = frame(shared, wanted).reindex(own.index)
    missing = [name for name in further if name not in own]
    joined = own.join(further[missing])
    joined.attrs["columns"] = [*own.attrs["columns"], *missing]
    return joined


def read_obs_h5ad(path: Path, columns: Collection[str] | None) -> pd.DataFrame:
    """The obs table of an h5ad file alone."""
    with open_hdf5(path) as file:
        if "encoding-type" in file.attrs:
            return cell_table(file["obs"], columns)
    return decoded_table(ad.read_h5ad(path, backed="r").obs)


def read_obs_zarr(path: Path, columns: Collection[str] | None) -> pd.DataFrame:
    """The obs table of a zarr folder alone; see `open_zarr`."""
    return cell_table(open_zarr(path)["obs"], columns)


def read_obs_h5mu(path: Path, columns: Collection[str] | None) -> pd.DataFrame:
    """The obs table of the gene expression of an h5mu file alone; see `open_modality`."""
    with open_modality(path) as (file, group):
        return cell_table(group["obs"], columns, file["obs"])


def is_group(stored: Any) -> bool:
    """Whether something on disk is a group of arrays, in HDF5 or zarr."""
    return isinstance(stored, h5py.Group) or hasattr(stored, "group_keys")
