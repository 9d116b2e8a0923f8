"""Split Gibbs sampling of the latents (DICE, Algorithm 1) with the Gaussian likelihood."""

import numpy as np
import torch

from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.priors import Prior


def likelihood_step(
    statistic: torch.Tensor,
    u: torch.Tensor,
    gram: torch.Tensor,
    noise_variance: float,
    rho: float,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Z ~ N(L (V^T x / sigma^2 + U / rho^2), L), L = (V^T V / sigma^2 + I / rho^2)^-1.

    DICE, Proposition 3.1. `statistic` is V^T x (n, k), `gram` V^T V (k, k).
    """
    identity = torch.eye(gram.shape[0], dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(gram / noise_variance + identity / rho**2)
    target = statistic / noise_variance + u / rho**2
    mean = torch.cholesky_solve(target.T, factor).T
    # With precision C C^T, C^-T noise has covariance L.
    return mean + torch.linalg.solve_triangular(factor.T, noise.T, upper=True).T


@torch.inference_mode()
def gibbs_samples(
    prior: Prior,
    latents: torch.Tensor,
    cells: torch.Tensor,
    gram: torch.Tensor,
    noise_variance: float,
    rho: np.ndarray,
    repeats: int,
    seed: int,
) -> torch.Tensor:
    """Last states of `repeats` independent chains per cell, (repeats, n, k).

    Parameters
    ----------
    latents : (n, k), least-squares latents (V^T V)^-1 V^T x, where the chains start.
    cells : (n,) int64, indices of the cells in the atlas.
    gram : (k, k), V^T V over the genes that are there.
    rho : coupling of each iteration.
    """
    n, k = latents.shape
    start = latents.repeat(repeats, 1)
    statistic = start @ gram
    draw = torch.arange(repeats, device=cells.device).repeat_interleave(n)
    noise = CellNoise(seed, cells.repeat(repeats), draw, k)
    u = start
    for coupling in rho.tolist():
        z = likelihood_step(statistic, u, gram, noise_variance, coupling, noise())
        u = prior.sample(z, coupling, noise)
    return u.view(repeats, n, k)
