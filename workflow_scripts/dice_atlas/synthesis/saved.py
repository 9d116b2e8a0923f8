"""A trained generator on disk: tensors in safetensors, a card in JSON."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from dice_atlas import __version__
from dice_atlas.dice.saved import save_model
from dice_atlas.errors import InputError, reading
from dice_atlas.features.card import require_match
from dice_atlas.files import atomic_path
from dice_atlas.synthesis.count_model import CountModel, restore_count_model
from dice_atlas.synthesis.paper_model import PaperModel, restore_paper_model
from dice_atlas.synthesis.settings import GENERATOR, NONE, ModelSettings
from dice_atlas.synthesis.training_cells import CountTable

logger = logging.getLogger(__name__)

Model = CountModel | PaperModel
# What the rules make of a generator, beside it.
RESULTS = (
    "synthetic.h5ad", "evaluation.h5ad", "fidelity.tsv", "fidelity_by_class.tsv",
    "memorization.tsv", "umap.tsv.gz", "report.html", "figures",
)  # fmt: skip


@dataclass(frozen=True)
class Generator:
    """A trained generator and what its card says.

    Attributes
    ----------
    model : of the preset.
    genes : names of its columns but the last.
    classes : training cells of each class, in the order of the codes; one class "" without labels.
    card : the whole card.
    """

    model: Model
    genes: np.ndarray
    classes: dict[str, int]
    card: dict[str, Any]


def class_codes(labels: np.ndarray) -> tuple[dict[str, int], np.ndarray]:
    """Cells of each class in alphabetical order, and the class of each cell (n,) int64."""
    names, codes, sizes = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    return dict(zip(names.tolist(), sizes.tolist(), strict=True)), codes.astype(np.int64)


def save_generator(
    model: Model,
    table: CountTable,
    held_out: CountTable,
    settings: ModelSettings,
    seed: int,
    path: str | Path,
) -> None:
    """Write a generator with its card.

    Parameters
    ----------
    table, held_out : cells that it was trained on, and those that judge it.
    settings, seed : of the training.
    path : model.safetensors.
    """
    classes, _ = class_codes(table.labels)
    card = {
        "dice_atlas": __version__,
        "torch": torch.__version__,
        "preset": settings.preset,
        "prior": model.prior,
        "label": settings.label if table.labelled else NONE,
        "settings": asdict(settings),
        "seed": seed,
        "n_cells": len(table.labels),
        "n_held_out": len(held_out.labels),
        "genes": table.genes.tolist(),
        "classes": classes,
        "held_out": held_out.keys.tolist(),
    }
    save_model(model.tensors(), card, path, GENERATOR)


def load_generator(path: str | Path, device: str) -> Generator:
    """Read a generator.

    Parameters
    ----------
    path : model.safetensors, with card.json beside it.
    device : to sample on.

    Raises
    ------
    InputError
        See `card.require_match`, or the tensors are not those of such a generator.
    """
    card = require_match(path, GENERATOR)
    with reading(path, "the weights of a saved generator"):
        tensors = load_file(path)
        settings = ModelSettings.from_config(card["settings"])
        model: Model = (
            restore_paper_model(tensors, settings, device)
            if card["preset"] == "paper"
            else restore_count_model(tensors, card["prior"], device)
        )
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
        raise InputError(f"{path}: its weights hold missing or infinite values; train it again")
    return Generator(model, np.asarray(card["genes"], dtype=object), card["classes"], card)


def copy_generator(saved: Sequence[str], outputs: Sequence[str], asked: ModelSettings) -> None:
    """Take a saved generator over, after a look at whether it can be read.

    Parameters
    ----------
    saved, outputs : files to copy, model.safetensors first, and where to.
    asked : what the config says of generators; a saved one stays what it is, with a warning.
    """
    has = ModelSettings.from_config(load_generator(saved[0], "cpu").card["settings"])
    unused = [
        f"{name} {value} (it has {getattr(has, name)})"
        for name, value in asdict(asked).items()
        if value not in (getattr(ModelSettings(), name), getattr(has, name))
    ]
    if unused:
        logger.warning(
            "the generator of synthesis.path stays what it is; not used: %s", ", ".join(unused)
        )
    for source, target in zip(saved, outputs, strict=True):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def forget_results(folder: str | Path) -> None:
    """Remove what was made with an earlier generator of the same folder.

    Its cells, scores and page would stand beside a generator that they are not of.
    """
    for name in RESULTS:
        path = Path(folder) / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


def split_of(table: CountTable, card: Mapping[str, Any]) -> tuple[CountTable, CountTable]:
    """The cells that a generator was trained on, and those held out, as its card lists them."""
    held = np.isin(table.keys.astype(str), list(card["held_out"]))
    return table.rows(~held), table.rows(held)
