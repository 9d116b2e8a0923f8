"""The two reductions against dense arithmetic."""

import logging

import numpy as np
import pytest
import scipy.sparse as sp
from dice_atlas.errors import InputError
from dice_atlas.numerics.scaling import l2_normalize
from dice_atlas.transfer.reduction import cca, pcaproject


def expression(cells, genes=60, seed=0):
    rng = np.random.default_rng(seed)
    dense = np.log1p(rng.poisson(rng.gamma(1.0, 1.0, genes) + 0.2, (cells, genes)) * 1.0)
    dense[0, 1] = 60.0  # more than 10 standard deviations off where cells are many
    return dense


def zscores(dense, mean, sd):
    return np.minimum((dense - mean) / sd, 10)


def aligned(a, b):
    return a * np.sign((a * b).sum(axis=0))


def test_pcaproject_is_a_dense_svd_without_recentring():
    r, q = expression(150, seed=1), expression(90, seed=2)
    r[:, 7] = 0.4  # constant in the reference
    ours = pcaproject(sp.csr_matrix(r), sp.csr_matrix(q), 8)
    genes = np.delete(np.arange(60), 7)
    mean, sd = r[:, genes].mean(axis=0), r[:, genes].std(axis=0, ddof=1)
    z = zscores(r[:, genes], mean, sd)
    assert z.max() == 10
    _, _, v = np.linalg.svd(z, full_matrices=False)
    v = v[:8].T
    np.testing.assert_array_equal(ours.genes, genes)
    np.testing.assert_allclose(aligned(ours.loadings, v), v, atol=1e-8)
    np.testing.assert_allclose(aligned(ours.reference, z @ v), z @ v, atol=1e-7)
    projected = zscores(q[:, genes], mean, sd) @ v
    np.testing.assert_allclose(aligned(ours.query, projected), projected, atol=1e-7)


def test_cca_is_a_dense_svd_of_the_standardised_cells():
    r, q = expression(120, seed=1), expression(130, seed=2)
    r[:, 7], q[:, 9] = 0.4, 0.0
    ours = cca(sp.csr_matrix(r), sp.csr_matrix(q), 6)
    genes = np.delete(np.arange(60), [7, 9])
    z = [zscores(x, x.mean(axis=0), x.std(axis=0, ddof=1)) for x in (r[:, genes], q[:, genes])]
    standard = [
        (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, ddof=1, keepdims=True) for x in z
    ]
    u, _, v = np.linalg.svd(standard[0] @ standard[1].T, full_matrices=False)
    u, v = u[:, :6], v[:6].T
    loadings = z[0].T @ u + z[1].T @ v
    for own, expected in ((ours.reference, u), (ours.query, v), (ours.loadings, loadings)):
        np.testing.assert_allclose(aligned(own, expected), expected, atol=1e-7)
    # Reference and query have the same signs.
    np.testing.assert_array_equal(
        np.sign((ours.reference * u).sum(axis=0)), np.sign((ours.query * v).sum(axis=0))
    )
    np.testing.assert_array_equal(ours.genes, genes)


@pytest.mark.parametrize("reduce", [pcaproject, cca])
def test_same_seed_same_result(reduce):
    r, q = sp.csr_matrix(expression(50, seed=1)), sp.csr_matrix(expression(40, seed=2))
    np.testing.assert_array_equal(reduce(r, q, 5, 3).query, reduce(r, q, 5, 3).query)


@pytest.mark.parametrize("reduce", [pcaproject, cca])
def test_dims_are_cut_to_the_cells_with_a_warning(reduce, caplog):
    r, q = sp.csr_matrix(expression(12, seed=1)), sp.csr_matrix(expression(40, seed=2))
    with caplog.at_level(logging.WARNING):
        reduced = reduce(r, q, 30)
    assert reduced.query.shape == (40, 11)
    assert "annotate.dims is 30, but there are 12 reference cells: 11 are used" in caplog.text
    with pytest.raises(InputError, match="2 reference cells, which is too few"):
        reduce(r[:2], q, 30)


@pytest.mark.parametrize("reduce", [pcaproject, cca])
def test_dims_are_cut_to_the_genes_that_vary(reduce, caplog):
    dense = expression(50, genes=25, seed=1)
    dense[:, 7] = 1.5
    query = sp.csr_matrix(expression(40, genes=25, seed=2))
    with caplog.at_level(logging.WARNING):
        reduced = reduce(sp.csr_matrix(dense), query, 30)
    assert reduced.query.shape == (40, 23)
    assert 7 not in reduced.genes
    assert "but there are 24" in caplog.text


@pytest.mark.parametrize("reduce", [pcaproject, cca])
def test_an_empty_query_cell_has_a_place(reduce):
    q = expression(40, seed=2)
    q[3] = 0
    reduced = reduce(sp.csr_matrix(expression(50, seed=1)), sp.csr_matrix(q), 5)
    assert np.isfinite(reduced.query).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cells", [1, 2])
def test_one_or_two_query_cells_have_no_common_space(cells):
    q = sp.csr_matrix(expression(cells, seed=2))
    with pytest.raises(InputError, match="which is too few"):
        cca(sp.csr_matrix(expression(50, seed=1)), q, 5)


def test_l2_normalize_leaves_zero_rows():
    rows = l2_normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert rows.tolist() == [[0.6, 0.8], [0.0, 0.0]]
