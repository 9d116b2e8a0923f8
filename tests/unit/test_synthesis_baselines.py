"""Baseline generators of counts against closed forms and their definitions."""

import numpy as np
import pytest
import scipy.sparse as sp
from dice_atlas.synthesis.baselines import (
    BASELINES,
    MOST_DISPERSION,
    draw_counts,
    fit_moments,
    gaussian_copula,
    independent_negative_binomial,
    normal_scores,
    quantiles,
    resampled,
    size_factors,
    thinned_pairs,
)
from scipy.stats import kstest, nbinom, poisson

MEAN = np.array([0.3, 1.0, 4.0, 20.0, 2.0])
DISPERSION = np.array([0.5, 2.0, 0.2, 0.1, 0.0])


def one_class(n: int) -> np.ndarray:
    return np.full(n, "A", dtype=object)


@pytest.fixture(scope="module")
def correlated():
    """600 cells x 12 genes: Poisson counts of rates that share two factors."""
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 12)) * 0.4
    return sp.csr_matrix(rng.poisson(np.exp(factors + np.linspace(2.5, 1, 12))))


def test_moments_by_their_definition():
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.5, 4.0, (50, 7)))
    counts[:, 3] = 0
    counts[:, 4] = 5  # less than Poisson: no overdispersion
    sizes = rng.uniform(0.5, 1.5, 50)
    sizes /= sizes.mean()
    mean, dispersion = fit_moments(sp.csr_matrix(counts), sizes)
    for gene in range(7):
        x = counts[:, gene]
        mu = x.sum() / sizes.sum()
        above = sum((x[i] - sizes[i] * mu) ** 2 - sizes[i] * mu for i in range(50))
        expected = 0 if mu == 0 else above / sum((sizes * mu) ** 2)
        assert mean[gene] == pytest.approx(mu)
        assert dispersion[gene] == pytest.approx(np.clip(expected, 0, MOST_DISPERSION))
    assert mean[3] == dispersion[3] == dispersion[4] == 0
    assert (dispersion[[0, 1, 2, 5, 6]] > 0.5).all()


def test_size_factors_of_empty_cells():
    np.testing.assert_allclose(size_factors(sp.csr_matrix([[1, 2], [0, 0]])), [2, 0])
    np.testing.assert_array_equal(size_factors(sp.csr_matrix((3, 2))), np.ones(3))


def test_draws_have_the_moments_of_scipy():
    n = 40_000
    drawn = draw_counts(np.tile(MEAN, (n, 1)), DISPERSION, np.random.default_rng(1))
    size = 1 / np.maximum(DISPERSION, 1e-12)
    mean, variance = nbinom.stats(size, size / (size + MEAN))
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * np.sqrt(variance / n)).all()
    np.testing.assert_allclose(drawn.var(axis=0), variance, rtol=0.08)


def test_independent_genes_have_the_moments_of_their_fit():
    """Mean and variance of a mixture of negative binomials over the class's libraries."""
    rng = np.random.default_rng(2)
    depth = rng.uniform(0.3, 1.7, (300, 1))
    means = np.r_[MEAN, 30.0] * depth
    counts = sp.csr_matrix(draw_counts(means, np.r_[DISPERSION, 0.0], rng))
    sizes = size_factors(counts)
    mean, dispersion = fit_moments(counts, sizes)
    dispersion = np.maximum(dispersion, 1e-9)
    drawn, labels = independent_negative_binomial(counts, one_class(300), {"A": 30_000}, 0)
    drawn = drawn.toarray()
    # Means and variances given each of the libraries, which are drawn with equal chances.
    given = [nbinom.stats(1 / dispersion, 1 / (1 + dispersion * mean * s)) for s in sizes]
    inside, between = np.mean([v for _, v in given], axis=0), np.var([m for m, _ in given], axis=0)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, rtol=0.05)
    np.testing.assert_allclose(drawn.var(axis=0), inside + between, rtol=0.1)
    # The libraries do matter here.
    assert (between / inside)[-1] > 2
    assert set(labels) == {"A"}


