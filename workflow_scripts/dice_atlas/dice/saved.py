"""A trained prior on disk: weights and latent space in safetensors, a card in JSON."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from dice_atlas.dice.priors import Prior, prior_of, trained_network
from dice_atlas.errors import InputError
from dice_atlas.features.projection import LatentSpace, space_arrays
from dice_atlas.files import atomic_path

FORMAT = 2


def save_prior(
    weights: dict[str, torch.Tensor], space: LatentSpace, card: dict[str, Any], path: str | Path
) -> None:
    """Write weights and latent space to `path`, the card to card.json beside it."""
    arrays = {f"space.{n}": torch.from_numpy(a) for n, a in space_arrays(space).items()}
    tensors = {f"network.{n}": t.contiguous() for n, t in weights.items()}
    with atomic_path(path) as temporary:
        # Not save_file(): its files can be read by their owner only.
        temporary.write_bytes(save({**tensors, **arrays}))
    with atomic_path(Path(path).with_name("card.json")) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **card}, indent=1) + "\n")


def load_prior(path: str | Path, device: str) -> tuple[Prior, dict[str, Any]]:
    """The prior, ready to sample on `device`, and its card.

    Raises
    ------
    InputError
        If another version of dice-atlas wrote it in another format.
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
    network = trained_network(
        card["preset"], card["k"], settings["width"], settings["blocks"], weights
    )
    return prior_of(card["preset"], network.to(device)), card
