"""Whether two sets of cells have one distribution: a forest's AUC, MMD, and how well they mix.

The three figures of generated cells against real ones in Marouf et al. 2020 (scGAN, doi
10.1038/s41467-019-14018-z) and in Wang et al. (arXiv 2312.14220), whose MMD this is.
"""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from dice_atlas.metrics.lisi import Surroundings, mean_lisi_nearest
from dice_atlas.numerics.blocks import row_slices
from dice_atlas.numerics.neighbors import Neighbors

# Of the paper's MMD: neighbours whose mean distance is a cell's scale, and the kernels' widths as
# multiples of the median scale.
SCALE_NEIGHBORS = 25
WIDTHS = (0.5, 1.0, 2.0)
# A sum of three kernels is at most 3. What is this near to 0 is the rounding of a mean of kernels.
ROUNDING = 1e-12


def forest_auc(
    first: np.ndarray, second: np.ndarray, seed: int, trees: int = 100, folds: int = 5
) -> float:
    """Area under the ROC curve of a random forest that tells two sets of cells apart.

    Every cell is judged by the forest of the folds that it is not in. 0.5: the forest cannot tell
    the sets apart, 1: always.

    Parameters
    ----------
    first, second : n x d and m x d.
    seed : of the folds and of the forests.
    trees : of each forest.
    folds : stratified by set; the size of the smaller set where that is less.

    Raises
    ------
    ValueError
        A set has fewer than two cells.
    """
    folds = min(folds, len(first), len(second))
    if folds < 2:
        raise ValueError(f"sets of {len(first)} and {len(second)} cells: each needs at least 2")
    is_second = np.repeat([0, 1], [len(first), len(second)])
    probability = cross_val_predict(
        RandomForestClassifier(trees, random_state=seed),
        np.vstack([first, second]),
        is_second,
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
        method="predict_proba",
    )
    return float(roc_auc_score(is_second, probability[:, 1]))


def mmd(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Maximum mean discrepancy of two sets of cells under the sum of three Gaussian kernels.

    k(x, y) = sum over s of exp(-|x - y|^2 / s^2) with s = m / 2, m and 2 m, where m is the median
    over the cells of `first` of each one's mean distance to its 25 nearest other cells of `first`
    (Wang et al., arXiv 2312.14220). The estimators are those of Gretton et al. 2012: "biased" is
    their MMD_b and "unbiased" their MMD_u^2. All pairs are compared: the time grows with the
    square of the number of cells, the memory does not.

    Parameters
    ----------
    first : n x d, the real cells, which alone set the kernels' widths.
    second : m x d.

    Returns
    -------
    biased : the square root of the biased estimate; 0 for identical sets.
    unbiased : the unbiased estimate of the SQUARE, which can be negative; 0 is expected of two
        sets of one distribution.
        Both are NaN where a set has fewer than two cells, or where m is 0 (most cells of `first`
        are many times there).
    """
    n, m = len(first), len(second)
    if min(n, m) < 2:
        return np.nan, np.nan
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    scale = kernel_scale(first)
    if scale == 0:
        return np.nan, np.nan
    within_first = _kernel_sum(first, first, scale)
    within_second = _kernel_sum(second, second, scale)
    between = 2 * _kernel_sum(first, second, scale) / (n * m)
    biased = within_first / n**2 + within_second / m**2 - between
    # A cell has kernel 1 with itself.
    own = len(WIDTHS)
    unbiased = (
        (within_first - own * n) / (n * (n - 1)) + (within_second - own * m) / (m * (m - 1))
    ) - between
    return float(np.sqrt(biased)) if biased > ROUNDING else 0.0, float(unbiased)


def kernel_scale(cells: np.ndarray) -> float:
    """The m of `mmd`: median over cells (n x d) of the mean distance to the 25 nearest others.

    To all others where there are fewer.
    """
    k = min(SCALE_NEIGHBORS, len(cells) - 1)
    _, distances = Neighbors(cells, exact_up_to=len(cells)).nearest_others(k)
    return float(np.median(distances.mean(axis=1)))


def _kernel_sum(first: np.ndarray, second: np.ndarray, scale: float) -> float:
    """Sum over all pairs of the sum of the kernels.

    Distances are those of differences, not of a matrix product, so that a cell is at distance 0
    from its copy and the order of the cells does not matter.
    """
    return sum(
        float(np.exp(-squares / (width * scale) ** 2).sum())
        for squares in _squared_distances(first, second)
        for width in WIDTHS
    )


def _squared_distances(first: np.ndarray, second: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of rows of the squared distances (n x m)."""
    for rows in row_slices(len(first)):
        yield cdist(first[rows], second, metric="sqeuclidean")


def mixing(first: np.ndarray, second: np.ndarray, k: int = 30) -> float:
    """Mean inverse Simpson index of the two sets among the k nearest others of every cell.

    Plain shares (`mean_lisi_nearest`), without the perplexity weights of LISI. 1: the sets are
    apart, 2: perfectly mixed. With finite k, two sets of one distribution and one size come to
    1 / (1/2 + 1/(2 k)) or a little more, 1.94 at k = 30.

    Parameters
    ----------
    first, second : n x d and m x d. With unequal sizes even a perfect mixture stays below 2.
    k : all other cells where there are fewer.
    """
    is_second = np.repeat([0, 1], [len(first), len(second)])
    near = Surroundings.of(np.vstack([first, second]), k)
    return mean_lisi_nearest(near, is_second, k).value
