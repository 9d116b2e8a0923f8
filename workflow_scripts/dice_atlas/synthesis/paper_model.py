"""The generator `paper`: SCLD's expression, turned into counts at libraries of the class."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from dice_atlas.dice.noise import CellNoise
from dice_atlas.names import LOSSES
from dice_atlas.synthesis.latents import LATENT_STREAM, QUANTILES
from dice_atlas.synthesis.scld.guidance import Scorer, sample_and_score, train_scorer
from dice_atlas.synthesis.scld.model import ScldModel, ScldSettings, train_scld
from dice_atlas.synthesis.scld.objective import STEPS
from dice_atlas.synthesis.scld.spaces import SPACES, counts_of_shares
from dice_atlas.synthesis.settings import CellRequest, ModelSettings
from dice_atlas.synthesis.training_cells import CountTable

logger = logging.getLogger(__name__)

# Cells that are sampled while those before them are scored.
AT_ONCE = 512
# Synthetic cells that the scorer learns from at the most, and their seed beside the model's.
SCORED, OTHER_SEED = 2_000, 1


@dataclass(frozen=True)
class PaperModel:
    """A trained SCLD with what makes counts of its expression.

    Attributes
    ----------
    model : makes expression in its space.
    scorer : of post-guidance; None where all cells are kept.
    libraries : (c, q) quantiles of the libraries of each class, evenly spaced.
    losses : `part`, `step`, `train_loss` and `validation_loss`; empty for a saved model.
    """

    model: ScldModel
    scorer: Scorer | None
    libraries: np.ndarray
    losses: pd.DataFrame
    prior: str = "ddpm"

    def sample(
        self, codes: np.ndarray, indices: np.ndarray, seed: int, request: CellRequest
    ) -> sp.csr_matrix:
        """Counts (m, g + 1) of new cells; see `CountModel.sample`."""
        return self.sample_scored(codes, indices, seed, request)[0]

    def sample_scored(
        self, codes: np.ndarray, indices: np.ndarray, seed: int, request: CellRequest
    ) -> tuple[sp.csr_matrix, np.ndarray]:
        """Counts of new cells, and how real each looks (m,); 0 without a scorer."""
        rows = [np.arange(a, min(a + AT_ONCE, len(codes))) for a in range(0, len(codes), AT_ONCE)]
        parts = sample_and_score(
            rows,
            lambda own: self.model.sample(codes[own], indices[own], seed, request.guidance),
            lambda cells: np.zeros(len(cells)) if self.scorer is None else self.scorer.score(cells),
        )
        normal = CellNoise(seed, torch.from_numpy(indices), LATENT_STREAM, 1)()[:, 0]
        place = torch.special.ndtr(normal.double()).numpy()
        spaced = np.linspace(0, 1, self.libraries.shape[1])
        library = np.array(
            [np.interp(p, spaced, self.libraries[c]) for p, c in zip(place, codes, strict=True)]
        )
        library = np.maximum(np.rint(library * request.depth), 1).astype(np.int64)
        counts = []
        for own, (expression, _) in zip(rows, parts, strict=True):
            shares = self.model.space.shares(expression)
            made = counts_of_shares(shares, library[own], indices[own], seed)
            rest = library[own] - made.sum(axis=1, dtype=np.int64).A1
            counts.append(sp.hstack([made, sp.csr_matrix(rest[:, None].astype(np.int32))]))
        return sp.vstack(counts, format="csr"), np.concatenate([score for _, score in parts])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that `restore_paper_model` needs, by name."""
        found = {f"scld.{n}": t for n, t in self.model.state().items()}
        found["libraries"] = torch.from_numpy(self.libraries)
        if self.scorer is not None:
            found |= {f"scorer.{n}": t.cpu() for n, t in self.scorer.state_dict().items()}
        return found


def scld_settings(settings: ModelSettings, seed: int, device: str) -> ScldSettings:
    """The paper's settings, with those of the config."""
    steps = settings.training_steps or STEPS
    return ScldSettings(
        settings.space, settings.fusion, steps, seed, device, most_steps=settings.training_steps
    )


def restore_paper_model(
    tensors: dict[str, torch.Tensor], settings: ModelSettings, device: str
) -> PaperModel:
    """The model of its tensors.

    Raises
    ------
    KeyError, RuntimeError
        Tensors are missing or have other shapes.
    """

    def part(name: str) -> dict[str, torch.Tensor]:
        prefix = f"{name}."
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    model = ScldModel.restore(part("scld"), scld_settings(settings, 0, device))
    scorer, weights = None, part("scorer")
    if weights:
        scorer = Scorer(len(weights["mean"])).to(device)
        scorer.load_state_dict(weights)
        scorer.eval()
    return PaperModel(model, scorer, tensors["libraries"].numpy(), pd.DataFrame())


def train_paper_model(
    table: CountTable,
    codes: np.ndarray,
    settings: ModelSettings,
    seed: int,
    device: str,
    checkpoint: Path | None = None,
) -> PaperModel:
    """Train SCLD and, where not all cells are kept, the scorer of post-guidance.

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
    n_classes = int(codes.max()) + 1
    expression = SPACES[settings.space].expression(table.counts[:, :-1].tocsr(), table.libraries)
    model = train_scld(
        expression, codes, n_classes, scld_settings(settings, seed, device),
        checkpoint and checkpoint.with_suffix(".pt"),
    )  # fmt: skip
    quantiles = np.linspace(0, 1, QUANTILES)
    libraries = np.array(
        [np.quantile(table.libraries[codes == c], quantiles) for c in range(n_classes)]
    )
    scorer = None
    if settings.keep < 1:
        rng = np.random.default_rng(seed)
        own = rng.permutation(len(codes))[:SCORED]
        other = model.sample(codes[own], np.arange(len(own)), seed + OTHER_SEED)
        scorer = train_scorer(expression[own], other, seed, device)
    losses = [
        pd.DataFrame(rows, columns=LOSSES).assign(part=name) for name, rows in model.losses.items()
    ]
    return PaperModel(model, scorer, libraries, pd.concat(losses)[["part", *LOSSES]])
