"""Tables of scores: how they are read, their columns, and the best label of each cell."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dice_atlas.names import SCORE


def read_annotation(path: str | Path) -> pd.DataFrame:
    """A table of anchors or scores; labels such as "01" are text."""
    names = ("cell", "sample", "role", "label", "predicted", "reference_cell", "query_cell")
    return pd.read_csv(
        path, sep="\t", keep_default_na=False, na_values={"support": [""]},
        dtype=dict.fromkeys(names, str),
    )  # fmt: skip


def score_columns(scores: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """Scores as columns `score:<label>`."""
    return pd.DataFrame(scores, columns=[SCORE + label for label in labels])


def winners(scores: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Label of the highest score, the earlier at a tie; "" where every score is 0."""
    best = np.array([*labels, ""], dtype=object)[scores.argmax(axis=1)]
    return np.where(scores.max(axis=1) > 0, best, "")
