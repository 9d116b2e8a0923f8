"""Mapping of a query onto a fixed reference, against symphonypy, least squares and simulations."""

from pathlib import Path

import numpy as np
import pytest
from dice_atlas.errors import InputError
from dice_atlas.features.mapping import (
    LEAST_ANCHORED,
    anchored_differences,
    composed_assignment,
    map_query,
    mutual_neighbors,
    pooled_variance,
    random_effects,
    reference_centroids,
    shrink,
    soft_assignment,
    soft_means,
    soft_moments,
)
from statsmodels.stats.meta_analysis import combine_effects

ORACLE = Path(__file__).parents[1] / "oracle" / "symphony.npz"
SIGMA, P, NOISE = 0.1, 8, 1.0
# Types lie 8 sd from the origin, as distinct types of PBMC do.
CENTERS = 8 * np.linalg.qr(np.random.default_rng(7).normal(size=(P, P)))[0][:5]
SHIFT = np.random.default_rng(8).normal(0, 1, P)


def cells(seed: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """PCs (cells x P) and types, `sizes` cells of each."""
    types = np.repeat(np.arange(len(sizes)), sizes)
    noise = np.random.default_rng(seed).normal(0, NOISE, (len(types), P))
    return CENTERS[types] + noise, types


def type_means(pcs: np.ndarray, types: np.ndarray) -> np.ndarray:
    return np.array([pcs[types == t].mean(axis=0) for t in np.unique(types)])


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return cells(0, (150,) * 5)[0]


def all_differences(query, weights_q, reference, weights_r):
    """As `anchored_differences`, of all cells from the clusters' means: Symphony's measure."""
    (n_r, sums_r, scatter_r, free_r), (n_q, sums_q, scatter_q, free_q) = (
        soft_moments(*side) for side in ((reference, weights_r), (query, weights_q))
    )
    differences = soft_means(sums_q, n_q) - soft_means(sums_r, n_r)
    variance = pooled_variance(scatter_r + scatter_q, free_r + free_q)
    return differences, n_r * n_q / (n_r + n_q), variance


@pytest.fixture(scope="module")
def oracle() -> dict[str, np.ndarray]:
    with np.load(ORACLE) as stored:
        return dict(stored)


class TestSymphony:
    @pytest.fixture(scope="class")
    def centroids(self, oracle):
        sums = oracle["reference_assignment"].T @ oracle["reference"]
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    def test_assignment_agrees(self, oracle, centroids):
        found = soft_assignment(oracle["query"], centroids, SIGMA)
        np.testing.assert_allclose(found, oracle["query_assignment"], atol=1e-6)

    @pytest.mark.parametrize("ridge", [1.0, 20.0])
    def test_correction_agrees(self, oracle, ridge):
        assignment = oracle["query_assignment"]
        differences, evidence, _ = all_differences(
            oracle["query"], assignment, oracle["reference"], oracle["reference_assignment"]
        )
        effects = shrink(differences, evidence, ridge, np.zeros(differences.shape[1]))
        expected = oracle[f"corrected_{ridge:g}"]
        assert np.abs(expected - oracle["query"]).max() > 0.5
        np.testing.assert_allclose(oracle["query"] - assignment @ effects, expected, atol=1e-6)


def test_effects_are_the_dense_ridge_regression():
    # All cells in one weighted least squares per cluster and PC, the penalty as a further row.
    rng = np.random.default_rng(1)
    reference, query = rng.normal(0, 1, (40, 3)), rng.normal(1, 1, (25, 3))
    weights_r, weights_q = rng.dirichlet(np.ones(4), 40), rng.dirichlet(np.ones(4), 25)
    ridge, center = np.array([0.5, 3.0, 40.0]), np.array([0.2, -1.0, 0.4])
    differences, evidence, variance = all_differences(query, weights_q, reference, weights_r)
    found = shrink(differences, evidence, ridge, center)
    pcs, weights = np.vstack([reference, query]), np.vstack([weights_r, weights_q])
    design = np.column_stack([np.ones(65), np.arange(65) >= 40])
    rest = 0.0
    for k in range(4):
        root = np.sqrt(weights[:, k])
        for j in range(3):
            rows = np.vstack([design * root[:, None], [0, np.sqrt(ridge[j])]])
            values = np.append(pcs[:, j] * root, np.sqrt(ridge[j]) * center[j])
            effect = np.linalg.lstsq(rows, values, rcond=None)[0][1]
            assert found[k, j] == pytest.approx(effect, abs=1e-10)
        # Without a penalty what is left is the variance within the cluster's two sides.
        fitted = np.linalg.lstsq(design * root[:, None], pcs * root[:, None], rcond=None)[0]
        rest += (weights[:, [k]] * (pcs - design @ fitted) ** 2).sum(axis=0)
    taken = sum(
        (w[:, k] ** 2).sum() / w[:, k].sum() for w in (weights_r, weights_q) for k in range(4)
    )
    np.testing.assert_allclose(variance, rest / (65 - taken))


@pytest.mark.parametrize("sharpness", [0.1, 100.0])
def test_variance_within_clusters_has_no_bias(sharpness):
    # Few cells a cluster, where the cells that the means are made of matter most.
    rng = np.random.default_rng(4)
    shares = rng.dirichlet(np.full(20, 1 / sharpness), 60)
    found = []
    for _ in range(300):
        pcs, query = rng.normal(0, 2, (2, 60, 5))
        found.append(all_differences(query, shares, pcs, shares)[2])
    assert np.mean(found) == pytest.approx(4, rel=0.02)


def test_random_effects_agree_with_statsmodels():
    rng = np.random.default_rng(2)
    evidence, variance = rng.uniform(2, 40, 12), np.array([1.0, 2.0, 0.5])
    spread = np.array([0.5, 0.0, 2.0])
    sd = np.sqrt(spread + variance / evidence[:, None])
    differences = np.array([1.0, -2.0, 0.0]) + rng.normal(size=(12, 3)) * sd
    center, ridge = random_effects(differences, evidence, variance)
    means, errors = np.empty(3), np.empty(3)
    for j in range(3):
        expected = combine_effects(differences[:, j], variance[j] / evidence, method_re="dl")
        if expected.tau2 > 0:
            means[j], errors[j] = expected.mean_effect_re, expected.sd_eff_w_re
            assert ridge[j] == pytest.approx(variance[j] / expected.tau2)
        else:  # statsmodels goes on with the negative spread; no spread is the fixed effect
            means[j], errors[j] = expected.mean_effect_fe, expected.sd_eff_w_fe
            assert np.isinf(ridge[j])
    assert np.isinf(ridge).sum() == 1
    kept = 1 - (errors**2).sum() / (means**2).sum()
    assert 0.9 < kept < 1
    np.testing.assert_allclose(center, kept * means)


def test_mutual_neighbours_and_their_differences():
    # Every pair looked at, one by one.
    rng = np.random.default_rng(5)
    query, reference = rng.normal(1, 1, (30, 4)), rng.normal(0, 1, (45, 4))
    assignment = rng.dirichlet(np.ones(3), 30)
    lengths = np.outer(np.linalg.norm(query, axis=1), np.linalg.norm(reference, axis=1))
    cosine = query @ reference.T / lengths
    near = [set(np.argsort(-row)[:4]) for row in cosine]
    near_query = [set(np.argsort(-column)[:4]) for column in cosine.T]
    pairs = [[r for r in sorted(near[q]) if q in near_query[r]] for q in range(30)]
    found = mutual_neighbors(query, reference, 4)
    assert [sorted(row.indices) for row in found] == pairs
    kept = [q for q in range(30) if pairs[q]]
    assert LEAST_ANCHORED <= len(kept) < 30
    moved = np.array([query[q] - reference[pairs[q]].mean(axis=0) for q in kept])
    differences, evidence, variance = anchored_differences(query, assignment, reference, 4)
    weights, rest = assignment[kept], 0.0
    for k in range(3):
        expected = np.average(moved, axis=0, weights=weights[:, k])
        np.testing.assert_allclose(differences[k], expected)
        rest += (weights[:, [k]] * (moved - expected) ** 2).sum(axis=0)
    np.testing.assert_allclose(evidence, weights.sum(axis=0))
    taken = sum((weights[:, k] ** 2).sum() / weights[:, k].sum() for k in range(3))
    np.testing.assert_allclose(variance, rest / (len(kept) - taken))


def test_few_clusters_share_one_effect():
    differences = np.array([[1.0, 0.0], [3.0, 2.0], [9.0, 9.0]])
    center, ridge = random_effects(differences, np.array([10.0, 30.0, 0.0]), np.ones(2))
    kept = 1 - 2 * (1 / 40) / (2.5**2 + 1.5**2)
    np.testing.assert_allclose(center, [kept * 2.5, kept * 1.5])
    assert np.isinf(ridge).all()
    np.testing.assert_allclose(shrink(differences, np.ones(3), ridge, center), [center] * 3)


def test_clusters_cover_the_reference(reference):
    centroids = reference_centroids(reference, SIGMA, 0)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1)
    sizes, sums, _, _ = soft_moments(reference, soft_assignment(reference, centroids, SIGMA))
    assert sizes.sum() == pytest.approx(len(reference))
    np.testing.assert_allclose(sums.sum(axis=0), reference.sum(axis=0))
    # Every cluster lies within one type.
    nearest = (centroids @ CENTERS.T / 8).max(axis=1)
    assert nearest.min() > 0.85


