"""Approximate Euclidean nearest neighbours by inverted lists.

The points are sorted into lists, each by the nearest of some centers (k-means of a sample). The
neighbours of a query are sought exactly, but only among the points of the lists around its own.
Source: Jegou, Douze, Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 2011
(section IV, the inverted file). docs/scale.md has seconds and recall. As the exact search does, it
gives the same on any number of cores.
"""

import numpy as np

from dice_atlas.numerics.exact_neighbors import nearest, require_possible

# Lists for n points: so many times the root of n.
LISTS_PER_ROOT = 2
# Lists whose points are looked at; all of few lists.
PROBES = 192
# Points of the sample for each list, rounds of k-means, and the seed of both.
SAMPLE_PER_LIST, ROUNDS, SEED = 64, 3, 0


class InvertedLists:
    """An index of points.

    Parameters
    ----------
    points : n x d, at least one.
    """

    def __init__(self, points: np.ndarray) -> None:
        self.points = points
        n = len(points)
        self.centers = centers_of(points, max(1, round(LISTS_PER_ROOT * np.sqrt(n))))
        m = len(self.centers)
        self.near, _ = nearest(self.centers, self.centers, m)
        self.members = by_list(nearest(points, self.centers, 1)[0][:, 0], m)
        self.sizes = np.array([len(rows) for rows in self.members])

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions (m x k) and distances of about the `k` nearest points of each query.

        Raises
        ------
        ValueError
            k is not between 1 and n, or the dimensions differ.
        """
        require_possible(queries, self.points, k)
        index = np.empty((len(queries), k), dtype=np.int64)
        distance = np.empty((len(queries), k))
        own = nearest(queries, self.centers, 1)[0][:, 0]
        for number, rows in enumerate(by_list(own, len(self.centers))):
            if len(rows):
                among = self.around(number, k)
                found, distance[rows] = nearest(queries[rows], self.points[among], k)
                index[rows] = among[found]
        return index, distance

    def around(self, number: int, least: int) -> np.ndarray:
        """Positions, rising, of the points of the lists around a list; `least` at the least."""
        near = self.near[number]
        enough = int(np.searchsorted(np.cumsum(self.sizes[near]), least)) + 1
        chosen = near[: max(PROBES, enough)]
        return np.sort(np.concatenate([self.members[other] for other in chosen]))


def centers_of(points: np.ndarray, number: int) -> np.ndarray:
    """Centers (number x d, float64) of some rounds of k-means on a sample of the points."""
    rng = np.random.default_rng(SEED)
    rows = rng.permutation(len(points))[: SAMPLE_PER_LIST * number]
    sample = np.asarray(points[rows], dtype=np.float64)
    centers = sample[:number]
    for _ in range(ROUNDS):
        codes = nearest(sample, centers, 1)[0][:, 0]
        sizes = np.bincount(codes, minlength=number)[:, None]
        sums = np.stack([np.bincount(codes, column, number) for column in sample.T], axis=1)
        centers = np.where(sizes > 0, sums / np.maximum(sizes, 1), centers)
    return centers


def by_list(codes: np.ndarray, number: int) -> list[np.ndarray]:
    """Positions of each list's members, rising."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.searchsorted(codes[order], np.arange(1, number)))
