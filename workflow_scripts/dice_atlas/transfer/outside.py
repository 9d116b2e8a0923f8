"""Query cells of types that the reference lacks: few of the cells around them find an anchor."""

import numpy as np

from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.neighbors import Neighbors


def anchor_support(anchors: Anchors, embedding: np.ndarray, k: int, exact_up_to: int) -> np.ndarray:
    """Share of the k query cells nearest to each, itself among them, that have an anchor (cells).

    A cell of a type that the reference has lies among cells that are mutual neighbours of
    reference cells. Distances are measured within the query alone, so that a query that lies apart
    as a whole, by its technology, is not taken for a new type.

    Parameters
    ----------
    anchors : between the reference and these cells.
    embedding : query cells x dims.
    k : cells, or all of the query where it has fewer.
    exact_up_to : more cells than these have approximate neighbours.
    """
    has_anchor = np.zeros(len(embedding))
    has_anchor[anchors.query] = 1.0
    among = Neighbors(embedding, exact_up_to)
    return has_anchor[among.nearest_to_self(min(k, len(embedding)))].mean(axis=1)
