"""Preset `kernel`: the mixup draws themselves as the prior, without a network or training.

A diffusion model that has learnt the mixup draws without error has the score of these points at
every noise level. That score is known in closed form, and so are the posterior's mean, variance and
samples (`networks.KernelMean`).
"""

import time
from dataclasses import dataclass, field

import torch

from dice_atlas.dice.mixture import background_of
from dice_atlas.dice.mixup import ClassMixup, split_rows
from dice_atlas.dice.networks import KernelMean
from dice_atlas.dice.objectives import OBJECTIVES, Weights, denoising_error
from dice_atlas.dice.priors import KernelPrior, Prior

# Names in `prior.preset`.
PRESETS = ("kernel", *OBJECTIVES)


@dataclass(frozen=True)
class KernelSettings:
    """Settings of the kernel.

    Attributes
    ----------
    draws : points of the prior, if the reference has no more cells.
    most : points of the prior at most.
    mixup_probability : see `ClassMixup`.
    background : share of the broad Gaussian.
    """

    draws: int = 8_000
    most: int = 32_000
    mixup_probability: float = 0.9
    background: float = 0.1


@dataclass
class KernelFit:
    """A kernel as a finished training run (`saved.TrainingRun`)."""

    settings: KernelSettings
    best: dict[str, torch.Tensor]
    best_loss: float
    seconds: float
    step: int = 0
    bfloat16: bool = False
    rows: list[tuple[int, float, float]] = field(default_factory=list)


def kernel_of(
    latents: torch.Tensor, classes: torch.Tensor, settings: KernelSettings, mixup: bool, seed: int
) -> KernelMean:
    """The kernel of some cells; every cell begins as many draws as any other, or one more.

    Parameters
    ----------
    latents : (n, k) float32.
    classes : (n,) int64, of the mixup.
    mixup : whether to augment.
    seed : of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    number = min(max(settings.draws, len(latents)), settings.most) if mixup else len(latents)
    whole, rest = divmod(number, len(latents))
    order = torch.randperm(len(latents), generator=generator)
    rows = torch.cat([torch.arange(len(latents)).repeat(whole), order[:rest]])
    probability = settings.mixup_probability if mixup else 0.0
    network = KernelMean(latents.shape[1], len(rows))
    network.point.copy_(ClassMixup(classes, probability)(latents, rows, generator))
    network.share.fill_(settings.background)
    mean, covariance = (torch.from_numpy(a).float() for a in background_of(latents.numpy()))
    network.broad.set(torch.ones(1), mean[None], covariance[None])
    return network


def fit_kernel(
    latents: torch.Tensor, classes: torch.Tensor, settings: KernelSettings, mixup: bool, seed: int
) -> KernelFit:
    """The kernel of all cells, and the held-out loss of one of nine tenths of them.

    Parameters
    ----------
    latents, classes, settings, mixup, seed : see `kernel_of`.
    """
    start = time.perf_counter()
    train, held = split_rows(classes, 0.1, torch.Generator().manual_seed(seed))
    loss = float("nan")
    if len(held):
        part = kernel_of(latents[train], classes[train], settings, mixup, seed)
        loss = denoising_error(KernelPrior(part), latents[held], seed)
    weights = kernel_of(latents, classes, settings, mixup, seed).state_dict()
    seconds = time.perf_counter() - start
    return KernelFit(settings, dict(weights), loss, seconds, rows=[(0, float("nan"), loss)])


def restore_kernel(k: int, weights: Weights) -> KernelMean:
    """The kernel of k latents with saved weights."""
    network = KernelMean(k, len(weights["point"]))
    network.load_state_dict(weights)
    return network


def kernel_prior(network: KernelMean) -> Prior:
    """The prior that a kernel stands for."""
    return KernelPrior(network.eval())
