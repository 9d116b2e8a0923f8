"""Priors of the latents: one interface over the networks, used by every sampler."""

import copy
import itertools
import math
from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
import torch
from torch.nn import BatchNorm1d, Linear, SiLU
from torch.nn.utils.fusion import fuse_linear_bn_eval

from dice_atlas.dice.networks import KernelMean, ResidualBatchNorm, TabularDiffusionMLP
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.schedule import DDPMSchedule, chain_levels


class Prior(Protocol):
    """A distribution of clean latents, known through its denoiser.

    Attributes
    ----------
    levels : smallest and largest noise level at which it is known.
    coordinates : A (k, k) of `coordinates.py`, if the prior is one of latents u A; else None.
    """

    levels: tuple[float, float]
    coordinates: np.ndarray | None

    def mean(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """E[clean | clean + s eps = u], (n, k) -> (n, k)."""

    def sample(self, u: torch.Tensor, s: float, noise: CellNoise, repeats: int = 1) -> torch.Tensor:
        """Draws of clean | clean + s eps = u: one of each row (n, k), then the next of each.

        The noise is that of `repeats` n rows, as is the result.
        """

    def variance(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """Trace (n,) of the covariance of clean | clean + s eps = u."""

    def background(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """Probability (n,) that clean comes from the broad background, not from the reference.

        NaN if the prior has none.
        """

    def leaving_out(self, numbers: torch.Tensor) -> "Prior":
        """The prior without what it holds of each of n cells (`holdout.cell_numbers`).

        For a prior that holds cells as they are; a network's is the same for all.
        """


def posterior_covariance(prior: Prior, latents: torch.Tensor, s: float) -> torch.Tensor:
    """Posterior covariance (n, k, k) by second-order Tweedie: s^2 times the mean's Jacobian.

    Symmetrised, since a trained network's Jacobian is symmetric in the limit only. One backward
    pass per latent dimension.
    """
    with torch.enable_grad():
        u = latents.detach().clone().requires_grad_(True)
        mean = prior.mean(u, s)
        rows = [
            torch.autograd.grad(mean[:, j].sum(), u, retain_graph=True)[0]
            for j in range(mean.shape[1])
        ]
    jacobian = torch.stack(rows, dim=1)
    return s**2 * (jacobian + jacobian.transpose(1, 2)) / 2


class BasePrior:
    """What priors have unless they say otherwise: no background, variances by the Jacobian."""

    levels: tuple[float, float] = (0.0, math.inf)
    coordinates: np.ndarray | None = None

    def mean(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """See `Prior`."""
        raise NotImplementedError

    def sample(self, u: torch.Tensor, s: float, noise: CellNoise, repeats: int = 1) -> torch.Tensor:
        """See `Prior`."""
        raise NotImplementedError

    def variance(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """See `Prior`."""
        covariance = posterior_covariance(self, u, s)
        return covariance.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=0)

    def background(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """See `Prior`."""
        return torch.full((len(u),), torch.nan, device=u.device)

    def leaving_out(self, numbers: torch.Tensor) -> Prior:
        """See `Prior`."""
        return self


class DenoiserPrior(BasePrior):
    """A prior from any posterior-mean denoiser, sampled by a short reverse chain.

    Parameters
    ----------
    denoiser : callable (u (n, k), s) -> (n, k).
    share : callable (u (n, k), s) -> (n,), the probability of the background; None: there is none.
    levels : noise levels that the denoiser was trained at, all by default.
    steps_per_fold : steps of the reverse chain for each factor e between its levels.
    s_min : noise level at which the chain ends, or a quarter of its start if that is lower.
    """

    def __init__(
        self,
        denoiser: Callable[[torch.Tensor, float], torch.Tensor],
        levels: tuple[float, float] = (0.0, math.inf),
        steps_per_fold: float = 9.0,
        s_min: float = 0.08,
        share: Callable[[torch.Tensor, float], torch.Tensor] | None = None,
    ) -> None:
        self.denoiser, self.levels, self.share = denoiser, levels, share
        self.steps_per_fold, self.s_min = steps_per_fold, s_min

    def mean(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """One evaluation of the denoiser."""
        return self.denoiser(u, s)

    def background(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """See `Prior`."""
        return super().background(u, s) if self.share is None else self.share(u, s)

    def chain(self, s: float) -> list[float]:
        """Noise levels from s down; s alone where the denoiser knows no lower one."""
        end = max(min(self.s_min, s / 4), self.levels[0])
        if s <= end:
            return [s]
        return chain_levels(s, end, math.ceil(self.steps_per_fold * math.log(s / end))).tolist()

    def sample(self, u: torch.Tensor, s: float, noise: CellNoise, repeats: int = 1) -> torch.Tensor:
        """Stochastic Adams solver of the reverse SDE (Xue et al. 2023, SA-Solver, PEC mode).

        The first-order chain draws u_next from its Gaussian given u and the posterior mean; in
        few steps its variance falls well short. Predicting with the posterior mean extrapolated
        from the step before, and correcting with the one found there, costs no evaluation and
        removes most of that.
        """
        u, levels = u.repeat(repeats, 1), self.chain(s)
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


class DDPMPrior(BasePrior):
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

    def sample(self, u: torch.Tensor, s: float, noise: CellNoise, repeats: int = 1) -> torch.Tensor:
        """The paper's reverse chain from step t0, started without fresh noise."""
        t0 = self.schedule.step_of(s)
        u_t = math.sqrt(self.abar[t0 - 1]) * u.repeat(repeats, 1)
        for t in range(t0, 0, -1):
            alpha, abar = self.alpha[t - 1], self.abar[t - 1]
            drift = (1 - alpha) / math.sqrt(1 - abar) * self.predict_noise(u_t, t)
            u_t = (u_t - drift) / math.sqrt(alpha)
            if t > 1:
                u_t = u_t + math.sqrt(1 - alpha) * noise()
        return u_t


class KernelPrior(BasePrior):
    """A prior of points and a broad background, whose posterior is known exactly at any level.

    Parameters
    ----------
    kernel : the points.
    covariance : of the noise (k, k) at level 1; None: isotropic.

    Attributes
    ----------
    inward, outward : square roots (k, k) of the covariance's inverse, and of the covariance.
    cells : (n,), the kernel's own cells whose posterior is asked for; None: cells new to it.
    last : latents, noise level and weights that were asked for last: mean, samples, variance and
        background of the same cells need the same ones.
    """

    last: tuple[torch.Tensor, float, torch.Tensor] | None = None

    def __init__(self, kernel: KernelMean, covariance: torch.Tensor | None = None) -> None:
        self.kernel = kernel
        self.cells: torch.Tensor | None = None
        k = kernel.point.shape[1]
        self.inward = self.outward = torch.eye(k, device=kernel.point.device)
        if covariance is not None:
            values, vectors = torch.linalg.eigh(covariance.double())
            inward, outward = (
                ((vectors * values**power) @ vectors.mT).float() for power in (-0.5, 0.5)
            )
            self.kernel, self.inward, self.outward = kernel.moved(inward), inward, outward

    def under(self, covariance: torch.Tensor) -> "KernelPrior":
        """The same prior where the noise has a covariance (k, k) at level 1."""
        found = KernelPrior(self.kernel, covariance)
        found.coordinates = self.coordinates
        return found

    def leaving_out(self, numbers: torch.Tensor) -> "KernelPrior":
        """See `Prior`."""
        found = copy.copy(self)
        found.cells, found.last = self.kernel.cell_of(numbers), None
        return found

    def weights(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """Probability (n, m + 1) of each point, and of the Gaussian, given u (n, k)."""
        if self.last is None or self.last[0] is not u or self.last[1] != s:
            self.last = (u, s, self.kernel.weights(u @ self.inward, s, self.cells))
        return self.last[2]

    def mean(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """See `Prior`."""
        return self.kernel.mean(u @ self.inward, s, self.weights(u, s)) @ self.outward

    def background(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """See `Prior`."""
        if self.kernel.share == 0:
            return super().background(u, s)
        # Not a view, which would hold all weights.
        return self.weights(u, s)[:, -1].clone()

    def variance(self, u: torch.Tensor, s: float) -> torch.Tensor:
        """Mean squared length less the squared length of the mean, both from the center."""
        kernel, moved = self.kernel, u @ self.inward
        weights, center = self.weights(u, s), kernel.broad.center[0]
        point = (kernel.point - center) @ self.outward
        broad = (kernel.broad_mean(moved, s) - center) @ self.outward
        axes = kernel.broad.basis[0].mT @ self.outward
        spread = kernel.broad_variance(s) @ (axes**2).sum(dim=1)
        mean = weights[:, :-1] @ point + weights[:, -1:] * broad
        squared = weights[:, :-1] @ (point**2).sum(dim=1)
        squared += weights[:, -1] * ((broad**2).sum(dim=1) + spread)
        return (squared - (mean**2).sum(dim=1)).clamp(min=0)

    def sample(self, u: torch.Tensor, s: float, noise: CellNoise, repeats: int = 1) -> torch.Tensor:
        """A point by its probability, or a draw from the Gaussian's own posterior."""
        kernel = self.kernel
        # There is no network that low precision would speed up.
        with torch.autocast(u.device.type, enabled=False):
            moved = u @ self.inward
            weights = self.weights(u, s).double().cumsum(dim=1)
            first, second = noise(), noise()
            uniform = torch.special.ndtr(first[:, 0].double()).view(repeats, len(u)).T
            place = (uniform * weights[:, -1:]).contiguous()
            chosen = torch.searchsorted(weights, place).clamp(max=len(kernel.point)).T.flatten()
            spread = second * kernel.broad_variance(s).sqrt()
            broad = kernel.broad_mean(moved, s).repeat(repeats, 1)
            broad = broad + spread @ kernel.broad.basis[0].mT
            found = kernel.point[chosen.clamp(max=len(kernel.point) - 1)]
            return torch.where((chosen == len(kernel.point))[:, None], broad, found) @ self.outward


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