def test_quantiles_are_those_of_scipy():
    uniform = np.random.default_rng(4).uniform(1e-9, 1 - 1e-9, (500, 5))
    found = quantiles(uniform, MEAN, DISPERSION)
    size = 1 / DISPERSION[:4]
    np.testing.assert_array_equal(
        found[:, :4], nbinom.ppf(uniform[:, :4], size, size / (size + MEAN[:4]))
    )
    np.testing.assert_array_equal(found[:, 4], poisson.ppf(uniform[:, 4], MEAN[4]))
    assert quantiles(np.empty((0, 5)), MEAN, DISPERSION).shape == (0, 5)


def test_normal_scores_are_normal_and_in_the_counts_order():
    rng = np.random.default_rng(5)
    counts = draw_counts(np.tile(MEAN, (3_000, 1)), DISPERSION, rng)
    scores = normal_scores(counts, MEAN, DISPERSION, rng)
    for gene in range(5):
        assert kstest(scores[:, gene], "norm").pvalue > 0.01
        order = np.argsort(scores[:, gene])
        assert (np.diff(counts[order, gene]) >= 0).all()
    # Of another law's counts they are not.
    assert kstest(normal_scores(counts, 1.3 * MEAN, DISPERSION, rng)[:, 3], "norm").pvalue < 1e-6


def test_the_copula_keeps_correlations_and_marginals(correlated):
    drawn, _ = gaussian_copula(correlated, one_class(600), {"A": 4_000}, 0)
    independent, _ = independent_negative_binomial(correlated, one_class(600), {"A": 4_000}, 0)
    above = np.triu_indices(12, 1)
    expected, found, without = (
        np.corrcoef(counts.toarray().T)[above] for counts in (correlated, drawn, independent)
    )
    assert expected.std() > 0.2
    assert np.abs(found - expected).mean() < 0.05
    assert np.abs(without - expected).mean() > 0.2
    np.testing.assert_allclose(
        drawn.toarray().mean(axis=0), correlated.toarray().mean(axis=0), rtol=0.06
    )
    np.testing.assert_allclose(
        drawn.toarray().var(axis=0), correlated.toarray().var(axis=0), rtol=0.3
    )


def test_genes_outside_the_copula_are_independent(correlated):
    drawn, _ = gaussian_copula(correlated, one_class(600), {"A": 4_000}, 0, top=6)
    means = correlated.toarray().mean(axis=0)
    inside = np.argsort(-means)[:6]
    outside = np.setdiff1d(np.arange(12), inside)
    expected, found = np.corrcoef(correlated.toarray().T), np.corrcoef(drawn.toarray().T)
    np.testing.assert_allclose(found[np.ix_(inside, inside)], expected[np.ix_(inside, inside)],
                               atol=0.12)  # fmt: skip
    assert np.abs(expected[np.ix_(outside, np.arange(12))]).mean() > 0.2
    assert np.abs(found[np.ix_(outside, inside)]).max() < 0.07
    np.testing.assert_allclose(drawn.toarray().mean(axis=0), means, rtol=0.06)


def test_thinned_pairs_share_one_weight():
    """Two cells without a common gene: w of the one and 1 - w of the other."""
    counts = sp.csr_matrix([[40_000, 60_000, 0, 0], [0, 0, 90_000, 10_000]])
    drawn, _ = thinned_pairs(counts, one_class(2), {"A": 300}, 0)
    share = drawn.toarray() / counts.toarray().sum(axis=0)
    np.testing.assert_allclose(share[:, 0], share[:, 1], atol=0.02)
    np.testing.assert_allclose(share[:, 0] + share[:, 2], 1, atol=0.02)
    # Uniform weights, and always two different cells.
    assert kstest(share[:, 0], "uniform").pvalue > 0.01


