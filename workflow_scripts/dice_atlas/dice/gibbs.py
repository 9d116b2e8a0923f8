"""Split Gibbs sampling of the latents (DICE, Algorithm 1) with any likelihood."""

import numpy as np
import torch

from dice_atlas.dice.likelihoods import Likelihood
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.priors import Prior
from dice_atlas.logs import Progress


@torch.inference_mode()
def gibbs_samples(
    prior: Prior,
    likelihood: Likelihood,
    cells: torch.Tensor,
    rho: np.ndarray,
    repeats: int,
    seed: int,
    bfloat16: bool = False,
) -> torch.Tensor:
    """Last states of independent chains.

    Parameters
    ----------
    prior : of the latents.
    likelihood : of the n cells.
    cells : (n,) int64, indices of the cells in the atlas.
    rho : coupling of each iteration.
    repeats, seed : number of chains per cell, and the seed of their noise.
    bfloat16 : whether the prior's network computes in that precision.

    Returns
    -------
    (repeats, n, k).
    """
    ends = []
    progress = Progress(repeats * len(rho), f"Gibbs step of {len(cells)} cells")
    for repeat in range(repeats):
        u = z = likelihood.start()
        noise = CellNoise(seed, cells, repeat, u.shape[1])
        for step, coupling in enumerate(rho.tolist()):
            progress.update(repeat * len(rho) + step)
            z = likelihood.draw(z, u, coupling, noise)
            with torch.autocast(z.device.type, torch.bfloat16, enabled=bfloat16):
                u = prior.sample(z, coupling, noise)
        ends.append(u)
    return torch.stack(ends)