def test_too_few_reference_cells_are_refused():
    with pytest.raises(InputError, match="seen 2 reference cells, expected at least 3"):
        reference_centroids(np.ones((2, 3)), SIGMA, 0)


def test_known_shift_is_removed_whatever_the_composition(reference):
    # Each type has its own effect on top of the common one; two types are rare, one is absent.
    query, types = cells(3, (200, 20, 300, 40))
    own = np.random.default_rng(4).normal(0, 0.7, (4, P))
    shifted = query + SHIFT + own[types]
    corrected = map_query(reference, shifted, np.full(len(query), "a"), SIGMA, 0)
    before = np.linalg.norm(type_means(shifted, types) - CENTERS[:4], axis=1)
    after = np.linalg.norm(type_means(corrected, types) - CENTERS[:4], axis=1)
    assert before.min() > 2.0
    # Mutual neighbours are the pairs that noise brought near: they remove less.
    assert (after < 0.6 * before).all()


def test_nothing_moves_without_a_batch_effect(reference):
    query, _ = cells(5, (150,) * 5)
    corrected = map_query(reference, query, np.full(len(query), "a"), SIGMA, 0)
    moved = np.sqrt(((corrected - query) ** 2).mean())
    assert moved < 0.1 * NOISE


def test_composition_alone_is_no_batch_effect(reference):
    query, types = cells(6, (500, 10, 0, 60, 0))
    corrected = map_query(reference, query, np.full(len(query), "a"), SIGMA, 0)
    # What a correction of the whole mean would have moved.
    assert np.linalg.norm(query.mean(axis=0) - reference.mean(axis=0)) > 4
    moved = np.linalg.norm(type_means(corrected, types) - type_means(query, types), axis=1)
    assert moved.max() < 0.4 * NOISE


