"""Scores of held-out reference cells and of the query, labelled from the rest of the reference."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dice_atlas.errors import InputError
from dice_atlas.transfer.labels import transfer_labels
from dice_atlas.transfer.novelty import anchor_support
from dice_atlas.transfer.scores import score_columns, winners
from dice_atlas.transfer.settings import AnchorSettings, WeightSettings
from dice_atlas.transfer.spaces import Space

logger = logging.getLogger(__name__)


def calibration_table(
    space: Space,
    reference: np.ndarray,
    query: np.ndarray,
    cells: pd.Index,
    labels: Sequence[str],
    held: np.ndarray,
    settings: AnchorSettings,
    weights: WeightSettings,
) -> pd.DataFrame:
    """Transfer labels to held-out reference cells and to the query, as if both were one query.

    A cell's scores depend on how many cells are asked about, on which of them have anchors and on
    the cells of the reference. Held-out cells are exchangeable with query cells of their class
    only in the scores of one transfer, which treats both alike.

    Parameters
    ----------
    space : where anchors are found.
    reference, query : positions of the cells in `space`.
    cells : names of all cells of `space`.
    labels : of the reference cells ("" = none).
    held : positions among the reference cells of those that are held out.
    settings, weights : as of the transfer to the query.

    Returns
    -------
    calibration.tsv.gz: one row per held-out cell, then one per query cell (label ""), `support`
    as of `outside.anchor_support`; no row, with a warning, where the transfer is not possible.
    """
    labels = [str(label) for label in labels]
    columns = [label for label in dict.fromkeys(labels) if label]
    for label in sorted(set(columns) - {labels[i] for i in held}):
        logger.warning("%s has too few reference cells for one to be held out", label)
    rest = np.setdiff1d(np.arange(len(labels)), held)
    asked = np.concatenate([reference[held], query])
    scores, support = np.empty((0, len(columns))), np.empty(0)
    try:
        if held.size == 0:
            raise InputError("no reference class has enough cells")
        anchors, embedding = space.anchors(reference[rest], asked, settings)
        result = transfer_labels(anchors, embedding, [labels[i] for i in rest], weights)
        scores = result.scores[:, [result.labels.index(label) for label in columns]]
        support = anchor_support(anchors, embedding, settings.support, settings.exact_up_to)
    except InputError as error:
        logger.warning("prediction sets cannot be calibrated: %s", error)
        held, asked = held[:0], asked[:0]
    is_held = np.arange(asked.size) < held.size
    table = pd.DataFrame(
        {
            "cell": cells[asked],
            "role": np.where(is_held, "reference", "query"),
            "label": [labels[i] for i in held] + [""] * (asked.size - held.size),
            "predicted": winners(scores, columns),
            "support": support,
        }
    )
    right = (table["label"] == table["predicted"])[is_held].mean() if held.size else np.nan
    logger.info("%.1f %% of %d held-out cells labelled right", 100 * right, held.size)
    return pd.concat([table, score_columns(scores, columns)], axis=1)
