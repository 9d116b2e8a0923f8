"""Integer counts of new cells from rates, each cell by its own random numbers."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

# Tells these draws from those of the latents, which have the same seed.
STREAM, OTHER_STREAM = 2, 3


def cell_generator(seed: int, cell: int, stream: int = STREAM) -> np.random.Generator:
    """Random numbers of one cell, by Philox (Salmon et al. 2011): the same on any shard."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, 0, cell]))


def draw_counts(
    proportions: np.ndarray,
    theta: np.ndarray,
    libraries: np.ndarray,
    cells: Sequence[int] | np.ndarray,
    seed: int,
    stream: int = STREAM,
) -> sp.csr_matrix:
    """Counts whose sum over the columns is the library, exactly.

    Rates ~ Gamma(theta, proportion / theta), divided by their sum; then a multinomial: counts are
    overdispersed as the model says, and no library is lost to chance.

    Parameters
    ----------
    proportions : (m, g), sum 1.
    theta : (g,) inverse dispersion.
    libraries : (m,) counts of each cell, rounded.
    cells : (m,) numbers of the cells.
    stream : of the random numbers; another one for other genes of the same cells.

    Returns
    -------
    (m, g) int32 CSR.
    """
    n_columns = proportions.shape[1]
    sizes = np.rint(libraries).astype(np.int64)
    indices, data, lengths = [], [], []
    for row, cell in enumerate(cells):
        generator = cell_generator(seed, int(cell), stream)
        rates = generator.standard_gamma(theta) * (proportions[row] / theta)
        edges = np.cumsum(rates)
        # By inversion: as many numbers as counts, which are fewer than genes or not many more.
        place = np.searchsorted(edges, generator.random(sizes[row]) * edges[-1], side="right")
        found, n = np.unique(np.minimum(place, n_columns - 1), return_counts=True)
        indices.append(found)
        data.append(n)
        lengths.append(len(found))
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return sp.csr_matrix(
        (
            np.concatenate(data).astype(np.int32) if data else np.empty(0, np.int32),
            np.concatenate(indices).astype(np.int32) if indices else np.empty(0, np.int32),
            indptr,
        ),
        shape=(len(sizes), n_columns),
    )
