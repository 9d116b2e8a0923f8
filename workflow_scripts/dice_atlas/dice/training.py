"""Training of the prior on the reference's latents: checkpoints, early stopping, averaging."""

import copy
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import anndata as ad
import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from dice_atlas.dice.coordinates import within_type_matrix
from dice_atlas.dice.device import has_fast_bfloat16
from dice_atlas.dice.kernel import KernelFit, KernelSettings, fit_kernel
from dice_atlas.dice.mixup import ClassMixup, augmented, mixup_classes, split_rows
from dice_atlas.dice.objectives import (
    OBJECTIVES,
    Network,
    TrainingCells,
    TrainingSettings,
)
from dice_atlas.errors import InputError, one_line
from dice_atlas.files import atomic_path
from dice_atlas.holdout import cell_numbers, reference_rows, training_rows
from dice_atlas.logs import Progress

logger = logging.getLogger(__name__)

# Augmented held-out draws that weights are judged by, at the least.
HELD_DRAWS = 2_000
# Fewer cells make no prior.
LEAST_CELLS = 50


@dataclass(frozen=True)
class PriorSettings:
    """Section `prior` of the config, except for the path of a saved one.

    Attributes
    ----------
    preset : kernel, or a key of `OBJECTIVES`.
    augmentation : classes of the mixup: labels, clusters or none.
    overrides : fields of `KernelSettings` or `TrainingSettings` that replace the preset's.
    background : share of a Gaussian as broad as the reference (kernel and fast).
    noise : within_type or isotropic, see `coordinates.py`.
    """

    preset: str
    augmentation: str = "labels"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    background: float = 0.0
    noise: str = "isotropic"

    @classmethod
    def from_config(cls, prior: Mapping[str, Any], noise: str) -> "PriorSettings":
        """Settings from the `prior` section of the config, and `denoise.noise`."""
        return cls(
            prior["preset"], prior["augmentation"], dict(prior["overrides"]), prior["background"],
            noise,
        )  # fmt: skip

    def kernel(self) -> KernelSettings:
        """The settings of the preset kernel, overrides applied."""
        return replace(KernelSettings(background=self.background), **self.overrides)

    def training(self, n_cells: int) -> TrainingSettings:
        """The preset's settings for so many cells, overrides applied."""
        found = replace(OBJECTIVES[self.preset].settings(n_cells), **self.overrides)
        # The paper's network has no background.
        return replace(found, background=self.background) if self.preset == "fast" else found


