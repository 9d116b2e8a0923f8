"""What is said of each query cell: label or unassigned, second label, prediction set."""

import logging
from collections.abc import Sequence

import anndata as ad
import numpy as np
import pandas as pd

from dice_atlas.errors import InputError
from dice_atlas.holdout import require_same_cells
from dice_atlas.names import SYNTHETIC, UNASSIGNED, joined
from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.conformal import (
    ROUNDING,
    class_thresholds,
    prediction_sets,
    score_threshold,
)
from dice_atlas.transfer.labels import LabelScores, transfer_labels
from dice_atlas.transfer.novelty import reference_p_values
from dice_atlas.transfer.scores import score_names, scored_labels
from dice_atlas.transfer.settings import CallSettings, WeightSettings

logger = logging.getLogger(__name__)

# Why a cell has no label if no anchor of a labelled reference cell speaks for one.
NO_ANCHOR = "no_labelled_anchor"
# Why if it is not in the table of labels, or that has no label for it.
NO_LABEL = "no_label_in_table"
# Why if no score keeps the risk.
NO_SCORE = "no_score_meets_risk"
# Labels in a sentence about all calls.
MOST_NAMED = 3


def gathered(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of one kind of the transfers to each query sample, as one.

    Held-out reference cells are in the calibration of each; their rows beside the first are kept.

    Raises
    ------
    InputError
        No sample has got a label.
    """
    whole = pd.concat(parts, ignore_index=True).drop_duplicates("cell", ignore_index=True)
    if "rule" in whole and (whole["rule"] == NO_ANCHOR).all():
        raise InputError(
            f"none of the {len(parts)} query samples has an anchor with the reference: are they of "
            "the same tissue and species? Else raise annotate.k.anchor, or set annotate.k.filter "
            "to null"
        )
    return whole


def anchors_of(table: pd.DataFrame, reference: pd.Index, query: pd.Index) -> Anchors:
    """Anchors by position, from the names of their cells."""
    return Anchors(
        reference.get_indexer(table["reference_cell"]),
        query.get_indexer(table["query_cell"]),
        table["score"].to_numpy(dtype=float),
    )


def transfer(anchors: pd.DataFrame, weights: ad.AnnData, settings: WeightSettings) -> LabelScores:
    """Scores of the query cells.

    Parameters
    ----------
    anchors : anchors.tsv.gz.
    weights : see `search.weight_table`; its cells are the rows of the result.
    settings : of the weights.

    Raises
    ------
    InputError
        No reference cell has a label.
    """
    reference = weights.uns["reference_labels"]
    cells = pd.Index(reference["cells"].astype(str))
    return transfer_labels(
        anchors_of(anchors, cells, weights.obs_names),
        np.asarray(weights.obsm["X_weight"], dtype=np.float64),
        reference["labels"].astype(str).tolist(),
        settings,
        cells.str.startswith(SYNTHETIC),
    )


def call(
    predictions: pd.DataFrame,
    calibration: pd.DataFrame,
    settings: CallSettings,
    without: str = NO_ANCHOR,
) -> pd.DataFrame:
    """Label or unassigned, second best, prediction set and entropy of every query cell.

    The sets come from the query's scores in the calibration's own transfer, where held-out cells
    and query cells were treated alike; labels and scores from the whole reference's.

    Parameters
    ----------
    predictions : predictions.tsv.gz.
    calibration : calibration.tsv.gz; without rows nothing is calibrated.
    settings : of the calls.
    without : why a cell has no label if nothing speaks for one.

    Returns
    -------
    calls.tsv.gz, see `calls_table`.

    Raises
    ------
    InputError
        The two tables do not hold the same query cells in the same order.
    """
    columns = score_names(predictions)
    labels = scored_labels(predictions)
    held = calibration[calibration["role"] == "reference"]
    n_held, outside_below = len(held), settings.outside_below
    if n_held:
        asked = calibration[calibration["role"] == "query"]
        require_same_cells(asked["cell"], predictions["cell"], "calibration and predictions")
        p_values = reference_p_values(calibration)
    else:
        asked, p_values = predictions, np.full(len(predictions), np.nan)
    if 0 < outside_below <= 1 / (1 + n_held):
        logger.warning(
            "annotate.outside_below is %g, but with %d held-out reference cells p_reference is at "
            "least %.3g: no cell is unassigned by it", outside_below, n_held, 1 / (1 + n_held)
        )  # fmt: skip
    least_score = score_threshold(calibration, settings)
    thresholds = class_thresholds(
        held["label"].astype(str), held[columns], labels, settings.coverage
    )
    sets = prediction_sets(asked[columns], thresholds)
    # A sample without anchors: its scores beside held-out cells say nothing of it.
    if len(predictions) and (predictions["predicted"] == "").all():
        sets, p_values = np.zeros_like(sets), np.full(len(predictions), np.nan)
    return calls_table(predictions, sets, p_values, least_score, outside_below, without)


def calls_sentence(calls: pd.DataFrame) -> str:
    """How many cells of calls.tsv.gz got a label, and which are the most."""
    named = calls.loc[calls["cell_type"] != UNASSIGNED, "cell_type"].value_counts()
    most = ", ".join(f"{label} {n}" for label, n in named.head(MOST_NAMED).items())
    return f"{named.sum()} of {len(calls)} cells got a label" + (f"; most: {most}" if most else "")


def calls_table(
    predictions: pd.DataFrame,
    sets: np.ndarray,
    p_reference: np.ndarray,
    least_score: float,
    outside_below: float,
    without: str = NO_ANCHOR,
) -> pd.DataFrame:
    """What is said of each query cell (calls.tsv.gz).

    Parameters
    ----------
    predictions : see `predictions_table`.
    sets : cells x labels (bool), the prediction sets; they are written in alphabetical order.
    p_reference : how usual the cell is for the reference (cells), see `conformal_p_values`; NaN
        where that is not known.
    least_score, outside_below : least score, and least of these p-values, of an assigned cell.
    without : see `call`.
    """
    columns = score_names(predictions)
    labels = np.array(scored_labels(predictions), dtype=object)
    scores = predictions[columns].to_numpy(dtype=float)
    order = np.argsort(-scores, axis=1, kind="stable")
    rows = np.arange(len(predictions))
    has_second = len(columns) > 1
    second = order[:, 1] if has_second else order[:, 0]
    second_score = scores[rows, second] if has_second else np.zeros(len(rows))
    # The threshold is a score of a table of eight digits.
    low = predictions["score"].to_numpy() < least_score - ROUNDING
    none = predictions["predicted"].to_numpy() == ""
    outside = p_reference < outside_below
    rule = np.select(
        [none, outside, low],
        [without, f"p_reference_below_{outside_below:g}",
         NO_SCORE if np.isinf(least_score) else f"score_below_{least_score:.3g}"],
        "",
    )  # fmt: skip
    calls = pd.DataFrame(
        {
            "cell": predictions["cell"],
            "cell_type": np.where(rule == "", predictions["predicted"], UNASSIGNED),
            "predicted": predictions["predicted"],
            "score": predictions["score"],
            "second": np.where(second_score > 0, labels[second], ""),
            "second_score": second_score,
            "prediction_set": [joined(labels[sets[i]]) for i in rows],
            "entropy": entropy(scores),
            "n_anchors": predictions["n_anchors"],
            "p_reference": p_reference,
            "rule": rule,
        }
    )
    if "synthetic" in predictions:
        calls["synthetic"] = predictions["synthetic"]
    return calls


def entropy(scores: np.ndarray) -> np.ndarray:
    """Entropy in nats of each cell's scores, brought to sum 1; ln(labels) where all are 0."""
    total = scores.sum(axis=1, keepdims=True)
    share = np.divide(scores, total, out=np.full_like(scores, 1 / scores.shape[1]), where=total > 0)
    # + 0.0 turns -0.0 into 0.0
    return -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1) + 0.0
