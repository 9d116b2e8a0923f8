"""Euclidean nearest neighbours, with one policy for all their users.

Exact up to `EXACT_UP_TO` points, above that approximate by `InvertedLists`.
"""

import logging

import numpy as np

from dice_atlas.numerics.exact_neighbors import nearest
from dice_atlas.numerics.inverted_lists import InvertedLists

logger = logging.getLogger(__name__)

# Points up to which the search is exact.
EXACT_UP_TO = 100_000


class Neighbors:
    """Nearest neighbours among some points, for several sets of queries.

    Parameters
    ----------
    points : n x d.
    exact_up_to : more points than this get an approximate index; None: more than `EXACT_UP_TO`.

    Attributes
    ----------
    note : that neighbours are approximate, for a reader of what is made of them; else "".
    """

    def __init__(self, points: np.ndarray, exact_up_to: int | None = None) -> None:
        self.points = points
        self.index: InvertedLists | None = None
        self.note = search_note(len(points), exact_up_to)
        if self.note:
            logger.info(self.note)
            self.index = InvertedLists(points)

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions (m x k) and distances of the `k` nearest points; see `exact_neighbors.nearest`.

        Raises
        ------
        ValueError
            k is not between 1 and n, or the dimensions differ.
        """
        if self.index is None:
            return nearest(queries, self.points, k)
        return self.index.nearest(queries, k)

    def nearest_to_self(self, k: int, rows: np.ndarray | None = None) -> np.ndarray:
        """The `k` nearest points of each point, itself first even among duplicates.

        Parameters
        ----------
        k : 1 to the number of points.
        rows : positions of the m points that are asked about; None: all.

        Returns
        -------
        Positions, m x k.

        Raises
        ------
        ValueError
            k is not between 1 and the number of points.
        """
        rows = np.arange(len(self.points)) if rows is None else rows
        others, _ = self.nearest_others(k - 1, rows)
        return np.hstack([rows[:, None], others])

    def nearest_others(
        self, k: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and distances (m x k) of the `k` points nearest to each, without itself.

        Parameters
        ----------
        k : 0 to the number of points less one.
        rows : positions of the m points that are asked about; None: all.

        Raises
        ------
        ValueError
            k is not between 0 and the number of points less one.
        """
        n = len(self.points)
        if not 0 <= k < n:
            raise ValueError(f"{k} neighbours of each of {n} points: expected 0 to {n - 1}")
        rows = np.arange(n) if rows is None else rows
        index, distance = self.nearest(self.points[rows], k + 1)
        is_own = index == rows[:, None]
        # Among more than k duplicates a point may miss itself: it takes the last place.
        is_own[~is_own.any(axis=1), -1] = True
        shape = len(rows), k
        return index[~is_own].reshape(shape), distance[~is_own].reshape(shape)


def search_note(n_points: int, exact_up_to: int | None = None) -> str:
    """That neighbours among so many points are approximate, or "" (see `Neighbors`)."""
    most = EXACT_UP_TO if exact_up_to is None else exact_up_to
    return f"neighbours among {n_points:,} cells are approximate" if n_points > most else ""
