"""The autoencoder that SCLD's latents come from: two linear layers on each side, squared error."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, LRScheduler

from dice_atlas.dice.objectives import TrainingCells, TrainingSettings, adamw

# The least number of epochs and the most, and epochs without a better held-out loss to stop after.
EPOCHS = (60, 300)
PATIENCE = 10


class Autoencoder(nn.Module):
    """Symmetric autoencoder g - hidden - k - hidden - g with SiLU after all layers but the last.

    The paper gives the number of layers and "an activation after each". A ReLU after the last one
    loses genes (its mean profile correlated only 0.97 with the data's), so the output is linear
    and `decode` clips it at 0.

    Parameters
    ----------
    genes : g.
    hidden : width of the layers between.
    latent : k.
    """

    scale: torch.Tensor

    def __init__(self, genes: int, hidden: int = 512, latent: int = 128) -> None:
        super().__init__()
        # Adam's steps have a size of their own, so values must be of about unit size. One number
        # for all genes leaves the squared error what it is, up to a factor.
        self.register_buffer("scale", torch.ones(()))
        self.encoder = nn.Sequential(
            nn.Linear(genes, hidden), nn.SiLU(), nn.Linear(hidden, latent), nn.SiLU()
        )
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, genes))

    def encode(self, expression: torch.Tensor) -> torch.Tensor:
        """(n, g) -> (n, k)."""
        return self.encoder(expression / self.scale)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(n, k) -> (n, g), 0 or more."""
        return (self.decoder(latents) * self.scale).clamp(min=0)

    def loss(self, expression: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the unclipped reconstruction, in units of `scale` squared."""
        scaled = expression / self.scale
        return F.mse_loss(self.decoder(self.encoder(scaled)), scaled)


class Reconstruction:
    """What `Trainer` trains an autoencoder for; it differs from the paper as `Trainer` says.

    Parameters
    ----------
    hidden, latent : see `Autoencoder`.
    batch_size, learning_rate : of AdamW.
    epochs : the least and the most.
    """

    low_precision = False
    clip: float | None = None

    def __init__(
        self,
        hidden: int = 512,
        latent: int = 128,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        epochs: tuple[int, int] = EPOCHS,
    ) -> None:
        self.hidden, self.latent = hidden, latent
        self.batch_size, self.learning_rate, self.epochs = batch_size, learning_rate, epochs

    def settings(self, n_cells: int) -> TrainingSettings:
        """A validation each epoch, until the held-out loss stands."""
        epoch = self.epoch(n_cells)
        return TrainingSettings(
            width=self.hidden,
            blocks=2,
            steps=self.epochs[1] * epoch,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            mixup_probability=0.0,
            patience=PATIENCE,
            validate_every=epoch,
            average=0.0,
        )

    def epoch(self, n_cells: int) -> int:
        """Steps of an epoch."""
        return math.ceil(n_cells / self.batch_size)

    def least_steps(self, n_cells: int) -> int:
        """Steps of the least number of epochs."""
        return self.epochs[0] * self.epoch(n_cells)

    def build(self, cells: TrainingCells, settings: TrainingSettings, seed: int) -> Autoencoder:
        """A network whose scale is the root mean square of the cells that are trained on."""
        expression = cells.latents
        network = Autoencoder(expression.shape[1], settings.width, self.latent)
        square = torch.linalg.vector_norm(expression) ** 2 / max(expression.numel(), 1)
        network.scale.copy_(square.sqrt().clamp(min=1e-6))
        return network

    def loss(
        self, network: Autoencoder, clean: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Mean squared error of a batch (b, g); nothing is drawn."""
        return network.loss(clean)

    def held_out_loss(self, network: Autoencoder, held: torch.Tensor, seed: int) -> float:
        """The same of held-out cells (n, g)."""
        losses = [float(network.loss(part)) * len(part) for part in held.split(4096)]
        return sum(losses) / len(held)

    def optimizer(self, network: Autoencoder, settings: TrainingSettings) -> torch.optim.Optimizer:
        """See `adamw`."""
        return adamw(network, settings)

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """A constant rate."""
        return ConstantLR(optimizer, factor=1.0, total_iters=0)
