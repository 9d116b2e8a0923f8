"""The voter `linear`: logistic regression on the expression of the reference's variable genes."""

import logging
from collections.abc import Collection

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from dice_atlas.errors import InputError
from dice_atlas.holdout import calibration_cells
from dice_atlas.numerics.blocks import row_slices
from dice_atlas.numerics.scaling import Scaling, fit_scaling, scale
from dice_atlas.numerics.sketch import subsample_per_label
from dice_atlas.transfer.scores import votes_calibration, votes_table
from dice_atlas.transfer.settings import MOST_CELLS

logger = logging.getLogger(__name__)

# Cap of scaled expression, in standard deviations.
MAX_VALUE = 10.0
# Inverse strength of the ridge penalty; 0.001 to 0.1 are about as good.
C = 0.01
MOST_STEPS = 300
# Cells of a label that are not left out where there are too many for the model.
LEAST_CELLS = 100


def scaled(expression: sp.csr_matrix, scaling: Scaling) -> np.ndarray:
    """Centred, scaled expression, dense float32."""
    return (scale(expression, scaling).toarray() - scaling.center).astype(np.float32)


def linear_scores(
    expression: sp.csr_matrix,
    labels: np.ndarray,
    rows: np.ndarray,
    asked: np.ndarray,
    names: Collection[str],
    seed: int,
) -> np.ndarray:
    """Probabilities of the labels, by a model of some cells.

    Each label weighs the same, whatever the number of its cells: shares of types differ between
    reference and query.

    Parameters
    ----------
    expression : cells x genes, log-normalised.
    labels : of all cells.
    rows : positions of the labelled cells that the model is fitted on.
    asked : positions of the cells to label.
    names : of the columns; a label without a cell in `rows` has probability 0.
    seed : of the draw where there are many cells.

    Returns
    -------
    Asked cells x names; rows sum to 1.
    """
    rows = rows[subsample_per_label(labels[rows], MOST_CELLS, seed, LEAST_CELLS)]
    columns = pd.Index(names)
    result = np.zeros((len(asked), len(columns)))
    classes = np.unique(labels[rows])
    if len(classes) == 1:
        result[:, columns.get_loc(classes[0])] = 1.0
        return result
    scaling = fit_scaling(expression[rows], MAX_VALUE)
    model = LogisticRegression(C=C, max_iter=MOST_STEPS, class_weight="balanced")
    model.fit(scaled(expression[rows], scaling), labels[rows])
    if model.n_iter_.max() >= MOST_STEPS:
        logger.warning("the regression had not converged after %d steps", MOST_STEPS)
    place = columns.get_indexer(model.classes_)
    for part in row_slices(len(asked)):
        block = scaled(expression[asked[part]], scaling)
        result[part, place] = model.predict_proba(block)
    return result


def vote(
    expression: sp.csr_matrix, cells: pd.DataFrame, listed: Collection[str] | None, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels of the query by the whole reference; those of held-out cells by the rest of it.

    Parameters
    ----------
    expression : cells x genes, log-normalised.
    cells : `sample`, `role`, `label` and `cell_key` of all cells.
    listed : see `holdout.calibration_cells`.
    seed : of the draw where there are many cells.

    Returns
    -------
    predictions.tsv.gz and calibration.tsv.gz, without numbers of anchors and without support.

    Raises
    ------
    InputError
        No reference cell has a label.
    """
    reference = np.flatnonzero(cells["role"] == "reference")
    query = np.flatnonzero(cells["role"] == "query")
    labels = cells["label"].astype(str).to_numpy(dtype=str)
    known = reference[labels[reference] != ""]
    names = list(dict.fromkeys(labels[known]))
    if not names:
        raise InputError("no reference cell has a label: name the reference's labels column")
    scores = linear_scores(expression, labels, known, query, names, seed)
    of_reference = cells.iloc[reference]
    held = reference[calibration_cells(of_reference["cell_key"], of_reference["label"], listed)]
    asked = np.concatenate([held, query]) if len(held) else held
    again = np.empty((0, len(names)))
    if len(held):
        again = linear_scores(expression, labels, np.setdiff1d(known, held), asked, names, seed)
    calibration = votes_calibration(cells.iloc[asked], len(held), labels[asked], again, names)
    of_held = calibration[: len(held)]
    right = (of_held["label"] == of_held["predicted"]).sum()
    share = 100 * right / max(len(held), 1)
    logger.info("%.1f %% of %d held-out cells labelled right", share, len(held))
    return votes_table(cells.index[query], scores, names), calibration
