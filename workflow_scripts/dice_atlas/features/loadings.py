"""The number of latent dimensions, and what the loadings leave over."""

import numpy as np
import scipy.sparse as sp

from dice_atlas.features.projection import LatentSpace
from dice_atlas.numerics.blocks import row_slices
from dice_atlas.numerics.scaling import project, scale


def choose_k(singular_values: np.ndarray, excess: float = 0.01) -> int:
    """Number of latent dimensions: where the singular values leave their straight tail.

    The tail is the line through the second half of the values; k is the last component that
    lies more than `excess` of the tail's mean above it. A k that is a bit too large is safe,
    one too small is not (DICE, Appendix F), so this takes the end of the elbow, not its middle.

    Parameters
    ----------
    singular_values : largest first; of fewer than 6 all are kept, else at least 2.
    excess : see above.
    """
    values = np.asarray(singular_values, dtype=np.float64)
    if values.size < 6:
        return int(values.size)
    position = np.arange(values.size)
    tail = position[values.size // 2 :]
    line = np.polyval(np.polyfit(tail, values[tail], 1), position)
    above = np.flatnonzero(values - line > excess * values[tail].mean())
    return max(int(above[-1]) + 1 if above.size else 0, 2)


def residual_variance(expression: sp.csr_matrix, rows: np.ndarray, space: LatentSpace) -> float:
    """Mean squared residual per scaled gene of some cells, outside the span of the loadings.

    ||x - V V^T x||^2 = ||x||^2 - ||V^T x||^2, over cells x (genes - k).

    Parameters
    ----------
    expression : cells x genes, log-normalised.
    rows : positions of the cells.
    space : on these genes, with orthonormal loadings.
    """
    center, squares = space.scaling.center, 0.0
    for part in row_slices(len(rows)):
        scaled = scale(expression[rows[part]], space.scaling)
        squares += scaled.multiply(scaled).sum() - 2 * (scaled @ center).sum()
        squares += scaled.shape[0] * center @ center
        squares -= (project(scaled, center, space.loadings) ** 2).sum()
    return float(squares / (len(rows) * max(len(center) - space.k, 1)))
