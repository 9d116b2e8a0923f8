"""Prediction sets of given coverage by split-conformal prediction, class by class; p values.

A label's nonconformity is how far its score lies behind the cell's best one: 1 - score / best.
Held-out labelled cells give, per class, the value that a share `coverage` of their true labels
stays under; a query cell's set is every label that stays under its class's threshold (Mondrian
conformal prediction, Vovk et al. 2005, sec. 4.5) and that has any evidence behind it.
The true label is in the set with probability >= coverage, in each class, as far as query cells
are exchangeable with the held-out ones: not across a shift of batch or technology. A shift mostly
lowers all scores of a cell; behind the best they change less, so that the sets keep more of their
coverage than by 1 - score (docs/annotation-benchmark.md).
A class whose own held-out cells are hardly told from others cannot reach the coverage without
being in nearly every set, which would be valid and of no use: a few odd cells of a rare type would
spoil the sets of all. Its threshold stops where its label is in the sets of `MOST_OTHERS` cells of
other classes for each cell that the threshold rests on (measured in docs/annotation-benchmark.md),
and it falls short, with a warning. Labels without any evidence in a cell are never in its set.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dice_atlas.transfer.scores import top_scores
from dice_atlas.transfer.settings import CallSettings

logger = logging.getLogger(__name__)

# Scores pass through tables of eight digits; many are exactly 0 or 1.
ROUNDING = 1e-6
# Calibration cells of other labels whose sets a label may enter, for each that its threshold rests
# on. The pages say "ten".
MOST_OTHERS = 10


def nonconformity(scores: np.ndarray) -> np.ndarray:
    """How far each score lies behind the cell's best one, 0 to 1 (cells x labels).

    1 for a score of 0, also in cells without any score.
    """
    values = np.asarray(scores, dtype=float)
    best = values.max(axis=1, keepdims=True, initial=0.0)
    return 1 - np.divide(values, best, out=np.zeros_like(values), where=best > 0)


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


@dataclass(frozen=True)
class Calibration:
    """Thresholds of labels, and what they reach.

    Parameters
    ----------
    labels : names.
    coverage : that was asked for.
    thresholds : largest nonconformity of each label in a prediction set; infinite: no limit.
    shared : whether a label has too few calibration cells for a threshold of its own.
    pooled : whether those labels share that of all labels together, not one of their own cells.
    cells : calibration cells of each label.
    covered : of these, those whose set has it.
    without_evidence : of these, those with a score of 0 for it.
    """

    labels: Sequence[str]
    coverage: float
    thresholds: np.ndarray
    shared: np.ndarray
    pooled: bool
    cells: np.ndarray
    covered: np.ndarray
    without_evidence: np.ndarray

    def short(self) -> dict[str, str]:
        """Labels whose calibration cells miss the coverage, and how far and why.

        Labels that share a threshold count if all their cells together miss it.
        """
        missed = self.covered < self.coverage * self.cells
        group = self.shared
        if self.covered[group].sum() >= self.coverage * self.cells[group].sum():
            missed &= ~group
        found = {}
        for i in np.flatnonzero(missed).tolist():
            reached = f"{self.covered[i]} of {self.cells[i]}"
            blank = self.without_evidence[i]
            if blank > (1 - self.coverage) * self.cells[i]:
                found[self.labels[i]] = f"{reached}; {blank} have no evidence for it"
            else:
                found[self.labels[i]] = f"{reached}; more would put it into too many other sets"
        return found


def calibrate(
    truth: Sequence[str],
    scores: np.ndarray,
    labels: Sequence[str],
    coverage: float,
    most_others: float = MOST_OTHERS,
) -> Calibration:
    """Thresholds of all labels, see `class_thresholds`.

    Parameters
    ----------
    truth, scores, labels, coverage : see there.
    most_others : calibration cells of other labels whose sets a label may enter, for each cell that
        its threshold rests on.
    """
    position = pd.Index(labels).get_indexer(list(truth))
    known = position >= 0
    of_class = position[known]
    all_behind = nonconformity(scores)[known]
    behind = all_behind[np.arange(of_class.size), of_class]
    cells = np.bincount(of_class, minlength=len(labels))
    thresholds = np.array(
        [conformal_quantile(behind[of_class == i], coverage) for i in range(len(labels))]
    )
    few, support, pooled = np.isinf(thresholds), cells.copy(), False
    if few.any():
        pool = behind[few[of_class]]
        pooled = conformal_rank(pool.size, coverage) > pool.size
        pool = behind if pooled else pool
        thresholds[few], support[few] = conformal_quantile(pool, coverage), pool.size
    for i in np.flatnonzero(np.isfinite(thresholds)).tolist():
        others, most = np.sort(all_behind[of_class != i, i]), most_others * support[i]
        # Just below the first cell that would be one too many, if it has any evidence.
        if most < others.size and others[int(most)] < 1 - ROUNDING:
            thresholds[i] = max(0.0, min(thresholds[i], others[int(most)] - 2 * ROUNDING))
    blank = behind >= 1 - ROUNDING
    within = (behind <= thresholds[of_class] + ROUNDING) & (~blank | np.isinf(thresholds[of_class]))
    covered, without = (
        np.bincount(of_class[which], minlength=len(labels)) for which in (within, blank)
    )
    return Calibration(labels, coverage, thresholds, few, pooled, cells, covered, without)


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
    A label that would enter the sets of more than `MOST_OTHERS` cells of other labels for each
    cell that its threshold rests on stops there and falls short of the coverage, with a warning.
    """
    found = calibrate(truth, scores, labels, coverage)
    if found.shared.any():
        rare = np.flatnonzero(found.shared).tolist()
        unlimited = np.isinf(found.thresholds[rare]).any()
        logger.warning(
            "%d of %d labels have too few calibration cells for a coverage of %g and %s%s: %s",
            len(rare),
            len(labels),
            coverage,
            "take the threshold of all labels together" if found.pooled else "share one threshold",
            " (too few as well: their sets are not limited)" if unlimited else "",
            ", ".join(f"{labels[i]} ({found.cells[i]})" for i in rare),
        )
    for label, reached in found.short().items():
        logger.warning(
            "the coverage of %g cannot be reached for %s: its calibration cells that have it in "
            "their set are %s", coverage, label, reached,
        )  # fmt: skip
    return found.thresholds


