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
from dice_atlas.dice.exact import exact_posterior
from dice_atlas.dice.kernel import (
    KernelSettings,
    fit_kernel,
    kernel_of,
    restore_kernel,
    starting_cells,
)
from dice_atlas.dice.networks import KernelMean
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.priors import KernelPrior, posterior_covariance
from dice_atlas.dice.sampler import Sampler
from dice_atlas.dice.settings import DenoiseSettings, RhoSettings
from dice_atlas.dice.training import noise_coordinates
from dice_atlas.errors import InputError
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
    prior = KernelPrior(kernel)
    assert prior.background(far, 1.0).isnan()
    assert (prior.mean(far, 1.0) - far).norm() > 3 * kept


def test_what_was_asked_for_last_is_not_taken_for_something_else(kernel):
    one, other = torch.randn(2, 5, K, generator=torch.Generator().manual_seed(0)) * 2
    prior = KernelPrior(kernel)
    for u, s in ((one, 1.0), (one, 2.0), (other, 2.0), (one.clone(), 2.0), (one, 1.0)):
        assert torch.equal(prior.mean(u, s), KernelPrior(kernel).mean(u, s))
        assert torch.equal(prior.variance(u, s), KernelPrior(kernel).variance(u, s))
        assert torch.equal(prior.background(u, s), KernelPrior(kernel).background(u, s))
    without = prior.leaving_out(torch.full((5,), 7))
    assert without.last is None
    assert prior.last is not None


def numbers_of(n):
    return np.random.default_rng(7).integers(2**62, size=n)


def test_every_cell_of_a_class_begins_as_many_draws_as_any_other():
    classes = torch.tensor([0] * 25 + [1] * 5)
    rows, weights = starting_cells(classes, 100, 30, torch.Generator().manual_seed(0))
    counts = rows.bincount()
    assert set(counts[:25].tolist()) == {3, 4}
    # A rare class has 30 draws in place of 17, and its share of the weight all the same.
    assert counts[25:].tolist() == [6] * 5
    assert weights[classes[rows] == 1].sum() == pytest.approx(1 / 6)
    assert weights.sum() == pytest.approx(1)


def test_without_mixup_the_points_are_the_cells_at_most_so_many():
    latents, classes = torch.randn(30, 2), torch.zeros(30, dtype=torch.long)
    settings = KernelSettings(most=20)
    found = kernel_of(latents, classes, numbers_of(30), replace(settings, most=99), False, 0)
    assert sorted(found.point.tolist()) == sorted(latents.tolist())
    assert len(kernel_of(latents, classes, numbers_of(30), settings, False, 0).point) == 20


@pytest.mark.parametrize("mixup", [True, False])
def test_cells_of_the_prior_are_denoised_as_cells_that_are_new_to_it(mixup):
    rng = np.random.default_rng(0)
    center, n = rng.standard_normal((8, 12)) * 4, 1_200
    label = rng.integers(8, size=n)
    points = (center[label] + rng.standard_normal((n, 12)) * 1.6).astype(np.float32)
    known, new = np.arange(n) < 900, np.arange(n) >= 900
    numbers, latents = numbers_of(n), torch.from_numpy(points)
    classes = torch.from_numpy(label[known])
    settings = KernelSettings(draws=4_000)
    kernel = kernel_of(latents[known], classes, numbers[known], settings, mixup, 0)
    whole = KernelPrior(kernel)
    prior = whole.leaving_out(torch.from_numpy(numbers))
    trace = prior.variance(latents, 1.1).numpy()
    assert np.median(trace[known]) == pytest.approx(np.median(trace[new]), rel=0.1)
    moved = (prior.mean(latents, 1.1) - latents).norm(dim=1).numpy()
    assert np.median(moved[known]) == pytest.approx(np.median(moved[new]), rel=0.05)
    # Where they find themselves they hardly move; cells that are new to the prior are the same.
    found = whole.variance(latents, 1.1).numpy()
    assert np.median(found[known]) < 0.6 * np.median(found[new])
    np.testing.assert_array_equal(found[new], trace[new])
    samples = prior.sample(latents, 1.1, CellNoise(0, torch.arange(n), 0, 12))
    spread = ((samples - prior.mean(latents, 1.1)) ** 2).sum(dim=1).numpy()
    assert spread[known].mean() == pytest.approx(spread[new].mean(), rel=0.15)


