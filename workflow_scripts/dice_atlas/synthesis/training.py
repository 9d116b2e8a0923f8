"""Training of a generator, whichever preset it is of."""

from pathlib import Path

from dice_atlas.synthesis.count_model import train_count_model
from dice_atlas.synthesis.paper_model import train_paper_model
from dice_atlas.synthesis.saved import Model, class_codes
from dice_atlas.synthesis.settings import ModelSettings
from dice_atlas.synthesis.training_cells import CountTable


def train_generator(
    table: CountTable,
    settings: ModelSettings,
    seed: int,
    device: str,
    checkpoint: Path | None = None,
) -> Model:
    """Train a generator and remove its checkpoints.

    Parameters
    ----------
    table : the cells to train on.
    seed, device : of the training.
    checkpoint : beginning of the names of files that an interrupted run goes on from; None: none.

    Raises
    ------
    InputError
        Training diverged.
    """
    _, codes = class_codes(table.labels)
    train = train_paper_model if settings.preset == "paper" else train_count_model
    model = train(table, codes, settings, seed, device, checkpoint)
    for path in checkpoint.parent.glob(f"{checkpoint.name}*.pt") if checkpoint else ():
        path.unlink()
    return model
