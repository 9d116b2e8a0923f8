"""Anchors, their filter and scores, on cases small enough to count by hand."""

import logging

import numpy as np
import pytest
from dice_atlas.errors import InputError
from dice_atlas.transfer.anchors import (
    Anchors,
    AnchorSettings,
    find_anchors,
    mutual_pairs,
    rescale_scores,
    shared_neighbors,
    top_dim_features,
)


def on_circle(degrees):
    angle = np.deg2rad(np.asarray(degrees, dtype=float))
    return np.column_stack([np.cos(angle), np.sin(angle)])


REFERENCE, QUERY = on_circle([0, 10, 90, 100]), on_circle([1, 93, 12, 95])
PLAIN = AnchorSettings(k_anchor=1, k_filter=None, k_score=None)


def pairs(anchors: Anchors):
    return list(zip(anchors.reference.tolist(), anchors.query.tolist(), strict=True))


def test_mutual_nearest_on_a_circle():
    # By angle: 0-1, 10-12, 90-93 are mutual; 100's nearest is 95, but 95's is 90 or 100 (tie).
    found = find_anchors(REFERENCE, QUERY + 0, PLAIN)
    assert pairs(found)[:3] == [(0, 0), (1, 2), (2, 1)]
    assert found.score.tolist() == [1.0] * len(found.score)


def test_length_of_a_vector_does_not_matter():
    scaled = REFERENCE * np.array([[5.0], [0.1], [3.0], [1.0]])
    assert pairs(find_anchors(scaled, QUERY, PLAIN)) == pairs(find_anchors(REFERENCE, QUERY, PLAIN))


def test_pairs_are_in_order_of_reference_then_nearness():
    ab = np.array([[2, 0], [0, 1]])  # reference -> query
    ba = np.array([[1, 0], [1, 0], [0, 1]])
    rows, columns = mutual_pairs(ab, ba, 2)
    assert list(zip(rows, columns, strict=True)) == [(0, 2), (0, 0), (1, 0), (1, 1)]
    rows, columns = mutual_pairs(ab, ba, 1)
    assert list(zip(rows, columns, strict=True)) == [(0, 2), (1, 0)]


def test_shared_neighbours_by_hand():
    aa, ab = np.array([[0, 1], [1, 0], [2, 1]]), np.array([[0, 1], [1, 0], [2, 1]])
    ba, bb = np.array([[0, 1], [2, 1], [1, 2]]), np.array([[0, 2], [1, 2], [2, 1]])
    found = shared_neighbors(np.array([0, 1, 2]), np.array([0, 0, 1]), 3, aa, ab, ba, bb)
    expected = []
    for i, j in ((0, 0), (1, 0), (2, 1)):
        of_i = {("r", x) for x in aa[i]} | {("q", x) for x in ab[i]}
        of_j = {("r", x) for x in ba[j]} | {("q", x) for x in bb[j]}
        expected.append(len(of_i & of_j))
    assert found.tolist() == expected == [3, 3, 4]


def test_scores_are_cut_at_the_quantiles():
    raw = np.arange(101)
    np.testing.assert_allclose(rescale_scores(raw), np.clip((raw - 1) / 89, 0, 1))


def test_equal_counts_score_one(caplog):
    with caplog.at_level(logging.WARNING):
        assert rescale_scores(np.full(5, 7)).tolist() == [1.0] * 5
    assert "set to 1" in caplog.text


def test_top_dim_features_by_hand():
    loadings = np.array([[5, 0.1], [4, -9], [0.2, 8], [-3, 0.3], [-6, 0.2], [0.1, 7]])
    # The largest union below the limit: y = 4 or 5 takes two of each end per dimension.
    assert top_dim_features(loadings, max_features=7).tolist() == [0, 1, 2, 3, 4, 5]
    # y = 2: 0 and 4 of the first, 2 and 1 of the second dimension; a limit of 5 allows four.
    assert top_dim_features(loadings, max_features=5).tolist() == [0, 1, 2, 4]
    # A limit of max(2 dims, 3) = 4 leaves y = 1: the largest in size of each dimension.
    assert top_dim_features(loadings, max_features=3).tolist() == [1, 4]


def test_filter_keeps_query_cells_near_in_expression():
    settings = AnchorSettings(k_anchor=1, k_filter=2, k_score=None)
    reference, query = on_circle([0, 45, 90]), on_circle([1, 46, 91])
    flipped = query[::-1]
    kept = find_anchors(reference, query, settings, (reference, query))
    assert pairs(kept) == [(0, 0), (1, 1), (2, 2)]
    # By expression cell 0 is farthest from its partner: third of three, beyond k.filter.
    kept = find_anchors(reference, query, settings, (reference, flipped))
    assert pairs(kept) == [(1, 1)]


def test_settings_are_fitted_to_few_cells(caplog):
    with caplog.at_level(logging.WARNING):
        fitted = AnchorSettings().fitted(40, 30)
    assert (fitted.k_anchor, fitted.k_score, fitted.k_filter) == (5, 29, None)
    assert "k.score is 30, but there are 40 reference and 30 query cells" in caplog.text
    assert "anchors are not filtered" in caplog.text
    assert AnchorSettings().fitted(201, 200) == AnchorSettings()
    assert AnchorSettings().fitted(150, 430).k_filter is None
    assert AnchorSettings().fitted(1, 5).k_anchor == 1


@pytest.mark.parametrize(("n", "m"), [(3, 2), (1, 1), (5, 31), (31, 5)])
def test_few_cells_still_give_anchors(n, m):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((max(n, m), 4))
    found = find_anchors(points[:n], points[:m], AnchorSettings())
    assert (0, 0) in pairs(found)
    assert np.isfinite(found.score).all()


def test_no_anchor_is_an_error():
    settings = AnchorSettings(k_anchor=1, k_filter=1, k_score=None)
    with pytest.raises(InputError, match="no anchor is left of 2"):
        find_anchors(
            on_circle([0, 90]),
            on_circle([1, 91]),
            settings,
            (on_circle([0, 90]), on_circle([91, 1])),
        )


def test_settings_from_the_config():
    annotate = {"k.anchor": 4, "k.filter": None, "k.score": 20, "max.features": 100, "dims": 30,
                "seurat_version": "v4", "exact_up_to": 10}  # fmt: skip
    assert AnchorSettings.from_config(annotate) == AnchorSettings(4, None, 20, 100, 10)
