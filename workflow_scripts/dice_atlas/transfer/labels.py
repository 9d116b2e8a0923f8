"""Labels of the query from weighted anchors: class scores, predictions and calls."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.errors import InputError
from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.scores import score_columns, winners
from dice_atlas.transfer.settings import WeightSettings
from dice_atlas.transfer.weights import anchor_weights


@dataclass(frozen=True)
class LabelScores:
    """Scores of every label for every query cell.

    Attributes
    ----------
    labels : in order of first appearance in the reference; "" (no label) is none.
    scores : query cells x labels; rows sum to 1, to less where anchors have no label.
    n_anchors : query cells x labels, number of anchors of positive weight.
    synthetic : query cells x labels, the part of each score that comes from synthetic reference
        cells; None where there are none.
    """

    labels: list[str]
    scores: np.ndarray
    n_anchors: np.ndarray
    synthetic: np.ndarray | None = None


def transfer_labels(
    anchors: Anchors,
    embedding: np.ndarray,
    reference_labels: Sequence[str],
    settings: WeightSettings | None = None,
    synthetic: np.ndarray | None = None,
) -> LabelScores:
    """Class scores of the query cells: the weights of the anchors that carry each label.

    Parameters
    ----------
    anchors : from `find_anchors`.
    embedding : query cells x dims in which weights are measured, not normalised.
    reference_labels : label of every reference cell; "" takes part, but has no column.
    settings : see `weights.anchor_weights`.
    synthetic : mask of the reference cells that are synthetic; None: none is.

    Raises
    ------
    InputError
        No reference cell has a label.
    """
    labels = [label for label in dict.fromkeys(map(str, reference_labels)) if label]
    if not labels:
        raise InputError("no reference cell has a label: name the reference's labels column")
    weights = anchor_weights(anchors, embedding, settings)
    position = {label: i for i, label in enumerate(labels)}
    of_cell = np.array([position.get(str(label), -1) for label in reference_labels])
    of_anchor = of_cell[anchors.reference]
    known = np.flatnonzero(of_anchor >= 0)
    member = sp.csr_matrix(
        (np.ones(known.size), (known, of_anchor[known])), shape=(of_anchor.size, len(labels))
    )
    scores = (weights @ member).toarray()
    n_anchors = ((weights > 0).astype(np.int64) @ member).toarray().astype(np.int64)
    if synthetic is None or not synthetic.any():
        return LabelScores(labels, scores, n_anchors)
    of_synthetic = sp.diags_array(synthetic[anchors.reference].astype(float)) @ member
    return LabelScores(labels, scores, n_anchors, (weights @ of_synthetic).toarray())


def predictions_table(cells: Sequence[str], result: LabelScores) -> pd.DataFrame:
    """The best label of every query cell with all scores (predictions.tsv.gz).

    `n_anchors` is the number of anchors that speak for the best label, `synthetic` the share of its
    score that comes from synthetic cells; there is none where the reference has no such cell.
    """
    best = result.scores.argmax(axis=1)
    rows = np.arange(len(best))
    table = pd.DataFrame(
        {
            "cell": list(cells),
            "predicted": winners(result.scores, result.labels),
            "score": result.scores[rows, best],
            "n_anchors": result.n_anchors[rows, best],
        }
    )
    if result.synthetic is not None:
        part, whole = result.synthetic[rows, best], result.scores[rows, best]
        table["synthetic"] = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return pd.concat([table, score_columns(result.scores, result.labels)], axis=1)
