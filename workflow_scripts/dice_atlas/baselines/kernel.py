"""Kernel posterior: what denoising gains with no network at all."""

import numpy as np
from scipy.special import softmax

from dice_atlas.errors import InputError
from dice_atlas.numerics.blocks import row_slices

BLOCK = 1024


def kernel_posterior(
    observed: np.ndarray, reference: np.ndarray, s: float, block: int = BLOCK
) -> tuple[np.ndarray, np.ndarray]:
    """Exact posterior of each cell's position under the reference's empirical distribution.

    With u = z + noise of variance s^2 per coordinate, and z one of the reference's latents r,
    each equally likely: E[f(z) | u] = sum_r softmax_r(-||u - r||^2 / (2 s^2)) f(r).

    Parameters
    ----------
    observed : cells x k, noisy latents u.
    reference : reference cells x k, latents r. A cell that is among them is its own best match.
    s : noise level, larger than 0.
    block : cells at a time; the memory needed is some block x reference cells x 16 bytes.

    Returns
    -------
    Mean and standard deviation per coordinate, both cells x k, float64.

    Raises
    ------
    InputError
        No reference cell, other numbers of coordinates, a noise level that is not positive.
    """
    observed = np.asarray(observed, dtype=np.float64)
    reference = np.asarray(reference, dtype=np.float64)
    if not len(reference) or observed.shape[1] != reference.shape[1]:
        raise InputError(
            f"kernel posterior: latents of shape {observed.shape} and reference of shape "
            f"{reference.shape}; expected reference cells, and as many columns in both"
        )
    if not 0 < s < np.inf:
        raise InputError(f"kernel posterior: noise level {s}; expected a number above 0")
    # Of ||u - r||^2 the softmax does not see ||u||^2. Near the origin the rest loses no digits.
    center = reference.mean(axis=0)
    centered = reference - center
    half_norms = (centered**2).sum(axis=1) / 2
    means, variances = np.empty_like(observed), np.empty_like(observed)
    for rows in row_slices(len(observed), block):
        exponents = (observed[rows] - center) @ centered.T
        exponents -= half_norms
        exponents /= s**2
        weights = softmax(exponents, axis=1)
        means[rows] = weights @ centered
        variances[rows] = weights @ centered**2 - means[rows] ** 2
    return means + center, np.sqrt(variances.clip(min=0))
