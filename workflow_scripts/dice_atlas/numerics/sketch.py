"""A draw of the cells, for what is said of all cells together: where they are too many for all."""

import numpy as np


def drawn(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` of some positions (n,), each as likely as any other, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([seed, 2]).choice(rows, most, replace=False))


def subsample_per_label(labels: np.ndarray, most: int, seed: int, least: int = 1) -> np.ndarray:
    """Rows of at most about `most` cells, every label keeping its share and `least` of its cells.

    Parameters
    ----------
    labels : of the cells.
    least : cells of a label that are kept at the least, or all where it has fewer.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    rows = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        size = max(least, round(len(members) * most / len(labels)))
        rows.append(rng.choice(members, min(size, len(members)), replace=False))
    return np.sort(np.concatenate(rows))


def note_of(drawn_rows: np.ndarray, rows: np.ndarray) -> str:
    """That some of the cells were drawn, for a reader of what is said; else ""."""
    if len(drawn_rows) == len(rows):
        return ""
    return f"on {len(drawn_rows):,} of {len(rows):,} cells, drawn at random"
