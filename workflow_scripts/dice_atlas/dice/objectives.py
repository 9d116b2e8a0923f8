"""What can be trained as a prior: its network, its loss, its schedule, and the prior it becomes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from dice_atlas.dice.mixture import fit_mixture, with_background
from dice_atlas.dice.mixup import augmented
from dice_atlas.dice.networks import PosteriorMeanMLP, TabularDiffusionMLP
from dice_atlas.dice.priors import DDPMPrior, DenoiserPrior, Prior, fold_batch_norm
from dice_atlas.dice.schedule import DDPMSchedule

# Noise variances at which held-out cells are denoised to choose the best weights.
VALIDATION_VARIANCES = (1.25, 5.0, 25.0)
# Noise levels that the posterior-mean network is trained at: from below the end of its chain to
# above the largest level of the paper's schedule.
LEVELS = (0.04, 15.0)

Weights = Mapping[str, torch.Tensor]
Network = TypeVar("Network", bound=torch.nn.Module)


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; `overrides` of the config replace fields by name.

    `patience` counts validations (every `validate_every` steps) without a better loss before
    training stops; `average` is the decay of the weights' moving average, 0 for none. `background`
    is the share of the broad Gaussian that the preset `fast` learns beside the reference.
    """

    width: int
    blocks: int
    steps: int
    batch_size: int
    learning_rate: float
    mixup_probability: float = 0.9
    patience: int = 4
    validate_every: int = 100
    average: float = 0.995
    background: float = 0.0


