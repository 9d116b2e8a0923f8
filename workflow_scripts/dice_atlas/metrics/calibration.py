"""Whether scores mean what they say: reliability curve and expected calibration error."""

import numpy as np
import pandas as pd

from dice_atlas.metrics.score import Score, undefined

N_BINS = 10


def reliability_curve(score: np.ndarray, right: np.ndarray, n_bins: int = N_BINS) -> pd.DataFrame:
    """Share of right predictions by score, in equal bins of [0, 1].

    Parameters
    ----------
    score : score of the predicted label, 0 to 1; a score on an edge is in the lower bin.
    right : whether the prediction is right.

    Returns
    -------
    DataFrame
        Bins that have cells: `low`, `high`, `cells`, `mean_score`, `share_right`.
    """
    score, right = np.asarray(score, dtype=float), np.asarray(right, dtype=float)
    edges = np.linspace(0, 1, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, score, side="left") - 1, 0, n_bins - 1)
    table = pd.DataFrame({"bin": bins, "score": score, "right": right}).groupby("bin").agg(
        cells=("score", "size"), mean_score=("score", "mean"), share_right=("right", "mean")
    )  # fmt: skip
    table.insert(0, "low", edges[table.index])
    table.insert(1, "high", edges[table.index + 1])
    return table.reset_index(drop=True)


def expected_calibration_error(score: np.ndarray, right: np.ndarray, n_bins: int = N_BINS) -> Score:
    """Mean over cells of |share right - mean score| of the cell's bin (Guo et al. 2017)."""
    if not len(np.asarray(score)):
        return undefined("no cell")
    curve = reliability_curve(score, right, n_bins)
    gap = (curve["share_right"] - curve["mean_score"]).abs()
    return Score(float((gap * curve["cells"]).sum() / curve["cells"].sum()))
