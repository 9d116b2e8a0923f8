"""A trained prior on disk: weights and latent space in safetensors, a card in JSON."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save

from dice_atlas import __version__
from dice_atlas.dice.kernel import kernel_prior, restore_kernel
from dice_atlas.dice.objectives import OBJECTIVES
from dice_atlas.dice.priors import Prior
from dice_atlas.dice.training import Trained
from dice_atlas.errors import InputError, reading
from dice_atlas.features.card import PRIOR, CardKind, card_of, digest, require_match
from dice_atlas.features.projection import LatentSpace, load_saved_space, space_arrays
from dice_atlas.files import atomic_path, write_table
from dice_atlas.names import LOSSES

logger = logging.getLogger(__name__)


def save_prior(
    weights: dict[str, torch.Tensor],
    space: LatentSpace,
    card: dict[str, Any],
    path: str | Path,
    coordinates: np.ndarray | None = None,
) -> None:
    """Write a prior.

    Parameters
    ----------
    weights : of the network.
    space : of its latents.
    card : what is known of it; goes to card.json beside `path`, with the weights' SHA-256.
    path : prior.safetensors.
    coordinates : see `Trained`.
    """
    arrays = {f"space.{n}": torch.from_numpy(a) for n, a in space_arrays(space).items()}
    tensors = {f"network.{n}": t.contiguous() for n, t in weights.items()}
    if coordinates is not None:
        arrays["coordinates"] = torch.from_numpy(coordinates)
    save_model({**tensors, **arrays}, card, path, PRIOR)


def save_model(
    tensors: dict[str, torch.Tensor], card: dict[str, Any], path: str | Path, kind: CardKind
) -> None:
    """Write a model and its card, which know each other.

    Parameters
    ----------
    tensors : by name.
    card : what is known of the model; goes to card.json beside `path`, with its SHA-256.
    path : the safetensors file.
    kind : of the model.
    """
    card = {"format": kind.format, **card}
    with atomic_path(path) as temporary:
        # Not save_file(): its files can be read by their owner only.
        content = save(tensors, metadata={"card": digest(card, kind)})
        temporary.write_bytes(content)
    card["sha256"] = hashlib.sha256(content).hexdigest()
    with atomic_path(card_of(path)) as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n")


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
        See `card.require_match`, or the weights are not those of such a network.
    """
    card = require_match(path)
    prefix = "network."
    with reading(path, f"the weights of the preset {card['preset']}"):
        tensors = load_file(path, device=device)
        settings = card["settings"]
        weights = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        prior: Prior
        if card["preset"] == "kernel":
            prior = kernel_prior(restore_kernel(card["k"], weights).to(device))
        else:
            objective = OBJECTIVES[card["preset"]]
            network = objective.restore(card["k"], settings["width"], settings["blocks"], weights)
            prior = objective.prior(network.to(device))
        if card["noise"] == "within_type":
            prior.coordinates = tensors["coordinates"].cpu().numpy()
    if not all(bool(torch.isfinite(t).all()) for t in weights.values()):
        raise InputError(f"{path}: its weights hold missing or infinite values; train it again")
    return prior, card


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
    logger.info("copied from %s: preset %s, k = %d", Path(saved[0]).parent, card["preset"], k)


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
        "settings": dict(vars(trainer.settings)),
        "augmentation": trained.classes,
        "noise": "isotropic" if trained.coordinates is None else "within_type",
        "seed": trained.seed,
        "device": trained.device,
        "precision": "bfloat16" if trainer.bfloat16 else "float32",
        "n_cells": trained.n_cells,
        "n_synthetic": trained.n_synthetic,
        "n_held_out": len(trained.calibration),
        "latents_sha256": about["latents_sha256"],
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "held_out_loss": trainer.best_loss,
        "normalization": about["normalization"],
        "genes": space.genes.tolist(),
        "calibration": trained.calibration,
    }
    lists = ("genes", "calibration")
    logger.info("%s", json.dumps({k: v for k, v in card.items() if k not in lists}))
    logger.info("preset %s, from %d cells", card["preset"], trained.n_cells)
    save_prior(trainer.best, space, card, path, trained.coordinates)
    write_table(pd.DataFrame(trainer.rows, columns=LOSSES), loss)
