"""What a metric returns: a value, on how many cells, and what a reader must know about it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Score(NamedTuple):
    """value: NaN where the metric has none; note: "" or one sentence."""

    value: float
    note: str = ""


def undefined(why: str) -> Score:
    """A metric that cannot be had, and why."""
    return Score(np.nan, why)


def noted(scores: Mapping[str, Score], note: str) -> dict[str, Score]:
    """Scores with one more note; as they are if it is ""."""
    return {
        name: score._replace(note="; ".join(filter(None, (score.note, note))))
        for name, score in scores.items()
    }
