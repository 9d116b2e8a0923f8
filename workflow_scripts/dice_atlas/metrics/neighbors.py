"""Exact nearest neighbours of cells in an embedding, without the cell itself."""

import numpy as np
from sklearn.neighbors import NearestNeighbors


def nearest_neighbors(embedding: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances and row numbers of the nearest other cells, nearest first.

    Parameters
    ----------
    embedding : cells x k.
    n_neighbors : neighbours of a cell, itself not counted; less than the number of cells.

    Returns
    -------
    distances, indices : ndarray
        Each cells x n_neighbors.
    """
    embedding = np.asarray(embedding, dtype=np.float64)
    if not 0 < n_neighbors < len(embedding):
        raise ValueError(
            f"{n_neighbors} neighbours of each of {len(embedding)} cells: expected 1 to "
            f"{len(embedding) - 1}"
        )
    # Without a query, scikit-learn leaves the cell itself out.
    index = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(embedding)
    return index.kneighbors()
