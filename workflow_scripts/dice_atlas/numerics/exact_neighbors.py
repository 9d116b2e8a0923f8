"""Exact Euclidean nearest neighbours, by blocked brute force.

Ties go to the lower index. Blocks of squared distances come from float32 matrix products. Whatever
their rounding could have put on either side of the k-th distance is measured again in float64, so
the result is that of float64 throughout and does not depend on the blocks.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

# Values of one block of distances (float32: 16 MiB) and of one block of differences (float64).
BLOCK = 1 << 22
# Queries of a block, at least: a product of fewer rows waits for the memory (of a million points,
# a block of distances then takes 128 MB).
LEAST_ROWS = 32
PAIRS = 1 << 22
# Groups of points to each neighbour, and at least so many, whose minima bound the k-th distance.
GROUPS, LEAST_GROUPS = 8, 1024
# Points among which `among_nearest` looks first, and at most at once.
FIRST_PART, LARGEST_PART = 1 << 13, 1 << 16


def nearest(queries: np.ndarray, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest points of each query, nearest first.

    Parameters
    ----------
    queries : m x d.
    points : n x d.
    k : 1 to n.

    Returns
    -------
    index : m x k, positions in `points`.
    distance : m x k, Euclidean, float64.

    Raises
    ------
    ValueError
        k is not between 1 and n, or the dimensions differ.
    """
    require_possible(queries, points, k)
    index = np.empty((queries.shape[0], k), dtype=np.int64)
    distance = np.empty((queries.shape[0], k))
    for rows, squares, error, _ in _blocks(queries, points):
        near = np.flatnonzero(squares <= (_bound_of_kth(squares, k) + 2 * error)[:, None])
        if near.size > GROUPS * k * len(squares):  # neighbours lie in the same groups
            near = np.flatnonzero(squares <= (_kth(squares, k) + 2 * error)[:, None])
        row, column = np.divmod(near, points.shape[0])
        exact = _distances(queries[rows], points, row, column)
        # Rows are sorted already: sort within them by distance, then by index.
        order = np.lexsort((column, exact, row))
        first = np.searchsorted(row, np.arange(squares.shape[0]))
        chosen = order[first[:, None] + np.arange(k)]
        index[rows] = column[chosen]
        distance[rows] = exact[chosen]
    return index, distance


def require_possible(queries: np.ndarray, points: np.ndarray, k: int) -> None:
    """Raise ValueError unless k is between 1 and the number of points, in as many dimensions."""
    if not 1 <= k <= points.shape[0] or queries.shape[1] != points.shape[1]:
        raise ValueError(
            f"cannot find {k} neighbours of {queries.shape} queries among {points.shape} points"
        )


def _kth(values: np.ndarray, k: int) -> np.ndarray:
    """The k-th smallest value of each row."""
    return np.partition(values, k - 1, axis=1)[:, k - 1]


def _bound_of_kth(values: np.ndarray, k: int) -> np.ndarray:
    """A number for each row that is not below its k-th smallest value, and mostly hardly above.

    It is the k-th smallest of the minima of groups of columns, which is several times faster to
    find. Neighbouring columns are in different groups: neighbouring cells are often alike.
    """
    groups = max(GROUPS * k, LEAST_GROUPS)
    minima = values[:, :groups].copy()
    for start in range(groups, values.shape[1], groups):
        part = values[:, start : start + groups]
        own = minima[:, : part.shape[1]]
        np.minimum(own, part, out=own)
    return _kth(minima, k)


def among_nearest(
    queries: np.ndarray, points: np.ndarray, rows: np.ndarray, columns: np.ndarray, k: int
) -> np.ndarray:
    """Whether point `columns[a]` is one of the `k` nearest points of query `rows[a]` (bool).

    The same as membership in `nearest`, without listing neighbours: the points that are nearer are
    counted, in one part of the points after another. A pair with `k` of them is not looked at
    again: of many points, most pairs end with the first parts.

    Parameters
    ----------
    queries, points : m x d and n x d.
    rows, columns : pairs of a query and a point, as positions.
    k : 1 or more.
    """
    distance = _distances(queries, points, rows, columns)
    nearer = np.zeros(rows.size, dtype=np.int64)
    undecided = np.argsort(rows, kind="stable")
    for part in _random_parts(points.shape[0]):
        if not undecided.size:
            break
        asked, start = np.unique(rows[undecided], return_index=True)
        stop = np.append(start[1:], undecided.size)
        chosen = points[part]
        for block, squares, error, own in _blocks(queries[asked], chosen):
            for local, position in enumerate(range(block.start, block.stop)):
                query = queries[asked[position]]
                for pair in undecided[start[position] : stop[position]]:
                    at = distance[pair] ** 2 - own[local]
                    low, high = _around(at, error[local])
                    near = np.flatnonzero(squares[local] <= high)
                    surely = squares[local, near] < low
                    nearer[pair] += np.count_nonzero(surely)
                    close = near[~surely]
                    if close.size:
                        place = distance[pair], columns[pair]
                        nearer[pair] += _nearer(query, chosen[close], part[close], *place)
        undecided = undecided[nearer[undecided] < k]
    return nearer < k


