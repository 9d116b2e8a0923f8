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


def score_names(table: pd.DataFrame) -> list[str]:
    """Names of the columns `score:<label>` of a table."""
    return [str(name) for name in table if str(name).startswith(SCORE)]


def scored_labels(table: pd.DataFrame) -> list[str]:
    """Labels that a table has scores of."""
    return [name.removeprefix(SCORE) for name in score_names(table)]


def top_scores(table: pd.DataFrame) -> np.ndarray:
    """Score of the best label of each cell, 0 without any."""
    return table[score_names(table)].to_numpy(dtype=float).max(axis=1, initial=0.0)


def score_columns(scores: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """Scores as columns `score:<label>`."""
    return pd.DataFrame(scores, columns=[SCORE + label for label in labels])


def winners(scores: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Label of the highest score, the earlier at a tie; "" where every score is 0."""
    best = np.array([*labels, ""], dtype=object)[scores.argmax(axis=1)]
    return np.where(scores.max(axis=1) > 0, best, "")


def votes_table(cells: pd.Index, scores: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """predictions.tsv.gz of a voter without anchors.

    Parameters
    ----------
    cells : names of the query cells.
    scores : cells x labels.
    labels : of the columns.
    """
    table = pd.DataFrame(
        {"cell": cells, "predicted": winners(scores, labels),
         "score": scores.max(axis=1, initial=0.0), "n_anchors": 0}
    )  # fmt: skip
    return pd.concat([table, score_columns(scores, labels)], axis=1)


def votes_calibration(
    cells: pd.DataFrame, n_held: int, truth: np.ndarray, scores: np.ndarray, labels: Sequence[str]
) -> pd.DataFrame:
    """calibration.tsv.gz of a voter without anchors, and so without support.

    Parameters
    ----------
    cells : those that are asked about, `n_held` held-out reference cells first: `sample`.
    truth : labels of the cells; those of the query are not looked at.
    scores : cells x labels.
    labels : of the columns.
    """
    is_held = np.arange(len(cells)) < n_held
    table = pd.DataFrame(
        {
            "cell": cells.index,
            "sample": cells["sample"].to_numpy(dtype=object),
            "role": np.where(is_held, "reference", "query"),
            "label": np.where(is_held, truth, ""),
            "predicted": winners(scores, labels),
            "support": np.nan,
        }
    )
    return pd.concat([table, score_columns(scores, labels)], axis=1)
