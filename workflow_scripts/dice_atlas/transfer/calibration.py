"""Scores of held-out reference cells, labelled from the rest of the reference."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dice_atlas.cells import calibration_cells
from dice_atlas.errors import InputError
from dice_atlas.transfer.anchors import AnchorSettings
from dice_atlas.transfer.spaces import Space
from dice_atlas.transfer.transfer import score_columns, transfer_labels, winners
from dice_atlas.transfer.weights import WeightSettings

logger = logging.getLogger(__name__)


def calibration_table(
    space: Space,
    reference: np.ndarray,
    query: np.ndarray,
    cells: Sequence[str],
    labels: Sequence[str],
    settings: AnchorSettings,
    weights: WeightSettings,
) -> pd.DataFrame:
    """Transfer labels to held-out reference cells (calibration.tsv.gz).

    They stand among the query cells, as one of them: a cell's scores hang on how many cells are
    asked about and on which of them have anchors, and few held-out cells alone have other scores.

    Parameters
    ----------
    space : where anchors are found.
    reference, query : positions of the cells in `space`.
    cells, labels : names and labels ("" = none) of the reference cells.
    settings, weights : as of the transfer to the query.

    Returns
    -------
    One row per held-out cell; none, with a warning, where the transfer is not possible.
    """
    labels = [str(label) for label in labels]
    columns = [label for label in dict.fromkeys(labels) if label]
    held = calibration_cells(cells, labels)
    for label in sorted(set(columns) - {labels[i] for i in held}):
        logger.warning("%s has too few reference cells for one to be held out", label)
    rest = np.setdiff1d(np.arange(len(labels)), held)
    scores = np.empty((0, len(columns)))
    try:
        if held.size == 0:
            raise InputError("no reference class has enough cells")
        asked = np.concatenate([reference[held], query])
        anchors, embedding = space.anchors(reference[rest], asked, settings)
        result = transfer_labels(anchors, embedding, [labels[i] for i in rest], weights)
        scores = result.scores[: held.size, [result.labels.index(label) for label in columns]]
    except InputError as error:
        logger.warning("prediction sets cannot be calibrated: %s", error)
        held = held[:0]
    table = pd.DataFrame(
        {
            "cell": [cells[i] for i in held],
            "label": [labels[i] for i in held],
            "predicted": winners(scores, columns),
        }
    )
    right = (table["label"] == table["predicted"]).mean() if len(table) else np.nan
    logger.info("calibration: %d held-out cells, %.4f of them labelled right", len(table), right)
    return pd.concat([table, score_columns(scores, columns)], axis=1)
