"""Likelihoods of the split Gibbs sampler: how Z is drawn given the cell and U.

The Gaussian ones have the closed form of DICE, Proposition 3.1. Any other takes Metropolis-adjusted
Langevin steps on its log density in gene space, which leave the law of Z given U invariant.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from dice_atlas.dice.noise import CellNoise
from dice_atlas.features.gene_noise import SHARPNESS


class Likelihood(Protocol):
    """The likelihood of a block of n cells."""

    def start(self) -> torch.Tensor:
        """Latents (n, k) that the chains start from."""

    def draw(self, z: torch.Tensor, u: torch.Tensor, rho: float, noise: CellNoise) -> torch.Tensor:
        """A draw of Z (n, k) that leaves p(Z | x, U) invariant, from the present Z."""


class GaussianLikelihood:
    """x = V Z + noise of covariance D: Z ~ N(L (V^T D^-1 x + U / rho^2), L).

    L = (V^T D^-1 V + I / rho^2)^-1.

    Parameters
    ----------
    statistic : (n, k), V^T D^-1 x.
    precision : (k, k), V^T D^-1 V; for noise of one variance V^T V / variance.
    """

    def __init__(self, statistic: torch.Tensor, precision: torch.Tensor) -> None:
        self.statistic, self.precision = statistic, precision

    def start(self) -> torch.Tensor:
        """The least-squares latents."""
        return torch.linalg.solve(self.precision, self.statistic.T).T

    def draw(self, z: torch.Tensor, u: torch.Tensor, rho: float, noise: CellNoise) -> torch.Tensor:
        """An exact draw; the present Z does not matter."""
        identity = torch.eye(len(self.precision), dtype=u.dtype, device=u.device)
        factor = torch.linalg.cholesky(self.precision + identity / rho**2)
        mean = torch.cholesky_solve((self.statistic + u / rho**2).T, factor).T
        # With precision C C^T, C^-T noise has covariance L.
        return mean + torch.linalg.solve_triangular(factor.T, noise().T, upper=True).T


class GeneModel(Protocol):
    """The density of observed genes given theta = V Z, the expected scaled expression (n, d)."""

    def log_density(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log density of each cell (n,) up to a constant, and its gradient (n, d) in theta."""

    def information(self, theta: torch.Tensor) -> torch.Tensor:
        """Fisher information of theta (n, d): how curved the log density is on average."""


