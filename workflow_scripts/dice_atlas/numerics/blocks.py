"""Rows of a matrix on disk or in memory, block by block: reading them, and appending them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse as sp
from anndata.io import sparse_dataset

BLOCK_ROWS = 2_000
# Elements of one HDF5 chunk of a sparse matrix (256 KiB before compression).
CHUNK = 1 << 16


def row_slices(n_rows: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Neighbouring rows of a matrix, at most `size` at a time."""
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def read_rows(path: str | Path, rows: slice, key: str = "X") -> sp.csr_matrix:
    """Neighbouring rows of a CSR matrix of an h5ad."""
    (block,) = read_each(path, [rows], key)
    return block


def read_each(path: str | Path, slices: Iterable[slice], key: str = "X") -> Iterator[sp.csr_matrix]:
    """Values of several stretches of rows of a CSR matrix of an h5ad, which is opened once."""
    with h5py.File(path, "r") as file:
        matrix = sparse_dataset(file[key])
        for rows in slices:
            yield sp.csr_matrix(matrix[rows])


def read_blocks(
    path: str | Path, size: int = BLOCK_ROWS, key: str = "X"
) -> Iterator[tuple[slice, sp.csr_matrix]]:
    """Rows and values of a CSR matrix of an h5ad, block by block."""
    with h5py.File(path, "r") as file:
        matrix = sparse_dataset(file[key])
        for rows in row_slices(matrix.shape[0], size):
            yield rows, sp.csr_matrix(matrix[rows])


def stack_rows(blocks: list[sp.csr_matrix]) -> sp.csr_matrix:
    """Blocks (one or more, cells x genes) one below the other, as `scipy.sparse.vstack` does.

    The list is emptied on the way, so that no value is held twice.
    """
    n_rows, n_columns = sum(block.shape[0] for block in blocks), blocks[0].shape[1]
    size = sum(block.nnz for block in blocks)
    index = np.int32 if size <= np.iinfo(np.int32).max else np.int64
    kind = np.result_type(*(block.dtype for block in blocks))
    data, indices = np.empty(size, dtype=kind), np.empty(size, dtype=index)
    indptr = np.zeros(n_rows + 1, dtype=index)
    row, start = 0, 0
    blocks.reverse()
    while blocks:
        block = blocks.pop()
        stop = start + block.nnz
        data[start:stop], indices[start:stop] = block.data, block.indices
        indptr[row + 1 : row + 1 + block.shape[0]] = start + block.indptr[1:].astype(np.int64)
        row, start = row + block.shape[0], stop
    return sp.csr_matrix((data, indices, indptr), shape=(n_rows, n_columns))


def copy_array(source: h5py.Dataset, parent: h5py.Group, key: str) -> None:
    """Copy a one-dimensional array into another open h5ad, gzipped, a few chunks at a time."""
    copied = parent.create_dataset(
        key, shape=source.shape, maxshape=(None,), dtype=source.dtype, chunks=(CHUNK,),
        compression="gzip", compression_opts=4, shuffle=True,
    )  # fmt: skip
    for part in row_slices(len(source), 16 * CHUNK):
        copied[part] = source[part]


def stored_values(path: str | Path, key: str = "X") -> int:
    """How many values a sparse matrix of an h5ad has."""
    with h5py.File(path, "r") as file:
        return len(file[key]["data"])


class SparseAppender:
    """A CSR matrix in an open h5ad that grows by blocks of rows.

    Parameters
    ----------
    parent, key : where the matrix goes; an existing one is replaced.
    n_columns : its width.
    dtype : of the values.
    n_values : numbers that will be stored, at most.
    """

    def __init__(
        self, parent: h5py.Group, key: str, n_columns: int, dtype: type, n_values: int
    ) -> None:
        if key in parent:
            del parent[key]
        self.group = parent.create_group(key)
        self.n_rows, self.n_columns, self.size = 0, n_columns, 0
        self.group.attrs["encoding-type"] = "csr_matrix"
        self.group.attrs["encoding-version"] = "0.1.0"
        # One type for both: anndata reads them as they are, and scipy's routines want equal ones.
        index = np.int32 if n_values <= np.iinfo(np.int32).max else np.int64
        for name, kind in (("data", dtype), ("indices", index), ("indptr", index)):
            self.group.create_dataset(
                name, shape=(0,), maxshape=(None,), chunks=(CHUNK,), dtype=kind,
                compression="gzip", compression_opts=4, shuffle=True,
            )  # fmt: skip
        self._extend("indptr", np.zeros(1, dtype=np.int64))

    def append(self, block: sp.csr_matrix) -> None:
        """Add rows."""
        self._extend("data", block.data)
        self._extend("indices", block.indices)
        self._extend("indptr", self.size + block.indptr[1:].astype(np.int64))
        self.size += block.nnz
        self.n_rows += block.shape[0]
        self.group.attrs["shape"] = np.array([self.n_rows, self.n_columns], dtype=np.int64)

    def _extend(self, name: str, values: np.ndarray) -> None:
        dataset = self.group[name]
        before = dataset.shape[0]
        dataset.resize((before + len(values),))
        dataset[before:] = values
