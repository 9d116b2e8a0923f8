"""A diffusion prior of the latents, given the class: the priors' posterior-mean network."""

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from dice_atlas.dice.mixture import fit_mixture
from dice_atlas.dice.networks import PosteriorMeanMLP, sinusoidal
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.objectives import TrainingCells, TrainingSettings, adamw
from dice_atlas.dice.priors import DenoiserPrior, Prior
from dice_atlas.synthesis.latents import CHAIN_STREAM, ClassGaussians, LatentCells

LEVELS = (0.03, 12.0)
# Level that the chain starts from: the points are standardised.
START = 10.0
STEPS = 800
# Added to the variances of the mixture. The points have unit variance: a tenth, as for the atlas's
# latents, made cells that a forest told from real ones (zheng_facs_pbmc 0.64 in place of 0.58).
LEAST_VARIANCE = 1e-3
# Share of a batch that is trained without its class.
CLASS_DROPOUT = 0.15


class ClassPosteriorMeanMLP(PosteriorMeanMLP):
    """E[u | u + s eps, class]: the class's Gaussian, corrected by a network that sees the class.

    Without a class it is the product's network: the posterior mean under the mixture of all
    components, corrected.

    Parameters
    ----------
    k : dimensions.
    width, blocks : size of the network.
    components : of the mixture; one for each class where there are classes.
    n_classes : 0 without classes.
    """

    def __init__(self, k: int, width: int, blocks: int, components: int, n_classes: int) -> None:
        super().__init__(k, width, blocks, components)
        self.n_classes = n_classes
        # The last row: no class.
        self.classes = nn.Embedding(n_classes + 1, width)
        nn.init.normal_(self.classes.weight, std=0.1)

    def base(self, u: torch.Tensor, s: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Posterior mean (n, k) under the class's Gaussian, or the mixture without a class."""
        result = torch.empty_like(u)
        s = s.expand(len(u), 1)
        for code in codes.unique().tolist():
            own = codes == code
            if code == self.n_classes:
                result[own] = self.mixture(u[own], s[own])
                continue
            center, variance = self.mixture.center[code], self.mixture.variance[code]
            basis = self.mixture.basis[code]
            shrunk = (u[own] - center) @ basis * (variance / (variance + s[own] ** 2))
            result[own] = center + shrunk @ basis.mT
        return result

    def correction(
        self, scaled: torch.Tensor, s: torch.Tensor, codes: torch.Tensor
    ) -> torch.Tensor:
        """The network itself: preconditioned input (n, k), s (n or 1, 1), classes (n,)."""
        embedding = self.level(sinusoidal(10.0 * torch.log(s[:, 0]), 16)) + self.classes(codes)
        x = self.data(scaled)
        for block in self.blocks:
            x = block(x, embedding)
        return self.head(x)

    def denoise(self, u: torch.Tensor, s: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Posterior mean (n, k) of u (n, k) at level s (n or 1, 1), given classes (n,)."""
        inward, outward = self.scales(s)
        network = self.correction((u - self.mean) * inward, s, codes)
        return self.base(u, s, codes) + outward * network

    def class_loss(
        self, u: torch.Tensor, s: torch.Tensor, noise: torch.Tensor, codes: torch.Tensor
    ) -> torch.Tensor:
        """Mean squared error of the network's own target; see `PosteriorMeanMLP.loss`."""
        inward, outward = self.scales(s)
        noisy = u + s * noise
        target = (u - self.base(noisy, s, codes)) / outward
        return ((self.correction((noisy - self.mean) * inward, s, codes) - target) ** 2).mean()


class LatentDiffusion:
    """The training of a `ClassPosteriorMeanMLP`, as the trainer of the priors takes it.

    It trains on draws of q(z|x), new ones in each batch, and not on their means.

    Parameters
    ----------
    cells : the training cells.
    gaussians : of their classes; None without classes.
    steps : of the training.
    """

    low_precision = False
    clip: float | None = 1.0

    def __init__(
        self, cells: LatentCells, gaussians: ClassGaussians | None, steps: int = STEPS
    ) -> None:
        self.cells, self.gaussians, self.steps = cells, gaussians, steps
        self.k = cells.mean.shape[1]
        self.n_classes = cells.n_classes if gaussians else 0

    def draws(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Points (n, k + 1) of the trainer's rows (n, 2 k + 2)."""
        mean, sd, score, _ = rows.split([self.k, self.k, 1, 1], dim=1)
        noise = torch.randn(mean.shape, generator=generator, device=rows.device)
        return torch.cat([mean + sd * noise, score], dim=1)

    def settings(self, n_cells: int) -> TrainingSettings:
        """The same for any number of cells."""
        return TrainingSettings(128, 3, self.steps, 256, 2e-3, mixup_probability=0.0, patience=5)

    def build(
        self, cells: TrainingCells, settings: TrainingSettings, seed: int
    ) -> ClassPosteriorMeanMLP:
        """A network that starts from the class Gaussians, or from a mixture of all cells."""
        if self.gaussians:
            parts = (self.gaussians.weight, self.gaussians.mean, self.gaussians.covariance)
        else:
            generator = torch.Generator().manual_seed(seed)
            train, held = (
                self.draws(cells.latents[rows], generator).numpy()
                for rows in (cells.train, cells.held)
            )
            found = fit_mixture(train, held, len(train), len(held), seed, LEAST_VARIANCE)
            parts = (torch.from_numpy(found[0]), torch.from_numpy(found[1]),
                     torch.from_numpy(found[2]))  # fmt: skip
        network = ClassPosteriorMeanMLP(
            self.k + 1, settings.width, settings.blocks, len(parts[0]), self.n_classes
        )
        network.mixture.set(*parts)
        return network

    def restore(
        self, k: int, width: int, blocks: int, weights: Mapping[str, torch.Tensor]
    ) -> ClassPosteriorMeanMLP:
        """See `Objective`."""
        return restore_diffusion(weights)

    def terms(
        self, network: ClassPosteriorMeanMLP, rows: torch.Tensor, generator: torch.Generator,
        dropout: float,
    ) -> torch.Tensor:  # fmt: skip
        """Loss of the trainer's rows, the noise level log-uniform over `LEVELS` by strata."""
        points = self.draws(rows, generator)
        n, device = len(rows), rows.device
        codes = rows[:, -1].long() if self.n_classes else torch.zeros_like(rows[:, -1]).long()
        dropped = torch.rand(n, generator=generator, device=device) < dropout
        codes = torch.where(dropped, self.n_classes, codes)
        low, high = (math.log(level) for level in LEVELS)
        place = torch.rand(n, generator=generator, device=device)
        place = (torch.arange(n, device=device) + place) / n
        s = torch.exp(low + (high - low) * place)[:, None]
        noise = torch.randn(points.shape, generator=generator, device=device)
        return network.class_loss(points, s, noise, codes)

    def loss(
        self, network: ClassPosteriorMeanMLP, clean: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `terms`; a part of the cells is shown without its class."""
        return self.terms(network, clean, generator, CLASS_DROPOUT)

    def held_out_loss(self, network: ClassPosteriorMeanMLP, held: torch.Tensor, seed: int) -> float:
        """See `terms`, the mean of four draws."""
        network.eval()
        generator = torch.Generator(held.device).manual_seed(seed)
        # Strata of noise must not go with an order of the cells.
        orders = [torch.randperm(len(held), generator=generator, device=held.device)
                  for _ in range(4)]  # fmt: skip
        losses = [float(self.terms(network, held[order], generator, 0.0)) for order in orders]
        return sum(losses) / len(losses)

    def optimizer(
        self, network: ClassPosteriorMeanMLP, settings: TrainingSettings
    ) -> torch.optim.Optimizer:
        """See `adamw`."""
        return adamw(network, settings)

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """One cycle."""
        steps = settings.steps + 1
        return OneCycleLR(optimizer, settings.learning_rate, total_steps=steps, pct_start=0.1)

    def prior(self, network: ClassPosteriorMeanMLP) -> Prior:
        """The prior of cells without a class."""
        network.eval()
        return class_prior(network, None, 0.0, 40)


def restore_diffusion(weights: Mapping[str, torch.Tensor]) -> ClassPosteriorMeanMLP:
    """The network that has these weights."""
    width, k = weights["data.weight"].shape
    blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    network = ClassPosteriorMeanMLP(
        k, width, blocks, len(weights["mixture.log_weight"]), len(weights["classes.weight"]) - 1
    )
    network.load_state_dict(weights)
    return network.eval()


def class_prior(
    network: ClassPosteriorMeanMLP, codes: torch.Tensor | None, guidance: float, steps: int
) -> DenoiserPrior:
    """The prior of cells of given classes, with classifier-free guidance (Ho and Salimans 2022).

    Parameters
    ----------
    codes : (n,) classes; None: no class.
    guidance : w of (1 + w) E[u | class] - w E[u]; 0: the class alone, -1: no class.
    steps : of the chain.
    """

    def denoiser(u: torch.Tensor, s: float) -> torch.Tensor:
        level = torch.full((1, 1), s, device=u.device)
        none = torch.full((len(u),), network.n_classes, device=u.device)
        if codes is None or guidance == -1:
            return network.denoise(u, level, none)
        given = network.denoise(u, level, codes)
        if guidance == 0:
            return given
        return (1 + guidance) * given - guidance * network.denoise(u, level, none)

    folds = math.log(START / LEVELS[0])
    return DenoiserPrior(denoiser, LEVELS, steps_per_fold=steps / folds, s_min=LEVELS[0])


@torch.no_grad()
def draw_diffusion(
    network: ClassPosteriorMeanMLP, codes: torch.Tensor, indices: torch.Tensor, seed: int,
    guidance: float, steps: int,
) -> torch.Tensor:  # fmt: skip
    """Points (m, k + 1) by the reverse chain, each from the noise of its own cell.

    Parameters
    ----------
    codes : (m,) classes; ignored by a network without classes.
    indices : (m,) numbers of the new cells.
    """
    noise = CellNoise(seed, indices, CHAIN_STREAM, network.mean.shape[0])
    prior = class_prior(network, codes if network.n_classes else None, guidance, steps)
    return prior.sample(START * noise(), START, noise)