def test_assignment_follows_the_composition():
    # Cells of type 0, shifted halfway to type 1, which the query lacks.
    query, _ = cells(9, (200,))
    centroids = CENTERS[:2] / 8
    shifted = query + 0.42 * (CENTERS[1] - CENTERS[0])
    lost = soft_assignment(shifted, centroids, SIGMA)[:, 1].mean()
    assert lost > 0.1
    assert composed_assignment(shifted, centroids, SIGMA)[:, 1].mean() < 0.7 * lost


def test_batches_are_mapped_each_by_itself(reference):
    one, two = cells(10, (50,) * 5)[0] + SHIFT, cells(11, (80, 0, 80))[0] - SHIFT
    batches = np.array(["a"] * len(one) + ["b"] * len(two))
    order = np.random.default_rng(0).permutation(len(batches))
    both = np.vstack([one, two])
    kept = both.copy(), reference.copy()
    found = np.empty_like(both)
    found[order] = map_query(reference, both[order], batches[order], SIGMA, 0)
    alone = map_query(reference, one, batches[: len(one)], SIGMA, 0)
    np.testing.assert_allclose(found[: len(one)], alone, atol=1e-8)
    np.testing.assert_array_equal(both, kept[0])
    np.testing.assert_array_equal(reference, kept[1])


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_few_query_cells_move_little(reference, n):
    # A single cell must not fall onto the mean of its cluster.
    moved = []
    for seed in range(10):
        query = cells(seed, (n,))[0]
        corrected = map_query(reference, query, np.full(n, "a"), SIGMA, 0)
        assert corrected.shape == (n, P)
        assert np.isfinite(corrected).all()
        moved.append(((corrected - query) ** 2).sum(axis=1))
    assert n == 0 or np.mean(moved) < 0.25 * P * NOISE**2


def test_cell_at_the_origin_is_finite(reference):
    query = np.vstack([cells(13, (30,) * 5)[0], np.zeros((1, P))])
    assert np.isfinite(map_query(reference, query, np.full(151, "a"), SIGMA, 0)).all()


def test_types_that_the_reference_lacks_have_little_say():
    # A third of the query is of two types that the reference lacks; neither side is shifted.
    whole, of = cells(14, (150,) * 5)
    query, types = cells(15, (150, 150, 150, 110, 115))
    reference = whole[of < 3]
    corrected = map_query(reference, query, np.full(len(query), "a"), SIGMA, 0)
    moved = np.linalg.norm(type_means(corrected, types) - type_means(query, types), axis=1)
    assert moved[:3].max() < 0.5 * NOISE
    # Measured on all cells, as Symphony does, they would move the clusters that they fall to.
    centroids = reference_centroids(reference, SIGMA, 0)
    weights = composed_assignment(query, centroids, SIGMA)
    weights_r = soft_assignment(reference, centroids, SIGMA)
    differences, evidence, variance = all_differences(query, weights, reference, weights_r)
    center, ridge = random_effects(differences, evidence, variance)
    effects = weights @ shrink(differences, evidence, ridge, center)
    assert moved[3:].max() < 0.5 * np.linalg.norm(type_means(effects, types), axis=1)[3:].max()
