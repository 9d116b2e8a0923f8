"""Noise: the paper's DDPM steps, the levels of a short chain, the coupling rho, the data's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dice_atlas.errors import InputError

DECAY = 0.9  # of the exponential schedule of rho, per iteration


@dataclass(frozen=True)
class DDPMSchedule:
    """Linear beta over T steps (Ho et al. 2020); arrays hold steps t = 1..T at index t - 1."""

    steps: int = 512
    beta_start: float = 1e-4
    beta_end: float = 2e-2

    @property
    def alpha(self) -> np.ndarray:
        """1 - beta, T values in float64."""
        return 1.0 - np.linspace(self.beta_start, self.beta_end, self.steps)

    @property
    def abar(self) -> np.ndarray:
        """Cumulative products of alpha."""
        return np.cumprod(self.alpha)

    @property
    def sigma(self) -> np.ndarray:
        """Noise level of each step relative to the signal, sqrt((1 - abar) / abar)."""
        return np.sqrt((1.0 - self.abar) / self.abar)

    def step_of(self, sigma: float) -> int:
        """The step t (1..T) whose abar is closest to 1 / (1 + sigma^2)."""
        return int(np.argmin(np.abs(self.abar - 1.0 / (1.0 + sigma**2)))) + 1


def chain_levels(start: float, end: float, steps: int) -> np.ndarray:
    """Falling noise levels of a reverse chain, `steps` + 1 values.

    The logarithm's steps grow from a tenth of their mean to twice as much. The first step has
    no earlier one to extrapolate from, and a sample chooses its cluster on the high levels:
    small steps there keep the shares of a mixture at the exact ones.
    """
    place = np.linspace(0, 1, steps + 1)
    return start * (end / start) ** (place - 0.9 * np.sin(np.pi * place) / np.pi)


def rho_schedule(start: float, end: float, iterations: int, schedule: str = "linear") -> np.ndarray:
    """Coupling of each iteration from `start` to `end`: `linear` (the paper's) or `exponential`.

    `exponential` is that of the authors' code, max(start 0.9^i, end) at iteration i. One iteration
    alone runs at `end`.
    """
    start = start if iterations > 1 else end
    if schedule == "exponential":
        return np.maximum(start * DECAY ** np.arange(iterations), end)
    return np.linspace(start, end, iterations)


def needed_iterations(start: float, end: float) -> int:
    """Iterations after which the exponential schedule (`rho_schedule`) has reached its end."""
    return 1 + max(int(np.ceil(np.log(end / start) / np.log(DECAY) - 1e-9)), 0)


def first_needed_iteration(rho: np.ndarray, noise_variance: float, tolerance: float = 1e-6) -> int:
    """Index of the first Gibbs iteration whose start can still matter.

    The influence of U on the next Z is 1 / (1 + rho^2 / noise_variance). Iterations before
    the point where the product of those that remain falls under `tolerance` are forgotten.
    """
    influence = 1.0 / (1.0 + rho**2 / noise_variance)
    remaining = np.cumprod(influence[::-1])[::-1]
    forgotten = np.flatnonzero(remaining < tolerance)
    return int(forgotten[-1]) if forgotten.size else 0


def noise_variance(setting: float | str, latent: Mapping[str, Any], role: str) -> float:
    """Noise variance per scaled gene: as given, or the role's residual outside the loadings.

    Parameters
    ----------
    setting : the variance, or auto.
    latent : uns["latent"] of latents.h5ad.
    role : of the cells.

    Raises
    ------
    InputError
        The setting is auto, and the residual of the role is not known.
    """
    if setting != "auto":
        return float(setting)
    key = f"residual_variance_{role}"
    if key in latent:
        return float(latent[key])
    raise InputError(
        "denoise.noise_variance is auto, but genes of the reference are missing from the query, "
        "so that the residual is not defined; give a number (1.0 is the paper's)"
    )
