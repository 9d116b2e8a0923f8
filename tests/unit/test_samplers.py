"""Samplers against closed forms: the network is replaced by a denoiser known exactly."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from dice_atlas.dice.exact import exact_posterior
from dice_atlas.dice.gibbs import gibbs_samples
from dice_atlas.dice.likelihoods import GaussianLikelihood
from dice_atlas.dice.networks import GaussianMixtureMean, PosteriorMeanMLP, TabularDiffusionMLP
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.objectives import LEVELS, OBJECTIVES
from dice_atlas.dice.priors import (
    DDPMPrior,
    DenoiserPrior,
    fold_batch_norm,
    posterior_covariance,
)
from dice_atlas.dice.sampler import Sampler
from dice_atlas.dice.schedule import (
    DDPMSchedule,
    first_needed_iteration,
    needed_iterations,
    rho_schedule,
)
from dice_atlas.dice.settings import DenoiseSettings, RhoSettings
from dice_atlas.errors import InputError
from scipy.special import softmax
from scipy.stats import multivariate_normal

TAU = torch.tensor([3.0, 1.5, 0.7])  # standard deviations of a Gaussian prior
CENTER = torch.tensor([1.0, -2.0, 0.0])


def gaussian_denoiser(u, s):
    return CENTER + TAU**2 / (TAU**2 + s**2) * (u - CENTER)


class GaussianNoisePredictor(torch.nn.Module):
    """The noise predictor of the Gaussian prior, so that DDPMPrior is exact."""

    def forward(self, u_t, time):
        schedule = DDPMSchedule()
        abar = schedule.abar[round(float(time[0]) * schedule.steps) - 1]
        clean = gaussian_denoiser(u_t / math.sqrt(abar), math.sqrt((1 - abar) / abar))
        return (u_t - math.sqrt(abar) * clean) / math.sqrt(1 - abar)


def ddpm_prior():
    return DDPMPrior(GaussianNoisePredictor(), DDPMSchedule())


def posterior(x, s):
    mean = gaussian_denoiser(x, s)
    return mean, TAU**2 * s**2 / (TAU**2 + s**2)


def many(x, n=40_000):
    return x.repeat(n, 1), torch.arange(n)


def assert_moments(samples, mean, variance, rel=0.08):
    """Mean within 5 standard errors plus the chain's bias, variances within `rel`."""
    error = (samples.mean(0) - mean).abs()
    assert (error < 5 * (variance / len(samples)).sqrt() + 0.02 * variance.sqrt()).all(), error
    ratio = samples.var(0) / variance
    assert ((ratio - 1).abs() < rel).all(), ratio


def test_schedule_is_the_papers():
    schedule = DDPMSchedule()
    assert schedule.alpha[0] == pytest.approx(1 - 1e-4)
    assert schedule.alpha[-1] == pytest.approx(1 - 2e-2)
    total = sum(math.log1p(-(1e-4 + (2e-2 - 1e-4) * i / 511)) for i in range(512))
    assert schedule.sigma[-1] == pytest.approx(math.sqrt(math.expm1(-total)))
    assert 12.5 < schedule.sigma[-1] < 13.5  # "about 12.9"
    assert schedule.step_of(1e9) == 512
    assert schedule.step_of(schedule.sigma[99]) == 100


@pytest.mark.parametrize("s", [0.6, 1.118, 5.0])
def test_chain_of_the_fast_prior_samples_the_gaussian_posterior(s):
    x, cells = many(torch.tensor([2.0, 0.5, -1.0]))
    samples = DenoiserPrior(gaussian_denoiser).sample(x, s, CellNoise(0, cells, 0, 3))
    assert_moments(samples, *posterior(x[0], s))


@pytest.mark.parametrize("s", [0.06, 0.1, 0.2])
def test_a_low_level_has_its_spread_too(s):
    x, cells = many(torch.tensor([2.0, 0.5, -1.0]))
    prior = DenoiserPrior(gaussian_denoiser, levels=(0.01, 15.0))
    samples = prior.sample(x, s, CellNoise(0, cells, 0, 3))
    assert_moments(samples, *posterior(x[0], s))


@pytest.mark.parametrize("s", [1.118, 5.0])
def test_chain_of_the_papers_prior_samples_the_gaussian_posterior(s):
    prior = ddpm_prior()
    level = prior.schedule.sigma[prior.schedule.step_of(s) - 1]
    x, cells = many(torch.tensor([2.0, 0.5, -1.0]), 20_000)
    samples = prior.sample(x, s, CellNoise(0, cells, 0, 3))
    assert_moments(samples, *posterior(x[0], level))
    assert torch.allclose(prior.mean(x[:1], s), posterior(x[:1], level)[0], atol=1e-4)