def test_leaving_a_cell_out_is_the_prior_without_its_points(kernel):
    numbers = torch.tensor([11, 5, 7, 99])
    kernel.number = torch.tensor([5, 7, 11])
    kernel.member = torch.randint(0, 3, kernel.member.shape, dtype=torch.int32)
    u = torch.randn(4, K) * 3
    found = KernelPrior(kernel).leaving_out(numbers).mean(u, 1.0)
    for row, cell in enumerate((2, 0, 1, None)):
        kept = torch.ones(M, dtype=torch.bool)
        if cell is not None:
            kept = (kernel.member != cell).all(dim=1)
        part = KernelMean(K, int(kept.sum()))
        part.point.copy_(kernel.point[kept])
        # Its points have less of the whole weight: the background's share is as before.
        part.log_weight.copy_(kernel.log_weight[kept])
        part.share.copy_(kernel.share)
        part.broad = kernel.broad
        expected = KernelPrior(part).mean(u[[row]], 1.0)
        torch.testing.assert_close(found[[row]], expected, rtol=1e-4, atol=1e-4)


def test_a_cell_that_is_there_twice_does_not_find_its_twin():
    latents = torch.randn(60, 3) * 3
    latents[1] = latents[0]
    numbers = numbers_of(60)
    numbers[1] = numbers[0]
    classes = torch.zeros(60, dtype=torch.long)
    kernel = kernel_of(latents, classes, numbers, KernelSettings(background=0.0), False, 0)
    prior = KernelPrior(kernel).leaving_out(torch.from_numpy(numbers))
    assert ((prior.mean(latents, 0.05) - latents)[:2].norm(dim=1) > 0.3).all()


def test_the_background_is_as_broad_as_all_cells():
    latents = torch.randn(500, 3) * torch.tensor([4.0, 1.0, 0.5]) + 2
    classes = torch.arange(500) % 2
    found = fit_kernel(latents, classes, numbers_of(500), KernelSettings(), True, 1)
    restored = restore_kernel(3, found.best)
    center, covariance = broad_of(restored)
    np.testing.assert_allclose(center, latents.mean(dim=0), atol=1e-4)
    np.testing.assert_allclose(covariance, np.cov(latents.numpy().T, bias=True), rtol=1e-3)
    # Each cell is judged without its own draws: better than no denoising, and not by much.
    assert 0.3 < found.best_loss < 1


def test_low_precision_changes_no_sample_of_a_kernel(kernel):
    u, cells = torch.randn(20, K) * 3, torch.arange(20)
    found = [
        exact_posterior(KernelPrior(kernel), u, cells, 1.1, 5, 0, bfloat16)[1]
        for bfloat16 in (False, True)
    ]
    assert found[1].dtype == torch.float32
    assert torch.equal(*found)


def test_gibbs_is_refused_on_a_kernel(kernel):
    latent = {"gram": np.eye(K), "orthonormal": True, "missing_genes": 0}
    with pytest.raises(InputError, match=r"Gibbs chains hardly move.*prior\.preset fast or paper"):
        Sampler(KernelPrior(kernel), replace(EXACT, method="gibbs"), latent, "query", 0, "cpu")


def test_noise_within_types_needs_two_labels_and_leaves_unlabelled_cells_out():
    points, label = types(900)
    names = np.array(["a", "b", "c", "d"], dtype=object)[label]
    expected = within_type_matrix(points, names)
    np.testing.assert_allclose(noise_coordinates(points, names, "labels", 0), expected)
    half = np.where(np.arange(900) % 2 == 0, names, "")
    known = within_type_matrix(points[::2], names[::2])
    np.testing.assert_allclose(noise_coordinates(points, half, "labels", 0), known)
    # One label for all would take the differences between types for noise.
    one = noise_coordinates(points, np.full(900, "a", dtype=object), "labels", 0)
    np.testing.assert_allclose(one, noise_coordinates(points, names, "clusters", 0))
    assert not np.allclose(one, within_type_matrix(points, np.zeros(900)), atol=0.05)


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
    mean, samples, trace, residual, _ = sampler(torch.from_numpy(u).float(), torch.arange(6))
    noise = 0.8 * np.linalg.inv(gram) + 0.25 * np.eye(K)
    expected = [exact(kernel, x, noise) for x in u]
    np.testing.assert_allclose(mean, [e[1] for e in expected], atol=2e-3)
    np.testing.assert_allclose(trace, [np.trace(e[2]) for e in expected], rtol=2e-3, atol=1e-3)
    assert samples.shape == (20, 6, K)
    # The distance is Mahalanobis' to the mean, in the noise.
    offset = u - mean.numpy()
    length = np.sqrt(np.einsum("ni,ij,nj->n", offset, np.linalg.inv(noise), offset))
    np.testing.assert_allclose(residual, length, rtol=1e-3)