class Trainable(Protocol[Network]):
    """What `Trainer` asks of what it trains: the part of an `Objective` that is not of priors."""

    low_precision: bool
    clip: float | None

    def build(self, cells: TrainingCells, settings: TrainingSettings, seed: int) -> Network:
        """See `Objective`."""

    def loss(
        self, network: Network, clean: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `Objective`; what it draws it draws from the generator, which checkpoints keep."""

    def held_out_loss(self, network: Network, held: torch.Tensor, seed: int) -> float:
        """See `Objective`."""

    def optimizer(self, network: Network, settings: TrainingSettings) -> torch.optim.Optimizer:
        """See `Objective`."""

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """See `Objective`."""


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

    With the objective `NoisePrediction` it differs from the paper in three things: a tenth of the
    cells is held out, the best weights on them are kept in place of the last, and batches are
    drawn with replacement.

    Parameters
    ----------
    objective : what is trained.
    settings : how.
    latents : (n, k) float32, the reference's latents, or what else the objective takes of a cell.
    classes : (n,) int64, the classes of the mixup (all 0: one class).
    mixup : whether to augment.
    seed, device : of the training.
    least_steps : before which no patience ends the training.
    remedy : what an error about diverging advises.
    keep_last : keep the last weights in place of those with the best held-out loss.
    """

    def __init__(
        self,
        objective: Trainable,
        settings: TrainingSettings,
        latents: torch.Tensor,
        classes: torch.Tensor,
        mixup: bool,
        seed: int,
        device: str,
        least_steps: int = 0,
        remedy: str = "lower prior.overrides.learning_rate",
        keep_last: bool = False,
    ) -> None:
        self.objective, self.settings, self.seed = objective, settings, seed
        self.least_steps, self.remedy, self.keep_last = least_steps, remedy, keep_last
        split = torch.Generator().manual_seed(seed)
        train, held = split_rows(classes, 0.1, split)
        self.latents = latents[train].to(device)
        probability = settings.mixup_probability if mixup else 0.0
        # What is judged is what is trained: augmented draws, of cells that were held out.
        rows = held if len(held) else train
        judged = augmented(latents[rows], classes[rows], probability, split, HELD_DRAWS)
        self.held = judged.to(device)
        self.bfloat16 = objective.low_precision and has_fast_bfloat16(device)
        self.mixup = ClassMixup(classes[train].to(device), probability)
        self.generator = torch.Generator(device).manual_seed(seed)
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            cells = TrainingCells(latents, classes, train, held, probability)
            network = objective.build(cells, settings, seed)
        self.step, self.seconds = 0, time.perf_counter() - start
        # (step, training loss, held-out loss) of every validation.
        self.rows: list[tuple[int, float, float]] = []
        self.network = network.to(device)
        self.average = WeightAverage(self.network, settings.average)
        self.optimizer = objective.optimizer(self.network, settings)
        self.scheduler = objective.scheduler(self.optimizer, settings)
        self.best, self.best_loss, self.since_best = self.weights(), math.inf, 0

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
        with torch.autocast(clean.device.type, torch.bfloat16, enabled=self.bfloat16):
            loss = self.objective.loss(self.network, clean, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.objective.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.objective.clip)
        self.optimizer.step()
        self.scheduler.step()
        if self.settings.average:
            self.average.update(self.network)
        self.step += 1
        return float(loss.detach())

    def validate(self, train_loss: float) -> None:
        """Judge the weights on held-out cells and keep them if they are the best.

        Raises
        ------
        InputError
            Training diverged.
        """
        network = self.chosen()
        training = network.training
        with torch.no_grad():
            loss = self.objective.held_out_loss(network, self.held, self.seed)
        network.train(training)
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged at step {self.step} (held-out loss {loss}) with a learning "
                f"rate of {self.settings.learning_rate:g}; {self.remedy}"
            )
        self.rows.append((self.step, train_loss, loss))
        if loss < self.best_loss or self.keep_last:
            self.best, self.best_loss, self.since_best = self.weights(), loss, 0
        else:
            self.since_best += 1

    def run(self, checkpoint: Path | None = None, every_seconds: float = 15.0) -> None:
        """Train to the end, or until the patience is spent.

        Parameters
        ----------
        checkpoint : file to go on from, if it exists, and to write; None: neither.
        every_seconds : least time between two checkpoints.

        Raises
        ------
        InputError
            Training diverged.
        """
        if checkpoint and checkpoint.exists():
            self.load(checkpoint)
        settings, progress = self.settings, Progress(self.settings.steps, "training step")
        start, last_saved = time.perf_counter() - self.seconds, time.perf_counter()
        self.network.train()
        losses: list[float] = []
        if self.step == 0:
            # The fast network starts as its mixture, which may be the best there is.
            self.validate(math.nan)
        while self.step < settings.steps and (
            self.since_best < settings.patience or self.step < self.least_steps
        ):
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
        """Go on from a checkpoint of the same data and settings; another one is left alone.

        So is one that cannot be read: the training starts anew.
        """
        try:
            state = torch.load(path, weights_only=True, map_location=self.latents.device)
            missing = [name for name in CHECKPOINT if name not in state]
        except Exception as error:
            # Whatever a cut off, empty or foreign file makes torch and pickle raise.
            logger.warning("%s cannot be read, training starts anew: %s", path, one_line(error))
            return
        if missing:
            logger.warning("%s has no %s, training starts anew", path, ", ".join(missing))
            return
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
        """Numbers that tell one training set, network, seed, precision and device from another."""

        def digest(values: torch.Tensor) -> float:
            weights = torch.arange(1, values.numel() + 1, dtype=torch.float64)
            return float((values.cpu().double().flatten() * weights).sum())

        return [
            float(self.seed),
            float(sum(p.numel() for p in self.network.parameters())),
            float(len(self.latents)),
            digest(self.latents),
            digest(self.mixup.classes),
            self.mixup.probability,
            float(self.bfloat16),
            float(self.latents.is_cuda),
        ]