def test_exact_mode_is_the_posterior_at_the_summed_noise_level():
    x, cells = many(torch.tensor([4.0, -3.0, 1.0]), 2_000)
    s = math.sqrt(1.0 + 0.5**2)
    mean, samples = exact_posterior(DenoiserPrior(gaussian_denoiser), x, cells, s, 20, seed=5)
    expected = posterior(x[0], s)
    assert torch.allclose(mean[0], expected[0])
    assert_moments(samples.flatten(0, 1), *expected)


def test_likelihood_step_has_the_mean_and_covariance_of_proposition_3_1():
    rng = np.random.default_rng(0)
    v = torch.tensor(rng.standard_normal((30, 3)) / 5, dtype=torch.float32)
    gram, x, u = v.T @ v, torch.tensor([1.0, -1.0, 2.0]), torch.tensor([0.5, 0.0, 1.0])
    n, noise_variance, rho = 100_000, 0.8, 0.9
    likelihood = GaussianLikelihood(x.repeat(n, 1) / noise_variance, gram / noise_variance)
    z = likelihood.draw(u, u.repeat(n, 1), rho, CellNoise(0, torch.arange(n), 0, 3))
    covariance = torch.linalg.inv(gram / noise_variance + torch.eye(3) / rho**2)
    mean = covariance @ (x / noise_variance + u / rho**2)
    assert torch.allclose(z.mean(0), mean, atol=0.02)
    assert torch.allclose(torch.cov(z.T), covariance, atol=0.02)


@pytest.mark.parametrize("orthonormal", [True, False])
def test_gibbs_at_constant_rho_reaches_its_closed_form(orthonormal):
    """Stationary law of U: Gaussian, with Z integrated out of the augmented density."""
    gram = torch.eye(3) if orthonormal else torch.tensor([[1, 0.3, 0], [0.3, 0.6, 0], [0, 0, 0.9]])
    gram = gram.float()
    noise_variance, rho = 1.0, 0.8
    x, cells = many(torch.tensor([2.0, 0.5, -1.0]), 20_000)
    rhos = np.full(12, rho)
    prior = DenoiserPrior(gaussian_denoiser)
    likelihood = GaussianLikelihood(x @ gram / noise_variance, gram / noise_variance)
    samples = gibbs_samples(prior, likelihood, cells, rhos, 1, seed=1)[0]
    # x | U is Gaussian around U with the noise of the least-squares latents plus rho^2.
    noise = torch.linalg.inv(gram) * noise_variance + rho**2 * torch.eye(3)
    precision = torch.linalg.inv(noise) + torch.diag(1 / TAU**2)
    covariance = torch.linalg.inv(precision)
    mean = covariance @ (torch.linalg.inv(noise) @ x[0] + CENTER / TAU**2)
    assert torch.allclose(samples.mean(0), mean, atol=0.06)
    assert torch.allclose(torch.cov(samples.T), covariance, atol=0.06)


def mixture_denoiser(weights, centers, sd):
    """Posterior mean under a mixture of isotropic Gaussians."""

    def denoise(u, s):
        total = sd**2 + s**2
        log = torch.log(weights) - ((u[:, None] - centers) ** 2).sum(-1) / (2 * total)
        share = torch.softmax(log, dim=1)
        component = centers + sd**2 / total * (u[:, None] - centers)
        return (share[:, :, None] * component).sum(1)

    return denoise


