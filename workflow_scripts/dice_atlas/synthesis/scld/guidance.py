"""Post-guidance: synthetic cells are scored by how real they look, and the best of each are kept.

The scorer is trained on training cells against synthetic cells OTHER than those that it judges:
of cells that it has seen it knows that they are synthetic. It prefers what a forest takes for real
("higher AUC is better" in the paper is meant the other way round: 0.5 is best).
"""

import logging
import math
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, LRScheduler

from dice_atlas.dice.objectives import TrainingCells, TrainingSettings, adamw
from dice_atlas.dice.training import Trainer
from dice_atlas.logs import Progress
from dice_atlas.synthesis.blocks import in_blocks

logger = logging.getLogger(__name__)

# Share of each class that is kept.
KEEP = 0.8
# Parts that may wait to be scored: enough that neither thread waits long for the other.
WAITING = 2

Part = TypeVar("Part")


class Scorer(nn.Module):
    """Three linear layers to two outputs, of which the second is `real`.

    Parameters
    ----------
    genes : g.
    widths : of the two hidden layers.
    """

    mean: torch.Tensor
    sd: torch.Tensor

    def __init__(self, genes: int, widths: tuple[int, int] = (256, 64)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(genes))
        self.register_buffer("sd", torch.ones(genes))
        first, second = widths
        self.layers = nn.Sequential(
            nn.Linear(genes, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 2),
        )

    def forward(self, expression: torch.Tensor) -> torch.Tensor:
        """(n, g) -> two logits (n, 2): synthetic, real."""
        return self.layers((expression - self.mean) / self.sd)

    @torch.no_grad()
    def score(self, expression: np.ndarray) -> np.ndarray:
        """Log odds (n,) float32 that each cell (n, g) is real."""
        if not len(expression):
            return np.zeros(0, np.float32)
        cells = torch.from_numpy(np.asarray(expression, np.float32)).to(self.mean.device)
        logits = in_blocks(self, cells)
        return (logits[:, 1] - logits[:, 0]).cpu().numpy()


class RealOrSynthetic:
    """What `Trainer` trains a scorer for; a row is a cell and 1 (real) or 0, (g + 1,)."""

    low_precision = False
    clip: float | None = None

    def settings(self, n_cells: int) -> TrainingSettings:
        """At most 15 epochs, or until the held-out loss stands."""
        epoch = math.ceil(n_cells / 128)
        return TrainingSettings(
            width=256,
            blocks=3,
            steps=15 * epoch,
            batch_size=128,
            learning_rate=1e-3,
            mixup_probability=0.0,
            patience=4,
            validate_every=epoch,
            average=0.0,
        )

    def build(self, cells: TrainingCells, settings: TrainingSettings, seed: int) -> Scorer:
        """A network that standardises each gene."""
        expression = cells.latents[:, :-1]
        network = Scorer(expression.shape[1], (settings.width, settings.width // 4))
        sd = expression.std(dim=0)
        network.mean.copy_(expression.mean(dim=0))
        # A gene that hardly varies would be blown up to the size of the others.
        network.sd.copy_(sd.clamp(min=max(0.1 * float(sd.mean()), 1e-6)))
        return network

    def loss(
        self, network: Scorer, clean: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Cross-entropy of a batch; nothing is drawn."""
        return F.cross_entropy(network(clean[:, :-1]), clean[:, -1].long())

    def held_out_loss(self, network: Scorer, held: torch.Tensor, seed: int) -> float:
        """The same of held-out cells."""
        return float(F.cross_entropy(network(held[:, :-1]), held[:, -1].long()))

    def optimizer(self, network: Scorer, settings: TrainingSettings) -> torch.optim.Optimizer:
        """See `adamw`."""
        return adamw(network, settings)

    def scheduler(
        self, optimizer: torch.optim.Optimizer, settings: TrainingSettings
    ) -> LRScheduler:
        """A constant rate."""
        return ConstantLR(optimizer, factor=1.0, total_iters=0)


def train_scorer(
    real: np.ndarray, synthetic: np.ndarray, seed: int = 0, device: str = "cpu"
) -> Scorer:
    """A scorer of training cells against synthetic cells.

    Parameters
    ----------
    real : (n, g) float32, training cells.
    synthetic : (m, g) float32, in the same space; not the cells that will be judged.
    seed, device : of the training.

    Raises
    ------
    InputError
        Training diverged.
    """
    n = len(real) + len(synthetic)
    truth = torch.cat([torch.ones(len(real)), torch.zeros(len(synthetic))])
    cells = torch.from_numpy(np.concatenate([real, synthetic]).astype(np.float32))
    objective = RealOrSynthetic()
    trainer = Trainer(
        objective,
        objective.settings(n),
        torch.cat([cells, truth[:, None]], dim=1),
        truth.long(),
        False,
        seed,
        device,
        remedy="turn post-guidance off",
    )
    trainer.run()
    scorer = trainer.chosen()
    assert isinstance(scorer, Scorer)
    scorer.load_state_dict(trainer.best)
    return scorer.eval()


def candidates(numbers: np.ndarray, keep: float = KEEP) -> np.ndarray:
    """Cells (c,) to draw of each class so that `keep_best` leaves the numbers wanted (c,)."""
    return np.ceil(np.asarray(numbers) / keep - 1e-9).astype(np.int64)


def keep_best(scores: np.ndarray, codes: np.ndarray, keep: float = KEEP) -> np.ndarray:
    """Positions, rising, of the best-scored share of each class; at least one cell of each.

    Parameters
    ----------
    scores : (n,), larger is better. Of equal scores the first is taken.
    codes : (n,) int, classes.
    keep : share, rounded down.
    """
    kept = []
    for code in np.unique(codes):
        own = np.flatnonzero(codes == code)
        best = own[np.argsort(-scores[own], kind="stable")]
        kept.append(best[: max(1, math.floor(len(own) * keep + 1e-9))])
    return np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)


def sample_and_score(
    parts: Sequence[Part],
    sample: Callable[[Part], np.ndarray],
    score: Callable[[np.ndarray], np.ndarray],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cells (m, g) and scores (m,) of each part; a part is scored while the next is sampled.

    Parameters
    ----------
    parts : what `sample` takes, in order.
    sample : runs in this thread.
    score : runs in a thread of its own. It sees one part at a time, in order, so that the result
        does not depend on which thread is faster.

    Raises
    ------
    Exception
        Whatever `sample` or `score` raises first; the other thread ends, too.
    """
    waiting: queue.Queue[np.ndarray | None] = queue.Queue(maxsize=WAITING)
    scores: list[np.ndarray] = []
    failures: list[BaseException] = []

    def work() -> None:
        while (cells := waiting.get()) is not None:
            # After a failure the queue is only emptied: the other thread must not wait forever.
            if failures:
                continue
            try:
                scores.append(score(cells))
            except BaseException as error:
                failures.append(error)

    thread = threading.Thread(target=work, name="scorer", daemon=True)
    thread.start()
    sampled: list[np.ndarray] = []
    progress = Progress(len(parts), "part")
    try:
        for part in parts:
            if failures:
                break
            sampled.append(sample(part))
            waiting.put(sampled[-1])
            progress.update(len(sampled))
    finally:
        waiting.put(None)
        thread.join()
    if failures:
        raise failures[0]
    return list(zip(sampled, scores, strict=True))
