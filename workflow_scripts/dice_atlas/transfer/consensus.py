"""The consensus of several voters: the mean of their calibrated probabilities.

A voter's scores are no probabilities, and those of one voter are bolder than another's. Each is
sharpened or softened by one temperature, at which its scores of held-out reference cells are most
likely (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from dice_atlas.holdout import require_same_cells
from dice_atlas.transfer.scores import score_columns, score_names, scored_labels, winners

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
    """The temperature of the least log loss, near 1 where few cells speak; 1 without cells.

    A penalty of the squared logarithm of the temperature keeps few cells from deciding it alone.

    Parameters
    ----------
    scores : held-out cells x labels.
    truth : their labels, as numbers of columns.
    """
    n = len(truth)
    if not n:
        return 1.0
    found = minimize_scalar(
        lambda log_t: n * log_loss(scores, truth, float(np.exp(log_t))) + log_t**2,
        bounds=tuple(np.log(TEMPERATURES)),
        method="bounded",
    )
    return float(np.exp(found.x))


def combine(
    predictions: Mapping[str, pd.DataFrame],
    calibrations: Mapping[str, pd.DataFrame],
    tables: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The consensus of voters.

    A voter without a score for a cell abstains there: the mean is that of the others. One that
    could not be calibrated abstains everywhere, unless none could be, or it is a table of another
    tool: its scores of the query are taken as they are. A label for which no voter has a score
    above 0 has none.

    Numbers of anchors, the part of synthetic cells and the support are those of the last voter that
    finds anchors; of the predictions where it gives the same label, else 0.

    Parameters
    ----------
    predictions : predictions.tsv.gz by voter, of the same cells.
    calibrations : calibration.tsv.gz by voter. One may lack cells: where no anchor could be found,
        anchors calibrate nothing.
    tables : voters whose labels come from another tool.

    Returns
    -------
    predictions, calibration : of the consensus.
    voters : one row per voter, the `VOTER_COLUMNS`; accuracy and log loss are those of the held-out
        cells, on which the temperature was fitted.

    Raises
    ------
    InputError
        The predictions are not of the same cells in the same order.
    """
    first, *others = predictions
    columns = score_names(predictions[first])
    labels = scored_labels(predictions[first])
    for voter in others:
        pair = f"predictions.tsv.gz of {voter} and of {first}"
        require_same_cells(predictions[voter]["cell"], predictions[first]["cell"], pair)
    cells = asked_cells(predictions[first]["cell"], calibrations)
    is_held = (cells["role"] == "reference").to_numpy()
    truth = pd.Index(labels).get_indexer(cells["label"][is_held])
    rows, temperatures, scores, again = [], [], [], []
    for voter, own in predictions.items():
        table = calibrations[voter].set_index("cell")[columns].astype(float)
        calibration = table.reindex(cells["cell"]).to_numpy()
        known = is_held & ~np.isnan(calibration).any(axis=1)
        held, own_truth = calibration[known], truth[known[is_held]]
        temperature = best_temperature(held, own_truth)
        row: dict[str, Any] = {
            "voter": voter, "temperature": temperature, "held_out_cells": len(held)
        }  # fmt: skip
        if len(held):
            row["accuracy"] = (held.argmax(axis=1) == own_truth).mean()
            row["log_loss"] = log_loss(held, own_truth, temperature)
        elif is_held.any():
            what = "its scores are taken as they are" if voter in tables else "it is left out"
            logger.warning("%s could not be calibrated: %s in the consensus", voter, what)
        logger.info(", ".join(f"{name} {value}" for name, value in row.items()))
        rows.append(row)
        temperatures.append(temperature)
        scores.append(own[columns].to_numpy(dtype=float))
        again.append(np.nan_to_num(calibration))
    asked = [
        row["held_out_cells"] > 0 or not is_held.any() or row["voter"] in tables for row in rows
    ]
    mean = mean_probabilities(scores, temperatures, asked)
    result = _with_scores(predictions[first][["cell"]], mean, labels)
    result.insert(2, "score", mean.max(axis=1, initial=0.0))
    anchors = [voter for voter, own in predictions.items() if own["n_anchors"].to_numpy().any()]
    of_anchors = predictions[anchors[-1]] if anchors else predictions[first]
    same = (of_anchors["predicted"] == result["predicted"]).to_numpy()
    result.insert(3, "n_anchors", np.where(same, of_anchors["n_anchors"], 0))
    if "synthetic" in of_anchors:
        result.insert(4, "synthetic", np.where(same, of_anchors["synthetic"], 0.0))
    calibration = _with_scores(cells, mean_probabilities(again, temperatures, asked), labels)
    support = calibrations[anchors[-1]] if anchors else calibrations[first]
    own_support = support.set_index("cell")["support"].reindex(cells["cell"])
    calibration.insert(5, "support", own_support.to_numpy())
    voters = [voter for voter, own in zip(predictions, asked, strict=True) if own]
    logger.info("consensus of %s", ", ".join(voters))
    return result, calibration, pd.DataFrame(rows).reindex(columns=list(VOTER_COLUMNS))


def asked_cells(query: pd.Series, calibrations: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Cells of the calibration: the held-out ones, then all of the query; none without the first.

    Parameters
    ----------
    query : names of the query cells.
    calibrations : by voter, see `combine`.
    """
    known = ["cell", "sample", "role", "label"]
    whole = pd.concat([own[known] for own in calibrations.values()]).drop_duplicates("cell")
    held = whole[whole["role"] == "reference"]
    if held.empty:
        return held.reset_index(drop=True)
    of_query = whole.set_index("cell").reindex(query).reset_index()
    # A cell that no voter could be asked about has no sample here.
    of_query = of_query.fillna({"sample": "", "role": "query", "label": ""})
    return pd.concat([held, of_query], ignore_index=True)[known]


def mean_probabilities(
    scores: Sequence[np.ndarray], temperatures: Sequence[float], asked: Sequence[bool]
) -> np.ndarray:
    """Mean of the calibrated scores of the voters that have any of a cell (cells x labels).

    Parameters
    ----------
    scores : of each voter, cells x labels, not calibrated.
    temperatures, asked : of each voter; who is not asked has no part in the mean.
    """
    total, votes = np.zeros_like(scores[0]), np.zeros((len(scores[0]), 1))
    evidence = np.zeros(scores[0].shape, dtype=bool)
    for own, temperature, is_asked in zip(scores, temperatures, asked, strict=True):
        speaks = (own > 0).any(axis=1, keepdims=True) & is_asked
        total += np.where(speaks, probabilities(own, temperature), 0.0)
        evidence |= (own > 0) & speaks
        votes += speaks
    return np.where(evidence, total / np.maximum(votes, 1), 0.0)


def _with_scores(cells: pd.DataFrame, scores: np.ndarray, labels: list[str]) -> pd.DataFrame:
    table = score_columns(scores, labels)
    return pd.concat(
        [cells.reset_index(drop=True).assign(predicted=winners(scores, labels)), table], axis=1
    )