@pytest.mark.parametrize("apart", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("s", [0.7, 1.118, 4.0])
def test_samples_split_between_two_clusters_as_the_exact_mixture_posterior(s, apart):
    """Shares, mean and covariance of the short chain, `apart` in units of s."""
    weights, centers = torch.tensor([0.4, 0.6]), torch.tensor([[-0.5, 0.0], [0.5, 0.0]]) * apart * s
    sd, point = 0.5, torch.tensor([0.1, 0.3]) * s
    x, cells = many(point)
    prior = DenoiserPrior(mixture_denoiser(weights, centers, sd))
    samples = prior.sample(x, s, CellNoise(0, cells, 0, 2))
    total = sd**2 + s**2
    log = torch.log(weights) - ((point - centers) ** 2).sum(-1) / (2 * total)
    share, means = torch.softmax(log, dim=0), centers + sd**2 / total * (point - centers)
    variance = sd**2 * s**2 / total + share @ means**2 - (share @ means) ** 2
    if apart * s > 8 * sd:  # the clusters do not overlap
        assert (samples[:, 0] > 0).float().mean() == pytest.approx(float(share[1]), abs=0.015)
    assert_moments(samples, share @ means, variance)


def test_the_worst_of_ambiguous_cells_has_the_exact_spread_and_mean():
    rng, k, draws = np.random.default_rng(0), 10, 1_500
    scale = 12 / np.arange(1, k + 1) ** 0.7
    center = rng.standard_normal((6, k)) * scale
    factor = rng.standard_normal((6, 3, k)) * scale / 3
    covariance = factor.transpose(0, 2, 1) @ factor + 0.05 * np.eye(k)
    weight = rng.dirichlet(np.full(6, 3.0))
    mixture, s = GaussianMixtureMean(k, 6), 1.118
    mixture.set(*(torch.tensor(a, dtype=torch.float32) for a in (weight, center, covariance)))
    # Between the first cluster and another.
    x = (center[0] + center[rng.integers(1, 6, 12)]) / 2 + s * rng.standard_normal((12, k))
    prior = DenoiserPrior(lambda u, level: mixture(u, torch.full((1, 1), level)), LEVELS)
    cells, draw = torch.arange(12).repeat(draws), torch.arange(draws).repeat_interleave(12)
    noise = CellNoise(1, cells, draw, k)
    points = torch.tensor(x, dtype=torch.float32)
    samples = prior.sample(points, s, noise, draws).view(draws, 12, k).numpy()
    for cell, found in zip(x, samples.transpose(1, 0, 2), strict=True):
        total = covariance + s**2 * np.eye(k)
        density = [
            multivariate_normal(c, t).logpdf(cell) for c, t in zip(center, total, strict=True)
        ]
        share = softmax(np.array(density) + np.log(weight))
        gain = covariance @ np.linalg.inv(total)
        means = center + np.einsum("cij,cj->ci", gain, cell - center)
        mean = share @ means
        own = covariance - gain @ covariance
        trace = share @ (np.trace(own, axis1=1, axis2=2) + (means**2).sum(axis=1)) - mean @ mean
        # With 12 steps: 0.58, and a mean that is off by 8 standard errors.
        assert 0.8 < found.var(axis=0, ddof=1).sum() / trace < 1.2
        assert np.linalg.norm(found.mean(axis=0) - mean) < 4.5 * np.sqrt(trace / draws)


def test_short_chain_has_the_law_of_a_long_one():
    weights, centers = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([[-2.0, 0], [1, 1.5], [1, -2]])
    denoiser = mixture_denoiser(weights, centers, 0.4)
    x, cells = many(torch.tensor([0.2, 0.1]), 20_000)
    short, long = (
        DenoiserPrior(denoiser, **settings).sample(x, 1.118, CellNoise(seed, cells, 0, 2))
        for seed, settings in enumerate(({}, {"steps_per_fold": 60, "s_min": 0.02}))
    )
    error = (long.var(0) * 2 / len(x)).sqrt()
    assert ((short.mean(0) - long.mean(0)).abs() < 4 * error).all()
    assert torch.allclose(torch.cov(short.T), torch.cov(long.T), atol=0.06)


def test_early_iterations_of_an_annealed_schedule_are_forgotten():
    rho = rho_schedule(5.0, 0.5, 100)
    first = first_needed_iteration(rho, 1.0)
    assert 0 < first < 100
    assert np.prod(1 / (1 + rho[first:] ** 2)) < 1e-6
    assert np.prod(1 / (1 + rho[first + 1 :] ** 2)) >= 1e-6
    # Chains started far apart, with the same noise, end at the same point.
    prior = DenoiserPrior(gaussian_denoiser)
    x, cells = many(torch.tensor([2.0, 0.5, -1.0]), 50)
    likelihood = GaussianLikelihood(x, torch.eye(3))
    whole = gibbs_samples(prior, likelihood, cells, rho[first:], 1, seed=0)
    u = x + 100.0
    noise = CellNoise(0, cells, 0, 3)
    for coupling in rho[first:].tolist():
        z = likelihood.draw(u, u, coupling, noise)
        u = prior.sample(z, coupling, noise)
    assert (u - whole[0]).abs().max() < 1e-3


MIXTURE = mixture_denoiser(torch.tensor([0.4, 0.6]), torch.tensor([[-2.0, 0], [2, 0.5]]), 0.5)


def assert_same_law(samples, other, atol):
    """Share of the right cluster, means and covariances."""
    share = [float((values[:, 0] > 0).float().mean()) for values in (samples, other)]
    assert share[0] == pytest.approx(share[1], abs=atol / 2)
    assert torch.allclose(samples.mean(0), other.mean(0), atol=2 * atol)
    assert torch.allclose(torch.cov(samples.T), torch.cov(other.T), atol=3 * atol)


def test_truncated_annealed_gibbs_has_the_law_of_the_whole_schedule():
    rho = rho_schedule(5.0, 0.5, 60)
    first = first_needed_iteration(rho, 1.0)
    assert 30 < first < 50
    x, cells = many(torch.tensor([0.1, 0.2]), 8_000)
    likelihood, prior = GaussianLikelihood(x, torch.eye(2)), DenoiserPrior(MIXTURE)
    whole = gibbs_samples(prior, likelihood, cells, rho, 1, seed=1)[0]
    short = gibbs_samples(prior, likelihood, cells, rho[first:], 1, seed=2)[0]
    assert_same_law(short, whole, 0.05)


def test_gibbs_and_exact_mode_split_between_clusters_alike():
    rho = 1.5
    x, cells = many(torch.tensor([0.1, 0.2]), 8_000)
    prior, likelihood = DenoiserPrior(MIXTURE), GaussianLikelihood(x, torch.eye(2))
    gibbs = gibbs_samples(prior, likelihood, cells, np.full(15, rho), 1, seed=1)[0]
    mean, exact = exact_posterior(prior, x, cells, math.sqrt(1 + rho**2), 1, seed=2)
    assert_same_law(gibbs, exact[0], 0.05)
    assert torch.allclose(gibbs.mean(0), mean[0], atol=0.1)


def test_gibbs_with_the_papers_chain_reaches_the_closed_form():
    prior = ddpm_prior()
    rho = float(prior.schedule.sigma[prior.schedule.step_of(0.8) - 1])
    x, cells = many(torch.tensor([2.0, 0.5, -1.0]), 8_000)
    likelihood = GaussianLikelihood(x, torch.eye(3))
    samples = gibbs_samples(prior, likelihood, cells, np.full(12, rho), 1, seed=1)[0]
    assert_moments(samples, *posterior(x[0], math.sqrt(1 + rho**2)))


def test_samples_do_not_depend_on_the_batch():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    prior, cells = DenoiserPrior(gaussian_denoiser), torch.arange(40)
    _, whole = exact_posterior(prior, x, cells, 1.1, 3, seed=0)
    parts = [
        exact_posterior(prior, x[i : i + 7], cells[i : i + 7], 1.1, 3, seed=0)[1]
        for i in range(0, 40, 7)
    ]
    assert torch.allclose(whole, torch.cat(parts, dim=1), atol=1e-5)


def test_bfloat16_samples_depend_on_no_batch_and_stay_close_to_float32():
    torch.manual_seed(0)
    network = PosteriorMeanMLP(5, 64, 2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    prior, x = OBJECTIVES["fast"].prior(network), torch.randn(60, 5) * 3
    found = {}
    for precision in ("float32", "bfloat16"):
        settings = replace(DENOISE, precision=precision)
        sampler = Sampler(prior, settings, LATENT | {"gram": np.eye(5)}, "query", 0, "cpu")
        found[precision] = sampler(x, torch.arange(60))
        parts = [sampler(x[rows], rows)[1] for rows in torch.arange(60).split(7)]
        assert torch.allclose(found[precision][1], torch.cat(parts, dim=1), atol=1e-5)
    exact, low = found.values()
    assert torch.equal(exact.mean, low.mean)
    assert torch.equal(exact.variance, low.variance)
    apart = (low.samples - exact.samples).square().mean().sqrt() / exact.samples.std(dim=0).mean()
    assert 0 < apart < 0.05


LATENT = {"orthonormal": True, "missing_genes": 0, "gram": np.eye(3)}
DENOISE = DenoiseSettings.from_config(
    {
        "method": "exact", "likelihood": "gaussian", "noise_variance": 1.0,
        "rho": {"start": 50.0, "end": 0.5, "schedule": "linear"},
        "iterations": 5, "repeats": 2, "samples": 3, "precision": "float32", "shards": 4,
    }
)  # fmt: skip


def test_iterations_are_counted_at_the_rho_that_runs():
    """A larger rho forgets faster, but only up to the prior's largest level."""
    prior = DenoiserPrior(gaussian_denoiser, levels=(0.04, 15.0))
    constant = replace(DENOISE, method="gibbs", rho=RhoSettings(1e3, 1e3), iterations=50)
    sampler = Sampler(prior, constant, LATENT, "query", 0, "cpu")
    assert (1 / (1 + 15.0**2)) ** sampler.iterations < 1e-6
    assert (1 / (1 + 15.0**2)) ** (sampler.iterations - 1) >= 1e-6
    exact = Sampler(prior, DENOISE, LATENT, "query", 0, "cpu")
    assert exact.iterations == 0


def test_other_likelihoods_need_no_noise_variance():
    settings = replace(DENOISE, noise_variance="auto", likelihood="poisson")
    sampler = Sampler(ddpm_prior(), settings, LATENT, "query", 0, "cpu")
    assert sampler.method == "gibbs"


def test_rho_is_limited_to_the_noise_that_the_prior_knows():
    sampler = Sampler(ddpm_prior(), replace(DENOISE, method="gibbs"), LATENT, "query", 0, "cpu")
    largest = DDPMSchedule().sigma[-1]
    assert sampler.rho.max() == pytest.approx(largest)
    assert sampler.rho[-1] == 0.5
    assert sampler.notes == ["rho is limited to the prior's levels, 0.01 to 13.3"]


def test_an_exponential_schedule_that_does_not_reach_its_end_is_said():
    settings = replace(DENOISE, method="gibbs", rho=RhoSettings(5.0, 0.5, "exponential"))
    short = Sampler(ddpm_prior(), replace(settings, iterations=10), LATENT, "query", 0, "cpu")
    assert short.rho[-1] == pytest.approx(5 * 0.9**9)
    assert short.notes == [
        "rho ends at 1.94, not at rho.end 0.5: the exponential schedule needs 23 iterations, not 10"
    ]
    # 22 are one too few.
    for iterations, notes in ((22, 1), (23, 0), (1, 0)):
        changed = replace(settings, iterations=iterations)
        assert len(Sampler(ddpm_prior(), changed, LATENT, "query", 0, "cpu").notes) == notes


@pytest.mark.parametrize("start", [0.3, 0.5, 0.55, 5.0, 81.0])
def test_iterations_that_the_exponential_schedule_needs(start):
    n = needed_iterations(start, 0.5)
    assert rho_schedule(start, 0.5, max(n, 2), "exponential")[max(n, 2) - 1] == 0.5
    assert n == 1 or start * 0.9 ** (n - 2) > 0.5


def test_a_noise_level_that_the_prior_does_not_know_is_refused():
    prior = DenoiserPrior(gaussian_denoiser, levels=(0.04, 15.0))
    with pytest.raises(InputError, match=r"noise level 20; the prior knows the levels 0\.04 to 15"):
        Sampler(prior, replace(DENOISE, noise_variance=400.0), LATENT, "query", 0, "cpu")
    assert Sampler(prior, DENOISE, LATENT, "query", 0, "cpu").s == pytest.approx(math.sqrt(1.25))


@pytest.mark.parametrize(
    ("changes", "latent", "why"),
    [
        ({}, {"orthonormal": False, "missing_genes": 3}, "3 genes of the reference are missing"),
        ({"likelihood": "student_t"}, {}, "the likelihood student_t has no closed form"),
    ],
)
def test_gibbs_takes_over_where_there_is_no_closed_form(changes, latent, why):
    sampler = Sampler(ddpm_prior(), replace(DENOISE, **changes), LATENT | latent, "query", 0, "cpu")
    assert sampler.method == "gibbs"
    assert why in sampler.notes[0]


def test_noise_variance_auto_is_that_of_the_role():
    latent = LATENT | {"residual_variance_query": 1.5, "residual_variance_reference": 0.8}
    settings = replace(DENOISE, noise_variance="auto")
    found = [
        Sampler(ddpm_prior(), settings, latent, role, 0, "cpu").noise_variance
        for role in ("reference", "query")
    ]
    assert found == [0.8, 1.5]
    with pytest.raises(InputError, match="the residual is not defined"):
        Sampler(ddpm_prior(), settings, LATENT, "query", 0, "cpu")


def test_covariance_by_the_jacobian_is_the_posteriors():
    x, s = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), 1.3
    found = posterior_covariance(DenoiserPrior(gaussian_denoiser), x, s)
    expected = torch.diag(posterior(x, s)[1])
    assert torch.allclose(found, expected.expand(7, 3, 3), atol=1e-5)
    # A mixture: law of total variance over the exact component posteriors.
    weights, centers = torch.tensor([0.3, 0.7]), torch.tensor([[-2.0, 0.0], [1.0, 1.0]])
    sd, u = 0.6, torch.tensor([[0.2, 0.1]])
    found = posterior_covariance(DenoiserPrior(mixture_denoiser(weights, centers, sd)), u, s)[0]
    total = sd**2 + s**2
    share = torch.softmax(torch.log(weights) - ((u - centers) ** 2).sum(-1) / (2 * total), 0)
    means = centers + sd**2 / total * (u - centers)
    centered = means - share @ means
    expected = sd**2 * s**2 / total * torch.eye(2) + centered.T @ (share[:, None] * centered)
    assert torch.allclose(found, expected, atol=1e-5)


def test_exponential_schedule_is_that_of_the_authors_code():
    rho = rho_schedule(5.0, 0.5, 100, "exponential")
    assert rho.tolist() == pytest.approx([max(5.0 * 0.9**step, 0.5) for step in range(100)])
    # 5 * 0.9^21 is the last one above the end.
    assert (rho[21], rho[22]) == (pytest.approx(0.547, abs=1e-3), 0.5)
    assert rho_schedule(0.4, 0.5, 3, "exponential").tolist() == [0.5] * 3


def test_linear_schedule():
    assert rho_schedule(8.0, 0.5, 4).tolist() == [8.0, 5.5, 3.0, 0.5]
    for schedule in ("linear", "exponential"):
        assert rho_schedule(8.0, 0.5, 1, schedule).tolist() == [0.5]


def test_annealed_gibbs_has_the_law_of_its_end_and_not_of_the_schedule():
    """Linear, exponential and constant coupling: all forget their start within the chain."""
    x, cells = many(torch.tensor([2.0, 0.5, -1.0]), 4_000)
    likelihood = GaussianLikelihood(x, torch.eye(3))
    prior, ends = DenoiserPrior(gaussian_denoiser), []
    for schedule in ("linear", "exponential"):
        rho = np.concatenate([rho_schedule(4.0, 0.5, 15, schedule), np.full(15, 0.5)])
        ends.append(gibbs_samples(prior, likelihood, cells, rho, 1, seed=3)[0])
    mean, variance = posterior(x[0], math.sqrt(1.25))
    for samples in ends:
        assert_moments(samples, mean, variance, rel=0.12)


def test_the_papers_network_has_the_papers_layers():
    """DICE, Appendix C: D = 512, M = 8; 35 million parameters at k = 30."""
    k, d = 30, 512
    data, time = (k + 1) * d, (16 + 1) * d + (d + 1) * d
    # Linear(2D, 4D), BatchNorm(4D), Linear(4D, 2D), BatchNorm(2D): weights, biases; scale, shift.
    block = (2 * d + 1) * 4 * d + 2 * 4 * d + (4 * d + 1) * 2 * d + 2 * 2 * d
    head = (2 * d + 1) * d + (d + 1) * k
    expected = data + time + 8 * block + head
    network = TabularDiffusionMLP(k)
    assert sum(weights.numel() for weights in network.parameters()) == expected == 34_455_582
    assert network(torch.zeros(5, k), torch.tensor([0.5])).shape == (5, k)


def test_folded_batch_norms_predict_the_same():
    network = TabularDiffusionMLP(3, 16, 2)
    network.train()
    for _ in range(5):  # running statistics that are not the initial ones
        network(torch.randn(64, 3) * 2 + 1, torch.rand(64))
    network.eval()
    folded = fold_batch_norm(network)
    u, time = torch.randn(20, 3), torch.rand(20)
    assert torch.allclose(folded(u, time), network(u, time), atol=1e-5)
    assert not any(isinstance(part, torch.nn.BatchNorm1d) for part in folded.modules())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_gpu_draws_what_the_cpu_draws():
    network = PosteriorMeanMLP(3, 32, 2).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, cells, found = torch.randn(50, 3), torch.arange(50), {}
    for device in ("cpu", "cuda"):
        prior = OBJECTIVES["fast"].prior(network.to(device))
        found[device] = exact_posterior(prior, x.to(device), cells.to(device), 1.1, 4, seed=0)
    for on_cpu, on_gpu in zip(found["cpu"], found["cuda"], strict=True):
        assert torch.allclose(on_cpu, on_gpu.cpu(), atol=1e-3)
