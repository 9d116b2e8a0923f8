"""Posterior of any cells by the configured method: exact mode, or split Gibbs where it must be."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from dice_atlas.dice.exact import exact_posterior
from dice_atlas.dice.gene_space import GeneSpace
from dice_atlas.dice.gibbs import gibbs_samples
from dice_atlas.dice.likelihoods import GaussianLikelihood, LangevinLikelihood, Likelihood
from dice_atlas.dice.priors import KernelPrior, Prior
from dice_atlas.dice.schedule import (
    first_needed_iteration,
    needed_iterations,
    noise_variance,
    rho_schedule,
)
from dice_atlas.dice.settings import DenoiseSettings
from dice_atlas.errors import InputError

# Rows (cells x draws) that go through the network at once: few enough for a CPU's cache, many
# enough to fill a GPU.
ROWS_AT_ONCE = {"cpu": 2_000, "cuda": 50_000}
# Points of a kernel that take as much as such a row.
POINTS_PER_ROW = 8_000
# Values (cells x genes) that a likelihood in gene space holds at once, some ten times over.
VALUES_AT_ONCE = 4_000_000
# Langevin steps have an acceptance near 0.57 at best; a chain far below hardly moves.
LOW_ACCEPTANCE = 0.2

logger = logging.getLogger(__name__)


class CellPosteriors(NamedTuple):
    """Posterior of n cells.

    Attributes
    ----------
    mean : (n, k).
    samples : (draws, n, k).
    variance : trace (n,) of the covariance: by the Jacobian in exact mode, else the samples'.
    residual : distance (n,) of the latents from the mean, in sd of the noise.
    background : probability (n,) that a cell comes from the prior's background; NaN: unknown.
    """

    mean: torch.Tensor
    samples: torch.Tensor
    variance: torch.Tensor
    residual: torch.Tensor
    background: torch.Tensor


class Sampler:
    """Posterior mean and samples of cells of one role.

    Parameters
    ----------
    prior : of the latents.
    settings : of the method; the number of shards does not matter here.
    latent : uns["latent"] of latents.h5ad.
    role : of the cells, whose noise level is used.
    seed, device : of the draws.
    genes : the cells' expression, where the likelihood needs it.
    numbers : of all cells of the atlas (`holdout.cell_numbers`); None: all are new to the prior.

    Attributes
    ----------
    method : exact or gibbs, which may differ from the settings.
    notes : what differs from the settings, and why.

    Raises
    ------
    InputError
        The noise variance is not defined, (exact mode) the prior does not know its noise level, or
        (Gibbs) the prior is a kernel.
    """

    def __init__(
        self,
        prior: Prior,
        settings: DenoiseSettings,
        latent: Mapping[str, Any],
        role: str,
        seed: int,
        device: str,
        genes: GeneSpace | None = None,
        numbers: torch.Tensor | None = None,
    ) -> None:
        self.prior, self.settings, self.genes, self.numbers = prior, settings, genes, numbers
        self.seed, self.device = seed, device
        self.gaussian = settings.likelihood == "gaussian"
        # The other likelihoods have a noise of their own.
        self.noise_variance = (
            noise_variance(settings.noise_variance, latent, role) if self.gaussian else float("nan")
        )
        self.gram = torch.as_tensor(np.asarray(latent["gram"]), dtype=torch.float32, device=device)
        self.notes: list[str] = []
        self.bfloat16 = settings.precision == "bfloat16"
        self.method = settings.method
        if self.method == "exact" and not self.gaussian:
            self.use_gibbs(f"the likelihood {settings.likelihood} has no closed form")
        elif self.method == "exact" and not latent["orthonormal"]:
            if isinstance(prior, KernelPrior):
                self.prior = prior.under(self.noise_covariance())
            else:
                self.use_gibbs(
                    f"{latent['missing_genes']} genes of the reference are missing, the loadings "
                    "are not orthonormal"
                )
        if self.method == "gibbs" and isinstance(prior, KernelPrior):
            raise InputError(
                "the prior is a kernel, between whose points Gibbs chains hardly move; seen "
                f"denoise.method {settings.method} and likelihood {settings.likelihood}, expected "
                "exact and gaussian: else train a prior with prior.preset fast or paper"
            )
        rho = settings.rho
        self.s = float(np.sqrt(self.noise_variance + rho.end**2))
        if self.method == "exact":
            self.require_level(*prior.levels)
            return
        asked = rho_schedule(max(rho.start, rho.end), rho.end, settings.iterations, rho.schedule)
        if asked[-1] > rho.end * (1 + 1e-9):
            needed = needed_iterations(rho.start, rho.end)
            self.notes.append(
                f"rho ends at {asked[-1]:.3g}, not at rho.end {rho.end:g}: the exponential "
                f"schedule needs {needed} iterations, not {len(asked)}"
            )
        self.rho = np.clip(asked, *prior.levels)
        if (self.rho != asked).any():
            low, high = prior.levels
            self.notes.append(f"rho is limited to the prior's levels, {low:.3g} to {high:.3g}")
        if latent["orthonormal"] and self.gaussian:
            self.rho = self.rho[first_needed_iteration(self.rho, self.noise_variance) :]

    def noise_covariance(self) -> torch.Tensor:
        """Covariance (k, k) of the noise of exact mode at level 1 where genes are missing."""
        identity = torch.eye(len(self.gram), device=self.device)
        rho = self.settings.rho.end
        whole = self.noise_variance * torch.linalg.inv(self.gram) + rho**2 * identity
        return whole / (self.noise_variance + rho**2)

    def distance(self, latents: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """Distance (n,) of cells (n, k) from their posterior mean, in sd of the noise."""
        offset = latents - mean
        if isinstance(self.prior, KernelPrior):
            offset = offset @ self.prior.inward
        # The other likelihoods have a noise of their own.
        return offset.norm(dim=1) / (self.s if self.gaussian else 1.0)

    def use_gibbs(self, why: str) -> None:
        """Take the Gibbs sampler, and note why."""
        self.method = "gibbs"
        self.notes.append(f"{why}: Gibbs in place of exact mode")

    def require_level(self, low: float, high: float) -> None:
        """Refuse a posterior at a noise level that the prior does not know.

        Raises
        ------
        InputError
            The level is not between `low` and `high`.
        """
        if not low <= self.s <= high:
            raise InputError(
                f"denoise.noise_variance {self.noise_variance:g} and rho.end "
                f"{self.settings.rho.end:g} ask for the posterior at noise level "
                f"{self.s:.3g}; the prior knows the levels {low:.3g} to {high:.3g}"
            )

    @property
    def expression(self) -> GeneSpace:
        """The cells' expression, which every likelihood but the Gaussian one needs.

        Raises
        ------
        ValueError
            The sampler was made without it.
        """
        if self.genes is None:
            raise ValueError(f"the likelihood {self.settings.likelihood} needs the cells' genes")
        return self.genes

    @property
    def iterations(self) -> int:
        """Gibbs iterations that run: those whose start can still matter; none in exact mode."""
        return 0 if self.method == "exact" else len(self.rho)

    @property
    def draws(self) -> int:
        """Samples per cell."""
        return self.settings.samples if self.method == "exact" else self.settings.repeats

    @property
    def cells_at_once(self) -> int:
        """Cells of a block: bounds the memory of what goes through the network, or of genes."""
        if not self.gaussian:
            return max(1, VALUES_AT_ONCE // self.expression.n_genes)
        rows = ROWS_AT_ONCE[torch.device(self.device).type]
        if isinstance(self.prior, KernelPrior):
            # A kernel holds its weights: cells x points.
            points = len(self.prior.kernel.point)
            return max(1, rows * POINTS_PER_ROW // points)
        return max(1, rows // (self.draws if self.method == "exact" else 1))

    def likelihood(self, latents: torch.Tensor, cells: torch.Tensor) -> Likelihood:
        """The likelihood of a block of cells, for the Gibbs sampler."""
        if self.gaussian:
            statistic = latents @ self.gram / self.noise_variance
            return GaussianLikelihood(statistic, self.gram / self.noise_variance)
        return self.expression.likelihood(self.settings.likelihood, latents, cells)

    def prior_for(self, cells: torch.Tensor) -> Prior:
        """The prior without what it holds of these cells (n,) themselves."""
        return self.prior if self.numbers is None else self.prior.leaving_out(self.numbers[cells])

    @torch.inference_mode()
    def background(self, prior: Prior, latents: torch.Tensor) -> torch.Tensor:
        """Probability (n,) that each cell (n, k) comes from the prior's background; NaN: unknown.

        Likelihoods other than the Gaussian one have no noise level to compute it at.
        """
        if not self.gaussian:
            return torch.full((len(latents),), torch.nan, device=latents.device)
        return prior.background(latents, self.s)

    def __call__(self, latents: torch.Tensor, cells: torch.Tensor) -> CellPosteriors:
        """Posterior of cells (n,) with latents (n, k)."""
        prior = self.prior_for(cells)
        if self.method == "exact":
            mean, samples = exact_posterior(
                prior, latents, cells, self.s, self.draws, self.seed, self.bfloat16
            )
            variance = prior.variance(latents, self.s)
        else:
            samples = self.gibbs(prior, latents, cells)
            mean, variance = samples.mean(dim=0), samples.var(dim=0).sum(dim=1)
        residual = self.distance(latents, mean)
        return CellPosteriors(mean, samples, variance, residual, self.background(prior, latents))

    def gibbs(self, prior: Prior, latents: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Samples (draws, n, k) by split Gibbs sampling."""
        likelihood = self.likelihood(latents, cells)
        samples = gibbs_samples(
            prior, likelihood, cells, self.rho, self.draws, self.seed, self.bfloat16
        )
        if isinstance(likelihood, LangevinLikelihood):
            log = logger.warning if likelihood.acceptance < LOW_ACCEPTANCE else logger.info
            log("%d cells: %.0f %% of the Langevin steps accepted", len(cells),
                100 * likelihood.acceptance)  # fmt: skip
        return samples
