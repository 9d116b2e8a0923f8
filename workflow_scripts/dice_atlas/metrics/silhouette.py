"""Mean cosine silhouette of labels in an embedding (Rousseeuw 1987)."""

import numpy as np
from sklearn.metrics import silhouette_score

from dice_atlas.metrics.score import Score, undefined


def mean_silhouette(
    embedding: np.ndarray, labels: np.ndarray, seed: int, max_cells: int = 20_000
) -> Score:
    """Mean over cells of (b - a) / max(a, b) with cosine distances; -1 to 1, up is better.

    Parameters
    ----------
    embedding : cells x k.
    labels : one per cell. A label of a single cell counts as silhouette 0.
    seed : of the draw of `max_cells` cells where there are more (all pairs are compared).
    """
    embedding, labels = np.asarray(embedding), np.asarray(labels).astype(str)
    note = ""
    if len(labels) > max_cells:
        rows = np.sort(np.random.default_rng(seed).choice(len(labels), max_cells, replace=False))
        embedding, labels = embedding[rows], labels[rows]
        note = f"on {max_cells} cells drawn at random"
    classes, sizes = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        return undefined("one class only")
    if len(classes) >= len(labels):
        return undefined("every cell is a class of its own")
    if (sizes == 1).any():
        single = f"{int((sizes == 1).sum())} class(es) of one cell"
        note = f"{note}; {single}" if note else single
    return Score(float(silhouette_score(embedding, labels, metric="cosine")), note)
