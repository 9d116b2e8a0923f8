"""A draw of the cells, for what is said of all cells together: where they are too many for all."""

import numpy as np


def drawn(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` of some positions (n,), each as likely as any other, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([seed, 2]).choice(rows, most, replace=False))


def note_of(drawn_rows: np.ndarray, rows: np.ndarray) -> str:
    """That some of the cells were drawn, for a reader of what is said; else ""."""
    if len(drawn_rows) == len(rows):
        return ""
    return f"on {len(drawn_rows):,} of {len(rows):,} cells, drawn at random"
