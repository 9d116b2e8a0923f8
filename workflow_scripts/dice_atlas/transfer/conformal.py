"""Prediction sets of given coverage by split-conformal prediction, class by class; p values.

Held-out labelled cells give, per class, the nonconformity (1 - score of the true label)
that a share `coverage` of them stays under; a query cell's set is every label that stays
under its class's threshold (Mondrian conformal prediction, Vovk et al. 2005, sec. 4.5)
and that has any anchor behind it.
The true label is in the set with probability >= coverage, in each class, as far as query
cells are exchangeable with the held-out ones: not across a shift of batch or technology.
A class whose own held-out cells often find no anchor of it cannot reach the coverage; to put it
into every set would be valid and of no use, so it falls short, with a warning.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

logger = logging.getLogger(__name__)

# Scores pass through tables of eight digits; many are exactly 0 or 1.
ROUNDING = 1e-6


def conformal_quantile(nonconformity: np.ndarray, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest value; infinite where that exceeds n."""
    rank = conformal_rank(nonconformity.size, coverage)
    return float(np.sort(nonconformity)[rank - 1]) if rank <= nonconformity.size else np.inf


def conformal_rank(n: int, coverage: float) -> int:
    """Rank of the threshold among n calibration values; more than n where these are too few."""
    return int(np.ceil((n + 1) * coverage - 1e-9))


def conformal_p_values(calibration: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of calibration values that are as large, the value itself counted (values).

    A value exchangeable with the n calibration values has p <= x with probability x at the most
    (Vovk et al. 2005, sec. 2.2); NaN where n = 0.
    """
    n = calibration.size
    if n == 0:
        return np.full(values.shape, np.nan)
    as_large = n - np.searchsorted(np.sort(calibration), values, side="left")
    return (as_large + 1) / (n + 1)


def class_thresholds(
    truth: Sequence[str], scores: np.ndarray, labels: Sequence[str], coverage: float
) -> np.ndarray:
    """Largest nonconformity of each label in a prediction set (labels).

    Parameters
    ----------
    truth : label of each calibration cell.
    scores : calibration cells x labels.
    labels : names of the columns.
    coverage : wanted share of cells whose set has their true label, 0 to 1.

    Returns
    -------
    Thresholds. Classes with too few calibration cells for their own share one, with a warning:
    that of all such classes together, so that the coverage holds for them as a group; if these are
    too few too that of all classes; infinite (every label is in every set) if all are too few.
    """
    position = pd.Index(labels).get_indexer(list(truth))
    known = position >= 0
    rows = np.flatnonzero(known)
    nonconformity = 1 - np.asarray(scores, dtype=float)[rows, position[known]]
    of_class = position[known]
    thresholds = np.array(
        [conformal_quantile(nonconformity[of_class == i], coverage) for i in range(len(labels))]
    )
    few = np.isinf(thresholds)
    if few.any():
        pooled = conformal_quantile(nonconformity[few[of_class]], coverage)
        shared = "share one threshold"
        if np.isinf(pooled):
            pooled = conformal_quantile(nonconformity, coverage)
            shared = "take the threshold of all labels together"
        thresholds[few] = pooled
        logger.warning(
            "%d of %d labels have too few calibration cells for a coverage of %g and %s%s: %s",
            few.sum(),
            len(labels),
            coverage,
            shared,
            " (too few as well: their sets are not limited)" if np.isinf(pooled) else "",
            ", ".join(
                f"{labels[i]} ({(of_class == i).sum()})" for i in np.flatnonzero(few).tolist()
            ),
        )
    unreachable = np.flatnonzero((thresholds >= 1 - ROUNDING) & np.isfinite(thresholds))
    for i in unreachable.tolist():
        without = (nonconformity[of_class == i] >= 1 - ROUNDING).sum()
        if not without:  # of a group of small classes, another one
            continue
        logger.warning(
            "the coverage of %g cannot be reached for %s: %d of its %d calibration cells have no "
            "anchor of their own label",
            coverage,
            labels[i],
            without,
            (of_class == i).sum(),
        )
    return thresholds


def prediction_sets(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which labels are in each cell's set (cells x labels, bool).

    A set may be empty: the cell conforms to no class, which marks it as an outlier. A label
    of score 0 is in a set only where nothing could be calibrated (infinite threshold).
    """
    nonconformity = 1 - np.asarray(scores, dtype=float)
    without_evidence = (nonconformity >= 1 - ROUNDING) & np.isfinite(thresholds)
    return (nonconformity <= thresholds + ROUNDING) & ~without_evidence
