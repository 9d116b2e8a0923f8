"""The kernel prior against closed forms, and the coordinates of within-type noise."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from dice_atlas.dice.coordinates import (
    in_coordinates,
    space_in_coordinates,
    within_type_matrix,
)
from dice_atlas.dice.kernel import KernelSettings, fit_kernel, kernel_of
from dice_atlas.dice.networks import KernelMean
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.priors import KernelPrior, posterior_covariance
from dice_atlas.dice.sampler import Sampler
from dice_atlas.dice.settings import DenoiseSettings, RhoSettings
from dice_atlas.features.projection import LatentSpace
from dice_atlas.numerics.scaling import Scaling
from scipy.stats import multivariate_normal

K, M, SHARE = 3, 40, 0.2
EXACT = DenoiseSettings("exact", "gaussian", 0.8, 20, "float32", RhoSettings(end=0.5))


@pytest.fixture
def kernel():
    rng = np.random.default_rng(0)
    found = KernelMean(K, M)
    factor = rng.standard_normal((K, K)) * 3
    found.point.copy_(torch.from_numpy(rng.standard_normal((M, K)) * 2).float())
    found.share.fill_(SHARE)
    covariance = torch.from_numpy(factor @ factor.T + np.eye(K)).float()
    found.broad.set(torch.ones(1), torch.tensor([[1.0, 0.0, -1.0]]), covariance[None])
    return found


def broad_of(kernel):
    """Mean and covariance of the background."""
    basis, variance = kernel.broad.basis[0].numpy(), kernel.broad.variance[0].numpy()
    return kernel.broad.center[0].numpy(), (basis * variance) @ basis.T


def exact(kernel, u, noise):
    """Weights, mean and covariance of one cell by the textbook, with scipy's densities.

    noise : covariance (k, k).
    """
    point, (center, covariance) = kernel.point.numpy(), broad_of(kernel)
    density = [(1 - SHARE) / M * multivariate_normal(p, noise).pdf(u) for p in point]
    density.append(SHARE * multivariate_normal(center, covariance + noise).pdf(u))
    weights = np.array(density) / np.sum(density)
    gain = covariance @ np.linalg.inv(covariance + noise)
    means = np.vstack([point, center + gain @ (u - center)])
    mean = weights @ means
    own = covariance - gain @ covariance
    spread = np.einsum("n,ni,nj->ij", weights, means, means) - np.outer(mean, mean)
    return weights, mean, spread + weights[-1] * own


NOISE = np.array([[1.0, 0.4, 0.0], [0.4, 2.0, -0.3], [0.0, -0.3, 0.7]])


@pytest.mark.parametrize("s", [0.3, 1.1, 6.0])
@pytest.mark.parametrize("isotropic", [True, False])
def test_mean_variance_and_background_are_those_of_the_closed_form(kernel, s, isotropic):
    prior = KernelPrior(kernel)
    noise = np.eye(K) if isotropic else NOISE
    if not isotropic:
        prior = prior.under(torch.from_numpy(NOISE))
    u = np.random.default_rng(1).standard_normal((12, K)) * 4
    points = torch.from_numpy(u).float()
    expected = [exact(kernel, x, s**2 * noise) for x in u]
    mean, variance = prior.mean(points, s).numpy(), prior.variance(points, s).numpy()
    np.testing.assert_allclose(mean, [e[1] for e in expected], atol=2e-3)
    np.testing.assert_allclose(variance, [np.trace(e[2]) for e in expected], rtol=2e-3, atol=1e-3)
    share = prior.background(points, s).numpy()
    np.testing.assert_allclose(share, [e[0][-1] for e in expected], atol=1e-4)


def test_variance_is_the_jacobians(kernel):
    prior, u = KernelPrior(kernel), torch.randn(9, K) * 3
    trace = posterior_covariance(prior, u, 1.2).diagonal(dim1=1, dim2=2).sum(dim=1)
    torch.testing.assert_close(prior.variance(u, 1.2), trace, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("isotropic", [True, False])
def test_samples_have_the_posteriors_law(kernel, isotropic):
    prior, noise = KernelPrior(kernel), np.eye(K)
    if not isotropic:
        prior, noise = prior.under(torch.from_numpy(NOISE)), NOISE
    u, n, s = np.array([2.5, -1.0, 0.5]), 40_000, 1.3
    cells = torch.from_numpy(u).float().repeat(n, 1)
    samples = prior.sample(cells, s, CellNoise(3, torch.arange(n), 0, K)).numpy()
    _, mean, covariance = exact(kernel, u, s**2 * noise)
    np.testing.assert_allclose(samples.mean(axis=0), mean, atol=5 * np.sqrt(covariance.max() / n))
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.05 * covariance.max())


def test_a_cell_far_from_all_stays_near_itself_with_a_background_alone(kernel):
    far = torch.tensor([[14.0, -9.0, 12.0]])
    prior = KernelPrior(kernel)
    assert prior.background(far, 1.0) > 0.99
    kept = (prior.mean(far, 1.0) - far).norm()
    kernel.share.fill_(0.0)
    assert prior.background(far, 1.0) == 0
    assert (prior.mean(far, 1.0) - far).norm() > 3 * kept


def test_every_cell_begins_as_many_draws_as_any_other():
    latents, classes = torch.arange(30.0)[:, None].repeat(1, 2), torch.zeros(30, dtype=torch.long)
    settings = KernelSettings(draws=100, mixup_probability=0.0, background=0.0)
    counts = kernel_of(latents, classes, settings, True, 0).point[:, 0].int().bincount()
    assert set(counts.tolist()) == {3, 4}
    few = KernelSettings(draws=5, most=20, mixup_probability=0.0)
    assert kernel_of(latents, classes, few, True, 0).point[:, 0].unique().numel() == 20
    # Without mixup the cells themselves.
    assert torch.equal(kernel_of(latents, classes, KernelSettings(), False, 0).point, latents)


def test_the_background_is_as_broad_as_all_cells():
    latents = torch.randn(500, 3) * torch.tensor([4.0, 1.0, 0.5]) + 2
    found = fit_kernel(latents, torch.arange(500) % 2, KernelSettings(), True, 1)
    restored = KernelMean(3, 8_000)
    restored.load_state_dict(found.best)
    center, covariance = broad_of(restored)
    np.testing.assert_allclose(center, latents.mean(dim=0), atol=1e-4)
    np.testing.assert_allclose(covariance, np.cov(latents.numpy().T, bias=True), rtol=1e-3)
    assert found.best_loss < 1


def types(n=4_000):
    """Cells (n x 3) of four types that differ from type to type less than within one axis."""
    rng = np.random.default_rng(0)
    spread = np.linalg.cholesky(np.array([[9.0, 2.0, 0.0], [2.0, 1.0, 0.1], [0.0, 0.1, 0.2]]))
    label = rng.integers(4, size=n)
    return rng.standard_normal((4, 3))[label] * 5 + rng.standard_normal((n, 3)) @ spread.T, label


def test_within_type_noise_is_isotropic_in_its_coordinates():
    points, label = types()
    matrix = within_type_matrix(points, label, shrinkage=0.0)
    offset = points - np.array([points[label == c].mean(axis=0) for c in range(4)])[label]
    before, after = offset.T @ offset / len(points), (offset @ matrix).T @ (offset @ matrix)
    np.testing.assert_allclose(after / len(points), np.trace(before) / 3 * np.eye(3), atol=1e-8)
    # Shrunk all the way it is isotropic noise.
    np.testing.assert_allclose(within_type_matrix(points, label, shrinkage=1.0), np.eye(3))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-10)


def test_types_of_one_cell_have_no_spread():
    points = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_array_equal(within_type_matrix(points, np.arange(5)), np.eye(3))


def cells_of(points, gram):
    uns = {"latent": {"gram": gram, "orthonormal": bool(np.allclose(gram, np.eye(3)))}}
    points = points.astype(np.float32)
    return ad.AnnData(
        obs=pd.DataFrame(index=[f"c{i}" for i in range(len(points))]),
        obsm={"X_pca": points, "X_harmony": points + 1}, uns=uns,
    )  # fmt: skip


def test_coordinates_move_latents_and_the_noise_of_missing_genes():
    points, label = types(200)
    matrix = within_type_matrix(points, label)
    factor = np.random.default_rng(1).standard_normal((9, 3)) * 0.3
    gram = factor.T @ factor
    found = in_coordinates(cells_of(points, gram), matrix)
    np.testing.assert_allclose(found.obsm["X_pca"], points @ matrix, rtol=1e-4, atol=1e-4)
    moved = found.obsm["X_harmony"] - found.obsm["X_pca"]
    np.testing.assert_allclose(moved, np.tile(matrix.sum(axis=0), (200, 1)), rtol=1e-3, atol=1e-4)
    # With all genes the noise is isotropic; missing ones add what least squares adds.
    whole = in_coordinates(cells_of(points, np.eye(3)), matrix).uns["latent"]["gram"]
    np.testing.assert_allclose(whole, np.eye(3), atol=1e-10)
    added = np.linalg.inv(found.uns["latent"]["gram"]) - np.eye(3)
    expected = matrix @ (np.linalg.inv(gram) - np.eye(3)) @ matrix
    np.testing.assert_allclose(added, expected, rtol=1e-8)
    assert in_coordinates(found, None) is found


def test_a_space_in_coordinates_explains_the_same_expression():
    rng = np.random.default_rng(2)
    loadings = np.linalg.qr(rng.standard_normal((9, 3)))[0]
    scaling = Scaling(np.ones(9), np.full(9, 9.0), np.zeros(9))
    none = np.array([], dtype=str)
    space = LatentSpace(np.arange(9).astype(str), loadings, scaling, np.arange(3.0), none)
    points, label = types(50)
    matrix = within_type_matrix(points, label)
    moved = space_in_coordinates(space, matrix)
    np.testing.assert_allclose(points @ matrix @ moved.loadings.T, points @ loadings.T)


def test_missing_genes_keep_the_closed_form(kernel):
    factor = np.random.default_rng(1).standard_normal((9, K)) * 0.4
    gram = factor.T @ factor
    latent = {"gram": gram, "orthonormal": False, "missing_genes": 5}
    sampler = Sampler(KernelPrior(kernel), EXACT, latent, "query", 0, "cpu")
    assert (sampler.method, sampler.notes) == ("exact", [])
    u = np.random.default_rng(4).standard_normal((6, K)) * 3
    mean, samples, trace = sampler(torch.from_numpy(u).float(), torch.arange(6))
    noise = 0.8 * np.linalg.inv(gram) + 0.25 * np.eye(K)
    expected = [exact(kernel, x, noise) for x in u]
    np.testing.assert_allclose(mean, [e[1] for e in expected], atol=2e-3)
    np.testing.assert_allclose(trace, [np.trace(e[2]) for e in expected], rtol=2e-3, atol=1e-3)
    assert samples.shape == (20, 6, K)
    # The distance is Mahalanobis' to the mean, in the noise.
    found = sampler.distance(torch.from_numpy(u).float(), mean).numpy()
    offset = u - mean.numpy()
    length = np.sqrt(np.einsum("ni,ij,nj->n", offset, np.linalg.inv(noise), offset))
    np.testing.assert_allclose(found, length, rtol=1e-3)


def test_gibbs_with_missing_genes_has_the_law_of_the_closed_form(kernel):
    factor = np.random.default_rng(1).standard_normal((9, K)) * 0.6
    latent = {"gram": factor.T @ factor, "orthonormal": False, "missing_genes": 5}
    u = torch.tensor([[1.0, -2.0, 0.5]])
    # A strong coupling would keep the chains of a discrete prior where they started.
    rho = RhoSettings(2.5, 2.5)
    one = replace(EXACT, rho=rho)
    whole = Sampler(KernelPrior(kernel), one, latent, "query", 0, "cpu")
    exact_mean = whole(u, torch.arange(1))[0][0].numpy()
    settings = replace(one, method="gibbs", iterations=60, repeats=2)
    chains = Sampler(KernelPrior(kernel), settings, latent, "query", 0, "cpu")
    n = 4_000
    found = chains(u.repeat(n, 1), torch.arange(n))[1].numpy().reshape(-1, K)
    error = found.std(axis=0) / np.sqrt(n)
    assert (np.abs(found.mean(axis=0) - exact_mean) < 6 * error + 0.02).all()
