"""Dense matrices on disk, read in blocks into sparse ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from dice_atlas.numerics.blocks import row_slices

BLOCK = 20_000_000  # values of a dense matrix in memory at once


def read_dense(rows: Callable[[int, int], np.ndarray], shape: tuple[int, int]) -> sp.csr_matrix:
    """CSR of a dense matrix on disk, of which `rows(start, stop)` reads some rows."""
    step = max(1, BLOCK // max(1, shape[1]))
    blocks = [
        sp.csr_matrix(native(rows(part.start, part.stop))) for part in row_slices(shape[0], step)
    ]
    return sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix(shape, dtype=np.int32)


def native(values: Any) -> Any:
    """The values in a type that scipy computes with: no half precision, no foreign byte order.

    Parameters
    ----------
    values : an array or a sparse matrix.
    """
    dtype = values.dtype.newbyteorder("=")
    return values.astype(np.float32 if dtype == np.float16 else dtype, copy=False)
