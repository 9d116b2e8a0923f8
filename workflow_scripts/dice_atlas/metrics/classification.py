"""Called labels against the truth: accuracy, F1, recall per class, what unassigned cells cost."""

import numpy as np
from sklearn.metrics import f1_score, recall_score

from dice_atlas.metrics.score import Score, undefined
from dice_atlas.names import UNASSIGNED


def classification_scores(truth: np.ndarray, called: np.ndarray) -> dict[str, Score]:
    """Scores of the labels that cells were given; an unassigned cell counts as wrong.

    Parameters
    ----------
    truth : labels, one per cell, none missing.
    called : labels or "unassigned".

    Returns
    -------
    dict
        `accuracy`; `balanced_accuracy` = mean recall and `macro_f1` = mean F1 over the labels of
        the truth; `recall:<label>`; `unassigned` = share of cells; `accuracy_assigned` = accuracy
        among the assigned.
    """
    truth, called = np.asarray(truth).astype(str), np.asarray(called).astype(str)
    if not len(truth):
        none = undefined("no cell")
        names = ("accuracy", "balanced_accuracy", "macro_f1", "unassigned", "accuracy_assigned")
        return dict.fromkeys(names, none)
    classes, sizes = np.unique(truth, return_counts=True)
    single = f"{(sizes == 1).sum()} class(es) of one cell" if (sizes == 1).any() else ""
    recall = recall_score(truth, called, labels=classes, average=None, zero_division=0)
    f1 = f1_score(truth, called, labels=classes, average="macro", zero_division=0)
    assigned = called != UNASSIGNED
    right = truth == called
    scores = {
        "accuracy": Score(float(right.mean())),
        "balanced_accuracy": Score(float(recall.mean()), single),
        "macro_f1": Score(float(f1), single),
        "unassigned": Score(float((~assigned).mean())),
        "accuracy_assigned": Score(float(right[assigned].mean()))
        if assigned.any()
        else undefined("all cells are unassigned"),
    }
    for name, value, size in zip(classes, recall, sizes, strict=True):
        scores[f"recall:{name}"] = Score(float(value), f"{size} cell(s)")
    return scores