def test_thinned_pairs_keep_the_mean_and_the_class(correlated):
    labels = np.repeat(np.array(["A", "B"], dtype=object), 300)
    shifted = sp.vstack([correlated[:300], 3 * correlated[300:]]).tocsr()
    drawn, made = thinned_pairs(shifted, labels, {"B": 2_000, "A": 1_000}, 0)
    assert made.tolist() == ["B"] * 2_000 + ["A"] * 1_000
    for label in "AB":
        found = drawn[made == label].toarray()
        expected = shifted[labels == label].toarray()
        np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), rtol=0.08)
        assert (found.max(axis=0) <= 2 * expected.max(axis=0)).all()


def test_resampled_cells_are_real_and_different(correlated):
    labels = np.repeat(np.array(["A", "B"], dtype=object), [580, 20])
    drawn, made = resampled(correlated, labels, {"B": 20, "A": 100}, 0)
    rows = [tuple(row) for row in drawn.toarray()]
    assert sorted(rows[:20]) == sorted(map(tuple, correlated[580:].toarray()))
    assert set(rows[20:]) <= set(map(tuple, correlated[:580].toarray()))
    assert len(set(rows[20:])) == 100
    assert made.tolist() == ["B"] * 20 + ["A"] * 100
    more, _ = resampled(correlated, labels, {"B": 200}, 0)
    assert more.shape[0] == 200
    assert set(map(tuple, more.toarray())) <= set(rows[:20])


@pytest.mark.parametrize("name", BASELINES)
def test_classes_of_one_to_five_cells(name, correlated):
    sizes = {f"of {n}": n for n in range(1, 6)}
    labels = np.repeat(np.array(list(sizes), dtype=object), list(sizes.values()))
    counts = correlated[: len(labels)].copy().tolil()
    counts[1:3, 7] = 0  # a gene that a whole class lacks
    numbers = {label: 400 for label in reversed(sizes)} | {"of 2": 0}
    generate = BASELINES[name]
    drawn, made = generate(counts.tocsr(), labels, numbers, 0)
    assert sp.isspmatrix_csr(drawn)
    assert drawn.dtype == np.int32
    assert drawn.shape == (1_600, 12)
    assert made.dtype == object
    assert made.tolist() == [label for label, number in numbers.items() for _ in range(number)]
    assert drawn.data.min() > 0
    for label in ("of 1", "of 5"):
        expected = counts.toarray()[labels == label].mean(axis=0)
        found = drawn[made == label].toarray().mean(axis=0)
        np.testing.assert_allclose(found.sum(), expected.sum(), rtol=0.1)
    alone = drawn[made == "of 1"].toarray()
    rates = counts.toarray()[0]
    if name in ("independent_negative_binomial", "gaussian_copula"):
        # Poisson of the cell's own rates, gene by gene.
        np.testing.assert_allclose(alone.mean(axis=0), rates, atol=0.25 * np.sqrt(rates.max()))
        np.testing.assert_allclose(alone.var(axis=0).sum(), rates.sum(), rtol=0.15)
    again, _ = generate(counts.tocsr(), labels, numbers, 0)
    other, _ = generate(counts.tocsr(), labels, numbers, 1)
    assert (drawn != again).nnz == 0
    assert (drawn != other).nnz > 0
    lacking, _ = generate(counts.tocsr(), labels, {"of 2": 5}, 0)
    assert not lacking[:, 7].nnz


@pytest.mark.parametrize("name", BASELINES)
def test_cells_without_counts_give_none(name):
    counts = sp.csr_matrix((3, 4), dtype=np.int64)
    drawn, made = BASELINES[name](counts, one_class(3), {"A": 5}, 0)
    assert drawn.shape == (5, 4)
    assert drawn.nnz == 0
    assert len(made) == 5
    none, made = BASELINES[name](counts, one_class(3), {}, 0)
    assert none.shape == (0, 4)
    assert len(made) == 0
