"""Settings of the denoising; without torch, so that every environment can read them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dice_atlas.dice.schedule import noise_variance

# Reference cells that the posterior samples are compared with at the most.
REFERENCE_AT_MOST = 20_000


@dataclass(frozen=True)
class RhoSettings:
    """Coupling of the Gibbs sampler: from `start` to `end` by a `schedule` (`rho_schedule`)."""

    start: float = 5.0
    end: float = 0.5
    schedule: str = "linear"


@dataclass(frozen=True)
class DenoiseSettings:
    """Section `denoise` of the config, except for the number of shards.

    Attributes
    ----------
    method : exact or gibbs.
    likelihood : gaussian, gaussian_per_gene, student_t, poisson or negative_binomial.
    noise_variance : of one scaled gene (gaussian), or auto.
    samples : posterior samples of a cell (exact).
    precision : float32 or bfloat16, of the samples.
    rho : coupling; exact mode needs its end alone.
    iterations, repeats : length and number of the Gibbs chains of a cell.
    """

    method: str
    likelihood: str
    noise_variance: float | str
    samples: int
    precision: str
    rho: RhoSettings = RhoSettings()
    iterations: int = 100
    repeats: int = 10

    @classmethod
    def from_config(cls, denoise: Mapping[str, Any]) -> "DenoiseSettings":
        """Settings from the `denoise` section of the config.

        What exact mode does not need may be missing: the workflow leaves it out, so that a change
        of it does not denoise again.
        """
        known = {f.name: denoise[f.name] for f in fields(cls) if f.name in denoise}
        return cls(**{**known, "rho": RhoSettings(**denoise["rho"])})

    def level(self, latent: Mapping[str, Any], role: str) -> float:
        """Noise level s of the exact posterior, s^2 = noise variance + rho^2.

        Parameters
        ----------
        latent : uns["latent"] of latents.h5ad.
        role : of the cells.

        Raises
        ------
        InputError
            The noise variance is auto and not defined.
        """
        variance = noise_variance(self.noise_variance, latent, role)
        return float(np.sqrt(variance + self.rho.end**2))
