"""Priors of the latents: one interface over the networks, used by every sampler."""

import copy
import itertools
import math
from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch.nn import BatchNorm1d, Linear, SiLU
from torch.nn.utils.fusion import fuse_linear_bn_eval

from dice_atlas.dice.networks import ResidualBatchNorm, TabularDiffusionMLP
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.schedule import DDPMSchedule, chain_levels


class Prior(Protocol):
    """A distribution of clean latents, known through its denoiser.

    Attributes
    ----------
    levels : smallest and largest noise level at which it is known.
    """

    levels: tuple[float, float]

    def mean(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """E[clean | clean + s eps = u], (n, k) -> (n, k)."""

    def sample(self, u: torch.Tensor, s: float, noise: CellNoise) -> torch.Tensor:
        """One draw of clean | clean + s eps = u for every row, (n, k) -> (n, k)."""


class DenoiserPrior:
    """A prior from any posterior-mean denoiser, sampled by a short reverse chain.

    Parameters
    ----------
    denoiser : callable (u (n, k), s) -> (n, k).
    levels : noise levels that the denoiser was trained at, all by default.
    steps_per_fold : steps of the reverse chain for each factor e between its levels.
    s_min : noise level at which the chain ends, or a quarter of its start if that is lower.
    """

    def __init__(
        self,
        denoiser: Callable[[torch.Tensor, float], torch.Tensor],
        levels: tuple[float, float] = (0.0, math.inf),
        steps_per_fold: float = 4.5,
        s_min: float = 0.08,
    ) -> None:
        self.denoiser, self.levels = denoiser, levels
        self.steps_per_fold, self.s_min = steps_per_fold, s_min

    def mean(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """One evaluation of the denoiser."""
        return self.denoiser(u, s)

    def chain(self, s: float) -> list[float]:
        """Noise levels from s down; s alone where the denoiser knows no lower one."""
        end = max(min(self.s_min, s / 4), self.levels[0])
        if s <= end:
            return [s]
        return chain_levels(s, end, math.ceil(self.steps_per_fold * math.log(s / end))).tolist()

    def sample(self, u: torch.Tensor, s: float, noise: CellNoise) -> torch.Tensor:
        """Stochastic Adams solver of the reverse SDE (Xue et al. 2023, SA-Solver, PEC mode).

        The first-order chain draws u_next from its Gaussian given u and the posterior mean; in
        few steps its variance falls well short. Predicting with the posterior mean extrapolated
        from the step before, and correcting with the one found there, costs no evaluation and
        removes most of that.
        """
        levels = self.chain(s)
        clean = self.denoiser(u, levels[0])
        previous, last_h = clean, 1.0
        for now, following in itertools.pairwise(levels):
            keep, h = (following / now) ** 2, math.log(now / following)
            fresh = following * math.sqrt(1.0 - keep) * noise()
            target = clean + 0.5 * h / last_h * (clean - previous)
            found = self.denoiser(target + keep * (u - target) + fresh, following)
            target = (clean + found) / 2
            u = target + keep * (u - target) + fresh
            previous, clean, last_h = clean, found, h
        return clean


class DDPMPrior:
    """The paper's prior: a noise predictor on the DDPM schedule.

    Noise levels are those of the schedule: s is replaced by the nearest step's.
    """

    def __init__(self, network: TabularDiffusionMLP, schedule: DDPMSchedule) -> None:
        self.network, self.schedule = network, schedule
        self.alpha, self.abar = schedule.alpha.tolist(), schedule.abar.tolist()
        self.levels = (float(schedule.sigma[0]), float(schedule.sigma[-1]))

    def predict_noise(self, u_t: torch.Tensor, t: int) -> torch.Tensor:
        """The network's noise (n, k) of u_t (n, k) at step t."""
        time = torch.full((1,), t / self.schedule.steps, device=u_t.device)
        return self.network(u_t, time)

    def mean(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """Tweedie's formula at the step nearest to s."""
        t = self.schedule.step_of(s)
        abar = self.abar[t - 1]
        u_t = math.sqrt(abar) * u
        return (u_t - math.sqrt(1 - abar) * self.predict_noise(u_t, t)) / math.sqrt(abar)

    def sample(self, u: torch.Tensor, s: float, noise: CellNoise) -> torch.Tensor:
        """The paper's reverse chain from step t0, started without fresh noise."""
        t0 = self.schedule.step_of(s)
        u_t = math.sqrt(self.abar[t0 - 1]) * u
        for t in range(t0, 0, -1):
            alpha, abar = self.alpha[t - 1], self.abar[t - 1]
            drift = (1 - alpha) / math.sqrt(1 - abar) * self.predict_noise(u_t, t)
            u_t = (u_t - drift) / math.sqrt(alpha)
            if t > 1:
                u_t = u_t + math.sqrt(1 - alpha) * noise()
        return u_t


def fold_batch_norm(network: TabularDiffusionMLP) -> TabularDiffusionMLP:
    """A copy for inference whose batch norms are part of the linear layers before them."""
    folded = copy.deepcopy(network).eval()
    for block in folded.blocks:
        assert isinstance(block, ResidualBatchNorm)  # nn.Sequential forgets what it holds
        layers = cast(tuple[Linear, BatchNorm1d, SiLU, Linear, BatchNorm1d], tuple(block.body))
        first, norm1, activation, second, norm2 = layers
        block.body = torch.nn.Sequential(
            fuse_linear_bn_eval(first, norm1), activation, fuse_linear_bn_eval(second, norm2)
        )
    return folded
