"""A trained prior on disk: weights and latent space in safetensors, a card in JSON."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save

from dice_atlas import __version__
from dice_atlas.dice.objectives import OBJECTIVES
from dice_atlas.dice.priors import Prior
from dice_atlas.dice.training import Trained
from dice_atlas.errors import InputError
from dice_atlas.features.projection import LatentSpace, load_saved_space, space_arrays
from dice_atlas.files import atomic_path, write_table

logger = logging.getLogger(__name__)

# 2: the paper's network had blocks of twice the paper's inner width.
FORMAT = 3


def save_prior(
    weights: dict[str, torch.Tensor], space: LatentSpace, card: dict[str, Any], path: str | Path
) -> None:
    """Write a prior.

    Parameters
    ----------
    weights : of the network.
    space : of its latents.
    card : what is known of it; goes to card.json beside `path`.
    path : prior.safetensors.
    """
    arrays = {f"space.{n}": torch.from_numpy(a) for n, a in space_arrays(space).items()}
    tensors = {f"network.{n}": t.contiguous() for n, t in weights.items()}
    with atomic_path(path) as temporary:
        # Not save_file(): its files can be read by their owner only.
        temporary.write_bytes(save({**tensors, **arrays}))
    with atomic_path(Path(path).with_name("card.json")) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **card}, indent=1) + "\n")


def load_prior(path: str | Path, device: str) -> tuple[Prior, dict[str, Any]]:
    """Read a prior.

    Parameters
    ----------
    path : prior.safetensors, with card.json beside it.
    device : to sample on.

    Returns
    -------
    The prior and its card.

    Raises
    ------
    InputError
        Another version of dice-atlas wrote it in another format.
    """
    card = json.loads(Path(path).with_name("card.json").read_text())
    if card.get("format") != FORMAT:
        raise InputError(
            f"{path}: seen format {card.get('format')} (dice-atlas {card.get('dice_atlas')}), "
            f"expected {FORMAT}: train the prior again, or use it with the version that wrote it"
        )
    tensors = load_file(path, device=device)
    settings = card["settings"]
    prefix = "network."
    weights = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    objective = OBJECTIVES[card["preset"]]
    network = objective.restore(card["k"], settings["width"], settings["blocks"], weights)
    return objective.prior(network.to(device)), card


def copy_saved(saved: list[str], outputs: list[str], k: int) -> None:
    """Take a saved prior over, after a look at whether it fits.

    Parameters
    ----------
    saved, outputs : files to copy, prior.safetensors first, and where to.
    k : of the latents.

    Raises
    ------
    InputError
        Its format or its latent space cannot be read, or it has another k.
    """
    _, card = load_prior(saved[0], "cpu")
    if card["k"] != k:
        raise InputError(f"{saved[0]} has k = {card['k']}, the latents have {k}")
    load_saved_space(saved[0])
    for source, target in zip(saved, outputs, strict=True):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def save_trained(
    trained: Trained,
    space: LatentSpace,
    about: Mapping[str, Any],
    path: str | Path,
    loss: str | Path,
) -> None:
    """Write a trained prior with its card, and the table of its losses.

    Parameters
    ----------
    trained : the run.
    space : of its latents.
    about : what else the card says: `latents_sha256` and `normalization`.
    path, loss : prior.safetensors and loss.tsv.
    """
    trainer = trained.trainer
    card = {
        "dice_atlas": __version__,
        "torch": torch.__version__,
        "preset": trained.preset,
        "k": space.k,
        "settings": vars(trainer.settings),
        "augmentation": trained.classes,
        "seed": trained.seed,
        "device": trained.device,
        "precision": "bfloat16" if trainer.bfloat16 else "float32",
        "n_cells": trained.n_cells,
        "n_held_out": trained.n_held_out,
        "latents_sha256": about["latents_sha256"],
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "held_out_loss": trainer.best_loss,
        "normalization": about["normalization"],
        "genes": space.genes.tolist(),
    }
    logger.info("%s", json.dumps({k: v for k, v in card.items() if k != "genes"}))
    save_prior(trainer.best, space, card, path)
    columns = ["step", "train_loss", "validation_loss"]
    write_table(pd.DataFrame(trainer.rows, columns=columns), loss)
