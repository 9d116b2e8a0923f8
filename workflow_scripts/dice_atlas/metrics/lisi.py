"""Local inverse Simpson index: how many labels a cell's neighbourhood effectively holds.

Korsunsky et al. 2019 (doi 10.1038/s41592-019-0619-0). `mean_lisi` gives the values of
`harmonypy.compute_lisi` (tests compare them), which looks for neighbours once per label column and
took 14 s for 12,000 cells. Here they are found once for all columns and indices.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dice_atlas.metrics.score import Score, undefined
from dice_atlas.numerics.neighbors import Neighbors

PERPLEXITY = 30.0
NEAREST = 9
MAX_BISECTIONS = 50
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Surroundings:
    """The nearest others of each cell, found once for several indices.

    Attributes
    ----------
    index, distance : cells x k, nearest first.
    note : that they are approximate, or "".
    """

    index: np.ndarray
    distance: np.ndarray
    note: str

    @classmethod
    def of(cls, embedding: np.ndarray, k: int = round(3 * PERPLEXITY)) -> "Surroundings":
        """In an embedding (cells x d) of one cell or more; of fewer than `k` others all."""
        among = Neighbors(np.asarray(embedding, float))
        return cls(*among.nearest_others(min(k, len(embedding) - 1)), among.note)

    def nearest(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and distances (cells x k) of the `k` nearest; ValueError: fewer are known."""
        if k > self.index.shape[1]:
            raise ValueError(f"{k} neighbours asked for, {self.index.shape[1]} are known")
        return self.index[:, :k], self.distance[:, :k]


def mean_lisi(
    near: Surroundings, columns: Mapping[str, np.ndarray], perplexity: float = PERPLEXITY
) -> dict[str, Score]:
    """Mean LISI of each label column with Gaussian-like weights of a given perplexity.

    Parameters
    ----------
    near : of each cell, three neighbours for each of the perplexity, or all others.
    columns : labels (one per cell) by name.
    perplexity : effective number of neighbours; (cells - 1) / 3 where there are too few cells.
    """
    n_cells = len(near.index)
    note = ""
    if (n_cells - 1) / 3 < perplexity:
        perplexity = (n_cells - 1) / 3
        note = f"perplexity {perplexity:.3g}: {n_cells} cells are too few for more"
    # One neighbour alone has perplexity 1 whatever its weight.
    if perplexity <= 1:
        return {name: undefined(f"{n_cells} cells are too few") for name in columns}
    k = min(n_cells - 1, round(3 * perplexity))
    indices, distances = near.nearest(k)
    weights = perplexity_weights(distances, perplexity)
    return {
        name: Score(float(inverse_simpson(labels, indices, weights).mean()), note or near.note)
        for name, labels in columns.items()
    }


def mean_lisi_nearest(near: Surroundings, labels: np.ndarray, n: int = NEAREST) -> Score:
    """Mean over cells of 1 / sum_c p_c^2, p_c = share of label c among the `n` nearest others.

    The variant of the DICE paper's code.

    Parameters
    ----------
    near : of each cell, `n` neighbours or more, or all others.
    labels : one per cell.
    n : fewer where there are too few cells.
    """
    note = ""
    if len(near.index) - 1 < n:
        n = len(near.index) - 1
        note = f"{n} neighbours: {n + 1} cells are too few for more"
    if n < 1:
        return undefined("one cell only")
    indices, _ = near.nearest(n)
    weights = np.full(indices.shape, 1.0 / n)
    value = float(inverse_simpson(labels, indices, weights).mean())
    return Score(value, note or near.note)


def inverse_simpson(labels: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 / sum over labels of (sum of the weights of the neighbours with that label)^2.

    Parameters
    ----------
    labels : one per cell.
    indices, weights : neighbours of each cell, cells x k; weights of a cell sum to one.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    places = np.arange(len(indices))[:, None] * len(classes) + codes[indices]
    size = len(indices) * len(classes)
    shares = np.bincount(places.ravel(), weights.ravel(), minlength=size)
    return 1.0 / (shares.reshape(len(indices), -1) ** 2).sum(axis=1)


def perplexity_weights(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """Weights exp(-beta d), beta bisected per cell until exp(entropy) is the perplexity.

    Parameters
    ----------
    distances : cells x neighbours, not squared (as in LISI's own code).

    Returns
    -------
    ndarray
        cells x neighbours, rows sum to one.
    """
    n_cells = len(distances)
    beta = np.ones(n_cells)
    low, high = np.full(n_cells, -np.inf), np.full(n_cells, np.inf)
    # Counted from the nearest neighbour: the same weights, and exp() cannot underflow to 0 / 0.
    distances = distances - distances.min(axis=1, keepdims=True)
    weights, entropy = weights_entropy(distances, beta)
    for _ in range(MAX_BISECTIONS):
        excess = entropy - np.log(perplexity)
        open_ = np.abs(excess) > TOLERANCE
        if not open_.any():
            break
        flat, peaked = open_ & (excess > 0), open_ & (excess <= 0)
        low[flat], high[peaked] = beta[flat], beta[peaked]
        with np.errstate(invalid="ignore"):  # the sum of both infinities, which is not taken
            middle = np.where(
                np.isinf(high), beta * 2, np.where(np.isinf(low), beta / 2, (low + high) / 2)
            )
        beta = np.where(open_, middle, beta)
        weights, entropy = weights_entropy(distances, beta)
    return weights


def weights_entropy(distances: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalised weights exp(-beta d) and their entropy in nats."""
    weights = np.exp(-distances * beta[:, None])
    total = weights.sum(axis=1)
    entropy = np.log(total) + beta * (distances * weights).sum(axis=1) / total
    return weights / total[:, None], entropy
