"""Entropy and credible sets of a cell's label probabilities."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import entropy

from dice_atlas.names import joined

# Shares of posterior samples are sums of float32.
ROUNDING = 1e-6


def label_entropy(shares: np.ndarray) -> np.ndarray:
    """Entropy in nats (n,) of label probabilities (n, labels)."""
    return entropy(np.asarray(shares, dtype=float), axis=1)


def credible_sets(shares: np.ndarray, labels: Sequence[str], coverage: float) -> list[str]:
    """The fewest labels whose probabilities reach the coverage, sorted and joined by "|".

    Parameters
    ----------
    shares : (n, labels), the probabilities of a cell's labels.
    labels : their names.
    coverage : 0 to 1.
    """
    shares = np.asarray(shares, dtype=float)
    order = np.argsort(-shares, axis=1, kind="stable")
    reached = np.cumsum(np.take_along_axis(shares, order, axis=1), axis=1)
    sizes = (reached < coverage - ROUNDING).sum(axis=1) + 1
    names = np.asarray(labels, dtype=object)
    return [joined(names[row[:size]]) for row, size in zip(order, sizes, strict=True)]
