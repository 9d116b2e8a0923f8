"""The generator `fast`: a count model, the latents of its training cells and a prior of them."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from dice_atlas.dice.training import Trainer
from dice_atlas.names import LOSSES
from dice_atlas.synthesis.blocks import ROWS, in_blocks
from dice_atlas.synthesis.count_vae import STEPS, CountObjective, CountVAE, restore_count_vae
from dice_atlas.synthesis.counts import OTHER_STREAM, draw_counts
from dice_atlas.synthesis.diffusion import STEPS as DIFFUSION_STEPS
from dice_atlas.synthesis.diffusion import (
    ClassPosteriorMeanMLP,
    LatentDiffusion,
    draw_diffusion,
    restore_diffusion,
)
from dice_atlas.synthesis.latents import (
    ClassGaussians,
    LatentCells,
    class_gaussians,
    draw_gaussian,
    draw_mixed,
    draw_posterior,
    encode,
)
from dice_atlas.synthesis.other_genes import STEPS as OTHER_STEPS
from dice_atlas.synthesis.other_genes import (
    OtherGenes,
    OtherGenesObjective,
    restore_other_genes,
)
from dice_atlas.synthesis.settings import CellRequest, ModelSettings
from dice_atlas.synthesis.training_cells import CountTable

logger = logging.getLogger(__name__)

# Cells that are decoded at once: bounds the memory of cells x genes.
AT_ONCE = 4 * ROWS


@dataclass(frozen=True)
class CountModel:
    """A trained generator of counts.

    Attributes
    ----------
    network : the count model.
    cells : latents of the training cells.
    gaussians : of the classes.
    diffusion : of the latents; None where another prior was asked for.
    others : shares of the genes that are not variable; None where those alone are modelled.
    places : (g + 1,) of the model's columns: variable genes, then the others, the last one last.
    prior : which prior new cells are drawn from.
    losses : `part`, `step`, `train_loss` and `validation_loss`; empty for a saved model.
    spread : of the prior `gaussian`, see `draw_gaussian`.
    """

    network: CountVAE
    cells: LatentCells
    gaussians: ClassGaussians
    diffusion: ClassPosteriorMeanMLP | None
    others: OtherGenes | None
    places: torch.Tensor
    prior: str
    losses: pd.DataFrame
    spread: float = 1.0

    @torch.no_grad()
    def points(
        self, codes: torch.Tensor, indices: torch.Tensor, seed: int, request: CellRequest
    ) -> torch.Tensor:
        """Latent points (m, k + 1) of new cells.

        Parameters
        ----------
        codes, indices : (m,) classes and numbers of the new cells.
        """
        if self.prior == "posterior":
            return draw_posterior(self.cells, codes, indices, seed)
        if self.prior == "mixed":
            return draw_mixed(self.cells, self.gaussians, codes, indices, seed)
        if self.prior == "gaussian":
            return draw_gaussian(self.gaussians, codes, indices, seed, self.spread)
        assert self.diffusion is not None  # trained where it is the prior
        return draw_diffusion(self.diffusion, codes, indices, seed, request.guidance, request.steps)

    @torch.no_grad()
    def sample(
        self, codes: np.ndarray, indices: np.ndarray, seed: int, request: CellRequest
    ) -> sp.csr_matrix:
        """Counts (m, g + 1) of new cells; the last column holds all genes without one.

        Parameters
        ----------
        codes, indices : (m,) classes and numbers of the new cells.
        seed : of the draws.
        request : depth, guidance and steps.
        """
        parts = []
        theta = self.network.theta.cpu().double().numpy()
        device = self.network.log_theta.device
        for start in range(0, len(codes), AT_ONCE):
            own = slice(start, start + AT_ONCE)
            code = torch.from_numpy(codes[own].astype(np.int64)).to(device)
            index = torch.from_numpy(indices[own].astype(np.int64)).to(device)
            points = in_blocks(lambda c, i: self.points(c, i, seed, request), code, index)
            shares = in_blocks(self.network.proportions, self.cells.latents(points), code)
            libraries = np.maximum(self.cells.library(points) * request.depth, 1.0)
            made = draw_counts(shares.cpu().double().numpy(), theta, libraries, indices[own], seed)
            parts.append(self.with_others(made, points, code, indices[own], seed))
        return sp.vstack(parts, format="csr")

    def with_others(
        self, made: sp.csr_matrix, points: torch.Tensor, codes: torch.Tensor, indices: np.ndarray,
        seed: int,
    ) -> sp.csr_matrix:  # fmt: skip
        """Counts with the last column shared out among the genes that are not variable.

        Parameters
        ----------
        made : (m, v + 1) counts of the variable genes, and of all others together.
        points, codes, indices : of the same cells.
        """
        if self.others is None:
            return made
        shares = in_blocks(self.others.proportions, points[:, :-1], codes).cpu().double().numpy()
        theta = self.others.theta.cpu().double().numpy()
        left = made[:, -1].toarray().ravel()
        others = draw_counts(shares, theta, left, indices, seed, OTHER_STREAM)
        both = sp.hstack([made[:, :-1], others]).tocsc()
        order = np.empty(both.shape[1], dtype=np.int64)
        order[self.places.cpu().numpy()] = np.arange(both.shape[1])
        return both[:, order].tocsr()

    def sample_scored(
        self, codes: np.ndarray, indices: np.ndarray, seed: int, request: CellRequest
    ) -> tuple[sp.csr_matrix, np.ndarray]:
        """See `PaperModel.sample_scored`; nothing scores these cells."""
        return self.sample(codes, indices, seed, request), np.zeros(len(codes))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that `restore_count_model` needs, by name."""
        found = {f"network.{n}": t for n, t in self.network.state_dict().items()}
        found |= {f"cells.{n}": t for n, t in self.cells.tensors().items()}
        found |= {f"gaussians.{n}": t for n, t in vars(self.gaussians).items()}
        if self.others is not None:
            found |= {f"others.{n}": t for n, t in self.others.state_dict().items()}
        found["places"] = self.places
        if self.diffusion is not None:
            found |= {f"diffusion.{n}": t for n, t in self.diffusion.state_dict().items()}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}


