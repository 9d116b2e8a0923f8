"""MAGIC: diffusion over the graph of nearest cells.

van Dijk et al., "Recovering gene interactions from single-cell data using data diffusion",
Cell 174, 716 (2018); defaults and details of magic-impute 3.0.0 and graphtools.
"""

import numpy as np
import scipy.sparse as sp

from dice_atlas.errors import InputError
from dice_atlas.numerics.neighbors import Neighbors

# graphtools drops smaller affinities.
LEAST_AFFINITY = 1e-4


def magic(scores: np.ndarray, knn: int = 5, decay: float = 1.0, t: int = 3) -> np.ndarray:
    """Scores after t steps of diffusion.

    Parameters
    ----------
    scores : cells x components, of all cells; at most 100 components, of which magic-impute
        measures distances as they are (of more it takes their first 100 principal components).
    knn, decay, t : see `diffusion_operator`; number of steps.

    Returns
    -------
    cells x components, float64.

    Raises
    ------
    InputError
        Too few cells, or more than 100 components.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape[1] > 100:
        raise InputError(
            f"MAGIC: {scores.shape[1]} components; at most 100 principal components were expected"
        )
    operator = diffusion_operator(scores, knn, decay)
    for _ in range(t):
        scores = operator @ scores
    return scores


def diffusion_operator(scores: np.ndarray, knn: int = 5, decay: float = 1.0) -> sp.csr_matrix:
    """Chances of a step from each cell to the others (cells x cells, rows sum to 1).

    The affinity exp(-(d / b)^decay) of each cell's 3 knn nearest others, where b is the distance
    to the knn-th, and 1 of the cell itself; the mean of both directions; each row divided by
    its sum.

    Parameters
    ----------
    scores : cells x components.
    knn : neighbour whose distance is the bandwidth.
    decay : exponent of the kernel.

    Raises
    ------
    InputError
        Fewer than knn + 2 cells.
    """
    n = len(scores)
    if n < knn + 2:
        raise InputError(f"MAGIC: {n} cells; at least {knn + 2} are needed for {knn} neighbours")
    others, distances = Neighbors(scores).nearest_others(min(3 * knn, n - 1))
    # Cells with knn or more duplicates would divide by 0.
    bandwidth = np.maximum(distances[:, [knn - 1]], np.finfo(np.float64).eps)
    affinities = np.exp(-((distances / bandwidth) ** decay))
    affinities[affinities < LEAST_AFFINITY] = 0.0
    rows = np.repeat(np.arange(n), others.shape[1])
    kernel = sp.csr_matrix((affinities.ravel(), (rows, others.ravel())), (n, n)) + sp.eye(n)
    kernel = (kernel + kernel.T) / 2
    return sp.csr_matrix(sp.diags(1 / np.asarray(kernel.sum(axis=1)).ravel()) @ kernel)
