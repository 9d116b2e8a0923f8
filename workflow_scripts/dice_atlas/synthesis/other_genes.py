"""Genes that are not variable: how a cell's remaining counts are shared out among them.

The count model knows the variable genes and the sum of all others. A decoder of all genes at once
learns the training cells by heart (pbmc3k: held-out likelihood falls after 100 of 600 steps, and a
forest tells its cells with an AUC of 0.80). Here the others get little freedom: the profile of the
class, and a linear change along the latents. The variable genes stay as they are without them.
"""

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from dice_atlas.dice.objectives import TrainingCells, TrainingSettings
from dice_atlas.synthesis.latents import LatentCells
from dice_atlas.synthesis.likelihood import negative_binomial_log_likelihood

STEPS = 300
# Counts of the mean profile that are added to each class's own: a class of few cells has mostly
# the profile of all.
PROFILE_COUNTS = 20_000
# Decay of the linear change, against learning by heart.
DECAY = 0.1
FIRST_LOG_THETA = 3.0


class OtherGenes(nn.Module):
    """Shares of the remaining counts: softmax(profile of the class + W z), theta by gene.

    Parameters
    ----------
    k : latent dimensions.
    profiles : (c, g) log shares of each class; one class without labels.
    """

    def __init__(self, k: int, profiles: torch.Tensor) -> None:
        super().__init__()
        self.profiles = nn.Parameter(profiles)
        self.change = nn.Linear(k, profiles.shape[1], bias=False)
        nn.init.zeros_(self.change.weight)
        self.log_theta = nn.Parameter(torch.full((profiles.shape[1],), FIRST_LOG_THETA))

    @property
    def theta(self) -> torch.Tensor:
        """Inverse dispersion (g,)."""
        return self.log_theta.clamp(-3.0, 9.0).exp()

    def proportions(self, z: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Shares (n, g) of the remaining counts of standardised latents (n, k), classes (n,)."""
        return torch.softmax(self.profiles[codes] + self.change(z), dim=-1)


class OtherGenesObjective:
    """The training of `OtherGenes`, as the trainer of the priors takes it.

    Parameters
    ----------
    counts : (n, g) float32 CSR of the other genes.
    cells : latents of the same cells.
    """

    low_precision = False
    clip: float | None = 10.0

    def __init__(self, counts: sp.csr_matrix, cells: LatentCells, steps: int = STEPS) -> None:
        self.counts, self.cells, self.steps = counts, cells, steps
        self.k = cells.mean.shape[1]

    def rows(self) -> torch.Tensor:
        """What the trainer takes of each cell: its position, class and counts, (n, 3) float32."""
        position = torch.arange(self.counts.shape[0])
        total = torch.from_numpy(self.counts.sum(axis=1, dtype=np.float64).A1)
        return torch.stack([position, self.cells.codes, total], dim=1).float()

    def settings(self, n_cells: int) -> TrainingSettings:
        """A short training: it starts from the class's profiles."""
        return TrainingSettings(
            128, 1, self.steps, 128, 2e-3, mixup_probability=0.0, patience=10**9,
            validate_every=50, average=0.0,
        )  # fmt: skip

    def build(self, cells: TrainingCells, settings: TrainingSettings, seed: int) -> OtherGenes:
        """The profiles of the classes in the training cells, shrunk towards that of all."""
        own = self.counts[cells.train.numpy()]
        codes = self.cells.codes[cells.train].numpy()
        n_classes = self.cells.n_classes
        member = sp.csr_matrix(
            (np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_classes, len(codes))
        )
        sums = np.asarray((member @ own.astype(np.float64)).todense())
        total = sums.sum(axis=0) + 0.5
        shares = sums + PROFILE_COUNTS * total / total.sum()
        shares /= shares.sum(axis=1, keepdims=True)
        return OtherGenes(self.k, torch.from_numpy(np.log(shares).astype(np.float32)))

    def loss(
        self, network: OtherGenes, clean: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Negative log-likelihood of the other genes given their sum, the mean over cells."""
        positions = clean[:, 0].long().cpu()
        counts = torch.from_numpy(self.counts[positions.numpy()].toarray()).to(clean.device)
        noise = torch.randn((len(clean), self.k), generator=generator, device=clean.device)
        mean, sd = self.cells.mean[positions], self.cells.sd[positions]
        z = mean.to(clean.device) + sd.to(clean.device) * noise
        rates = counts.sum(dim=1, keepdim=True) * network.proportions(z, clean[:, 1].long())
        return -negative_binomial_log_likelihood(counts, rates + 1e-8, network.theta).mean()

    def held_out_loss(self, network: OtherGenes, held: torch.Tensor, seed: int) -> float:
        """The same of held-out cells."""
        generator = torch.Generator(held.device).manual_seed(seed)
        parts = [(float(self.loss(network, rows, generator)), len(rows))
                 for rows in held.split(512)]  # fmt: skip
        return sum(loss * n for loss, n in parts) / len(held)

    def optimizer(self, network: OtherGenes, settings: TrainingSettings) -> torch.optim.Optimizer:
        """AdamW; the linear change decays, dispersions move faster."""
        return torch.optim.AdamW(
            [
                {"params": [network.profiles], "weight_decay": 0.0},
                {"params": [network.change.weight], "weight_decay": DECAY},
                {"params": [network.log_theta], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """One cycle."""
        rate = settings.learning_rate
        return OneCycleLR(
            optimizer, [rate, rate, 20 * rate], total_steps=settings.steps + 1, pct_start=0.1
        )


def restore_other_genes(weights: Mapping[str, torch.Tensor]) -> OtherGenes:
    """The network that has these weights."""
    network = OtherGenes(weights["change.weight"].shape[1], weights["profiles"])
    network.load_state_dict(weights)
    return network.eval()
