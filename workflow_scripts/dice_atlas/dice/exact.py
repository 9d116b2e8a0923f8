"""Exact mode: for orthonormal loadings and isotropic noise the posterior has a closed form.

Integrating Z out of the split-Gibbs density at constant rho leaves
U | x proportional to N(V^T x; U, (noise_variance + rho^2) I) P(U): the diffusion posterior at
noise level s, s^2 = noise_variance + rho^2. Its mean is one evaluation of the denoiser, a
sample is one reverse chain.
"""

import torch

from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.priors import Prior


@torch.inference_mode()
def exact_posterior(
    prior: Prior,
    latents: torch.Tensor,
    cells: torch.Tensor,
    s: float,
    draws: int,
    seed: int,
    bfloat16: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior of cells with the given latents.

    Parameters
    ----------
    prior : of the latents.
    latents : (n, k), V^T x.
    cells : (n,) int64, indices of the cells in the atlas.
    s : noise level.
    draws, seed : number of samples per cell, and the seed of their noise.
    bfloat16 : whether the network computes the samples in that precision; never the mean.

    Returns
    -------
    Mean (n, k) and samples (draws, n, k).
    """
    n, k = latents.shape
    mean = prior.mean(latents, s)
    draw = torch.arange(draws, device=cells.device).repeat_interleave(n)
    noise = CellNoise(seed, cells.repeat(draws), draw, k)
    with torch.autocast(latents.device.type, torch.bfloat16, enabled=bfloat16):
        samples = prior.sample(latents, s, noise, draws)
    return mean, samples.view(draws, n, k)
