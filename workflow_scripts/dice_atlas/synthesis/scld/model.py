"""SCLD as a whole: an autoencoder, a diffusion of its latents, and cells sampled from them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from dice_atlas.dice.objectives import TrainingSettings
from dice_atlas.dice.schedule import DDPMSchedule
from dice_atlas.dice.training import Trainable, Trainer
from dice_atlas.errors import InputError
from dice_atlas.logs import Progress
from dice_atlas.synthesis.blocks import ROWS, in_blocks
from dice_atlas.synthesis.scld.autoencoder import EPOCHS, Autoencoder, Reconstruction
from dice_atlas.synthesis.scld.objective import (
    GLOBAL_SHARE,
    SCHEDULE,
    STEPS,
    ConditionalNoise,
    class_conditions,
    shortened,
)
from dice_atlas.synthesis.scld.sampling import sample_latents
from dice_atlas.synthesis.scld.spaces import SPACES, Space
from dice_atlas.synthesis.scld.unet import EMBEDDING, FUSIONS, WIDTHS, ConditionalUNet

logger = logging.getLogger(__name__)

# (step, training loss, held-out loss) of every validation.
Losses = list[tuple[int, float, float]]


@dataclass(frozen=True)
class ScldSettings:
    """How the model is trained. The paper's are the defaults; what it leaves open is our choice.

    Attributes
    ----------
    space : a key of `SPACES`, that of the expression.
    fusion : a key of `FUSIONS`.
    steps : of the noise predictor's training.
    seed, device : of the training.
    hidden, latent : widths of the autoencoder.
    epochs : of the autoencoder, the least and the most.
    most_steps : of the autoencoder, whatever its epochs; None: no limit.
    batch_size, learning_rate : of both trainings.
    dropout : share in each block of the U-Net.
    global_share : of a batch that trains the global condition.
    diffusion_steps : T of the noise schedule; of fewer than 1,000 each is larger. Over 20.
    widths : of the U-Net's levels.
    """

    space: str = "unlogged_20000"
    fusion: str = "add"
    steps: int = STEPS
    seed: int = 0
    device: str = "cpu"
    hidden: int = 512
    latent: int = 128
    epochs: tuple[int, int] = EPOCHS
    most_steps: int | None = None
    batch_size: int = 128
    learning_rate: float = 1e-3
    dropout: float = 0.1
    global_share: float = GLOBAL_SHARE
    diffusion_steps: int = SCHEDULE.steps
    widths: tuple[int, ...] = WIDTHS

    def __post_init__(self) -> None:
        for name, value, known in (("space", self.space, SPACES), ("fusion", self.fusion, FUSIONS)):
            if value not in known:
                raise InputError(f"{name} {value!r}, expected one of {', '.join(known)}")

    @property
    def schedule(self) -> DDPMSchedule:
        """The noise schedule."""
        return shortened(self.diffusion_steps)


@dataclass(frozen=True)
class ScldModel:
    """A trained model.

    Attributes
    ----------
    settings : of the training.
    autoencoder : between expression and latents.
    network : predicts the noise of standardised latents; it holds the conditions.
    mean, sd : (k,), of the latents, which standardise them.
    losses, seconds : of the trainings, by name (`autoencoder`, `diffusion`); empty if restored.
    """

    settings: ScldSettings
    autoencoder: Autoencoder
    network: ConditionalUNet
    mean: torch.Tensor
    sd: torch.Tensor
    losses: Mapping[str, Losses] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def space(self) -> Space:
        """The space of the expression."""
        return SPACES[self.settings.space]

    @property
    def global_code(self) -> int:
        """The code of the condition of all cells, one more than that of the last class."""
        return len(self.network.conditions) - 1

    def state(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs beside the settings, on the CPU."""
        parts = {
            "autoencoder": self.autoencoder.state_dict(),
            "network": self.network.state_dict(),
            "latent": {"mean": self.mean, "sd": self.sd},
        }
        return {
            f"{part}.{name}": tensor.detach().cpu().clone().contiguous()
            for part, tensors in parts.items()
            for name, tensor in tensors.items()
        }

    @classmethod
    def restore(cls, state: Mapping[str, torch.Tensor], settings: ScldSettings) -> "ScldModel":
        """The model of a state, on the device of the settings.

        Raises
        ------
        KeyError, RuntimeError
            The state is not that of such a model.
        """

        def part(name: str) -> dict[str, torch.Tensor]:
            own = f"{name}."
            return {n.removeprefix(own): t for n, t in state.items() if n.startswith(own)}

        genes = part("network")["conditions"].shape[1]
        autoencoder = Autoencoder(genes, settings.hidden, settings.latent)
        autoencoder.load_state_dict(part("autoencoder"))
        network = ConditionalUNet(
            part("network")["conditions"],
            settings.latent,
            settings.fusion,
            settings.widths,
            EMBEDDING,
            settings.dropout,
        )
        network.load_state_dict(part("network"))
        device = settings.device
        return cls(
            settings,
            autoencoder.to(device).eval(),
            network.to(device).eval(),
            state["latent.mean"].to(device),
            state["latent.sd"].to(device),
        )

    @torch.no_grad()
    def sample(
        self, codes: np.ndarray, cells: np.ndarray, seed: int, guidance: float = 0.0
    ) -> np.ndarray:
        """Expression (m, g) float32 of new cells, in the space of the settings, 0 or more.

        Parameters
        ----------
        codes : (m,) int, class of each cell; `global_code` stands for no class.
        cells : (m,) int, index of each cell, which with the seed decides its noise. The same cells
            come out whatever others are sampled with them.
        seed : of the noise.
        guidance : w of `guided_noise`.

        Raises
        ------
        InputError
            A code is of no class, or the guidance is under -1.
        """
        codes, cells = (np.asarray(array, dtype=np.int64) for array in (codes, cells))
        if not len(codes):
            return np.zeros((0, self.network.conditions.shape[1]), np.float32)
        if codes.min() < 0 or codes.max() > self.global_code:
            raise InputError(
                f"classes {codes.min()} to {codes.max()}, expected 0 to {self.global_code}"
            )
        device, schedule = self.mean.device, self.settings.schedule
        embedded = self.network.embedded()
        progress, done = Progress(len(codes), "cell"), 0

        def predict(z: torch.Tensor, t: int, own: torch.Tensor) -> torch.Tensor:
            return self.network(z, torch.full((1,), t, device=device), embedded[own])

        def block(own: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            nonlocal done
            z = sample_latents(
                predict,
                own,
                self.global_code,
                indices,
                seed,
                len(self.mean),
                guidance,
                schedule,
            )
            done = min(done + ROWS, len(codes))
            progress.update(done)
            return self.autoencoder.decode(z * self.sd + self.mean).cpu()

        rows = (torch.from_numpy(array).to(device) for array in (codes, cells))
        return in_blocks(block, *rows).numpy()


def train_part(
    name: str,
    objective: Trainable,
    training: TrainingSettings,
    rows: torch.Tensor,
    codes: torch.Tensor,
    settings: ScldSettings,
    checkpoint: Path | None,
    least_steps: int = 0,
) -> Trainer:
    """A finished training of one of the two networks, which then has its best weights."""
    logger.info("training the %s", name)
    trainer = Trainer(
        objective,
        training,
        rows,
        codes,
        False,
        settings.seed,
        settings.device,
        least_steps,
        remedy="train with another seed or space",
    )
    path = checkpoint and checkpoint.with_name(f"{checkpoint.stem}_{name}{checkpoint.suffix}")
    trainer.run(path)
    trainer.network.load_state_dict(trainer.best)
    trainer.network.eval()
    logger.info(
        "%s: held-out loss %.4f, %d steps, %.0f s",
        name,
        trainer.best_loss,
        trainer.step,
        trainer.seconds,
    )
    return trainer


def train_scld(
    expression: np.ndarray,
    codes: np.ndarray,
    n_classes: int,
    settings: ScldSettings,
    checkpoint: Path | None = None,
) -> ScldModel:
    """Train the autoencoder, then the diffusion of its latents.

    Parameters
    ----------
    expression : (n, g) float32, in the space of the settings (`SPACES[...].expression`).
    codes : (n,) int, classes 0 to n_classes - 1, none of them empty.
    settings : of the training.
    checkpoint : of a run that may be interrupted; each of the two trainings writes a file beside
        it, `NAME_autoencoder.SUFFIX` and `NAME_diffusion.SUFFIX`, and goes on from it.

    Raises
    ------
    InputError
        A class has no cells, or training diverged.
    """
    cells = torch.from_numpy(np.ascontiguousarray(expression, dtype=np.float32))
    classes = torch.from_numpy(np.asarray(codes, dtype=np.int64))
    conditions = class_conditions(cells, classes, n_classes)
    n, batch, rate = len(cells), settings.batch_size, settings.learning_rate
    reconstruction = Reconstruction(settings.hidden, settings.latent, batch, rate, settings.epochs)
    own, least = reconstruction.settings(n), reconstruction.least_steps(n)
    most = settings.most_steps or own.steps
    first = train_part(
        "autoencoder",
        reconstruction,
        replace(own, steps=min(own.steps, most)),
        cells,
        classes,
        settings,
        checkpoint,
        min(least, most),
    )
    autoencoder = first.network
    assert isinstance(autoencoder, Autoencoder)
    with torch.no_grad():
        parts = [autoencoder.encode(part.to(settings.device)) for part in cells.split(4096)]
    latents = torch.cat(parts).cpu()
    # A dimension that does not vary must not be blown up to unit size.
    mean, sd = latents.mean(dim=0), latents.std(dim=0).clamp(min=1e-3)
    objective = ConditionalNoise(
        conditions / autoencoder.scale.cpu(),
        settings.fusion,
        settings.steps,
        batch,
        rate,
        settings.dropout,
        settings.global_share,
        settings.schedule,
        settings.widths,
    )
    rows = torch.cat([(latents - mean) / sd, classes[:, None].float()], dim=1)
    second = train_part(
        "diffusion", objective, objective.settings(n), rows, classes, settings, checkpoint
    )
    network = second.network
    assert isinstance(network, ConditionalUNet)
    trained = {"autoencoder": first, "diffusion": second}
    return ScldModel(
        settings,
        autoencoder,
        network,
        mean.to(settings.device),
        sd.to(settings.device),
        {name: trainer.rows for name, trainer in trained.items()},
        {name: trainer.seconds for name, trainer in trained.items()},
    )
