"""The Seurat v3 criterion against scanpy's, and the fallbacks of its trend."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.features import variable_genes as vg


def counts(cells=300, genes=400, seed=0):
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.6, 2.0, genes) + 0.05
    size = rng.choice([0.3, 2.0, 30.0], genes)
    x = rng.poisson(rate * rng.gamma(size, 1 / size, (cells, genes)))
    return sp.csr_matrix(x.astype(np.int32))


def in_blocks(x, edges):
    return [x[a:b] for a, b in zip([0, *edges], [*edges, x.shape[0]], strict=True)]


def streamed(x, edges):
    """Standardised variances from blocks of cells."""
    whole, *rest = [vg.moments(b) for b in in_blocks(x, edges)]
    for block in rest:
        whole = whole + block
    sd = vg.fit_trend(whole.mean, whole.variance)
    squares = sum(
        vg.clipped_squares(b, whole.mean, sd, np.sqrt(whole.n)) for b in in_blocks(x, edges)
    )
    return whole, vg.variance_standardized(whole, squares, sd)


def test_moments_are_those_of_numpy():
    x = counts()
    whole, _ = streamed(x, [100, 101])
    dense = x.toarray()
    np.testing.assert_allclose(whole.mean, dense.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(whole.variance, dense.var(axis=0, ddof=1), rtol=1e-10)
    np.testing.assert_array_equal(whole.detected, (dense > 0).sum(axis=0))


def test_one_batch_is_scanpys():
    x = counts()
    data = ad.AnnData(x.astype(np.float32))
    table = sc.pp.highly_variable_genes(data, flavor="seurat_v3", n_top_genes=80, inplace=False)
    whole, variances = streamed(x, [7, 150])
    np.testing.assert_allclose(variances, table["variances_norm"], rtol=1e-5)
    order, same = vg.variable_genes(x, 80)
    np.testing.assert_allclose(same, variances, rtol=1e-12)
    assert set(order) == set(np.flatnonzero(table["highly_variable"]))
    by_variance = table["variances_norm"].to_numpy()[order]
    assert (np.diff(by_variance) <= 1e-6).all()
    assert whole.n == 300


def test_batches_are_merged_as_in_scanpys_paper_flavor():
    x = counts(cells=360, seed=1)
    batch = np.repeat(["a", "b", "c"], [150, 120, 90])
    data = ad.AnnData(x.astype(np.float32), obs=pd.DataFrame({"batch": batch}, index=_names(360)))
    theirs = sc.pp.highly_variable_genes(
        data, flavor="seurat_v3_paper", n_top_genes=60, batch_key="batch", inplace=False
    )
    ours = vg.rank_over_batches([streamed(x[batch == b], [])[1] for b in "abc"], 60)
    np.testing.assert_array_equal(ours["n_batches"], theirs["highly_variable_nbatches"])
    np.testing.assert_allclose(ours["median_rank"], theirs["highly_variable_rank"])
    np.testing.assert_array_equal(ours["rank"] <= 60, theirs["highly_variable"])


def test_rank_over_batches_by_hand():
    # Gene 0 is best in one batch, gene 1 second in both: with n_top = 2 gene 1 leads.
    table = vg.rank_over_batches(
        [np.array([9.0, 5.0, 1.0, 0.5]), np.array([0.1, 5.0, 7.0, 0.5])], 2
    )
    assert table["n_batches"].tolist() == [1, 2, 1, 0]
    assert table["rank"].tolist() == [2, 1, 3, 4]
    assert table["variance_standardized"].tolist() == pytest.approx([4.55, 5.0, 4.0, 0.5])


def test_constant_genes_have_no_variance_and_are_never_chosen_if_absent():
    x = counts().tolil()
    x[:, 3] = 0
    x[:, 4] = 2
    order, variances = vg.variable_genes(x.tocsr(), 400)
    assert variances[3] == variances[4] == 0
    assert 3 not in order
    assert 4 in order


TIED = np.repeat([0.01, 0.02, 0.03, 5.0], [300, 300, 300, 4])


def test_trend_falls_back_to_a_jitter_where_loess_has_no_fit(caplog):
    # Means tied on a few values: skmisc's loess fails altogether.
    assert vg._fit_loess(np.log10(TIED), np.log10(2 * TIED), 0.3) is None
    with caplog.at_level(logging.WARNING):
        sd = vg.fit_trend(TIED, 2 * TIED)
    np.testing.assert_allclose(sd, np.sqrt(2 * TIED), rtol=1e-3)
    assert "jitter" in caplog.text


def test_clipped_squares_by_hand():
    x = sp.csr_matrix(np.array([[0, 3], [10, 0], [2, 1]]))
    mean, sd = np.array([1.0, 2.0]), np.array([0.5, 1.0])
    # z: 18 cut to 4, 2; 1, -1
    np.testing.assert_allclose(vg.clipped_squares(x, mean, sd, 4.0), [16 + 4, 1 + 1])
    whole = vg.moments(x)
    # The zeros: ((0 - 4) / 0.5)^2 and ((0 - 4/3) / 1)^2, by the means of x itself.
    expected = [(20 + 64) / 2, (2 + 16 / 9) / 2]
    np.testing.assert_allclose(vg.variance_standardized(whole, np.array([20, 2]), sd), expected)


def test_last_fallback_is_used_when_jitter_does_not_help(monkeypatch, caplog):
    monkeypatch.setattr(vg, "JITTERS", ())
    with caplog.at_level(logging.WARNING):
        sd = vg.fit_trend(TIED, 2 * TIED)
    np.testing.assert_allclose(sd, np.sqrt(2 * TIED), rtol=1e-6)
    assert "least squares" in caplog.text


def test_local_quadratic_reproduces_quadratics_and_follows_loess():
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-2, 2, 300))
    exact = 1 + 0.5 * x - 0.3 * x**2
    np.testing.assert_allclose(vg.local_quadratic(x, exact, 0.3), exact, atol=1e-9)
    noisy = np.sin(2 * x) + 0.1 * rng.standard_normal(300)
    model = vg.loess(x, noisy, span=0.3, degree=2, surface="direct")
    model.fit()
    difference = vg.local_quadratic(x, noisy, 0.3) - model.outputs.fitted_values
    assert np.abs(difference).max() < 1e-6


def _names(n):
    return [f"c{i}" for i in range(n)]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 19])
def test_few_genes_have_a_trend_too(n):
    # On up to three genes skmisc's loess ends the process.
    mean = np.linspace(0.5, 4, n)
    sd = vg.fit_trend(np.append(mean, 0), np.append(2 * mean, 0))
    np.testing.assert_allclose(sd, np.append(np.sqrt(2 * mean), 1), rtol=0.1)
