"""ALRA against closed forms, its steps written out, and other programs."""

import numpy as np
import pytest
from dice_atlas.baselines.alra import (
    alra,
    alra_embedding,
    choose_k,
    low_rank,
    rank_of_spacings,
    rescale,
    threshold,
)
from dice_atlas.errors import InputError
from factories import expression_of_types
from scipy.spatial.distance import pdist


@pytest.fixture(scope="module")
def expression():
    """Three types' log-normalised expression, 150 cells x 80 genes."""
    rate = np.random.default_rng(0).gamma(0.5, 2.0, size=(3, 80))
    return expression_of_types(rate, (0.5, 0.3, 0.2), 150, seed=1)[1]


# The noise's spacings are 0.02 and 0.01 by turns: six standard deviations above their mean is 0.046
# to 0.048.
@pytest.mark.parametrize(("n", "k"), [(100, 9), (40, 4), (12, 2)])
@pytest.mark.parametrize(("spacing", "more"), [(0.044, 0), (0.05, 2)])
def test_rank_is_where_the_last_wide_spacing_is(n, k, spacing, more):
    spacings = np.where(np.arange(n - 1) % 2, 0.01, 0.02)
    spacings[:k] = 1.0
    spacings[k + 1] = spacing
    values = 100 - np.concatenate([[0], spacings.cumsum()])
    assert rank_of_spacings(values) == k + more


@pytest.mark.parametrize(("n", "first"), [(100, 78), (40, 18), (12, 5)])
def test_where_the_noise_begins(n, first):
    """A wide spacing just before it counts; as the first of the noise's it widens their spread."""
    spacings = np.where(np.arange(n - 1) % 2, 0.01, 0.02)
    spacings[0] = 1.0
    for position, k in ((first - 1, first), (first, 1)):
        changed = spacings.copy()
        changed[position] = 0.05
        assert rank_of_spacings(100 - np.concatenate([[0], changed.cumsum()])) == k


@pytest.mark.parametrize("shape", [(60, 50), (20, 300), (12, 30)])
def test_rank_of_planted_singular_values(shape):
    """Matrices so small that all singular values are looked at, and thus exact."""
    rng = np.random.default_rng(0)
    n = min(shape)
    noise = 10 - np.where(np.arange(n) % 2, 0.01, 0.02).cumsum()
    values = np.concatenate([[100, 60], noise[2:]])
    left, right = (np.linalg.qr(rng.normal(size=(m, n)))[0] for m in shape)
    assert choose_k((left * values) @ right.T) == 2


def test_low_rank_is_the_best_one(expression):
    dense = expression.toarray()
    found = low_rank(dense, 5)
    values = np.linalg.svd(dense, compute_uv=False)
    assert np.linalg.matrix_rank(found, tol=1e-8) == 5
    assert np.linalg.norm(dense - found) ** 2 == pytest.approx((values[5:] ** 2).sum())


def test_alra_gene_by_gene(expression):
    """The authors' steps, written out for one gene at a time."""
    dense = expression.toarray()
    approximation = low_rank(dense, 3)
    found = alra(expression, k=3)
    for gene, (values, observed) in enumerate(zip(approximation.T, dense.T, strict=True)):
        kept = values > abs(np.quantile(values, 0.001))
        result = np.zeros_like(values)
        source, target = values[kept], observed[observed > 0]
        moved = (source - source.mean()) / source.std(ddof=1)
        result[kept] = moved * target.std(ddof=1) + target.mean()
        result[result < 0] = 0
        result = np.where((result == 0) & (observed > 0), observed, result)
        np.testing.assert_allclose(found[:, gene], result, atol=1e-10)
    assert (found[dense > 0] > 0).all()
    # It completes, and it leaves zeros.
    assert (dense > 0).mean() < (found > 0).mean() < 1


def test_alra_leaves_genes_without_a_spread():
    thresholded = np.array([[2.0, 0.0, 1.0, 3.0], [0.0, 0.0, 2.0, 3.0], [0.0, 0.0, 3.0, 0.0]])
    observed = np.array([[1.0, 0.0, 4.0, 1.0], [5.0, 0.0, 0.0, 2.0], [0.0, 6.0, 0.0, 0.0]])
    expected = np.array([[2.0, 0.0, 1.0, 3.0], [5.0, 0.0, 2.0, 3.0], [0.0, 6.0, 3.0, 0.0]])
    np.testing.assert_array_equal(rescale(thresholded, observed), expected)


def test_alra_threshold_of_a_gene_that_is_positive_everywhere():
    values = np.array([[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(threshold(values), [[0.0], [2.0], [3.0]])


def test_alra_embedding_is_the_pca_of_the_completed_matrix(expression):
    completed = alra(expression, k=3)
    found = alra_embedding(expression, k=3)
    assert found.shape == (150, 50)
    centered = completed - completed.mean(axis=0)
    u, d, _ = np.linalg.svd(centered, full_matrices=False)
    np.testing.assert_allclose(pdist(found), pdist(u[:, :50] * d[:50]), rtol=1e-6)
    assert alra_embedding(expression[:, :20], k=3).shape == (150, 19)
    np.testing.assert_array_equal(alra_embedding(expression, 0), alra_embedding(expression, 0))


def test_alra_is_pyalras(expression):
    """Another reading of the R code; its standard deviations divide by n."""
    other = pytest.importorskip("pyALRA", reason="pyALRA is not installed; no registry has it")
    theirs = other.alra(expression.toarray(), 3, q=30)["A_norm_rank_k_cor_sc"]
    ours = alra(expression, k=3)
    assert np.mean((ours > 0) == (theirs > 0)) > 0.995
    assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(theirs)


def test_alra_says_what_is_wrong(expression):
    with pytest.raises(InputError, match="neither centred nor scaled"):
        alra(expression.toarray() - 1, k=3)
    with pytest.raises(InputError, match="rank k is 80; expected 1 to 79"):
        alra(expression, k=80)
    with pytest.raises(InputError, match="150 cells x 5 genes are too few"):
        alra(expression[:, :5])
    with pytest.raises(InputError, match="stands out"):
        rank_of_spacings(np.arange(100, 0, -1.0))
