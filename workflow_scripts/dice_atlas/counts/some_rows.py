"""Some rows of a matrix on disk, without the others: for a look at a file, and for a subset."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from dice_atlas.counts.dense import native

# Index pointer, data, indices, wanted rows, shape -> CSR of these rows.
SomeRows = Callable[[np.ndarray, Any, Any, np.ndarray, tuple[int, int]], sp.csr_matrix]

BLOCK = 1 << 22  # values read at once
GAP = 1 << 16  # values between wanted rows that are not read for one less call
RUNS = 4  # places of a file that a look goes to


def spread_rows(n: int, most: int | None) -> np.ndarray | None:
    """Positions of at most about `most` of n rows, in runs spread over all; None: all of them."""
    if most is None or n <= most:
        return None
    length = max(1, most // RUNS)
    starts = np.linspace(0, n - length, RUNS).astype(int)
    return np.unique((starts[:, None] + np.arange(length)).ravel())


def rows_to_read(
    n: int, wanted: np.ndarray | None, most: int | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Which rows of a file are read, and their positions among the wanted ones; None: all of them.

    Parameters
    ----------
    n : rows of the file.
    wanted : positions of the wanted rows; None for all.
    most : see `spread_rows`.
    """
    few = spread_rows(n if wanted is None else len(wanted), most)
    if few is None:
        return wanted, None
    return few if wanted is None else wanted[few], few


def runs_of(rows: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of each run of rising positions without a gap."""
    parts = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]


def some_dense(read: Callable[[int, int], np.ndarray], rows: np.ndarray) -> sp.csr_matrix:
    """CSR of some rows of a dense matrix, of which `read(start, stop)` reads rows."""
    return sp.vstack([sp.csr_matrix(native(read(*run))) for run in runs_of(rows)], format="csr")


def some_sparse(
    starts: np.ndarray, values: Any, columns: Any, rows: np.ndarray, shape: tuple[int, int]
) -> sp.csr_matrix:
    """Some rows of a CSR matrix on disk, of which no more than a block is held beside them.

    A sample may be a few cells of a file of millions.

    Parameters
    ----------
    starts : index pointer, in memory.
    values, columns : data and indices, on disk.
    rows : positions of the wanted rows, rising.
    shape : of the whole matrix.

    Raises
    ------
    ValueError
        A matrix whose indices are not in order or out of range: it would crash later.
    """
    require_pointer(starts, values, columns, shape[0])
    # Rows whose values begin in the same block of values, with few others between them.
    apart = np.diff(starts[rows] // BLOCK).astype(bool)
    apart |= starts[rows[1:]] - starts[rows[:-1] + 1] > GAP
    found = []
    for part in np.split(rows, np.flatnonzero(apart) + 1):
        if not len(part):
            continue
        first, last = part[0], part[-1] + 1
        cut = slice(int(starts[first]), int(starts[last]))
        block = sp.csr_matrix(
            (values[cut], columns[cut], starts[first : last + 1] - starts[first]),
            shape=(last - first, shape[1]),
        )
        block.check_format(full_check=True)
        found.append(native(block)[part - first])
    return sp.vstack(found, format="csr") if found else sp.csr_matrix((0, shape[1]), dtype=int)


def some_of_columns(
    starts: np.ndarray, values: Any, indices: Any, rows: np.ndarray, shape: tuple[int, int]
) -> sp.csr_matrix:
    """Some rows of a CSC matrix on disk: all of it is read, a block of columns at a time.

    Parameters
    ----------
    starts : index pointer, in memory.
    values, indices : data and rows, on disk.
    rows : positions of the wanted rows, rising.
    shape : of the whole matrix, rows x columns.

    Raises
    ------
    ValueError
        See `some_sparse`.
    """
    require_pointer(starts, values, indices, shape[1])
    parts = []
    for columns in column_slices(starts):
        cut = slice(int(starts[columns.start]), int(starts[columns.stop]))
        own = starts[columns.start : columns.stop + 1] - cut.start
        width = columns.stop - columns.start
        block = sp.csc_matrix((native(values[cut]), indices[cut], own), shape=(shape[0], width))
        block.check_format(full_check=True)
        parts.append(block.tocsr()[rows])
    return sp.hstack(parts, format="csr") if parts else sp.csr_matrix((len(rows), 0), dtype=int)


def column_slices(starts: np.ndarray) -> Iterator[slice]:
    """Neighbouring columns of a CSC matrix with a block of values at the most, or one column."""
    first, n = 0, len(starts) - 1
    while first < n:
        most = int(np.searchsorted(starts, starts[first] + BLOCK, side="right")) - 1
        last = min(n, max(first + 1, most))
        yield slice(first, last)
        first = last


def require_pointer(starts: np.ndarray, values: Any, indices: Any, n: int) -> None:
    """Say what is wrong with the index pointer of a sparse matrix of n rows (CSR) or columns (CSC).

    Raises
    ------
    ValueError
        It does not fit.
    """
    if len(starts) != n + 1 or starts[0] != 0 or (np.diff(starts) < 0).any():
        raise ValueError("index pointer of a sparse matrix must rise from 0")
    if not starts[-1] == values.shape[0] == indices.shape[0]:
        raise ValueError("indices, data and index pointer of a sparse matrix differ in length")
