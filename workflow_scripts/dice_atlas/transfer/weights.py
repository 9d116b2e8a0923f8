"""Weights of the anchors for every query cell (Seurat's TransferData)."""

import logging

import numpy as np
import scipy.sparse as sp

from dice_atlas.numerics.neighbors import Neighbors
from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.settings import WeightSettings

logger = logging.getLogger(__name__)


def anchor_weights(
    anchors: Anchors, embedding: np.ndarray, settings: WeightSettings | None = None
) -> sp.csr_matrix:
    """Weight of each anchor for each query cell.

    v4 and v5: the anchors of a cell's `k_weight` nearest anchor cells are taken nearest first,
    until `k_weight` anchors are used; each weighs 1 - exp(-D score / (2 / sd_weight)^2), with
    D = 1 - d / d_k and d_k the distance of the farthest of these cells.
    v3: the `k_weight` + 1 nearest anchors, a cell being listed once for each of its anchors,
    without the first one; each weighs 1 - exp(-D score / 2 / sd_weight^2).

    Parameters
    ----------
    anchors : see `find_anchors`; of none, no cell has a weight.
    embedding : query cells x dims, NOT L2-normalised, though anchors were found so.
    settings : `k_weight` is lowered, with a warning, to what there is.

    Returns
    -------
    Query cells x anchors, rows sum to 1. Where every weight of a cell is 0 (0 / 0 in
    Seurat) its anchors weigh the same.
    """
    settings = settings or WeightSettings()
    if not anchors.query.size:
        return sp.csr_matrix((embedding.shape[0], 0))
    of_version = _v3_anchors if settings.seurat_version == "v3" else _v4_anchors
    row, column, nearness, width = of_version(anchors, embedding, settings)
    weight = -np.expm1(-nearness * anchors.score[column] / width)
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


def _v4_anchors(
    anchors: Anchors, embedding: np.ndarray, settings: WeightSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Query cell, anchor and nearness of each anchor that counts, and the kernel's width."""
    cells = np.array(list(dict.fromkeys(anchors.query.tolist())), dtype=np.int64)
    k = _at_most(settings.k_weight, cells.size, "query cells have anchors")
    index, distance = Neighbors(embedding[cells], settings.exact_up_to).nearest(embedding, k)
    row, column, place = _used_anchors(anchors.query, cells, index, k)
    return row, column, _nearness(distance)[row, place], (2 / settings.sd_weight) ** 2


def _v3_anchors(
    anchors: Anchors, embedding: np.ndarray, settings: WeightSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """As `_v4_anchors`."""
    # One more is found than is used; one anchor alone is used itself.
    k = _at_most(settings.k_weight, max(anchors.query.size - 1, 1), "anchors come after the first")
    among = Neighbors(embedding[anchors.query], settings.exact_up_to)
    index, distance = among.nearest(embedding, min(k + 1, anchors.query.size))
    index, nearness = index[:, -k:], _nearness(distance)[:, -k:]
    row = np.repeat(np.arange(len(embedding)), k)
    return row, index.ravel(), nearness.ravel(), 2 * settings.sd_weight**2


def _nearness(distance: np.ndarray) -> np.ndarray:
    """1 at distance 0, 0 at the farthest of a row."""
    farthest = distance[:, -1:]
    return 1 - np.divide(distance, farthest, out=np.ones_like(distance), where=farthest > 0)


def _at_most(k_weight: int, there: int, what: str) -> int:
    if there < k_weight:
        logger.warning(
            "annotate.k.weight is %d, but %d %s: %d is used", k_weight, there, what, there
        )
    return min(k_weight, there)


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
