"""Noise of each gene about what its cell's latents make one expect."""

import numpy as np
import scipy.sparse as sp

from dice_atlas.features.projection import LatentSpace
from dice_atlas.numerics.blocks import row_slices
from dice_atlas.numerics.scaling import scale

# How sharply the expected log expression is kept above 0: log(1 + exp(20 y)) / 20.
SHARPNESS = 20.0


def expected_counts(theta: np.ndarray, depth: np.ndarray, space: LatentSpace) -> np.ndarray:
    """Counts (n, d) that undo log1p and scaling of theta = V u (n, d) at a depth (n, 1)."""
    expression = space.scaling.sd * (theta + space.scaling.center)
    return depth * np.expm1(np.logaddexp(0.0, SHARPNESS * expression) / SHARPNESS)


def gene_noise(
    expression: sp.csr_matrix, depth: np.ndarray, latents: np.ndarray, space: LatentSpace
) -> tuple[np.ndarray, np.ndarray]:
    """Residual variance and overdispersion of each gene.

    Parameters
    ----------
    expression : cells x d, log-normalised.
    depth : (n,), total counts of the cells over the total they were normalised to.
    latents : n x k, without the batch correction.

    Returns
    -------
    variance : (d,), mean squared residual of the scaled expression.
    dispersion : (d,), a of the variance mu + a mu^2 of the counts, by moments; 0 or more.
    """
    squares = np.zeros((3, space.loadings.shape[0]))
    for rows in row_slices(expression.shape[0]):
        theta = latents[rows] @ space.loadings.T
        scaled = scale(expression[rows], space.scaling).toarray() - space.scaling.center
        counts = np.rint(np.expm1(expression[rows].toarray()) * depth[rows, None])
        rate = expected_counts(theta, depth[rows, None], space)
        squares[0] += ((scaled - theta) ** 2).sum(axis=0)
        squares[1] += ((counts - rate) ** 2 - rate).sum(axis=0)
        squares[2] += (rate**2).sum(axis=0)
    variance = squares[0] / expression.shape[0]
    return variance, np.maximum(squares[1] / np.maximum(squares[2], 1e-12), 0.0)
