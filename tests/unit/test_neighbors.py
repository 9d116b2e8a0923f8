"""Exact neighbours against a k-d tree and by hand, with ties and duplicates; approximate ones."""

import numpy as np
import pytest
from dice_atlas.numerics import exact_neighbors, inverted_lists
from dice_atlas.numerics import neighbors as nb
from factories import blobs
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist


@pytest.mark.parametrize("shift", [0.0, 1000.0])
@pytest.mark.parametrize("block", [exact_neighbors.BLOCK, 1000])
def test_nearest_is_the_tree_s(monkeypatch, shift, block):
    monkeypatch.setattr(exact_neighbors, "BLOCK", block)
    monkeypatch.setattr(exact_neighbors, "LEAST_ROWS", 1)
    monkeypatch.setattr(exact_neighbors, "PAIRS", 500)
    rng = np.random.default_rng(0)
    queries, points = rng.standard_normal((80, 4)) + shift, rng.standard_normal((300, 4)) + shift
    index, distance = exact_neighbors.nearest(queries, points, 12)
    expected, position = cKDTree(points).query(queries, 12)
    np.testing.assert_array_equal(index, position)
    np.testing.assert_allclose(distance, expected, rtol=1e-9)


@pytest.mark.parametrize("k", [1, 3, 20, 64])
@pytest.mark.parametrize("kind", ["any", "ties", "one group"])
def test_minima_of_groups_change_nothing(monkeypatch, kind, k):
    monkeypatch.setattr(exact_neighbors, "LEAST_GROUPS", 1)
    rng = np.random.default_rng(3)
    queries, points = rng.standard_normal((30, 3)), rng.standard_normal((2000, 3))
    if kind == "ties":
        queries, points = queries.round(), points.round()
    if kind == "one group":
        # The near ones are all in a few groups, so that their minima bound little.
        points += 100 * (np.arange(2000) % (8 * k) >= max(k - 1, 1))[:, None]
    index, distance = exact_neighbors.nearest(queries, points, k)
    full = cdist(queries, points)
    expected = np.argsort(full.round(9), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(distance, np.take_along_axis(full, expected, axis=1), rtol=1e-9)


def test_points_nearer_to_each_other_than_float32_can_tell():
    points = 1 + np.arange(50)[::-1, None] * 1e-9 + np.zeros((1, 3))
    index, _ = exact_neighbors.nearest(np.ones((1, 3)), points, 5)
    assert index.tolist() == [[49, 48, 47, 46, 45]]


def test_ties_go_to_the_lower_index():
    points = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1], [0.5, 0]])
    index, distance = exact_neighbors.nearest(np.zeros((1, 2)), points, 4)
    assert index.tolist() == [[4, 0, 1, 2]]
    assert distance.tolist() == [[0.5, 1, 1, 1]]
    same = np.zeros((1000, 3))
    assert exact_neighbors.nearest(same[:2], same, 3)[0].tolist() == [[0, 1, 2], [0, 1, 2]]


def test_a_point_is_its_own_first_neighbour():
    points = np.array([[0.0], [0], [0], [3], [4]])
    assert nb.Neighbors(points).nearest_to_self(2).tolist() == [
        [0, 1],
        [1, 0],
        [2, 0],
        [3, 4],
        [4, 3],
    ]
    assert nb.Neighbors(points).nearest_to_self(1).tolist() == [[0], [1], [2], [3], [4]]


def test_others_leave_the_point_out():
    points, _ = blobs(3, 100, 5, seed=2, distance=3.0)
    index, distance = nb.Neighbors(points).nearest_others(7)
    full = cdist(points, points)
    np.fill_diagonal(full, np.inf)
    np.testing.assert_allclose(distance, np.sort(full, axis=1)[:, :7], rtol=1e-6)
    np.testing.assert_allclose(distance, np.take_along_axis(full, index, axis=1), rtol=1e-6)
    assert not (index == np.arange(len(points))[:, None]).any()
    # Among more duplicates than were asked for a point is left out all the same.
    index, distance = nb.Neighbors(np.ones((9, 2))).nearest_others(3)
    assert not (index == np.arange(9)[:, None]).any()
    assert (distance == 0).all()
    # Of some points: their rows of the whole result.
    rows = np.array([7, 7, 250, 0])
    some = nb.Neighbors(points).nearest_others(7, rows)
    for part, whole in zip(some, nb.Neighbors(points).nearest_others(7), strict=True):
        np.testing.assert_allclose(part, whole[rows], rtol=1e-12)
    assert (nb.Neighbors(points).nearest_to_self(3, rows)[:, 0] == rows).all()
    with pytest.raises(ValueError, match="expected 0 to 299"):
        nb.Neighbors(points).nearest_others(300)