def restore_count_model(tensors: dict[str, torch.Tensor], prior: str, device: str) -> CountModel:
    """The model of its tensors.

    Raises
    ------
    KeyError, RuntimeError
        Tensors are missing or have other shapes.
    """

    def part(name: str) -> dict[str, torch.Tensor]:
        prefix = f"{name}."
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    diffusion, others = part("diffusion"), part("others")
    return CountModel(
        restore_count_vae(part("network")).to(device),
        LatentCells(**part("cells")).to(device),
        ClassGaussians(**{n: t.to(device) for n, t in part("gaussians").items()}),
        restore_diffusion(diffusion).to(device) if diffusion else None,
        restore_other_genes(others).to(device) if others else None,
        tensors["places"],
        prior,
        pd.DataFrame(),
    )


def train_count_model(
    table: CountTable,
    codes: np.ndarray,
    settings: ModelSettings,
    seed: int,
    device: str,
    checkpoint: Path | None = None,
) -> CountModel:
    """Train the count model and, where it is the prior, the diffusion of its latents.

    Parameters
    ----------
    table : the cells to train on.
    codes : (n,) classes; all 0 where there are none.
    seed, device : of the training.
    checkpoint : beginning of the names of files that an interrupted run goes on from.

    Raises
    ------
    InputError
        Training diverged.
    """
    n_classes = int(codes.max()) + 1 if table.labelled else 0
    classes = torch.from_numpy(codes.astype(np.int64))
    variable = table.variable_only()
    objective = CountObjective(
        variable.counts,
        np.arange(len(variable.genes)),
        n_classes,
        settings.k,
        settings.training_steps or STEPS,
    )
    # Of few cells the best held-out loss comes early, at a high rate. Cells of those weights
    # are far easier to tell from real ones than cells of the last.
    trainer = Trainer(
        objective, objective.settings(len(codes)), objective.rows(codes), classes, False, seed,
        device, keep_last=True,
    )  # fmt: skip
    trainer.run(checkpoint and checkpoint.with_suffix(".counts.pt"))
    network = restore_count_vae(trainer.best)
    cells = encode(network, variable.counts, codes)
    gaussians = class_gaussians(cells, seed)
    losses = [losses_of(trainer, "counts")]
    prior, diffusion = settings.prior_of(table.labelled), None
    if prior == "diffusion":
        latent = LatentDiffusion(
            cells,
            gaussians if table.labelled else None,
            settings.training_steps or DIFFUSION_STEPS,
        )
        second = Trainer(
            latent, latent.settings(len(codes)), cells.rows(), classes, False, seed, device
        )
        second.run(checkpoint and checkpoint.with_suffix(".diffusion.pt"))
        diffusion = restore_diffusion(second.best).to(device)
        losses.append(losses_of(second, "diffusion"))
    others = None
    if not table.variable.all():
        rest = np.append(np.flatnonzero(~table.variable), len(table.genes))
        share = OtherGenesObjective(
            table.counts[:, rest].tocsr(), cells, settings.training_steps or OTHER_STEPS
        )
        third = Trainer(
            share, share.settings(len(codes)), share.rows(), classes, False, seed, device
        )
        third.run(checkpoint and checkpoint.with_suffix(".others.pt"))
        others = restore_other_genes(third.best).to(device)
        losses.append(losses_of(third, "other genes"))
    places = np.concatenate([np.flatnonzero(table.variable), np.flatnonzero(~table.variable)])
    gaussians = ClassGaussians(**{n: t.to(device) for n, t in vars(gaussians).items()})
    return CountModel(
        network.to(device), cells.to(device), gaussians, diffusion, others,
        torch.from_numpy(np.append(places, len(table.genes))), prior, pd.concat(losses),
    )  # fmt: skip


def losses_of(trainer: Trainer, part: str) -> pd.DataFrame:
    """Losses of every validation, with the name of what was trained."""
    frame = pd.DataFrame(trainer.rows, columns=LOSSES)
    frame.insert(0, "part", part)
    return frame