@dataclass(frozen=True)
class TrainingCells:
    """The cells of a training run.

    Attributes
    ----------
    latents : (n, k) float32.
    classes : (n,) int64, the classes of the mixup.
    train, held : rows that are trained on, and rows that judge; the latter may be none.
    probability : of the mixup.
    """

    latents: torch.Tensor
    classes: torch.Tensor
    train: torch.Tensor
    held: torch.Tensor
    probability: float

    def augmented(self, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Augmented draws (m, k) of the rows that are trained on, and of those that judge."""
        generator = torch.Generator().manual_seed(seed)
        train, held = (
            augmented(self.latents[rows], self.classes[rows], self.probability, generator)
            for rows in (self.train, self.held)
        )
        return train, held


class Objective(Protocol[Network]):
    """One kind of prior that `Trainer` can train, and its class of network.

    Attributes
    ----------
    low_precision : whether training may compute in bfloat16 where the hardware has it.
    clip : largest norm of the gradient; None: no limit.
    """

    low_precision: bool
    clip: float | None

    def settings(self, n_cells: int) -> TrainingSettings:
        """The preset's settings for so many cells."""

    def build(self, cells: TrainingCells, settings: TrainingSettings, seed: int) -> Network:
        """The network that training starts from."""

    def restore(self, k: int, width: int, blocks: int, weights: Weights) -> Network:
        """The network of k latents with trained weights."""

    def loss(
        self, network: Network, clean: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Loss (a scalar) of clean latents (n, k)."""

    def held_out_loss(self, network: Network, held: torch.Tensor, seed: int) -> float:
        """What the weights are judged by, on cells that were not trained on."""

    def optimizer(self, network: Network, settings: TrainingSettings) -> torch.optim.Optimizer:
        """What moves the weights."""

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """Learning rate by step."""

    def prior(self, network: Network) -> Prior:
        """The prior that a trained network stands for."""


def adamw(network: torch.nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW with torch's defaults (Loshchilov and Hutter 2019)."""
    return torch.optim.AdamW(network.parameters(), lr=settings.learning_rate)


@torch.no_grad()
def denoising_error(prior: Prior, held: torch.Tensor, seed: int) -> float:
    """Mean over noise variances of the held-out cells' denoising error, relative to the noise.

    Parameters
    ----------
    held : (n, k), clean latents.
    seed : of the noise.
    """
    generator = torch.Generator(held.device).manual_seed(seed)
    errors = []
    for variance in VALIDATION_VARIANCES:
        noise = torch.randn(held.shape, generator=generator, device=held.device)
        noisy = held + math.sqrt(variance) * noise
        error = (prior.mean(noisy, math.sqrt(variance)) - held) ** 2
        errors.append(float(error.mean()) / variance)
    return sum(errors) / len(errors)


class PosteriorMean:
    """Preset `fast`: the posterior mean at any noise level, corrected from a mixture's."""

    low_precision = True
    clip: float | None = 1.0

    def settings(self, n_cells: int) -> TrainingSettings:
        """The same for any number of cells."""
        return TrainingSettings(256, 4, 1500, 512, 2e-3)

    def build(
        self, cells: TrainingCells, settings: TrainingSettings, seed: int
    ) -> PosteriorMeanMLP:
        """A network that starts from a mixture of what it will be shown, the augmented latents.

        A mixture of the latents as they are is wider, and on pbmc3k the network did not come back
        from it (silhouette 0.53 in place of 0.60).
        """
        draws, held = (rows.numpy() for rows in cells.augmented(seed))
        mixture = fit_mixture(draws, held, len(cells.train), len(cells.held), seed)
        latents = cells.latents[cells.train].numpy()
        mixture = with_background(mixture, latents, settings.background)
        weight, center, covariance = map(torch.from_numpy, mixture)
        k = cells.latents.shape[1]
        network = PosteriorMeanMLP(k, settings.width, settings.blocks, len(weight))
        network.mean.copy_(cells.latents[cells.train].mean(dim=0))
        network.sd.copy_(cells.latents[cells.train].std(dim=0).clamp(min=1e-3))
        network.mixture.set(weight, center, covariance)
        network.background.fill_(settings.background)
        return network

    def restore(self, k: int, width: int, blocks: int, weights: Weights) -> PosteriorMeanMLP:
        """See `Objective`."""
        network = PosteriorMeanMLP(k, width, blocks, len(weights["mixture.log_weight"]))
        network.load_state_dict(weights)
        return network

    def loss(
        self, network: PosteriorMeanMLP, clean: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Loss of the network's own target, noise level log-uniform over `LEVELS`.

        The background's share of the cells is drawn from it.
        """
        if network.background > 0:
            chosen = torch.rand(len(clean), 1, generator=generator, device=clean.device)
            noise = torch.randn(clean.shape, generator=generator, device=clean.device)
            broad = network.mixture.draw(-1, noise)
            clean = torch.where(chosen < network.background, broad, clean)
        low, high = (math.log(level) for level in LEVELS)
        # One level per stratum: the levels of a batch always cover the whole range.
        place = torch.rand(len(clean), generator=generator, device=clean.device)
        place = (torch.arange(len(clean), device=clean.device) + place) / len(clean)
        s = torch.exp(low + (high - low) * place)[:, None]
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        return network.loss(clean, s, noise)

    def held_out_loss(self, network: PosteriorMeanMLP, held: torch.Tensor, seed: int) -> float:
        """See `denoising_error`."""
        return denoising_error(self.prior(network), held, seed)

    def optimizer(
        self, network: PosteriorMeanMLP, settings: TrainingSettings
    ) -> torch.optim.Optimizer:
        """See `adamw`."""
        return adamw(network, settings)

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """One cycle."""
        steps = settings.steps + 1
        return OneCycleLR(optimizer, settings.learning_rate, total_steps=steps, pct_start=0.1)

    def prior(self, network: PosteriorMeanMLP) -> Prior:
        """See `Objective`."""
        network.eval()

        def denoiser(u: torch.Tensor, s: float) -> torch.Tensor:
            return network(u, torch.full((1, 1), s, device=u.device))

        def share(u: torch.Tensor, s: float) -> torch.Tensor:
            return network.mixture.posterior(u, torch.full((1, 1), s, device=u.device))[0][-1]

        return DenoiserPrior(
            denoiser, levels=LEVELS, share=share if network.background > 0 else None
        )


class NoisePrediction:
    """Preset `paper`: the noise of the DDPM schedule (DICE, Appendix C)."""

    low_precision = False
    clip: float | None = None

    def settings(self, n_cells: int) -> TrainingSettings:
        """10,000 epochs of batches of 4,048, to the end."""
        steps = 10_000 * math.ceil(n_cells / 4048)
        return TrainingSettings(512, 8, steps, 4048, 1e-4, patience=10**9, average=0.0)

    def build(
        self, cells: TrainingCells, settings: TrainingSettings, seed: int
    ) -> TabularDiffusionMLP:
        """See `Objective`."""
        return TabularDiffusionMLP(cells.latents.shape[1], settings.width, settings.blocks)

    def restore(self, k: int, width: int, blocks: int, weights: Weights) -> TabularDiffusionMLP:
        """See `Objective`."""
        network = TabularDiffusionMLP(k, width, blocks)
        network.load_state_dict(weights)
        return network

    def loss(
        self, network: TabularDiffusionMLP, clean: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Mean squared error of the noise, t uniform on the schedule."""
        schedule = DDPMSchedule()
        abar = torch.tensor(schedule.abar, dtype=clean.dtype, device=clean.device)
        t = torch.randint(schedule.steps, (len(clean),), generator=generator, device=clean.device)
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        u_t = abar[t, None].sqrt() * clean + (1 - abar[t, None]).sqrt() * noise
        return ((network(u_t, (t + 1) / schedule.steps) - noise) ** 2).mean()

    def held_out_loss(self, network: TabularDiffusionMLP, held: torch.Tensor, seed: int) -> float:
        """See `denoising_error`."""
        return denoising_error(self.prior(network), held, seed)

    def optimizer(
        self, network: TabularDiffusionMLP, settings: TrainingSettings
    ) -> torch.optim.Optimizer:
        """See `adamw`."""
        return adamw(network, settings)

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """Cosine annealing to 0."""
        return CosineAnnealingLR(optimizer, settings.steps)

    def prior(self, network: TabularDiffusionMLP) -> Prior:
        """See `Objective`."""
        network.eval()
        return DDPMPrior(fold_batch_norm(network), DDPMSchedule())


# Name in `prior.preset`: what is trained.
OBJECTIVES: Mapping[str, Objective[Any]] = {"fast": PosteriorMean(), "paper": NoisePrediction()}
