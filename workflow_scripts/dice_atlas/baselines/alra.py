"""ALRA: imputation by a low-rank approximation that keeps the biological zeros.

Linderman, Zhao, Roulis, Bielecki, Flavell, Nadler and Kluger, "Zero-preserving imputation of
single-cell RNA-seq data", Nature Communications 13, 192 (2022). The steps and constants are
those of the authors' R code; only the approximation itself is exact here, randomised there.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds
from sklearn.decomposition import PCA
from sklearn.utils.extmath import randomized_svd

from dice_atlas.errors import InputError

# Of the authors' choose_k: singular values looked at, and standard deviations of a spacing.
MOST_VALUES = 100
THRESHOLD = 6.0
# Of their alra.
QUANTILE = 0.001
N_COMPONENTS = 50


def alra_embedding(
    expression: sp.spmatrix | np.ndarray,
    seed: int = 0,
    k: int | None = None,
    n_components: int = N_COMPONENTS,
) -> np.ndarray:
    """Principal components of the completed matrix.

    Parameters
    ----------
    expression : cells x genes, log-normalised.
    seed : of the random matrix of `choose_k` and the start vectors.
    k : rank of the approximation; None lets `choose_k` find it.
    n_components : fewer on small data, at most min(cells, genes) - 1.

    Returns
    -------
    cells x components.

    Raises
    ------
    InputError
        See `alra`.
    """
    completed = alra(expression, seed, k)
    n_components = min(n_components, min(completed.shape) - 1)
    return PCA(n_components, svd_solver="arpack", random_state=seed).fit_transform(completed)


def alra(expression: sp.spmatrix | np.ndarray, seed: int = 0, k: int | None = None) -> np.ndarray:
    """Complete log-normalised expression.

    Parameters
    ----------
    expression, seed, k : see `alra_embedding`.

    Returns
    -------
    cells x genes, dense: the work needs some four such matrices in memory.

    Raises
    ------
    InputError
        Negative or missing values, k out of range, or no k found.
    """
    values = expression if isinstance(expression, np.ndarray) else expression.data
    if not np.isfinite(values).all() or (values < 0).any():
        raise InputError(
            "ALRA: the expression holds negative, infinite or missing values; log-normalised "
            "expression that is neither centred nor scaled was expected"
        )
    dense = expression if isinstance(expression, np.ndarray) else expression.toarray()
    dense = np.asarray(dense, dtype=np.float64)
    if k is None:
        k = choose_k(dense, seed)
    return rescale(threshold(low_rank(dense, k, seed)), dense)


def choose_k(expression: np.ndarray, seed: int = 0) -> int:
    """Rank by the spacings of the singular values; see `rank_of_spacings`.

    The singular values are approximate on purpose, by rsvd's algorithm with the authors' two
    power iterations: the smallest come out too small and unevenly spaced, and the authors' six
    standard deviations are measured on that. With exact ones the same rule keeps more
    components (25 in place of the 14 of the stored run of the R code).

    Parameters
    ----------
    expression : cells x genes, dense.
    seed : of the random matrix. On that run eight of twelve seeds give the R code's 14.

    Raises
    ------
    InputError
        Fewer than six cells or genes, or no spacing stands out.
    """
    n_values = min(MOST_VALUES, *expression.shape)
    if n_values < 6:
        raise InputError(
            f"ALRA: {expression.shape[0]} cells x {expression.shape[1]} genes are too few to "
            "choose a rank; at least 6 of each are needed, or k"
        )
    _, values, _ = randomized_svd(
        expression,
        n_values,
        n_oversamples=10,
        n_iter=2,
        power_iteration_normalizer="QR",
        random_state=seed,
    )
    return rank_of_spacings(values)


def rank_of_spacings(singular_values: np.ndarray) -> int:
    """Position of the last spacing that lies well above the spacings of the noise.

    Noise is what comes from the value at 80 (of 100) on. Of a smaller matrix with K values it
    is the last 21, or with K of 20 or less the last six: the rule of `RunALRA`, the authors'
    function for Seurat (the R code itself refuses such a matrix).

    Parameters
    ----------
    singular_values : at least 6, largest first.

    Raises
    ------
    InputError
        No spacing is `THRESHOLD` standard deviations above the mean of the noise.
    """
    n_values = len(singular_values)
    start = n_values - 20 if n_values > 20 else max(n_values - 5, 1)
    spacings = -np.diff(singular_values)
    # Counted from 1, spacing i - 1 leads to value i.
    noise = spacings[max(start - 2, 0) :]
    found = np.flatnonzero(spacings > noise.mean() + THRESHOLD * noise.std(ddof=1))
    if not found.size:
        raise InputError(
            f"ALRA: none of {n_values} singular values stands out from the noise; give k, "
            "in the benchmark take alra out of benchmark.methods"
        )
    return int(found[-1]) + 1


def low_rank(expression: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Best approximation of rank k, not centred (cells x genes); exact up to rounding.

    Raises
    ------
    InputError
        k is not between 1 and min(cells, genes) - 1.
    """
    least = min(expression.shape)
    if not 1 <= k < least:
        raise InputError(f"ALRA: rank k is {k}; expected 1 to {least - 1}")
    start = np.random.default_rng(seed).standard_normal(least)
    _, _, right = svds(expression, k=k, v0=start, return_singular_vectors="vh")
    return (expression @ right.T) @ right


def threshold(approximation: np.ndarray) -> np.ndarray:
    """Set to 0 what is no larger than the size of a gene's `QUANTILE` quantile.

    Around a true zero the errors are about symmetric: the negative side shows how large they are.
    """
    limits = np.abs(np.quantile(approximation, QUANTILE, axis=0))
    return np.where(approximation <= limits, 0.0, approximation)


def rescale(thresholded: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """Give each gene's non-zeros the mean and standard deviation of the observed ones.

    A gene whose standard deviation is not known or 0 is left as it is. What becomes negative is
    0, and what was observed but is 0 now gets its observed value back.

    Parameters
    ----------
    thresholded, expression : cells x genes.
    """
    mean, sd = _moments_of_nonzeros(thresholded)
    target_mean, target_sd = _moments_of_nonzeros(expression)
    scaled = np.isfinite(sd) & np.isfinite(target_sd) & (sd != 0)
    ratio = np.divide(target_sd, sd, out=np.ones_like(sd), where=scaled)
    shift = np.where(scaled, target_mean - mean * ratio, 0.0)
    completed = np.where(thresholded == 0, 0.0, thresholded * ratio + shift)
    np.maximum(completed, 0.0, out=completed)
    return np.where(completed == 0, expression, completed)


def _moments_of_nonzeros(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (n - 1) of each column's non-zeros; NaN of too few."""
    there = values != 0
    n = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.sum(axis=0) / n
        squares = np.where(there, (values - mean) ** 2, 0.0).sum(axis=0)
        sd = np.sqrt(squares / np.where(n > 1, n - 1, np.nan))
    return mean, sd
