"""Which cells the page holds, and where they lie on its maps."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from dice_atlas.numerics.blocks import row_slices

# A drawn atlas keeps so many cells of each cluster, if it has them.
LEAST_OF_CLUSTER = 100


def drawn_cells(
    clusters: np.ndarray, doubtful: np.ndarray, most: int, seed: int
) -> tuple[np.ndarray, bool]:
    """Rows of the cells that the page holds.

    All where there are at most `most`. Else all doubtful cells, and of the others the same share of
    each cluster, at least `LEAST_OF_CLUSTER`. Where even the doubtful cells are too many, these are
    drawn by the same rule, and no others.

    Parameters
    ----------
    clusters : of all cells.
    doubtful : mask of those whose label is not sure.
    most : number of cells, about.
    seed : of the draw.

    Returns
    -------
    The rows, in order, and whether all doubtful cells are among them.
    """
    n = len(clusters)
    if n <= most:
        return np.arange(n), True
    keep_all = int(doubtful.sum()) <= most
    fixed = np.flatnonzero(doubtful) if keep_all else np.empty(0, dtype=int)
    pool = np.flatnonzero(~doubtful if keep_all else doubtful)
    share = (most - len(fixed)) / len(pool)
    rng = np.random.default_rng(seed)
    chosen = [fixed]
    for _, rows in pd.Series(pool).groupby(clusters[pool], sort=True):
        size = min(len(rows), max(round(share * len(rows)), LEAST_OF_CLUSTER))
        chosen.append(rng.permutation(rows.to_numpy())[:size])
    return np.sort(np.concatenate(chosen)), keep_all


def plane(path: str | Path, key: str, rows: np.ndarray) -> np.ndarray | None:
    """The first two principal components of an embedding, of the given cells (n x 2).

    Parameters
    ----------
    path : atlas.h5ad; the embedding is read block by block.
    key : of obsm.
    rows : in order.

    Returns
    -------
    ndarray or None
        None where the atlas has no such embedding of two or more columns.
    """
    with h5py.File(path, "r") as file:
        if key not in file["obsm"] or file["obsm"][key].shape[1] < 2:
            return None
        dataset = file["obsm"][key]
        parts = []
        for block in row_slices(dataset.shape[0]):
            own = rows[np.searchsorted(rows, block.start) : np.searchsorted(rows, block.stop)]
            parts.append(dataset[block][own - block.start])
    points = np.concatenate(parts).astype(float)
    centred = points - points.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, [-1, -2]]
    # A vector and its negative are the same direction: the largest entry is positive.
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return centred @ (axes * np.where(signs == 0, 1, signs))
