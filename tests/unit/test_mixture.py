"""The fast network's start: a Gaussian mixture, its fit and its posterior mean."""

import numpy as np
import torch
from dice_atlas.dice.mixture import fit_mixture
from dice_atlas.dice.networks import GaussianMixtureMean, PosteriorMeanMLP
from dice_atlas.dice.objectives import OBJECTIVES
from dice_atlas.dice.training import PriorSettings, Trainer
from scipy.stats import multivariate_normal
from sklearn.metrics import adjusted_rand_score

WEIGHT, CENTER = np.array([0.3, 0.7]), np.array([[-4.0, 0.0, 1.0], [3.0, 1.0, 0.0]])
FACTOR = np.random.default_rng(0).standard_normal((2, 3, 3))
COVARIANCE = FACTOR @ FACTOR.transpose(0, 2, 1) + 0.5 * np.eye(3)


def draw(n, seed):
    rng = np.random.default_rng(seed)
    component = rng.choice(2, n, p=WEIGHT)
    noise = np.einsum("nij,nj->ni", np.linalg.cholesky(COVARIANCE)[component],
                      rng.standard_normal((n, 3)))  # fmt: skip
    return (CENTER[component] + noise).astype(np.float32), component


def exact_mean(u, s):
    """By the textbook's formulas, with scipy's densities."""
    noise = s**2 * np.eye(3)
    parts = list(zip(WEIGHT, CENTER, COVARIANCE, strict=True))
    density = np.stack(
        [w * np.atleast_1d(multivariate_normal(c, v + noise).pdf(u)) for w, c, v in parts]
    )
    mean = np.stack([c + (u - c) @ np.linalg.solve(v + noise, v) for _, c, v in parts])
    return np.einsum("cn,cnk->nk", density / density.sum(axis=0), mean)


def test_posterior_mean_of_a_mixture_is_exact_at_every_level():
    mixture = GaussianMixtureMean(3, 2)
    mixture.set(*(torch.from_numpy(a).float() for a in (WEIGHT, CENTER, COVARIANCE)))
    u = draw(50, 1)[0]
    levels = np.geomspace(0.05, 20, 50)
    each = mixture(torch.from_numpy(u), torch.from_numpy(levels).float()[:, None]).numpy()
    expected = np.concatenate([exact_mean(u[[i]], s) for i, s in enumerate(levels)])
    assert np.allclose(each, expected, atol=1e-3)
    one = mixture(torch.from_numpy(u), torch.full((1, 1), 2.0)).numpy()
    assert np.allclose(one, exact_mean(u, 2.0), atol=1e-4)


def test_fit_finds_the_components():
    points, component = draw(3000, 2)
    weight, center, covariance = fit_mixture(points[:2700], points[2700:], 2700, 300, 0)
    assert len(weight) == 2
    order = np.argsort(weight)
    assert np.allclose(weight[order], WEIGHT, atol=0.03)
    assert np.allclose(center[order], CENTER, atol=0.3)
    # sklearn adds the least variance to the diagonal.
    assert np.allclose(covariance[order], COVARIANCE + 0.1 * np.eye(3), atol=0.6)
    densities = [multivariate_normal(center[c], covariance[c]).logpdf(points) for c in order]
    assert adjusted_rand_score(component, np.argmax(densities, axis=0)) > 0.9


def test_few_cells_make_one_component_however_often_they_are_drawn():
    points = draw(3000, 2)[0]
    assert len(fit_mixture(points[:2700], points[2700:], 99, 300, 0)[0]) == 1
    assert len(fit_mixture(points[:2700], points[2700:], 100, 300, 0)[0]) == 2


def test_draws_of_few_held_out_cells_are_little_evidence():
    # Two components that overlap: 3,000 held-out cells tell them apart, draws of three do not.
    rng = np.random.default_rng(4)
    points = rng.standard_normal((20_000, 2)).astype(np.float32)
    points[::2, 0] += 2.5
    fit, held = points[:17_000], points[17_000:]
    assert len(fit_mixture(fit, held, 17_000, 3_000, 0)[0]) == 2
    assert len(fit_mixture(fit, held, 17_000, 3, 0)[0]) == 1


def test_one_gaussian_is_enough_for_a_gaussian():
    points = np.random.default_rng(0).standard_normal((2000, 4)).astype(np.float32) * 3
    assert len(fit_mixture(points[:1800], points[1800:], 1800, 200, 0)[0]) == 1
    assert len(fit_mixture(points, points[:0], 2000, 0, 0)[0]) == 1


def test_training_starts_from_the_mixture_and_never_ends_below_it():
    points, _ = draw(1500, 3)
    small = {"width": 32, "blocks": 1, "steps": 40}
    settings = PriorSettings("fast", overrides=small).training(1500)
    classes = torch.zeros(1500, dtype=torch.long)
    fast = OBJECTIVES["fast"]
    trainer = Trainer(fast, settings, torch.from_numpy(points), classes, False, 0, "cpu")
    assert isinstance(trainer.network, PosteriorMeanMLP)
    u = torch.from_numpy(draw(300, 4)[0])
    with torch.no_grad():
        start = trainer.network(u, torch.full((1, 1), 2.0)).numpy()
    error = np.square(start - exact_mean(u.numpy(), 2.0)).mean()
    assert error < 0.02 * np.square(u.numpy() - exact_mean(u.numpy(), 2.0)).mean()
    trainer.run()
    assert trainer.rows[0][0] == 0
    assert trainer.best_loss == min(row[2] for row in trainer.rows)
