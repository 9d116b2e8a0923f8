"""The consensus of several voters: the mean of their calibrated probabilities.

A voter's scores are no probabilities, and those of one voter are bolder than another's. Each is
sharpened or softened by one temperature, at which its scores of held-out reference cells are most
likely (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
"""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from dice_atlas.holdout import require_same_cells
from dice_atlas.names import SCORE
from dice_atlas.transfer.labels import winners

logger = logging.getLogger(__name__)

# Added to every score: anchors give many a score of 0, whose logarithm must be finite.
LEAST_SCORE = 1e-3
TEMPERATURES = (0.1, 10.0)
VOTER_COLUMNS = ("voter", "temperature", "held_out_cells", "accuracy", "log_loss")


def probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores (cells x labels, 0 or more) to the power of 1 / temperature, brought to sum 1."""
    logs = np.log(np.asarray(scores, dtype=np.float64) + LEAST_SCORE) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_loss(scores: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    """Mean negative log probability of the true labels (column numbers)."""
    own = probabilities(scores, temperature)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(own, 1e-12)).mean())


def best_temperature(scores: np.ndarray, truth: np.ndarray) -> float:
    """The temperature of the least log loss; 1 without cells.

    Parameters
    ----------
    scores : held-out cells x labels.
    truth : their labels, as numbers of columns.
    """
    if not len(truth):
        return 1.0
    found = minimize_scalar(
        lambda log_t: log_loss(scores, truth, float(np.exp(log_t))),
        bounds=tuple(np.log(TEMPERATURES)),
        method="bounded",
    )
    return float(np.exp(found.x))


def combine(
    predictions: Mapping[str, pd.DataFrame], calibrations: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The consensus of voters.

    Numbers of anchors, the part of synthetic cells and the support come from the voters that have
    them, later ones first: of the predictions where that voter gives the same label, else 0.

    Parameters
    ----------
    predictions : predictions.tsv.gz by voter, of the same cells.
    calibrations : calibration.tsv.gz by voter. One may lack cells: where no anchor could be found,
        anchors calibrate nothing.

    Returns
    -------
    predictions, calibration : of the consensus.
    voters : one row per voter: `voter`, `temperature`, `held_out_cells`, and of these
        `accuracy` and `log_loss`.

    Raises
    ------
    InputError
        The predictions are not of the same cells in the same order.
    """
    first, *others = predictions
    columns = [name for name in predictions[first] if name.startswith(SCORE)]
    labels = [name.removeprefix(SCORE) for name in columns]
    for voter in others:
        pair = f"predictions.tsv.gz of {voter} and of {first}"
        require_same_cells(predictions[voter]["cell"], predictions[first]["cell"], pair)
    whole = max(calibrations.values(), key=len)
    is_held = (whole["role"] == "reference").to_numpy()
    truth = pd.Index(labels).get_indexer(whole["label"][is_held])
    rows, shares, again = [], [], []
    for voter, own in predictions.items():
        calibration = _calibration_of(calibrations[voter], whole, columns)
        # Cells that the voter could not be asked about say nothing of it.
        known = is_held & ~np.isnan(calibration).any(axis=1)
        held, own_truth = calibration[known], truth[known[is_held]]
        temperature = best_temperature(held, own_truth)
        shares.append(probabilities(own[columns].to_numpy(dtype=float), temperature))
        again.append(probabilities(np.nan_to_num(calibration), temperature))
        rows.append({"voter": voter, "temperature": temperature, "held_out_cells": len(held)})
        if len(held):
            rows[-1] |= {
                "accuracy": (held.argmax(axis=1) == own_truth).mean(),
                "log_loss": log_loss(held, own_truth, temperature),
            }
        logger.info("%s", rows[-1])
    result = _with_scores(predictions[first][["cell"]], np.mean(shares, axis=0), labels)
    result.insert(2, "score", np.mean(shares, axis=0).max(axis=1, initial=0.0))
    result.insert(3, "n_anchors", _of_agreeing(predictions, result["predicted"], "n_anchors"))
    if any("synthetic" in own for own in predictions.values()):
        part = _of_agreeing(predictions, result["predicted"], "synthetic")
        result.insert(4, "synthetic", part)
    calibration = _with_scores(
        whole[["cell", "sample", "role", "label"]], np.mean(again, axis=0), labels
    )
    calibration.insert(5, "support", np.nan)
    for own in calibrations.values():
        if own["support"].notna().any():
            support = own.set_index("cell")["support"].reindex(whole["cell"])
            calibration["support"] = support.to_numpy()
    voters = pd.DataFrame(rows).reindex(columns=list(VOTER_COLUMNS))
    return result, calibration, voters


def _calibration_of(own: pd.DataFrame, whole: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """A voter's calibration scores of the cells of `whole`, NaN where it has none."""
    scores = own.set_index("cell")[columns].astype(float)
    return scores.reindex(whole["cell"]).to_numpy()


def _with_scores(cells: pd.DataFrame, scores: np.ndarray, labels: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(scores, columns=[SCORE + label for label in labels])
    return pd.concat(
        [cells.reset_index(drop=True).assign(predicted=winners(scores, labels)), table], axis=1
    )


def _of_agreeing(
    predictions: Mapping[str, pd.DataFrame], label: pd.Series, column: str
) -> np.ndarray:
    """A column of the last voter that has numbers in it, 0 where it gives another label."""
    found = np.zeros(len(label))
    for own in predictions.values():
        if column in own and own[column].to_numpy().any():
            same = (own["predicted"] == label).to_numpy()
            found = np.where(same, own[column].to_numpy(), 0)
    return found if column == "synthetic" else found.astype(np.int64)