@pytest.mark.parametrize("k", [1, 7, 60, 200])
def test_among_nearest_is_membership(k):
    rng = np.random.default_rng(1)
    # Whole numbers: many ties.
    queries, points = rng.integers(0, 4, (60, 3)) * 1.0, rng.integers(0, 4, (200, 3)) * 1.0
    index, _ = exact_neighbors.nearest(queries, points, k)
    rows, columns = rng.integers(0, 60, 500), rng.integers(0, 200, 500)
    expected = [column in index[row] for row, column in zip(rows, columns, strict=True)]
    found = exact_neighbors.among_nearest(queries, points, rows, columns, k)
    np.testing.assert_array_equal(found, expected)
    assert k == 200 or 0 < found.sum() < 500


@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("parts", [(1, 1), (16, 64), (8192, 65536)])
def test_among_nearest_does_not_depend_on_the_parts(monkeypatch, parts, shift):
    monkeypatch.setattr(exact_neighbors, "FIRST_PART", parts[0])
    monkeypatch.setattr(exact_neighbors, "LARGEST_PART", parts[1])
    rng = np.random.default_rng(2)
    # Far from the origin, two points are so far apart that float32 tells few of the others apart.
    points, queries = rng.standard_normal((400, 5)), rng.standard_normal((30, 5))
    points[0], points[1] = shift, -shift
    rows, columns = rng.integers(0, 30, 900), rng.integers(0, 400, 900)
    ranks = cdist(queries, points).argsort(axis=1, kind="stable").argsort(axis=1)
    for k in (1, 40):
        found = exact_neighbors.among_nearest(queries, points, rows, columns, k)
        np.testing.assert_array_equal(found, ranks[rows, columns] < k)
    # Ties, and values of little precision far from the origin.
    for grid in (rng.integers(0, 3, (430, 3)) * 1.0, points[:, :2].astype(np.float32) / 100 + 100):
        points, queries = grid[30:], grid[:30]
        index, _ = exact_neighbors.nearest(queries, points, 40)
        expected = [
            column in index[row] for row, column in zip(rows, columns % len(points), strict=True)
        ]
        found = exact_neighbors.among_nearest(queries, points, rows, columns % len(points), 40)
        np.testing.assert_array_equal(found, expected)


def test_approximate_neighbours_are_nearly_all_the_exact_ones(monkeypatch):
    monkeypatch.setattr(inverted_lists, "PROBES", 60)
    points = blobs(6, 1000, 8, seed=2, distance=2.0)[0].astype(float)
    queries = points[::25] + 0.1
    exact, index = nb.Neighbors(points), nb.Neighbors(points, exact_up_to=len(points) - 1)
    assert exact.index is None
    assert index.index is not None
    found, distance = index.nearest(queries, 30)
    position, expected = exact.nearest(queries, 30)
    recall = np.mean([np.isin(a, b).mean() for a, b in zip(found, position, strict=True)])
    assert 0.95 < recall < 1
    np.testing.assert_allclose(distance[:, 0], expected[:, 0], rtol=1e-3)
    # What is found has its true distance, in order.
    np.testing.assert_allclose(
        distance, np.linalg.norm(points[found] - queries[:, None], axis=2), rtol=1e-9
    )
    assert (np.diff(distance, axis=1) >= 0).all()
    assert (index.nearest_to_self(5)[:, 0] == np.arange(len(points))).all()
    # All of few lists, and as many as k asks for.
    assert (index.nearest(queries, len(points))[0] == exact.nearest(queries, len(points))[0]).all()
    monkeypatch.setattr(inverted_lists, "PROBES", 1000)
    assert (index.nearest(queries, 30)[0] == position).all()


def test_lists_of_points_that_are_all_the_same():
    points = np.ones((50, 3))
    found, distance = inverted_lists.InvertedLists(points).nearest(points[:2], 4)
    assert (found == np.arange(4)).all()
    assert (distance == 0).all()


@pytest.mark.parametrize("exact_up_to", [None, 4])
def test_too_many_neighbours(exact_up_to):
    among = nb.Neighbors(np.arange(10.0).reshape(5, 2), exact_up_to)
    assert (among.index is None) == (exact_up_to is None)
    with pytest.raises(ValueError, match="6 neighbours"):
        among.nearest(np.zeros((2, 2)), 6)
    with pytest.raises(ValueError, match=r"\(2, 3\) queries"):
        among.nearest(np.zeros((2, 3)), 1)


def test_a_search_says_that_it_is_approximate(monkeypatch):
    points = np.arange(10.0).reshape(5, 2)
    assert nb.Neighbors(points, 5).note == ""
    assert nb.Neighbors(points, 4).note == "neighbours among 5 cells are approximate"
    monkeypatch.setattr(nb, "EXACT_UP_TO", 4)
    assert nb.Neighbors(points).note
