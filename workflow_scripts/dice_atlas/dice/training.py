"""Training of the prior on the reference's latents: checkpoints, early stopping, averaging."""

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dice_atlas.dice.device import has_fast_bfloat16
from dice_atlas.dice.mixture import fit_mixture
from dice_atlas.dice.mixup import ClassMixup, augmented
from dice_atlas.dice.networks import PosteriorMeanMLP, TabularDiffusionMLP
from dice_atlas.dice.priors import LEVELS, build_network, prior_of
from dice_atlas.dice.schedule import DDPMSchedule
from dice_atlas.errors import InputError
from dice_atlas.files import atomic_path
from dice_atlas.logs import Progress

logger = logging.getLogger(__name__)

# Noise variances at which held-out cells are denoised to choose the best weights.
VALIDATION_VARIANCES = (1.25, 5.0, 25.0)


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; `overrides` of the config replace fields by name.

    `patience` counts validations (every `validate_every` steps) without a better loss before
    training stops; `average` is the decay of the weights' moving average, 0 for none.
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


def preset_settings(preset: str, n_cells: int, overrides: dict[str, Any]) -> TrainingSettings:
    """The settings of `fast`, or of the paper (10,000 epochs of batches of 4,048)."""
    if preset == "paper":
        steps = 10_000 * math.ceil(n_cells / 4048)
        chosen = TrainingSettings(512, 8, steps, 4048, 1e-4, patience=10**9, average=0.0)
    else:
        chosen = TrainingSettings(256, 4, 1500, 512, 2e-3)
    return replace(chosen, **overrides)


