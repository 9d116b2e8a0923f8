"""The card of a saved model: what is known of it, and whether it speaks of the weights beside it.

Card and weights know each other. The card holds the SHA-256 of the weights' file; the metadata of
that file hold the digest of what the card says and results depend on. Nothing heavy is imported
here: the Snakefile reads this file for every job.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dice_atlas.errors import InputError, reading

# Of saved priors. 2: the paper's network had blocks of twice the paper's inner width. 3: card and
# weights did not know each other. 4: latents were always those of isotropic noise.
FORMAT = 5
NAME = "card.json"


@dataclass(frozen=True)
class CardKind:
    """One kind of saved model.

    Attributes
    ----------
    what : it is, for messages.
    format : of its files; another one cannot be read.
    essential : entries of the card that results depend on, beside the weights.
    types : of the entries that a card must have.
    folder : where a run writes it.
    weights : name of the file of its weights.
    """

    what: str
    format: int
    essential: tuple[str, ...]
    types: Mapping[str, type]
    folder: str
    weights: str

    @property
    def advice(self) -> str:
        """What to do about files that are not as they were written."""
        return (
            f"expected the folder {self.folder} of an earlier run, as it was written; copy it again"
        )


PRIOR = CardKind(
    "prior",
    FORMAT,
    ("format", "preset", "k", "settings", "noise", "normalization", "genes", "calibration"),
    {"preset": str, "k": int, "noise": str, "settings": dict, "normalization": dict, "genes": list,
     "calibration": list, "sha256": str},
    "results/<atlas>/prior",
    "prior.safetensors",
)  # fmt: skip


def card_of(prior_path: str | Path) -> Path:
    """Path of the card that belongs to the weights."""
    return Path(prior_path).with_name(NAME)


def digest(card: Mapping[str, Any], kind: CardKind = PRIOR) -> str:
    """SHA-256 of the essential part of a card."""
    essential = {name: card.get(name) for name in kind.essential}
    return hashlib.sha256(json.dumps(essential, sort_keys=True).encode()).hexdigest()


def read_card(path: str | Path, kind: CardKind = PRIOR) -> dict[str, Any]:
    """The card of a saved model.

    Parameters
    ----------
    path : card.json.
    kind : of the model.

    Raises
    ------
    InputError
        It is no card, or of another format.
    """
    with reading(path, f"the card of a saved {kind.what}, in JSON"):
        card = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(card, dict):
        raise InputError(
            f"{path}: seen a {type(card).__name__}, no card of a {kind.what}; {kind.advice}"
        )
    if card.get("format") != kind.format:
        raise InputError(
            f"{path}: seen format {card.get('format')} (dice-atlas {card.get('dice_atlas')}), "
            f"expected {kind.format}: train the {kind.what} again, or use it with the version that "
            "wrote it"
        )
    wrong = [name for name, of in kind.types.items() if not isinstance(card.get(name), of)]
    if wrong:
        raise InputError(
            f"{path}: no {', '.join(wrong)} as a {kind.what}'s card has; {kind.advice}"
        )
    return card


def require_match(path: str | Path, kind: CardKind = PRIOR) -> dict[str, Any]:
    """The card of a saved model, whose weights are found to be those that it speaks of.

    Parameters
    ----------
    path : the safetensors file, with its card beside it.
    kind : of the model.

    Raises
    ------
    InputError
        The weights are damaged or changed, the card speaks of others, or see `read_card`.
    """
    card = read_card(card_of(path), kind)
    with reading(path, f"the weights of a saved {kind.what}"):
        written = metadata(path).get("card")
        with open(path, "rb") as file:
            seen = hashlib.file_digest(file, "sha256").hexdigest()
    if seen != card["sha256"]:
        raise InputError(
            f"{path}: seen the sha256 {seen[:12]}..., but its card speaks of "
            f"{card['sha256'][:12]}...: the weights were changed or cut off; {kind.advice}"
        )
    if written != digest(card, kind):
        raise InputError(
            f"{card_of(path)}: its genes or settings are not those that the weights were saved "
            f"with; {kind.advice}"
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
