"""Query cells of types that the reference lacks: few of the cells around them find an anchor."""

import logging

import numpy as np
import pandas as pd

from dice_atlas.numerics.neighbors import Neighbors
from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.conformal import conformal_p_values

logger = logging.getLogger(__name__)

# Query cells of most labels have at least this part of the held-out cells' anchor support, or the
# query lies apart as a whole. Labels of fewer cells say nothing of it.
LEAST_SUPPORT = 0.7
MIN_CELLS = 10


def anchor_support(
    anchors: Anchors, embedding: np.ndarray, k: int, exact_up_to: int | None
) -> np.ndarray:
    """Share of the k query cells nearest to each, itself among them, that have an anchor (cells).

    A cell of a type that the reference has lies among cells that are mutual neighbours of
    reference cells.

    Parameters
    ----------
    anchors : between the reference and these cells.
    embedding : query cells x dims.
    k : cells, or all of the query where it has fewer.
    exact_up_to : more cells than these have approximate neighbours, see `Neighbors`.
    """
    has_anchor = np.zeros(len(embedding))
    has_anchor[anchors.query] = 1.0
    among = Neighbors(embedding, exact_up_to)
    return has_anchor[among.nearest_to_self(min(k, len(embedding)))].mean(axis=1)


def relative_support(
    support: np.ndarray, predicted: np.ndarray, query: np.ndarray, held: np.ndarray
) -> float:
    """Support of query cells by that of held-out cells: median over labels of their medians.

    Near 1 where both are alike, even where the reference lacks a type: its cells go to few labels.
    Where the query lies apart by its technology, held-out cells, being nearer, take the anchors of
    nearly all labels. NaN if no label has `MIN_CELLS` of both.

    Parameters
    ----------
    support, predicted : of all cells.
    query, held : the query cells in question, and the held-out ones (masks).
    """
    ratios = []
    for label in np.unique(predicted[held]):
        both = [support[mask & (predicted == label)] for mask in (query, held)]
        if min(map(len, both)) >= MIN_CELLS:
            ratios.append(np.median(both[0]) / max(np.median(both[1]), 1e-12))
    return float(np.median(ratios)) if ratios else np.nan


def reference_p_values(calibration: pd.DataFrame) -> np.ndarray:
    """How usual the query cells are for the reference: p values of their anchor support.

    Of query cells like the held-out ones a share x at the most has a value under x.

    Parameters
    ----------
    calibration : calibration.tsv.gz, see `calibration.calibration_table`.

    Returns
    -------
    One value per query cell, in their order. NaN of voters without anchors, and, with a warning, in
    samples that lie apart from the reference as a whole: their cells cannot be compared with the
    held-out ones.
    """
    held = (calibration["role"] == "reference").to_numpy()
    support = calibration["support"].to_numpy(dtype=float)
    predicted = calibration["predicted"].to_numpy(dtype=str)
    sample = calibration["sample"].to_numpy(dtype=str)
    if np.isnan(support).all():  # of a voter without anchors
        return np.full(int((~held).sum()), np.nan)
    # Little support is what is unusual. Cells that no anchor could be searched for have none.
    known = ~np.isnan(support)
    p_values = np.full(len(support), np.nan)
    p_values[known] = conformal_p_values(-support[held & known], -support[known])
    for name in dict.fromkeys(sample[~held]):
        query = ~held & known & (sample == name)
        if not query.any():
            continue
        relative = relative_support(support, predicted, query, held)
        logger.info(
            "%s: anchor support %.2f times that of held-out reference cells; p_reference below "
            "0.01: %.1f %%, below 0.05: %.1f %%",
            name,
            relative,
            *(100 * (p_values[query] < level).mean() for level in (0.01, 0.05)),
        )
        if relative < LEAST_SUPPORT:
            logger.warning(
                "%s lies apart from the reference as a whole (less than %g times the support): "
                "anchors cannot tell cells of types that the reference lacks, so this voter leaves "
                "p_reference empty",
                name,
                LEAST_SUPPORT,
            )
            p_values[query] = np.nan
    return p_values[~held]