def labelled_and_wrong(
    score: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells that get a label, and wrong labels among them, if a score is the least of a label.

    Parameters
    ----------
    score, right : of the best label of each cell, and whether it is the true one.

    Returns
    -------
    Scores, falling, each once; numbers of cells with that score or more; wrong ones among these.
    """
    order = np.argsort(-score, kind="stable")
    cells, wrong = np.arange(1, len(score) + 1), np.cumsum(~right[order])
    # Cells of one score get their labels together.
    complete = np.append(np.diff(score[order]) != 0, True)[: len(score)]
    return score[order][complete], cells[complete], wrong[complete]


def risk_threshold(score: np.ndarray, right: np.ndarray, risk: float) -> float:
    """The least score from which at most a share `risk` of the labels is wrong.

    Of n calibration cells with a score of the threshold or more, w of them wrong, it asks for
    (w + 1) / (n + 1) <= risk: one more cell, were it wrong, would not exceed the risk. It is
    estimated, not guaranteed: the threshold is the lowest of many that could meet it. It speaks of
    query cells as far as they are exchangeable with the calibration cells.

    Parameters
    ----------
    score, right : of the best label of each calibration cell, and whether it is the true one.
    risk : between 0 and 1.

    Returns
    -------
    The threshold; 0 if all cells together meet the risk, and, with a warning, if there are too few
    calibration cells for any to meet it; infinite, with a warning, if no threshold does.
    """
    least, cells, wrong = labelled_and_wrong(score, right)
    met = np.flatnonzero((wrong + 1) <= risk * (cells + 1) + 1e-12)
    if met.size:
        return 0.0 if met[-1] == len(least) - 1 else float(least[met[-1]])
    if len(score) + 1 < 1 / risk:
        logger.warning(
            "%d held-out cells are too few for a risk of %g: no cell is unassigned by its score",
            len(score), risk,
        )  # fmt: skip
        return 0.0
    logger.warning(
        "no score of held-out cells keeps the share of wrong labels at %g: no cell gets a label; "
        "raise annotate.risk, or set annotate.unassigned_below", risk,
    )  # fmt: skip
    return float("inf")


def best_scores(calibration: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Score of the predicted label, and whether it is right, of held-out reference cells."""
    return top_scores(calibration), (calibration["predicted"] == calibration["label"]).to_numpy(
        dtype=bool
    )


def score_threshold(calibration: pd.DataFrame, settings: CallSettings) -> float:
    """Least score of a cell that gets a label: that of the settings, or by the risk.

    Parameters
    ----------
    calibration : calibration.tsv.gz.
    settings : of the calls.
    """
    if settings.unassigned_below is not None:
        return settings.unassigned_below
    score, right = best_scores(calibration[calibration["role"] == "reference"])
    return risk_threshold(score, right, settings.risk)


def prediction_sets(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which labels are in each cell's set (cells x labels, bool).

    The best label is in every set but for that of a cell without any score, which is empty. A label
    of score 0 is in a set only where nothing could be calibrated (infinite threshold).
    """
    behind = nonconformity(scores)
    without_evidence = (behind >= 1 - ROUNDING) & np.isfinite(thresholds)
    return (behind <= thresholds + ROUNDING) & ~without_evidence
