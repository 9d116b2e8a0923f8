"""Noise of genes, and likelihoods built from a shard's expression."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from dice_atlas.dice.gene_space import GeneSpace
from dice_atlas.dice.likelihoods import CountModel, StudentT
from dice_atlas.features.gene_noise import expected_counts, gene_noise
from dice_atlas.features.projection import LatentSpace
from dice_atlas.numerics.scaling import Scaling, scale

D, K = 40, 3
NONE = np.array([], dtype=str)


def make_space(seed=0):
    rng = np.random.default_rng(seed)
    loadings = np.linalg.qr(rng.standard_normal((D, K)))[0]
    sd = rng.uniform(0.4, 0.9, D)
    scaling = Scaling(sd, np.full(D, 50.0), rng.uniform(2.5, 4.0, D))
    return LatentSpace(np.array([f"G{i}" for i in range(D)]), loadings, scaling, np.ones(K), NONE)


def simulate(dispersion, n=20_000, seed=1):
    """Counts about the rates of random latents, and their log-normalised expression."""
    rng, space = np.random.default_rng(seed), make_space()
    latents = rng.standard_normal((n, K))
    depth = rng.uniform(0.5, 2.0, n)
    rate = expected_counts(latents @ space.loadings.T, depth[:, None], space)
    shape = 1 / np.maximum(dispersion, 1e-9)
    rate = np.where(dispersion > 0, rng.gamma(shape, rate * dispersion), rate)
    counts = rng.poisson(rate)
    expression = sp.csr_matrix(np.log1p(counts / depth[:, None]))
    return space, latents, depth, counts, expression


def test_dispersion_is_that_of_the_simulation():
    truth = np.repeat([0.0, 0.2, 1.0, 2.0], D // 4)
    space, latents, depth, _, expression = simulate(truth)
    variance, found = gene_noise(expression, depth, latents, space)
    np.testing.assert_allclose(found, truth, atol=0.03, rtol=0.12)
    residual = scale(expression, space.scaling).toarray() - space.scaling.center
    residual -= latents @ space.loadings.T
    np.testing.assert_allclose(variance, (residual**2).mean(axis=0))


@pytest.fixture
def genes():
    space, _, depth, counts, expression = simulate(np.full(D, 0.3), n=60)
    rng = np.random.default_rng(2)
    latent = {"gene_variance": rng.uniform(0.5, 3, D), "gene_dispersion": np.full(D, 0.3)}
    shift = rng.standard_normal((60, K))
    return GeneSpace(expression, depth, shift, 100, space, latent, "cpu"), counts, latent


def test_weights_of_genes_and_the_batch_shift_enter_the_statistic(genes):
    made, _, latent = genes
    cells = torch.tensor([103, 110])
    likelihood = made.likelihood("gaussian_per_gene", torch.zeros(2, K), cells)
    v, weight = made.space.loadings, 1 / latent["gene_variance"]
    x = scale(made.expression[[3, 10]], made.space.scaling).toarray() - made.space.scaling.center
    moved = x + made.shift[[3, 10]] @ v.T
    np.testing.assert_allclose(likelihood.precision, v.T @ (weight[:, None] * v), rtol=1e-4)
    np.testing.assert_allclose(likelihood.statistic, moved * weight @ v, rtol=1e-3, atol=1e-3)


def test_general_likelihoods_see_the_cells_own_genes(genes):
    made, counts, latent = genes
    cells = torch.tensor([100, 159])
    student = made.likelihood("student_t", torch.zeros(2, K), cells).model
    assert isinstance(student, StudentT)
    np.testing.assert_allclose(2 * student.scale**2, latent["gene_variance"], rtol=1e-5)
    model = made.likelihood("negative_binomial", torch.zeros(2, K), cells).model
    assert isinstance(model, CountModel)
    np.testing.assert_array_equal(model.counts, counts[[0, 59]])
    rate = model.rate(torch.zeros(2, D))[0]
    expected = expected_counts(np.zeros((2, D)), made.depth[[0, 59], None], made.space)
    np.testing.assert_allclose(rate, expected, rtol=1e-4)
    assert made.likelihood("poisson", torch.zeros(2, K), cells).model.dispersion == 0.0
    with pytest.raises(ValueError, match="'negativ_binomial' is not one in gene space"):
        made.likelihood("negativ_binomial", torch.zeros(2, K), cells)
