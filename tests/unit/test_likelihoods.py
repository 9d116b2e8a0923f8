"""Likelihoods of the Gibbs sampler against closed forms and grid integration."""

import numpy as np
import pytest
import scipy.stats
import torch
from dice_atlas.dice.gibbs import gibbs_samples
from dice_atlas.dice.likelihoods import (
    CountModel,
    GaussianLikelihood,
    LangevinLikelihood,
    StudentT,
)
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.priors import DenoiserPrior

torch.set_default_dtype(torch.float32)
TAU = 1.5


def gaussian_prior():
    return DenoiserPrior(lambda u, s: TAU**2 / (TAU**2 + s**2) * u)


def loadings(d, k, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(np.linalg.qr(rng.standard_normal((d, k)))[0], dtype=torch.float32)


def models(d, seed=0):
    """Gene models with one observed cell each, and scipy's log density of theta (d,)."""
    rng = np.random.default_rng(seed)
    observed = rng.standard_t(4, d)
    sd, center = np.full(d, 0.8), np.full(d, 1.2)
    counts = rng.poisson(2.0, d)
    depth, a = 0.7, 0.5

    def rate(theta):
        smooth = np.logaddexp(0, 20 * sd * (theta + center)) / 20
        return depth * np.expm1(smooth) + 1e-6

    def tensor(x):
        return torch.tensor(x, dtype=torch.float32)

    common = (tensor(counts)[None], torch.full((1, 1), depth), tensor(sd), tensor(center))
    return {
        "student": (
            StudentT(tensor(observed)[None], 0.9, 4.0),
            lambda theta: scipy.stats.t.logpdf(observed, 4, loc=theta, scale=0.9).sum(-1),
        ),
        "poisson": (
            CountModel(*common),
            lambda theta: scipy.stats.poisson.logpmf(counts, rate(theta)).sum(-1),
        ),
        "negative_binomial": (
            CountModel(*common, dispersion=a),
            lambda theta: scipy.stats.nbinom.logpmf(counts, 1 / a, 1 / (1 + a * rate(theta))).sum(
                -1
            ),
        ),
    }


NAMES = ("student", "poisson", "negative_binomial")


@pytest.mark.parametrize("name", NAMES)
def test_densities_are_scipys_and_gradients_their_derivatives(name):
    model, expected = models(6)[name]
    points = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    points.requires_grad_(True)
    value, gradient = model.log_density(points)
    reference = expected(points.detach().double().numpy())
    assert np.allclose(np.diff(value.detach()), np.diff(reference), atol=2e-4)
    (automatic,) = torch.autograd.grad(value.sum(), points)
    assert torch.allclose(gradient, automatic, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_information_is_the_mean_squared_score(name):
    model, _ = models(1)[name]
    theta = torch.full((200_000, 1), 0.3)
    rng = np.random.default_rng(0)
    if name == "student":
        drawn = torch.tensor(0.3 + 0.9 * rng.standard_t(4, len(theta)), dtype=torch.float32)
        sample = StudentT(drawn[:, None], 0.9, 4.0)
    else:
        rate = float(model.rate(theta[:1])[0])
        a = float(model.dispersion)
        mean = rng.gamma(1 / a, a * rate, len(theta)) if a else rate
        drawn = torch.tensor(rng.poisson(mean, len(theta)), dtype=torch.float32)[:, None]
        sample = CountModel(drawn, model.depth, model.sd, model.center, model.dispersion)
    _, score = sample.log_density(theta)
    assert float((score**2).mean()) == pytest.approx(float(model.information(theta[:1])), rel=0.03)


def grid_moments(log_density, k, center, width=8.0, points=161):
    """Mean and covariance of a density on R^k by a grid around `center`."""
    axis = np.linspace(-width, width, points)
    grid = np.stack(np.meshgrid(*[axis] * k, indexing="ij"), -1).reshape(-1, k) + center
    log = log_density(grid)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    mean = weight @ grid
    return mean, (grid - mean).T * weight @ (grid - mean)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_langevin_draws_have_the_law_of_grid_integration(name, k):
    model, expected = models(8)[name]
    v = loadings(8, k)
    n, rho, u = 4_000, 0.9, torch.full((k,), 0.4)
    likelihood = LangevinLikelihood(model, v, torch.zeros(1, k))
    noise = CellNoise(3, torch.arange(n), 0, k)
    z = torch.zeros(n, k)
    for _ in range(8):
        z = likelihood.draw(z, u.expand(n, k), rho, noise)
    assert likelihood.acceptance > 0.4

    def log_density(grid):
        theta = grid @ v.double().numpy().T
        return expected(theta) - ((grid - u.numpy()) ** 2).sum(-1) / (2 * rho**2)

    mean, covariance = grid_moments(log_density, k, u.numpy())
    error = np.sqrt(np.diag(covariance) / n)
    assert (np.abs(z.mean(0).numpy() - mean) < 5 * error).all()
    found = np.cov(z.T.double().numpy()).reshape(k, k)
    assert np.allclose(found, covariance, atol=0.08 * np.diag(covariance).max())


@pytest.mark.parametrize("name", NAMES)
def test_gibbs_with_a_general_likelihood_reaches_the_posterior(name):
    """Its law at constant rho is p(x | z) N(z; u, rho^2) P(u), here with a Gaussian prior."""
    model, expected = models(8)[name]
    v, n, rho = loadings(8, 1), 6_000, 0.6
    whole = [
        torch.as_tensor(part).expand(n, -1) if torch.is_tensor(part) and part.dim() == 2 else part
        for part in vars(model).values()
    ]
    likelihood = LangevinLikelihood(type(model)(*whole), v, torch.zeros(n, 1))
    cells = torch.arange(n)
    samples = gibbs_samples(gaussian_prior(), likelihood, cells, np.full(25, rho), 1, seed=2)[0]

    # U and Z together on a grid; the law of U is the marginal.
    def log_density(grid):
        z, u = grid[:, :1], grid[:, 1]
        theta = z @ v.double().numpy().T
        return expected(theta) - (z[:, 0] - u) ** 2 / (2 * rho**2) - u**2 / (2 * TAU**2)

    mean, covariance = grid_moments(log_density, 2, np.zeros(2))
    assert abs(float(samples.mean()) - mean[1]) < 5 * np.sqrt(covariance[1, 1] / n) + 0.02
    assert float(samples.var()) == pytest.approx(covariance[1, 1], rel=0.1)


def test_the_batch_shift_is_taken_off_before_the_genes_are_looked_at():
    model, _ = models(8)["student"]
    v, shift = loadings(8, 2), torch.tensor([[1.0, -2.0]])
    here, there = (
        LangevinLikelihood(model, v, torch.zeros(1, 2) + s, s) for s in (torch.zeros(1, 2), shift)
    )
    z, u = torch.randn(50, 2), torch.zeros(50, 2)
    noises = [CellNoise(0, torch.arange(50), 0, 2) for _ in range(2)]
    first = here.draw(z, u, 0.7, noises[0])
    second = there.draw(z + shift, u + shift, 0.7, noises[1])
    assert torch.allclose(first + shift, second, atol=1e-4)


def test_unequal_gene_variances_are_weighted():
    """Closed form: the posterior of a linear Gaussian model with diagonal noise."""
    v, variance = loadings(12, 2), torch.linspace(0.2, 4.0, 12)
    x, u, n, rho = torch.linspace(-1, 2, 12), torch.tensor([0.5, -1.0]), 60_000, 0.8
    weighted = v / variance[:, None]
    likelihood = GaussianLikelihood((x @ weighted).expand(n, 2), v.T @ weighted)
    z = likelihood.draw(u, u.expand(n, 2), rho, CellNoise(0, torch.arange(n), 0, 2))
    covariance = torch.linalg.inv(v.T @ torch.diag(1 / variance) @ v + torch.eye(2) / rho**2)
    mean = covariance @ (v.T @ (x / variance) + u / rho**2)
    assert torch.allclose(z.mean(0), mean, atol=0.02)
    assert torch.allclose(torch.cov(z.T), covariance, atol=0.02)
    slope, *_ = np.linalg.lstsq(
        (v / variance.sqrt()[:, None]).numpy(), (x / variance.sqrt()).numpy(), rcond=None
    )
    assert np.allclose(likelihood.start()[0], slope, atol=1e-4)