def split_rows(
    classes: torch.Tensor, share: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and validation rows, `share` of every class held out."""
    order = torch.randperm(len(classes), generator=generator)
    held = torch.zeros(len(classes), dtype=torch.bool)
    for label in classes.unique():
        members = order[classes[order] == label]
        held[members[: int(len(members) * share)]] = True
    return torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]


def mean_loss(
    network: PosteriorMeanMLP, clean: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Loss of the posterior-mean network, noise level log-uniform over `LEVELS`."""
    low, high = (math.log(level) for level in LEVELS)
    # One level per stratum: the levels of a batch always cover the whole range.
    place = torch.rand(len(clean), generator=generator, device=clean.device)
    place = (torch.arange(len(clean), device=clean.device) + place) / len(clean)
    s = torch.exp(low + (high - low) * place)[:, None]
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    return network.loss(clean, s, noise)


def noise_loss(
    network: TabularDiffusionMLP, clean: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """The paper's loss: mean squared error of the noise, t uniform on the schedule."""
    schedule = DDPMSchedule()
    abar = torch.tensor(schedule.abar, dtype=clean.dtype, device=clean.device)
    t = torch.randint(schedule.steps, (len(clean),), generator=generator, device=clean.device)
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    u_t = abar[t, None].sqrt() * clean + (1 - abar[t, None]).sqrt() * noise
    return ((network(u_t, (t + 1) / schedule.steps) - noise) ** 2).mean()


@torch.no_grad()
def validation_loss(preset: str, network: torch.nn.Module, held: torch.Tensor, seed: int) -> float:
    """Mean over noise variances of the held-out cells' denoising error, relative to the noise."""
    training = network.training
    prior = prior_of(preset, network)
    generator = torch.Generator(held.device).manual_seed(seed)
    errors = []
    for variance in VALIDATION_VARIANCES:
        noise = torch.randn(held.shape, generator=generator, device=held.device)
        noisy = held + math.sqrt(variance) * noise
        error = (prior.mean(noisy, math.sqrt(variance)) - held) ** 2
        errors.append(float(error.mean()) / variance)
    network.train(training)
    return sum(errors) / len(errors)


class WeightAverage:
    """Exponential moving average of a network's weights and running statistics."""

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        """Move the average towards the network's present weights."""
        self.updates += 1
        # A short memory at first, so that the average does not remember the start.
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, new in zip(
            self.network.state_dict().values(), network.state_dict().values(), strict=True
        ):
            mine.lerp_(new, 1 - decay) if mine.is_floating_point() else mine.copy_(new)


class Trainer:
    """One training run that can be stopped, written down and gone on with.

    The preset `paper` differs from the paper in three things: a tenth of the cells is held out,
    the best weights on them are kept in place of the last, and batches are drawn with replacement.

    Parameters
    ----------
    latents : (n, k) float32, the reference's latents.
    classes : (n,) int64, the classes of the mixup (all 0: one class).
    mixup : whether to augment.
    """

    def __init__(
        self,
        preset: str,
        settings: TrainingSettings,
        latents: torch.Tensor,
        classes: torch.Tensor,
        mixup: bool,
        seed: int,
        device: str,
    ) -> None:
        self.preset, self.settings, self.seed = preset, settings, seed
        split = torch.Generator().manual_seed(seed)
        train, held = split_rows(classes, 0.1, split)
        self.latents = latents[train].to(device)
        self.held = latents[held if len(held) else train].to(device)
        probability = settings.mixup_probability if mixup else 0.0
        self.bfloat16 = preset == "fast" and has_fast_bfloat16(device)
        self.mixup = ClassMixup(classes[train].to(device), probability)
        self.generator = torch.Generator(device).manual_seed(seed)
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.build_network(latents, classes, train, held, probability)
        self.step, self.seconds, self.rows = 0, time.perf_counter() - start, []
        self.network = network.to(device)
        self.average = WeightAverage(self.network, settings.average)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, fused=None
        )
        self.scheduler = self.build_scheduler()
        self.best, self.best_loss, self.since_best = self.weights(), math.inf, 0

    def build_network(
        self,
        latents: torch.Tensor,
        classes: torch.Tensor,
        train: torch.Tensor,
        held: torch.Tensor,
        probability: float,
    ) -> torch.nn.Module:
        """The preset's network; the fast one starts from a mixture of what it will be shown.

        That is the augmented latents. A mixture of the latents as they are is wider, and on
        pbmc3k the network did not come back from it (silhouette 0.53 in place of 0.60).
        """
        shape = latents.shape[1], self.settings.width, self.settings.blocks
        if self.preset == "paper":
            return build_network(self.preset, *shape)
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [
            augmented(latents[rows], classes[rows], probability, generator).numpy()
            for rows in (train, held)
        ]
        weight, center, covariance = fit_mixture(*drawn, len(train), len(held), self.seed)
        network = build_network(self.preset, *shape, len(weight))
        network.mean.copy_(latents[train].mean(dim=0))
        network.sd.copy_(latents[train].std(dim=0).clamp(min=1e-3))
        network.mixture.set(*map(torch.from_numpy, (weight, center, covariance)))
        return network

    def build_scheduler(self) -> torch.optim.lr_scheduler.LRScheduler:
        """Cosine annealing to 0 for the paper's preset, one cycle for the fast one."""
        steps, schedulers = self.settings.steps, torch.optim.lr_scheduler
        if self.preset == "paper":
            return schedulers.CosineAnnealingLR(self.optimizer, steps)
        return schedulers.OneCycleLR(
            self.optimizer, self.settings.learning_rate, total_steps=steps + 1, pct_start=0.1
        )

    def chosen(self) -> torch.nn.Module:
        """The network that is judged: the average where one is kept."""
        return self.average.network if self.settings.average else self.network

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the judged network's weights, on the CPU."""
        return {k: v.detach().cpu().clone() for k, v in self.chosen().state_dict().items()}

    def train_step(self) -> float:
        """One step of the optimiser on one batch; returns its loss."""
        rows = torch.randint(
            len(self.latents),
            (self.settings.batch_size,),
            generator=self.generator,
            device=self.latents.device,
        )
        clean = self.mixup(self.latents, rows, self.generator)
        loss_of: Callable = noise_loss if self.preset == "paper" else mean_loss
        with torch.autocast(clean.device.type, torch.bfloat16, enabled=self.bfloat16):
            loss = loss_of(self.network, clean, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.preset == "fast":
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.scheduler.step()
        if self.settings.average:
            self.average.update(self.network)
        self.step += 1
        return float(loss.detach())

    def validate(self, train_loss: float) -> None:
        """Judge the weights on held-out cells and keep them if they are the best."""
        loss = validation_loss(self.preset, self.chosen(), self.held, self.seed)
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged at step {self.step} (held-out loss {loss}) with a learning "
                f"rate of {self.settings.learning_rate:g}; lower prior.overrides.learning_rate"
            )
        self.rows.append((self.step, train_loss, loss))
        if loss < self.best_loss:
            self.best, self.best_loss, self.since_best = self.weights(), loss, 0
        else:
            self.since_best += 1

    def run(self, checkpoint: Path | None = None, every_seconds: float = 15.0) -> None:
        """Train to the end, or until the patience is spent; go on from a checkpoint."""
        if checkpoint and checkpoint.exists():
            self.load(checkpoint)
        settings, progress = self.settings, Progress(self.settings.steps, "training step")
        start, last_saved = time.perf_counter() - self.seconds, time.perf_counter()
        self.network.train()
        losses: list[float] = []
        if self.step == 0:
            # The fast network starts as its mixture, which may be the best there is.
            self.validate(math.nan)
        while self.step < settings.steps and self.since_best < settings.patience:
            losses.append(self.train_step())
            self.seconds = time.perf_counter() - start
            if self.step % settings.validate_every == 0 or self.step == settings.steps:
                self.validate(sum(losses) / len(losses))
                losses = []
                progress.update(self.step, f"held-out loss {self.rows[-1][2]:.4f}")
                if checkpoint and time.perf_counter() - last_saved > every_seconds:
                    self.save(checkpoint)
                    last_saved = time.perf_counter()
        if self.step < settings.steps:
            logger.info("stopped at step %d: no better held-out loss", self.step)

    def save(self, path: Path) -> None:
        """Write everything that the rest of the training depends on."""
        state = {
            "settings": vars(self.settings),
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "average_updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "generator": self.generator.get_state(),
            "progress": (self.step, self.seconds, self.rows, self.best_loss, self.since_best),
            "best": self.best,
            "data": self.fingerprint(),
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same data and settings; another one is left alone."""
        state = torch.load(path, weights_only=True, map_location=self.latents.device)
        if state["settings"] != vars(self.settings) or state["data"] != self.fingerprint():
            logger.info("%s is of other data or settings: not used", path)
            return
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = state["average_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.generator.set_state(state["generator"].cpu())
        self.step, self.seconds, rows, self.best_loss, self.since_best = state["progress"]
        self.rows, self.best = [tuple(row) for row in rows], state["best"]
        logger.info("going on from step %d of %s", self.step, path)

    def fingerprint(self) -> list[float]:
        """Numbers that tell one training set, preset, seed, precision and device from another."""

        def digest(values: torch.Tensor) -> float:
            weights = torch.arange(1, values.numel() + 1, dtype=torch.float64)
            return float((values.cpu().double().flatten() * weights).sum())

        return [
            float(self.seed),
            float(self.preset == "paper"),
            float(len(self.latents)),
            digest(self.latents),
            digest(self.mixup.classes),
            self.mixup.probability,
            float(self.bfloat16),
            float(self.latents.is_cuda),
        ]