def _random_parts(n: int) -> Iterator[np.ndarray]:
    """Positions of n points in parts that grow, drawn at random: neighbouring points are alike.

    The parts change no result, and so have a seed of their own.
    """
    order = np.random.default_rng(0).permutation(n)
    start, size = 0, FIRST_PART
    while start < n:
        yield order[start : start + size]
        start, size = start + size, min(2 * size, LARGEST_PART)


def _around(value: float, error: float) -> tuple[np.float32, np.float32]:
    """The float32 numbers just below value - error and above value + error."""
    low, high = np.float32(value - error), np.float32(value + error)
    return np.nextafter(low, np.float32(-np.inf)), np.nextafter(high, np.float32(np.inf))


def _nearer(
    query: np.ndarray, points: np.ndarray, positions: np.ndarray, distance: float, column: int
) -> int:
    """How many of the points come before the one at `column` by distance, then by position.

    Parameters
    ----------
    query : d values.
    points, positions : n x d, and where they stand among all points (n).
    distance, column : of the point that they are compared with.
    """
    rows = np.zeros(len(points), dtype=np.int64)
    own = _distances(query[None], points, rows, np.arange(len(points)))
    return int(((own < distance) | ((own == distance) & (positions < column))).sum())


def _blocks(
    queries: np.ndarray, points: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of queries; squared distances without each query's own square (float32); a bound of the
    error; that square (float64).
    """
    center = points.mean(axis=0)  # small numbers round less
    centered = np.asarray(points - center, dtype=np.float32)
    squares = np.einsum("ij,ij->i", centered, centered)
    # Once: for many points a block has few rows, and a copy of all of them would cost more than it.
    doubled = -2 * centered.T
    largest = float(np.sqrt(squares.max(initial=0.0)))
    size = max(BLOCK // max(points.shape[0], 1), LEAST_ROWS)
    unit = (points.shape[1] + 4) * float(np.finfo(np.float32).eps)
    fine = 2 * (points.shape[1] + 4) * float(np.finfo(np.float64).eps)
    for start in range(0, queries.shape[0], size):
        rows = slice(start, min(start + size, queries.shape[0]))
        shifted = queries[rows].astype(np.float64) - center
        block = np.asarray(shifted, dtype=np.float32)
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        values = block @ doubled
        values += squares
        own = np.einsum("ij,ij->i", shifted, shifted, dtype=np.float64)
        # Points that are all the same lie in the center: the float32 part of the bound is 0 then.
        error = unit * largest * (2 * norms + largest) + fine * own
        yield rows, values, error.astype(np.float32), own


def _distances(
    queries: np.ndarray, points: np.ndarray, row: np.ndarray, column: np.ndarray
) -> np.ndarray:
    distance = np.empty(row.size)
    step = max(PAIRS // max(points.shape[1], 1), 1)
    for start in range(0, row.size, step):
        part = slice(start, start + step)
        difference = queries[row[part]].astype(np.float64) - points[column[part]]
        distance[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distance


def nearest_on_device(queries: Any, points: Any, k: int) -> Any:
    """Positions (m x k) of the `k` nearest points of each query, for torch tensors on any device.

    Exact in the tensors' precision; in no order. Only methods of the tensors are used, so that
    torch need not be there for the rest of this file.

    Parameters
    ----------
    queries, points : tensors m x d and n x d.
    """
    # The query's own square moves all its distances alike.
    squares = (points**2).sum(dim=1) - 2 * queries @ points.T
    return squares.topk(k, largest=False, sorted=False).indices
