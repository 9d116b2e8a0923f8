"""The card of a saved prior: what is known of it, and whether it speaks of the weights beside it.

Card and weights know each other. The card holds the SHA-256 of the weights' file; the metadata of
that file hold the digest of what the card says and results depend on. Nothing heavy is imported
here: the Snakefile reads this file for every job.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dice_atlas.errors import InputError, reading

# Of saved priors. 2: the paper's network had blocks of twice the paper's inner width. 3: card and
# weights did not know each other.
FORMAT = 4
NAME = "card.json"
# What results depend on, beside the weights.
ESSENTIAL = ("format", "preset", "k", "settings", "normalization", "genes", "calibration")
KINDS = {"preset": str, "k": int, "settings": dict, "normalization": dict, "genes": list,
         "calibration": list, "sha256": str}  # fmt: skip
ADVICE = (
    "expected the folder results/<atlas>/prior of an earlier run, as it was written; copy it again"
)


def card_of(prior_path: str | Path) -> Path:
    """Path of the card that belongs to the weights."""
    return Path(prior_path).with_name(NAME)


def digest(card: Mapping[str, Any]) -> str:
    """SHA-256 of the `ESSENTIAL` part of a card."""
    essential = {name: card.get(name) for name in ESSENTIAL}
    return hashlib.sha256(json.dumps(essential, sort_keys=True).encode()).hexdigest()


def read_card(path: str | Path) -> dict[str, Any]:
    """The card of a saved prior.

    Parameters
    ----------
    path : card.json.

    Raises
    ------
    InputError
        It is no card, or of another format.
    """
    with reading(path, "the card of a saved prior, in JSON"):
        card = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(card, dict):
        raise InputError(f"{path}: seen a {type(card).__name__}, no card of a prior; {ADVICE}")
    if card.get("format") != FORMAT:
        raise InputError(
            f"{path}: seen format {card.get('format')} (dice-atlas {card.get('dice_atlas')}), "
            f"expected {FORMAT}: train the prior again, or use it with the version that wrote it"
        )
    wrong = [name for name, kind in KINDS.items() if not isinstance(card.get(name), kind)]
    if wrong:
        raise InputError(f"{path}: no {', '.join(wrong)} as a prior's card has; {ADVICE}")
    return card


def require_match(prior_path: str | Path) -> dict[str, Any]:
    """The card of a saved prior, whose weights are found to be those that it speaks of.

    Parameters
    ----------
    prior_path : prior.safetensors, with its card beside it.

    Raises
    ------
    InputError
        The weights are damaged or changed, the card speaks of others, or see `read_card`.
    """
    card = read_card(card_of(prior_path))
    with reading(prior_path, "the weights of a saved prior"):
        written = metadata(prior_path).get("card")
        with open(prior_path, "rb") as file:
            seen = hashlib.file_digest(file, "sha256").hexdigest()
    if seen != card["sha256"]:
        raise InputError(
            f"{prior_path}: seen the sha256 {seen[:12]}..., but its card speaks of "
            f"{card['sha256'][:12]}...: the weights were changed or cut off; {ADVICE}"
        )
    if written != digest(card):
        raise InputError(
            f"{card_of(prior_path)}: its genes or settings are not those that the weights were "
            f"saved with; {ADVICE}"
        )
    return card


def metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file: 8 bytes of length, then a JSON header.

    Source: https://huggingface.co/docs/safetensors, section Format.

    Raises
    ------
    ValueError
        The file is none.
    """
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > os.path.getsize(path):
            raise ValueError("its header is longer than the file")
        header = json.loads(file.read(length))
    return header.get("__metadata__", {})
