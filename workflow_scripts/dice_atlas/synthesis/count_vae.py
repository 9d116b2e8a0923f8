"""A negative-binomial variational autoencoder whose decoder sees the class, and its training."""

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from dice_atlas.dice.objectives import TrainingCells, TrainingSettings
from dice_atlas.dice.priors import Prior
from dice_atlas.synthesis.likelihood import negative_binomial_log_likelihood

TARGET_SUM = 1e4
# At the common rate theta hardly leaves its start, and the counts are too noisy or too smooth.
DISPERSION_RATE = 20.0
FIRST_LOG_THETA = 3.0
STEPS = 600
# Share of the encoder's inputs that training hides.
DROPOUT = 0.3


class CountVAE(nn.Module):
    """Counts as a negative binomial of library x softmax(decoder(z, class)), theta by gene.

    Parameters
    ----------
    encoded : (e,) columns of the counts that the encoder sees.
    n_columns : of the counts.
    k : latent dimensions.
    n_classes : 0 without classes.
    width : of the hidden layers.
    """

    encoded: torch.Tensor
    gene_sd: torch.Tensor
    steps: torch.Tensor

    def __init__(
        self,
        encoded: torch.Tensor,
        n_columns: int,
        k: int,
        n_classes: int,
        width: int = 128,
    ) -> None:
        super().__init__()
        self.register_buffer("encoded", encoded)
        self.register_buffer("gene_sd", torch.ones(len(encoded)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.encoder = nn.Sequential(
            nn.Linear(len(encoded), width), nn.LayerNorm(width), nn.SiLU(),
            nn.Linear(width, 2 * k),
        )  # fmt: skip
        self.latent = nn.Linear(k, width)
        self.classes = nn.Embedding(n_classes, width) if n_classes else None
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.SiLU())
        self.output = nn.Linear(width, n_columns)
        self.log_theta = nn.Parameter(torch.full((n_columns,), FIRST_LOG_THETA))

    def start_from(self, profile: torch.Tensor, gene_sd: torch.Tensor) -> None:
        """Decode the mean profile (n_columns,) at first; scale the input by gene_sd (e,)."""
        with torch.no_grad():
            self.gene_sd.copy_(gene_sd)
            self.output.weight.mul_(0.1)
            self.output.bias.copy_(profile.log())
            if self.classes is not None:
                self.classes.weight.mul_(0.1)

    def posterior(
        self, counts: torch.Tensor, kept: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance (n, k) of the latents of counts (n, n_columns).

        Parameters
        ----------
        kept : (n, e) factors of the encoder's input; None: all are kept.
        """
        library = counts.sum(dim=1, keepdim=True).clamp(min=1.0)
        logged = torch.log1p(counts[:, self.encoded] * (TARGET_SUM / library)) / self.gene_sd
        logged = logged if kept is None else logged * kept
        mean, log_variance = self.encoder(logged).chunk(2, dim=-1)
        return mean, log_variance.clamp(-8.0, 4.0)

    def proportions(self, z: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Shares of the library (n, n_columns) of latents (n, k) of classes (n,)."""
        x = self.latent(z)
        if self.classes is not None:
            x = x + self.classes(codes)
        return torch.softmax(self.output(self.hidden(x)), dim=-1)

    @property
    def theta(self) -> torch.Tensor:
        """Inverse dispersion (n_columns,)."""
        return self.log_theta.clamp(-3.0, 9.0).exp()

    def negative_elbo(
        self,
        counts: torch.Tensor,
        codes: torch.Tensor,
        noise: torch.Tensor,
        weight: float = 1.0,
        kept: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Negative evidence lower bound, the mean over cells.

        Parameters
        ----------
        counts, codes : (n, n_columns) and (n,).
        noise : (n, k) standard normal.
        weight : of the Kullback-Leibler term.
        kept : see `posterior`.
        """
        mean, log_variance = self.posterior(counts, kept)
        z = mean + (log_variance / 2).exp() * noise
        rates = counts.sum(dim=1, keepdim=True) * self.proportions(z, codes)
        likelihood = negative_binomial_log_likelihood(counts, rates, self.theta)
        divergence = (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=1) / 2
        return (weight * divergence - likelihood).mean()


class CountObjective:
    """The training of a `CountVAE`, as the trainer of the priors takes it.

    A cell's row is its position among the counts, its class and its library: the counts stay
    sparse.

    Parameters
    ----------
    counts : (n, g + 1) float32 CSR.
    encoded : (e,) columns that the encoder sees.
    n_classes : 0 without classes.
    k : latent dimensions.
    steps : of the training.
    """

    low_precision = False
    clip: float | None = 10.0

    def __init__(
        self,
        counts: sp.csr_matrix,
        encoded: np.ndarray,
        n_classes: int,
        k: int,
        steps: int = STEPS,
    ) -> None:
        self.counts, self.encoded = counts, encoded
        self.n_classes, self.k, self.steps = n_classes, k, steps

    def rows(self, codes: np.ndarray) -> torch.Tensor:
        """What the trainer takes of each cell, (n, 3) float32."""
        library = self.counts.sum(axis=1, dtype=np.float64).A1
        return torch.from_numpy(
            np.column_stack([np.arange(len(codes)), codes, library]).astype(np.float32)
        )

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Counts (n, g + 1) and classes (n,) of the trainer's rows."""
        positions = rows[:, 0].long().cpu().numpy()
        dense = torch.from_numpy(self.counts[positions].toarray())
        return dense.to(rows.device), rows[:, 1].long()

    def settings(self, n_cells: int) -> TrainingSettings:
        """No early stop: the best weights come when the rate has fallen."""
        return TrainingSettings(
            128, 1, self.steps, 128, 2e-3, mixup_probability=0.0, patience=10**9, average=0.0
        )

    def build(self, cells: TrainingCells, settings: TrainingSettings, seed: int) -> CountVAE:
        """A model that starts as the mean profile."""
        positions = cells.train.numpy()
        counts = self.counts[positions]
        total = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
        profile = (total + 0.5) / (total.sum() + 0.5 * len(total))
        network = CountVAE(
            torch.from_numpy(self.encoded), counts.shape[1], self.k, self.n_classes, settings.width
        )
        network.start_from(
            torch.from_numpy(profile.astype(np.float32)),
            torch.from_numpy(logged_sd(counts, self.encoded)),
        )
        return network

    def restore(
        self, k: int, width: int, blocks: int, weights: Mapping[str, torch.Tensor]
    ) -> CountVAE:
        """See `Objective`."""
        return restore_count_vae(weights)

    def loss(
        self, network: CountVAE, clean: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Negative evidence lower bound of the cells of a batch."""
        counts, codes = self.batch(clean)
        noise = torch.randn((len(clean), self.k), generator=generator, device=clean.device)
        # Not nn.Dropout: its numbers are torch's own and would differ from run to run.
        shape = (len(clean), len(self.encoded))
        kept = torch.rand(shape, generator=generator, device=clean.device) >= DROPOUT
        # The Kullback-Leibler term comes in over the whole training: within 200 steps the forest
        # told synthetic cells apart more easily (pbmc3k 0.63 in place of 0.65).
        weight = min(1.0, int(network.steps) / self.steps)
        network.steps += 1
        return network.negative_elbo(counts, codes, noise, weight, kept / (1 - DROPOUT))

    def held_out_loss(self, network: CountVAE, held: torch.Tensor, seed: int) -> float:
        """Negative evidence lower bound, of two draws of each cell."""
        network.eval()
        generator = torch.Generator(held.device).manual_seed(seed)
        total = 0.0
        for _ in range(2):
            for rows in held.split(1024):
                counts, codes = self.batch(rows)
                noise = torch.randn((len(rows), self.k), generator=generator, device=held.device)
                total += float(network.negative_elbo(counts, codes, noise)) * len(rows)
        return total / (2 * len(held))

    def optimizer(self, network: CountVAE, settings: TrainingSettings) -> torch.optim.Optimizer:
        """AdamW; dispersions move faster and do not decay."""
        others = [p for name, p in network.named_parameters() if name != "log_theta"]
        return torch.optim.AdamW(
            [
                {"params": others, "weight_decay": 1e-4},
                {"params": [network.log_theta], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """One cycle."""
        rates = [settings.learning_rate, DISPERSION_RATE * settings.learning_rate]
        return OneCycleLR(optimizer, rates, total_steps=settings.steps + 1, pct_start=0.1)

    def prior(self, network: CountVAE) -> Prior:
        """It is none; see `latents` for the prior of what it encodes."""
        raise NotImplementedError


def logged_sd(counts: sp.csr_matrix, encoded: np.ndarray) -> np.ndarray:
    """Standard deviation of log1p CP10k over the cells, at least 0.1 (e,), float32."""
    library = np.maximum(counts.sum(axis=1, dtype=np.float64).A1, 1.0)
    logged = sp.diags(TARGET_SUM / library) @ counts[:, encoded].astype(np.float64)
    logged = sp.csr_matrix(logged).log1p()
    n = counts.shape[0]
    mean = logged.mean(axis=0).A1
    square = logged.multiply(logged).sum(axis=0).A1
    variance = (square - n * mean**2) / max(n - 1, 1)
    return np.sqrt(np.maximum(variance, 0.01)).astype(np.float32)


def restore_count_vae(weights: Mapping[str, torch.Tensor]) -> CountVAE:
    """The model that has these weights."""
    width, k = weights["latent.weight"].shape
    n_classes = len(weights["classes.weight"]) if "classes.weight" in weights else 0
    network = CountVAE(weights["encoded"], len(weights["log_theta"]), k, n_classes, width)
    network.load_state_dict(weights)
    return network.eval()
