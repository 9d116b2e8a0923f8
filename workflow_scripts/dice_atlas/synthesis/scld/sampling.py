"""Ancestral sampling of DDPM in the latent space, with SCLD's guidance between class and all cells.

Three errors of the paper are mended here. Algorithm 2 line 5 writes alpha where DDPM (Ho et al.
2020, Algorithm 2) has its cumulative product abar. z_T is drawn in the latent space, not in that
of the expression. Equation 9 uses sqrt(beta) as a variance; it is the standard deviation.
"""

import math
from collections.abc import Callable

import torch

from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.schedule import DDPMSchedule
from dice_atlas.errors import InputError
from dice_atlas.synthesis.latents import CHAIN_STREAM

# (z_t (n, k), t from 1 to T, codes (n,) int64) -> the noise in z_t, (n, k).
NoisePredictor = Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor]


def guided_noise(
    predict: NoisePredictor,
    z: torch.Tensor,
    t: int,
    codes: torch.Tensor,
    global_code: int,
    guidance: float,
) -> torch.Tensor:
    """(1 + w) eps(z, c_i) - w eps(z, c_(K+1)), (n, k): classifier-free guidance.

    w = -1 is the global condition alone and w = 0 the class alone, each with one evaluation.

    Parameters
    ----------
    predict : the network.
    z : (n, k), latents at step t.
    codes : (n,) int64, classes i.
    global_code : K, the code of the condition of all cells.
    guidance : w.
    """
    if guidance == 0:
        return predict(z, t, codes)
    of_all = predict(z, t, torch.full_like(codes, global_code))
    if guidance == -1:
        return of_all
    return (1 + guidance) * predict(z, t, codes) - guidance * of_all


def ddpm_step(
    z: torch.Tensor,
    noise: torch.Tensor,
    t: int,
    schedule: DDPMSchedule,
    fresh: torch.Tensor | None = None,
) -> torch.Tensor:
    """z_(t-1) from z_t: (z_t - beta / sqrt(1 - abar) eps) / sqrt(alpha) + sqrt(beta) fresh.

    Parameters
    ----------
    z : (n, k), z_t.
    noise : (n, k), eps as predicted.
    t : from 1 to T.
    fresh : (n, k), standard normal; None, as in the last step: without.
    """
    alpha, abar = float(schedule.alpha[t - 1]), float(schedule.abar[t - 1])
    mean = (z - (1 - alpha) / math.sqrt(1 - abar) * noise) / math.sqrt(alpha)
    return mean if fresh is None else mean + math.sqrt(1 - alpha) * fresh


def sample_latents(
    predict: NoisePredictor,
    codes: torch.Tensor,
    global_code: int,
    cells: torch.Tensor,
    seed: int,
    k: int,
    guidance: float,
    schedule: DDPMSchedule,
) -> torch.Tensor:
    """Latents (n, k) of new cells, from the whole chain.

    Parameters
    ----------
    predict, codes, global_code, guidance : see `guided_noise`; -1 or more.
    cells : (n,) int64, indices of the cells. With the seed they alone decide the noise.
    seed : of the noise.

    Raises
    ------
    InputError
        The guidance is under -1.
    """
    if guidance < -1:
        raise InputError(
            f"guidance {guidance:g}, expected -1 (no class), 0 (the class) or more up to about 1"
        )
    noise = CellNoise(seed, cells, CHAIN_STREAM, k)
    z = noise()
    for t in range(schedule.steps, 0, -1):
        eps = guided_noise(predict, z, t, codes, global_code, guidance)
        z = ddpm_step(z, eps, t, schedule, noise() if t > 1 else None)
    return z
