"""Weights of the anchors for every query cell (Seurat v4's TransferData)."""

import logging

import numpy as np
import scipy.sparse as sp

from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.neighbors import nearest

logger = logging.getLogger(__name__)


def anchor_weights(
    anchors: Anchors, embedding: np.ndarray, k_weight: int = 50, sd_weight: float = 1.0
) -> sp.csr_matrix:
    """Weight of each anchor for each query cell.

    The anchors of a cell's `k_weight` nearest anchor cells are taken nearest first, until
    `k_weight` anchors are used; each weighs 1 - exp(-D score / (2 / sd_weight)^2), with
    D = 1 - d / d_k and d_k the distance of the farthest of these cells.

    Parameters
    ----------
    anchors : at least one.
    embedding : query cells x dims, NOT L2-normalised, though anchors were found so.
    k_weight : lowered, with a warning, to the number of query cells that have anchors.
    sd_weight : width of the kernel.

    Returns
    -------
    Query cells x anchors, rows sum to 1. Where every weight of a cell is 0 (0 / 0 in
    Seurat) its anchors weigh the same.
    """
    cells = np.array(list(dict.fromkeys(anchors.query.tolist())), dtype=np.int64)
    k = min(k_weight, cells.size)
    if k < k_weight:
        logger.warning(
            "annotate.k.weight is %d, but %d query cells have anchors: %d is used",
            k_weight,
            cells.size,
            k,
        )
    index, distance = nearest(embedding, embedding[cells], k)
    farthest = distance[:, -1:]
    nearness = 1 - np.divide(distance, farthest, out=np.ones_like(distance), where=farthest > 0)
    row, column, place = _used_anchors(anchors.query, cells, index, k)
    exponent = nearness[row, place] * anchors.score[column] / (2 / sd_weight) ** 2
    weight = -np.expm1(-exponent)
    total = np.bincount(row, weight, minlength=embedding.shape[0])
    empty = total <= 0
    if empty.any():
        logger.warning(
            "%d query cells have anchors of weight 0 only: these count the same", empty.sum()
        )
        weight = np.where(empty[row], 1.0, weight)
        total = np.bincount(row, weight, minlength=embedding.shape[0])
    shape = (embedding.shape[0], anchors.query.size)
    return sp.csr_matrix((weight / total[row], (row, column)), shape=shape)


def _used_anchors(
    anchor_query: np.ndarray, cells: np.ndarray, index: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query cell, anchor, and place of its cell among the nearest, of each anchor that counts."""
    order = np.argsort(anchor_query, kind="stable")
    start = np.searchsorted(anchor_query[order], cells)
    number = np.bincount(anchor_query, minlength=cells.max() + 1)[cells]
    counts = number[index]
    before = np.cumsum(counts, axis=1) - counts
    taken = np.clip(most - before, 0, counts).ravel()
    first = np.repeat(start[index].ravel(), taken)
    within = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    n, k = index.shape
    row = np.repeat(np.repeat(np.arange(n), k), taken)
    place = np.repeat(np.tile(np.arange(k), n), taken)
    return row, order[first + within], place
