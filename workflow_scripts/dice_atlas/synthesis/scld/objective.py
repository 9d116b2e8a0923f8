"""What SCLD's U-Net is trained for: the noise of a latent, given its class or no class."""

import torch
from torch.optim.lr_scheduler import ConstantLR, LRScheduler

from dice_atlas.dice.objectives import TrainingCells, TrainingSettings, adamw
from dice_atlas.dice.schedule import DDPMSchedule
from dice_atlas.errors import InputError
from dice_atlas.synthesis.scld.unet import EMBEDDING, WIDTHS, ConditionalUNet

STEPS = 20_000
SCHEDULE = DDPMSchedule(steps=1000, beta_start=1e-4, beta_end=2e-2)
# Share of a batch, its first rows, that trains the global condition.
GLOBAL_SHARE = 0.1
# Draws of (t, noise) that the held-out loss averages over, about: fewer move it by chance.
HELD_OUT_DRAWS = 2000


def shortened(steps: int) -> DDPMSchedule:
    """The schedule in fewer steps, each so much larger that as little of the data is left."""
    factor = SCHEDULE.steps / steps
    return DDPMSchedule(steps, SCHEDULE.beta_start * factor, SCHEDULE.beta_end * factor)


def class_conditions(expression: torch.Tensor, codes: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Conditions (c + 1, g): the mean of each class, and of all cells in the last row.

    Parameters
    ----------
    expression : (n, g).
    codes : (n,) int64, 0 to c - 1.

    Raises
    ------
    InputError
        A class has no cells.
    """
    size = torch.bincount(codes, minlength=n_classes)
    if len(size) > n_classes or not bool((size > 0).all()):
        raise InputError(
            f"classes of {size.tolist()} cells, expected {n_classes} classes with at least one "
            "cell each"
        )
    sums = torch.zeros(n_classes, expression.shape[1], dtype=torch.float64)
    sums.index_add_(0, codes, expression.double())
    means = torch.cat([sums / size[:, None], sums.sum(dim=0, keepdim=True) / len(codes)])
    return means.to(expression.dtype)


class ConditionalNoise:
    """The noise of the DDPM schedule under a condition; differs from the paper as `Trainer` says.

    A row of what is trained on is a latent with the code of its class behind it, (k + 1,).

    Parameters
    ----------
    conditions : (c + 1, g), see `class_conditions`.
    fusion : a key of `FUSIONS`.
    steps, batch_size, learning_rate : of AdamW.
    dropout : share of the values in each block of the network.
    global_share : of a batch that trains the global condition.
    schedule : of the noise.
    widths : of the network's levels.
    """

    low_precision = False
    clip: float | None = None

    def __init__(
        self,
        conditions: torch.Tensor,
        fusion: str = "add",
        steps: int = STEPS,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        dropout: float = 0.1,
        global_share: float = GLOBAL_SHARE,
        schedule: DDPMSchedule = SCHEDULE,
        widths: tuple[int, ...] = WIDTHS,
    ) -> None:
        self.conditions, self.fusion, self.steps = conditions, fusion, steps
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.dropout, self.global_share, self.schedule = dropout, global_share, schedule
        self.widths = widths

    def settings(self, n_cells: int) -> TrainingSettings:
        """To the end, whatever the number of cells."""
        return TrainingSettings(
            width=self.widths[0],
            blocks=len(self.widths),
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            mixup_probability=0.0,
            patience=10**9,
            validate_every=500,
            average=0.0,
        )

    def build(self, cells: TrainingCells, settings: TrainingSettings, seed: int) -> ConditionalUNet:
        """The network for latents of one column less than the rows that are trained on."""
        latent = cells.latents.shape[1] - 1
        return ConditionalUNet(
            self.conditions, latent, self.fusion, self.widths, EMBEDDING, self.dropout
        )

    def loss(
        self,
        network: ConditionalUNet,
        clean: torch.Tensor,
        generator: torch.Generator,
        dropout: bool = True,
    ) -> torch.Tensor:
        """Mean squared error of the noise, t uniform on the schedule.

        Parameters
        ----------
        clean : (n, k + 1), latents and codes; the first rows train the global condition.
        generator : of t, the noise and the dropout.
        dropout : whether there is any.
        """
        z, codes = clean[:, :-1], clean[:, -1].long()
        codes[: round(self.global_share * len(codes))] = len(self.conditions) - 1
        abar = torch.tensor(self.schedule.abar, dtype=z.dtype, device=z.device)
        t = torch.randint(self.schedule.steps, (len(z),), generator=generator, device=z.device)
        noise = torch.randn(z.shape, generator=generator, device=z.device)
        z_t = abar[t, None].sqrt() * z + (1 - abar[t, None]).sqrt() * noise
        condition = network.embedded()[codes]
        predicted = network(z_t, t + 1, condition, generator if dropout else None)
        return ((predicted - noise) ** 2).mean()

    def held_out_loss(self, network: ConditionalUNet, held: torch.Tensor, seed: int) -> float:
        """The same of held-out cells (n, k + 1), several draws of each, without dropout."""
        generator = torch.Generator(held.device).manual_seed(seed)
        rows = torch.arange(len(held), device=held.device).repeat(-(-HELD_OUT_DRAWS // len(held)))
        # In any order: the first rows are those of the global condition.
        order = torch.randperm(len(rows), generator=generator, device=held.device)
        parts = held[rows[order]].split(4096)
        losses = [float(self.loss(network, p, generator, dropout=False)) * len(p) for p in parts]
        return sum(losses) / len(rows)

    def optimizer(
        self, network: ConditionalUNet, settings: TrainingSettings
    ) -> torch.optim.Optimizer:
        """See `adamw`."""
        return adamw(network, settings)

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """A constant rate: the paper has AdamW's defaults."""
        return ConstantLR(optimizer, factor=1.0, total_iters=0)
