"""Preset `kernel`: the mixup draws themselves as the prior, without a network or training.

A diffusion model that has learnt the mixup draws without error has the score of these points at
every noise level. That score is known in closed form, and so are the posterior's mean, variance and
samples (`networks.KernelMean`). A cell's own draws are left out when the cell is denoised.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import torch

from dice_atlas.dice.mixture import background_of
from dice_atlas.dice.mixup import ClassMixup
from dice_atlas.dice.networks import KernelMean
from dice_atlas.dice.objectives import OBJECTIVES, Weights, denoising_error
from dice_atlas.dice.priors import KernelPrior, Prior

# Names in `prior.preset`.
PRESETS = ("kernel", *OBJECTIVES)
# Draws of a class at the least: a rare type must not rest on a few points.
LEAST_DRAWS = 200
# Cells that the kernel is judged by, at the most.
JUDGED = 2_000


@dataclass(frozen=True)
class KernelSettings:
    """Settings of the kernel.

    Attributes
    ----------
    draws : points of the prior, if the reference has no more cells.
    most : points of the prior at most, but for `LEAST_DRAWS` of each class.
    mixup_probability : see `ClassMixup`.
    background : share of the broad Gaussian.
    """

    draws: int = 8_000
    most: int = 32_000
    mixup_probability: float = 0.9
    background: float = 0.1


@dataclass
class KernelFit:
    """A kernel as a finished training run."""

    settings: KernelSettings
    best: dict[str, torch.Tensor]
    best_loss: float
    seconds: float
    step: int = 0
    bfloat16: bool = False
    rows: list[tuple[int, float, float]] = field(default_factory=list)


def starting_cells(
    classes: torch.Tensor, number: int, least: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells that the draws begin with, and the draws' weights, which sum to 1.

    A class has its share of the draws, but `least` at the least. Its cells begin as many draws
    each, or one more; the weights undo what was added.

    Parameters
    ----------
    classes : (n,) int64.
    number : of draws.
    """
    rows, weights = [], []
    for label in classes.unique():
        members = torch.nonzero(classes == label)[:, 0]
        share = len(members) / len(classes)
        own = max(round(share * number), least)
        whole, rest = divmod(own, len(members))
        order = members[torch.randperm(len(members), generator=generator)]
        rows.append(torch.cat([members.repeat(whole), order[:rest]]))
        weights.append(torch.full((own,), share / own))
    return torch.cat(rows), torch.cat(weights)


def kernel_of(
    latents: torch.Tensor,
    classes: torch.Tensor,
    numbers: np.ndarray,
    settings: KernelSettings,
    mixup: bool,
    seed: int,
) -> KernelMean:
    """The kernel of some cells.

    Parameters
    ----------
    latents : (n, k) float32.
    classes : (n,) int64, of the mixup.
    numbers : (n,) int64, see `holdout.cell_numbers`; equal ones are one cell.
    settings : number of draws, and more.
    mixup : whether to augment; else the draws are cells as they are.
    seed : of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    n = len(latents)
    number = min(max(settings.draws, n) if mixup else n, settings.most)
    rows, weights = starting_cells(classes, number, LEAST_DRAWS if mixup else 1, generator)
    probability = settings.mixup_probability if mixup else 0.0
    group, shares = ClassMixup(classes, probability).draw(rows, generator)
    distinct, cell = np.unique(numbers, return_inverse=True)
    network = KernelMean(latents.shape[1], len(rows), len(distinct))
    network.point.copy_((shares[:, :, None] * latents[group]).sum(dim=1))
    network.log_weight.copy_(weights.log())
    network.share.fill_(settings.background)
    # A partner of weight 0 is none.
    partner = torch.where(shares > 0, group, group[:, :1])
    network.member.copy_(torch.from_numpy(cell)[partner])
    network.number.copy_(torch.from_numpy(distinct))
    mean, covariance = (torch.from_numpy(a).float() for a in background_of(latents.numpy()))
    network.broad.set(torch.ones(1), mean[None], covariance[None])
    return network


def fit_kernel(
    latents: torch.Tensor,
    classes: torch.Tensor,
    numbers: np.ndarray,
    settings: KernelSettings,
    mixup: bool,
    seed: int,
) -> KernelFit:
    """The kernel of all cells, and its loss: each cell is judged without its own draws.

    Parameters
    ----------
    latents, classes, numbers, settings, mixup, seed : see `kernel_of`.
    """
    start = time.perf_counter()
    network = kernel_of(latents, classes, numbers, settings, mixup, seed)
    rows = torch.randperm(len(latents), generator=torch.Generator().manual_seed(seed))[:JUDGED]
    prior = KernelPrior(network).leaving_out(torch.from_numpy(numbers)[rows])
    loss = denoising_error(prior, latents[rows], seed)
    seconds = time.perf_counter() - start
    weights = dict(network.state_dict())
    return KernelFit(settings, weights, loss, seconds, rows=[(0, float("nan"), loss)])


def restore_kernel(k: int, weights: Weights) -> KernelMean:
    """The kernel of k latents with saved weights."""
    network = KernelMean(k, len(weights["point"]), len(weights["number"]))
    network.load_state_dict(weights)
    return network


def kernel_prior(network: KernelMean) -> Prior:
    """The prior that a kernel stands for."""
    return KernelPrior(network.eval())
