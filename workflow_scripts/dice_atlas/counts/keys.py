"""Keys that know a cell again, whatever its sample is called and its file is written in."""

import hashlib
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp


def cell_keys(counts: sp.csr_matrix, barcodes: Sequence[str]) -> list[str]:
    """16 hexadecimal digits of each cell, from its barcode and counts alone.

    Genes enter by their counts and not by their names or order, which differ between files.

    Parameters
    ----------
    counts : cells x genes.
    barcodes : of the cells.
    """
    values = counts.astype(np.float64)
    totals, found = values.sum(axis=1).A1, np.diff(values.indptr)
    squares = values.multiply(values).sum(axis=1).A1
    # Logarithms are not summed to the last digit alike in another order of genes.
    texts = [
        f"{barcode}|{total:.8g}|{n}|{square:.8g}"
        for barcode, total, n, square in zip(barcodes, totals, found, squares, strict=True)
    ]
    return [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts]
