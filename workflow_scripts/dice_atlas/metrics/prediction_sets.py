"""Prediction sets against the truth: coverage, and how much they say."""

from collections.abc import Sequence

import numpy as np

from dice_atlas.metrics.score import Score, undefined
from dice_atlas.names import split_set


def prediction_set_scores(truth: np.ndarray, sets: Sequence[str]) -> dict[str, Score]:
    """Scores of the sets of labels that were given with each cell.

    Parameters
    ----------
    truth : labels, one per cell.
    sets : labels joined by "|"; "" = empty.

    Returns
    -------
    dict
        `set_coverage` = share of cells whose set has the truth; `set_size` = mean number of
        labels; `set_ambiguous` = share with more than one; `set_empty` = share with none;
        `set_coverage:<label>` = coverage of the cells of one label of the truth.
    """
    if not len(truth):
        names = ("set_coverage", "set_size", "set_ambiguous", "set_empty")
        return dict.fromkeys(names, undefined("no cell"))
    members = [split_set(text) for text in sets]
    size = np.array([len(labels) for labels in members])
    covered = np.array([label in labels for label, labels in zip(truth, members, strict=True)])
    of_label = {
        f"set_coverage:{label}": Score(float(covered[truth == label].mean()), f"{n} cell(s)")
        for label, n in zip(*np.unique(truth.astype(str), return_counts=True), strict=True)
    }
    return {
        "set_coverage": Score(float(covered.mean())),
        "set_size": Score(float(size.mean())),
        "set_ambiguous": Score(float((size > 1).mean())),
        "set_empty": Score(float((size == 0).mean())),
        **of_label,
    }
