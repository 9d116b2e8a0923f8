"""Keys that know a cell again, whatever its sample is called and its file is written in."""

import hashlib
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

# The share of counts of 1, 2 and 3 tells the cells of one barcode apart.
LEVELS = 3


def cell_keys(counts: sp.csr_matrix, barcodes: Sequence[str]) -> list[str]:
    """16 hexadecimal digits of each cell, from its barcode and the order of its values alone.

    Genes enter without their names and order, which differ between files, and values by their
    order: the counts of a cell and their logarithms have one key.

    Parameters
    ----------
    counts : cells x genes, counts or values that rise with them.
    barcodes : of the cells.
    """
    left = counts.tocsr(copy=True)
    left.eliminate_zeros()
    parts = [np.diff(left.indptr)]
    for _ in range(LEVELS):
        parts.append(drop_least(left))
    texts = (
        "|".join(map(str, (barcode, *numbers)))
        for barcode, *numbers in zip(barcodes, *parts, strict=True)
    )
    return [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts]


def drop_least(values: sp.csr_matrix) -> np.ndarray:
    """Remove the smallest value of each row, wherever it stands; how often each row had it."""
    stored = np.diff(values.indptr)
    filled = stored > 0
    found = np.zeros(len(stored), dtype=np.int64)
    if filled.any():
        starts = values.indptr[:-1][filled]
        least = np.minimum.reduceat(values.data, starts)
        of_row = values.data == np.repeat(least, stored[filled])
        found[filled] = np.add.reduceat(of_row, starts, dtype=np.int64)
        values.data[of_row] = 0
        values.eliminate_zeros()
    return found