@dataclass(frozen=True)
class StudentT:
    """Scaled, centred expression with Student t noise: outlying genes weigh less.

    Attributes
    ----------
    observed : (n, d).
    scale : (d,) or one number.
    degrees : of freedom.
    """

    observed: torch.Tensor
    scale: torch.Tensor | float
    degrees: float

    def log_density(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `GeneModel`."""
        residual = self.observed - theta
        spread = self.degrees * torch.as_tensor(self.scale) ** 2
        squared = residual**2
        value = -(self.degrees + 1) / 2 * torch.log1p(squared / spread).sum(dim=1)
        return value, (self.degrees + 1) * residual / (spread + squared)

    def information(self, theta: torch.Tensor) -> torch.Tensor:
        """See `GeneModel`; (nu + 1) / ((nu + 3) scale^2)."""
        weight = (self.degrees + 1) / (self.degrees + 3) / torch.as_tensor(self.scale) ** 2
        return torch.ones_like(theta) * weight


@dataclass(frozen=True)
class CountModel:
    """Raw counts, negative binomial (Poisson where the dispersion is 0) about the expected rate.

    The rate is what undoes scaling and log1p: depth (exp(softplus(sd (theta + center))) - 1), where
    the softplus keeps it above 0 and smooth.

    Attributes
    ----------
    counts : (n, d).
    depth : (n, 1), the cell's total over the total that cells were normalised to.
    sd, center : (d,), of the scaling.
    dispersion : (d,) or one number, a of the variance mu + a mu^2.
    """

    counts: torch.Tensor
    depth: torch.Tensor
    sd: torch.Tensor
    center: torch.Tensor
    dispersion: torch.Tensor | float = 0.0

    def rate(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Expected counts mu (n, d) and their derivative in theta."""
        expression = self.sd * (theta + self.center)
        smooth = torch.nn.functional.softplus(expression, beta=SHARPNESS)
        # exp() of an absurd proposal would overflow; it is refused all the same.
        smooth = smooth.clamp(max=30.0)
        slope = torch.sigmoid(SHARPNESS * expression)
        rate = self.depth * torch.expm1(smooth)
        return rate + 1e-6, (rate + self.depth) * slope * self.sd

    def log_density(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `GeneModel`."""
        rate, slope = self.rate(theta)
        a = torch.as_tensor(self.dispersion, dtype=theta.dtype, device=theta.device)
        inflated = 1 + a * rate
        # lgamma terms do not depend on theta. log(1 + a mu) / a tends to mu for small a.
        log_inflated = torch.log1p(a * rate)
        spread = torch.where(a > 1e-6, log_inflated / a.clamp(min=1e-6), rate)
        value = self.counts * (torch.log(rate) - log_inflated) - spread
        gradient = (self.counts - rate) / (rate * inflated) * slope
        return value.sum(dim=1), gradient

    def information(self, theta: torch.Tensor) -> torch.Tensor:
        """See `GeneModel`; slope^2 / (mu + a mu^2)."""
        rate, slope = self.rate(theta)
        return slope**2 / (rate * (1 + self.dispersion * rate))


class LangevinLikelihood:
    """Any gene model: Metropolis-adjusted Langevin steps (Roberts and Tweedie 1996) in Z.

    Steps are preconditioned by the cell's Fisher information at its least-squares latents, which
    stays fixed, and have the length that is best for a Gaussian target (Roberts, Rosenthal 1998).

    Parameters
    ----------
    model : of the n cells' genes.
    loadings : (d, k), V.
    start : (n, k), least-squares latents.
    shift : (n, k), what the batch correction added to the latents; genes are seen without it.
    steps : Langevin steps of one draw.
    """

    def __init__(
        self,
        model: GeneModel,
        loadings: torch.Tensor,
        start: torch.Tensor,
        shift: torch.Tensor | float = 0.0,
        steps: int = 5,
    ) -> None:
        self.model, self.loadings, self.shift, self.steps = model, loadings, shift, steps
        self.first = start
        weight = model.information((start - shift) @ loadings.T)
        # V^T diag(weight) V of every cell, by one product with the outer products of V's rows.
        n, k = start.shape
        outer = (loadings[:, :, None] * loadings[:, None, :]).flatten(1)
        self.precision = (weight @ outer).view(n, k, k)
        self.length = 1.65**2 * loadings.shape[1] ** (-1 / 3)
        self.accepted, self.proposed = 0.0, 0

    def start(self) -> torch.Tensor:
        """The least-squares latents."""
        return self.first

    def draw(self, z: torch.Tensor, u: torch.Tensor, rho: float, noise: CellNoise) -> torch.Tensor:
        """`steps` Langevin steps from the present Z."""
        identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        factor = torch.linalg.cholesky(self.precision + identity / rho**2)
        value, gradient = self.target(z, u, rho)
        for _ in range(self.steps):
            move = solve_t(factor, noise()) * self.length**0.5
            drift = self.length / 2 * torch.cholesky_solve(gradient[:, :, None], factor)[:, :, 0]
            proposal = z + drift + move
            new_value, new_gradient = self.target(proposal, u, rho)
            back = self.length / 2 * torch.cholesky_solve(new_gradient[:, :, None], factor)[:, :, 0]
            forward = self.log_proposal(factor, proposal - z - drift)
            backward = self.log_proposal(factor, z - proposal - back)
            uniform = torch.special.ndtr(noise()[:, 0])
            accept = torch.log(uniform) < new_value - value + backward - forward
            self.accepted += float(accept.float().mean())
            self.proposed += 1
            z = torch.where(accept[:, None], proposal, z)
            value = torch.where(accept, new_value, value)
            gradient = torch.where(accept[:, None], new_gradient, gradient)
        return z

    @property
    def acceptance(self) -> float:
        """Share of proposals that were taken so far."""
        return self.accepted / max(self.proposed, 1)

    def target(
        self, z: torch.Tensor, u: torch.Tensor, rho: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log density (n,) of Z given the cell and U, up to a constant, and its gradient (n, k)."""
        value, gradient = self.model.log_density((z - self.shift) @ self.loadings.T)
        offset = z - u
        value = value - (offset**2).sum(dim=1) / (2 * rho**2)
        return value, gradient @ self.loadings - offset / rho**2

    def log_proposal(self, factor: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Log density (n,) of a step from the drifted point, up to a constant."""
        white = (factor.transpose(1, 2) @ step[:, :, None])[:, :, 0]
        return -(white**2).sum(dim=1) / (2 * self.length)


def solve_t(factor: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """C^-T noise for lower triangular C (n, k, k): covariance (C C^T)^-1."""
    solved = torch.linalg.solve_triangular(factor.transpose(1, 2), noise[:, :, None], upper=True)
    return solved[:, :, 0]
