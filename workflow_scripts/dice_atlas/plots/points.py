"""Points of a map: which cells are drawn, and how large."""

import numpy as np

# More points only make the file larger.
MOST_POINTS = 50_000


def drawn_rows(n: int, seed: int) -> np.ndarray:
    """Rows that are drawn, in random order so that no sample lies on top."""
    return np.random.default_rng(seed).permutation(n)[:MOST_POINTS]


def point_size(n: int) -> float:
    """Area of a point of a map of n cells, in square points."""
    return float(np.clip(24_000 / max(n, 1), 1.2, 14.0))
