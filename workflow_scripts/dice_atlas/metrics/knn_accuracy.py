"""Label accuracy of the query by its nearest reference cells: the embedding judged alone."""

import numpy as np
from sklearn.metrics import recall_score

from dice_atlas.metrics.score import Score, undefined
from dice_atlas.numerics.neighbors import Neighbors

N_NEIGHBORS = 15


def knn_accuracy(
    reference: np.ndarray,
    reference_labels: np.ndarray,
    query: np.ndarray,
    truth: np.ndarray,
    n_neighbors: int = N_NEIGHBORS,
) -> dict[str, Score]:
    """Majority vote of the nearest reference cells, against the query's truth.

    Parameters
    ----------
    reference, query : cells x k, the same embedding.
    reference_labels, truth : one label per cell.

    Returns
    -------
    dict
        `knn_accuracy`, and `knn_balanced_accuracy` = mean recall over the labels of the truth.
    """
    names = ("knn_accuracy", "knn_balanced_accuracy")
    if not len(reference) or not len(query):
        return dict.fromkeys(names, undefined("no labelled reference cell or no query cell"))
    note = ""
    if len(reference) < n_neighbors:
        n_neighbors = len(reference)
        note = f"{n_neighbors} neighbours: the reference has no more labelled cells"
    names_of, codes = np.unique(np.asarray(reference_labels).astype(str), return_inverse=True)
    among = Neighbors(np.asarray(reference, float))
    index, _ = among.nearest(np.asarray(query, float), n_neighbors)
    votes = np.zeros((len(query), len(names_of)), dtype=np.int64)
    np.add.at(votes, (np.arange(len(query))[:, None], codes[index]), 1)
    # Of a tie the first by name.
    predicted, truth = names_of[votes.argmax(axis=1)], np.asarray(truth).astype(str)
    balanced = recall_score(
        truth, predicted, labels=np.unique(truth), average="macro", zero_division=0
    )
    values = (float((predicted == truth).mean()), float(balanced))
    note = note or among.note
    return {name: Score(value, note) for name, value in zip(names, values, strict=True)}
