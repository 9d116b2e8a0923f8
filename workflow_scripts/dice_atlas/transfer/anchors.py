"""Anchors between reference and query cells: found, filtered and scored (as in Seurat)."""

import logging
from dataclasses import dataclass

import numpy as np

from dice_atlas.errors import InputError
from dice_atlas.numerics.exact_neighbors import among_nearest
from dice_atlas.numerics.neighbors import Neighbors
from dice_atlas.numerics.scaling import l2_normalize
from dice_atlas.transfer.settings import AnchorSettings

logger = logging.getLogger(__name__)


class NoAnchors(InputError):
    """Reference and query have no cells that are mutual neighbours, or too few for a space."""


@dataclass(frozen=True)
class Anchors:
    """Pairs of cells, by reference cell and then by nearness of the query cell.

    Attributes
    ----------
    reference, query : positions of the cells (anchors).
    score : 0 to 1 (anchors).
    """

    reference: np.ndarray
    query: np.ndarray
    score: np.ndarray


def find_anchors(
    reference: np.ndarray,
    query: np.ndarray,
    settings: AnchorSettings,
    expression: tuple[np.ndarray, np.ndarray] | None = None,
) -> Anchors:
    """Anchors of two sets of cells in a common space.

    Parameters
    ----------
    reference, query : cells x dims; their rows are L2-normalised here.
    settings : those that the numbers of cells do not allow are lowered.
    expression : log-normalised expression (reference, query: cells x filter genes) for
        the filter; None, or k_filter None, leaves the anchors unfiltered.

    Raises
    ------
    NoAnchors
        No anchor is found.
    """
    settings = settings.fitted(reference.shape[0], query.shape[0])
    k = max(settings.k_anchor, settings.k_score or 1)
    reference, query = l2_normalize(reference), l2_normalize(query)
    among_reference = Neighbors(reference, settings.exact_up_to)
    among_query = Neighbors(query, settings.exact_up_to)
    query_of_reference, _ = among_query.nearest(reference, k)
    reference_of_query, _ = among_reference.nearest(query, k)
    rows, columns = mutual_pairs(query_of_reference, reference_of_query, settings.k_anchor)
    found = rows.size
    if settings.k_filter is not None and expression is not None:
        r, q = (l2_normalize(cells) for cells in expression)
        kept = among_nearest(r, q, rows, columns, settings.k_filter)
        rows, columns = rows[kept], columns[kept]
    logger.info(
        "%d anchors of %d found are kept, on %d of %d query cells",
        rows.size,
        found,
        np.unique(columns).size,
        query.shape[0],
    )
    if rows.size == 0:
        raise NoAnchors(
            f"no anchor is left of {found} between {reference.shape[0]} reference and "
            f"{query.shape[0]} query cells: are they of the same tissue and species? "
            "Else raise annotate.k.anchor, or set annotate.k.filter to null"
        )
    if settings.k_score is None:
        return Anchors(rows, columns, np.ones(rows.size))
    # Of the cells that are in anchors alone: the searches among cells of one side cost the most.
    in_reference, row = np.unique(rows, return_inverse=True)
    in_query, column = np.unique(columns, return_inverse=True)
    raw = shared_neighbors(
        row,
        column,
        reference.shape[0],
        among_reference.nearest_to_self(k, in_reference)[:, : settings.k_score],
        query_of_reference[in_reference, : settings.k_score],
        reference_of_query[in_query, : settings.k_score],
        among_query.nearest_to_self(k, in_query)[:, : settings.k_score],
    )
    return Anchors(rows, columns, rescale_scores(raw))


def mutual_pairs(
    query_of_reference: np.ndarray, reference_of_query: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (i, j) that are each among the other's `k` nearest, by i, then nearness of j."""
    rows = np.repeat(np.arange(query_of_reference.shape[0]), k)
    columns = query_of_reference[:, :k].ravel()
    mutual = (reference_of_query[columns, :k] == rows[:, None]).any(axis=1)
    return rows[mutual], columns[mutual]


def shared_neighbors(
    rows: np.ndarray,
    columns: np.ndarray,
    n_reference: int,
    reference_of_reference: np.ndarray,
    query_of_reference: np.ndarray,
    reference_of_query: np.ndarray,
    query_of_query: np.ndarray,
) -> np.ndarray:
    """Number of neighbours, in both sets together, that the two cells of a pair share (pairs).

    Parameters
    ----------
    rows, columns : of the pairs, in the lists of neighbours of reference and of query cells.
    n_reference : reference cells in all.
    reference_of_reference and the others : positions of neighbours (cells x k).
    """
    of_reference = np.hstack([reference_of_reference, query_of_reference + n_reference])
    of_query = np.hstack([reference_of_query, query_of_query + n_reference])
    # Neither list repeats a cell: one that stands twice in both lists together is shared.
    both = np.sort(np.hstack([of_reference[rows], of_query[columns]]).astype(np.int32), axis=1)
    return (both[:, 1:] == both[:, :-1]).sum(axis=1)


def rescale_scores(raw: np.ndarray) -> np.ndarray:
    """Counts brought to 0 at their 0.01 quantile and 1 at their 0.90 quantile, cut at both.

    Where the two quantiles are the same (0 / 0 in Seurat) every score is 1.
    """
    low, high = np.quantile(raw, [0.01, 0.90])
    if high == low:
        logger.warning("all anchors share about %g neighbours: their scores are set to 1", low)
        return np.ones(raw.size)
    return np.clip((raw - low) / (high - low), 0, 1)


def top_dim_features(
    loadings: np.ndarray, max_features: int = 200, per_dim: int = 100
) -> np.ndarray:
    """Positions of the genes that the filter looks at (Seurat's TopDimFeatures, balanced).

    The most positive and most negative genes of every dimension, as many per dimension as
    make the union largest while below max(2 dims, max_features).

    Parameters
    ----------
    loadings : genes x dims.
    """
    limit = max(2 * loadings.shape[1], max_features)
    order = np.argsort(-loadings, axis=0, kind="stable")
    best = np.empty(0, dtype=np.int64)
    for number in range(1, min(per_dim, loadings.shape[0]) + 1):
        union = np.unique(_top_of_dims(loadings, order, number))
        if best.size < union.size < limit:
            best = union
    return best


def _top_of_dims(loadings: np.ndarray, order: np.ndarray, number: int) -> np.ndarray:
    half = round(number / 2)  # half to even, as R
    if half == 0:
        return np.abs(loadings).argmax(axis=0)
    return np.concatenate([order[:half].ravel(), order[-half:].ravel()])
