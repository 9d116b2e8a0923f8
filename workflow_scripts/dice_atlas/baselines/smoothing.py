"""kNN smoothing: every cell becomes the mean of its nearest cells."""

import numpy as np

from dice_atlas.errors import InputError
from dice_atlas.numerics.neighbors import Neighbors


def knn_smoothing(scores: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Mean of the nearest cells' scores, the cell itself counted as the first of them.

    Parameters
    ----------
    scores : cells x components, of all cells that may be neighbours of each other.
    n_neighbors : cells of a mean, 1 to the number of cells.

    Returns
    -------
    cells x components, float64.

    Raises
    ------
    InputError
        n_neighbors out of range.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not 1 <= n_neighbors <= len(scores):
        raise InputError(
            f"kNN smoothing: {n_neighbors} neighbours, the cell itself counted; expected 1 to "
            f"the number of cells, {len(scores)}"
        )
    total = scores.copy()
    if n_neighbors > 1:
        others, _ = Neighbors(scores).nearest_others(n_neighbors - 1)
        for column in others.T:
            total += scores[column]
    return total / n_neighbors
