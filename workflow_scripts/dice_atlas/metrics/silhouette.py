"""Mean cosine silhouette of labels in an embedding (Rousseeuw 1987)."""

import numpy as np
import scipy.sparse as sp

from dice_atlas.metrics.score import Score, undefined
from dice_atlas.numerics.scaling import l2_normalize

# Distances below this are rounding.
TINY = 1e-12


def mean_silhouette(embedding: np.ndarray, labels: np.ndarray) -> Score:
    """Mean of `silhouette_values`; -1 to 1, up is better.

    Parameters
    ----------
    embedding : cells x k.
    labels : one per cell.
    """
    codes, sizes = np.unique(
        np.asarray(labels).astype(str), return_inverse=True, return_counts=True
    )[1:]
    if len(sizes) < 2:
        return undefined("one class only")
    if len(sizes) >= len(codes):
        return undefined("every cell is a class of its own")
    single = int((sizes == 1).sum())
    note = f"{single} class(es) of one cell" if single else ""
    return Score(float(silhouette_values(embedding, codes).mean()), note)


def silhouette_values(embedding: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(b - a) / max(a, b) of each cell, with cosine distances; 0 where its label has no other cell.

    The mean cosine distance to the cells of a class is one less the product with the mean of their
    directions. So no pairs of cells are compared: the values are those of
    `sklearn.metrics.silhouette_samples`, whose time grows with the square of the cells.

    Parameters
    ----------
    embedding : cells x k.
    labels : one per cell.

    Raises
    ------
    ValueError
        All cells have one label.
    """
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    if not codes.any():
        raise ValueError(f"all {len(codes)} cells have one label; expected two or more")
    sizes, rows = np.bincount(codes), np.arange(len(codes))
    directions = l2_normalize(np.asarray(embedding))
    members = sp.csr_matrix((np.ones(len(codes)), (codes, rows)), shape=(len(sizes), len(codes)))
    far = sizes - directions @ (members @ directions).T  # sums over the cells of each class
    # Without the cell itself, whose distance is 0 (its product is not 1 if it lies at the origin).
    own = far[rows, codes] - (1 - (directions**2).sum(axis=1))
    within = own / np.maximum(sizes[codes] - 1, 1)
    far /= sizes
    far[rows, codes] = np.inf
    between = far.min(axis=1)
    largest = np.maximum(within, between)
    counted = (sizes[codes] > 1) & (largest > TINY)
    return np.divide(between - within, largest, out=np.zeros(len(codes)), where=counted)