# What a checkpoint holds; see `Trainer.save`.
CHECKPOINT = (
    "settings", "network", "average", "average_updates", "optimizer", "scheduler", "generator",
    "progress", "best", "data",
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A finished training run and what was trained on.

    Attributes
    ----------
    trainer : the run.
    preset : kernel, or a key of `OBJECTIVES`.
    classes : of the mixup: labels, clusters or none.
    n_cells : that were trained on.
    calibration : keys of the cells that were left out to calibrate.
    n_synthetic : synthetic cells that helped to train.
    coordinates : A (k, k) of the prior's latents u A; None: the latents as they are.
    """

    trainer: Trainer | KernelFit
    preset: str
    classes: str
    seed: int
    device: str
    n_cells: int
    calibration: list[str]
    n_synthetic: int = 0
    coordinates: np.ndarray | None = None


def noise_coordinates(
    latents: np.ndarray, labels: np.ndarray, augmentation: str, seed: int
) -> np.ndarray:
    """A (k, k) of `coordinates.py`: by types where the mixup is by labels, else by clusters.

    Of one type alone nothing can be said that holds between types: then by clusters too.

    Parameters
    ----------
    latents : (n, k).
    labels : (n,), "" = none; such cells are left out.
    augmentation : labels, clusters or none.
    seed : of the clusters.
    """
    known = labels != ""
    if augmentation == "labels" and len(set(labels[known])) > 1:
        return within_type_matrix(latents[known], labels[known])
    clusters, _ = mixup_classes(latents, labels, "clusters", seed)
    return within_type_matrix(latents, clusters)


def train(
    latents: ad.AnnData,
    calibrated: bool,
    settings: PriorSettings,
    seed: int,
    device: str,
    checkpoint: Path,
    synthetic: ad.AnnData | None = None,
) -> Trained:
    """Train the prior of the reference's latents.

    Parameters
    ----------
    latents : latents.h5ad, all cells.
    calibrated : whether cells are left out that calibrate the label transfer.
    settings : what is trained, and how.
    seed, device : of the training.
    checkpoint : file that an interrupted run goes on from.
    synthetic : latents of synthetic reference cells, which help to train.

    Raises
    ------
    InputError
        Fewer than `LEAST_CELLS` cells are left to train on, or training diverged.
    """
    rows = training_rows(latents.obs, calibrated)
    left = reference_rows(latents.obs) & ~rows
    held = latents.obs["cell_key"][left].astype(str).tolist() if left.any() else []
    logger.info("%d cells to train on, %d held out to calibrate", rows.sum(), len(held))
    data = np.asarray(latents.obsm["X_harmony"][rows], dtype=np.float32)
    if len(data) < LEAST_CELLS:
        raise InputError(
            f"{len(data)} reference cells are left to train the prior on, expected at least "
            f"{LEAST_CELLS}; loosen the QC limits or add reference samples"
        )
    labels = latents.obs["label"].astype(str).to_numpy()[rows]
    numbers, n_synthetic = cell_numbers(latents.obs[rows]), 0
    if synthetic is not None:
        n_synthetic = synthetic.n_obs
        made = np.asarray(synthetic.obsm["X_harmony"], dtype=np.float32)
        data = np.concatenate([data, made])
        labels = np.concatenate([labels, synthetic.obs["label"].astype(str).to_numpy()])
        numbers = np.concatenate([numbers, cell_numbers(synthetic.obs)])
        logger.info("%d synthetic cells beside them", n_synthetic)
    classes, kind = mixup_classes(data, labels, settings.augmentation, seed)
    matrix, n_real = None, len(data) - n_synthetic
    if settings.noise == "within_type":
        matrix = noise_coordinates(data[:n_real], labels[:n_real], kind, seed)
        data = (data @ matrix).astype(np.float32)
    cells, codes = torch.from_numpy(data), torch.from_numpy(classes)
    trainer: Trainer | KernelFit
    if settings.preset == "kernel":
        trainer = fit_kernel(cells, codes, numbers, settings.kernel(), kind != "none", seed)
    else:
        trainer = Trainer(
            OBJECTIVES[settings.preset],
            settings.training(len(data)),
            cells,
            codes,
            kind != "none",
            seed,
            device,
        )
        trainer.run(checkpoint)
    return Trained(trainer, settings.preset, kind, seed, device, n_real, held, n_synthetic, matrix)
