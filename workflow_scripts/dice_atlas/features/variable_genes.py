"""Highly variable genes by the criterion of Seurat v3 ("vst"), streamed over raw counts.

Stuart et al. 2019: the variance of counts standardised by the variance that their mean
makes one expect, values clipped at sqrt(cells). Two passes over the cells: `moments`, then
(with the trend of `fit_trend`) `clipped_squares`; both add up over blocks of cells.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from skmisc.loess import loess

logger = logging.getLogger(__name__)

SPAN = 0.3
N_BINS = 20  # of log1p mean, for `normalized_dispersion`
# Messages with which skmisc raises where R's loess, the same code, warns.
ONLY_WARNINGS = (
    "pseudoinverse used at",
    "neighborhood radius",
    "reciprocal condition number",
    "There are other near singularities",
)
# Skmisc's loess crashes the process on fewer points than its neighbourhoods need.
MIN_LOESS = 20
# Sizes of the jitter of log10 mean, tried in turn where loess fails on tied means.
JITTERS = (1e-6, 1e-5, 1e-4)


@dataclass(frozen=True)
class Moments:
    """Sums over the cells of a block, per gene; blocks add up with `+`.

    Attributes
    ----------
    n : number of cells.
    total, squares : sum of counts and of squared counts, float64 (genes).
    detected : number of cells with a count above 0 (genes).
    """

    n: int
    total: np.ndarray
    squares: np.ndarray
    detected: np.ndarray

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            self.detected + other.detected,
        )

    @property
    def mean(self) -> np.ndarray:
        """Mean count (genes)."""
        return self.total / max(self.n, 1)

    @property
    def variance(self) -> np.ndarray:
        """Variance (n - 1), never below 0."""
        centered = self.squares - self.n * self.mean**2
        return np.maximum(centered, 0.0) / max(self.n - 1, 1)


def moments(counts: sp.csr_matrix) -> Moments:
    """Sums of a block of raw counts (cells x genes, sparse)."""
    counts = sp.csr_matrix(counts)
    genes, values = counts.indices, counts.data.astype(np.float64)
    d = counts.shape[1]
    return Moments(
        counts.shape[0],
        np.bincount(genes, values, minlength=d),
        np.bincount(genes, values**2, minlength=d),
        np.bincount(genes, values > 0, minlength=d).astype(np.int64),
    )


def fit_trend(mean: np.ndarray, variance: np.ndarray, span: float = SPAN) -> np.ndarray:
    """Standard deviation that a gene's mean makes one expect (genes); 1 where variance is 0.

    Local quadratic regression of log10 variance on log10 mean by the loess of R and skmisc
    (the same Fortran). Where tied means make a neighbourhood singular R warns and goes
    on with a pseudoinverse; skmisc raises, but has made the same fit by then: it is taken.
    Where there is none, a jitter of log10 mean is tried (1e-6, 1e-5, 1e-4), at last a
    regression by least squares in numpy. Each is logged.
    """
    regular_sd = np.ones(mean.shape)
    varies = variance > 0
    if not varies.any():
        return regular_sd
    x, y = np.log10(mean[varies]), np.log10(variance[varies])
    if x.size < MIN_LOESS:
        regular_sd[varies] = np.sqrt(10 ** local_quadratic(x, y, span=1.0))
        return regular_sd
    regular_sd[varies] = np.sqrt(10 ** _fit_robustly(x, y, span))
    return regular_sd


def _fit_robustly(x: np.ndarray, y: np.ndarray, span: float) -> np.ndarray:
    shape = np.random.default_rng(0).uniform(-1, 1, x.size)
    for jitter in (0.0, *JITTERS):
        fitted = _fit_loess(x + jitter * shape, y, span)
        if fitted is not None:
            if jitter:
                logger.warning(
                    "the trend of variance on mean was fitted with a jitter of %g of log10 mean "
                    "(loess fails on these %d genes without)",
                    jitter,
                    x.size,
                )
            return fitted
    logger.warning(
        "the trend of variance on mean of %d genes was fitted by local least squares "
        "(loess fails on them, with jitter too)",
        x.size,
    )
    return local_quadratic(x, y, span)


def _fit_loess(x: np.ndarray, y: np.ndarray, span: float) -> np.ndarray | None:
    """Fitted values, or None where there are none."""
    model = loess(x, y, span=span, degree=2)
    try:
        model.fit()
    except ValueError as error:
        message = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        logger.info("loess of %d genes: %s", x.size, message)
        if not message.startswith(ONLY_WARNINGS):
            return None
    fitted = np.array(model.outputs.fitted_values)
    return fitted if np.isfinite(fitted).all() else None


def local_quadratic(x: np.ndarray, y: np.ndarray, span: float) -> np.ndarray:
    """Fitted values of a tricube-weighted local quadratic regression of y on x.

    What loess computes with surface="direct" (Cleveland 1979), but with a pseudoinverse, so
    that neighbourhoods of one or two distinct x give a constant or a line.
    """
    order = np.argsort(x, kind="stable")
    x_sorted, y_sorted = x[order], y[order]
    window = min(max(int(span * x.size), 1), x.size)
    points, index = np.unique(x, return_inverse=True)
    fitted = np.empty(points.size)
    for i, point in enumerate(points):
        # The `window` nearest lie within that many places to either side.
        left = max(np.searchsorted(x_sorted, point) - window, 0)
        right = np.searchsorted(x_sorted, point, side="right") + window
        offset = x_sorted[left:right] - point
        width = max(np.partition(np.abs(offset), window - 1)[window - 1], 1e-9)
        weight = (1 - np.clip(np.abs(offset) / width, 0, 1) ** 3) ** 3
        used = weight > 0
        root = np.sqrt(weight[used])
        design = np.vander(offset[used] / width, 3, increasing=True) * root[:, None]
        values = y_sorted[left:right][used] * root
        fitted[i] = np.linalg.lstsq(design, values, rcond=1e-7)[0][0]
    return fitted[index]


def clipped_squares(
    counts: sp.csr_matrix, mean: np.ndarray, regular_sd: np.ndarray, clip: float
) -> np.ndarray:
    """Sums of squared z-scores, cut above at `clip`, of a block's counts above 0 (genes).

    `mean`, `regular_sd` and `clip` = sqrt(n) are those of the whole group of cells. The sum
    runs over cells in their order, as Seurat's does: genes tie often, and which of them comes
    first is then a matter of rounding.
    """
    counts = sp.csr_matrix(counts)
    genes = counts.indices
    z = np.minimum((counts.data - mean[genes]) / regular_sd[genes], clip)
    return np.bincount(genes, z * z * (counts.data > 0), minlength=counts.shape[1])


def variance_standardized(
    whole: Moments, squares: np.ndarray, regular_sd: np.ndarray
) -> np.ndarray:
    """Variance of the standardised, clipped counts (genes): sum z^2 / (n - 1), zeros included.

    `squares` are the sums of `clipped_squares` over all blocks.
    """
    z_of_zero = -whole.mean / regular_sd
    return (squares + z_of_zero * z_of_zero * (whole.n - whole.detected)) / max(whole.n - 1, 1)


def normalized_dispersion(whole: Moments) -> np.ndarray:
    """Dispersion of expression that is no counts, standardised among genes of a like mean (genes).

    The criterion of Seurat's first versions (Satija et al. 2015) as scanpy has it (flavor
    "seurat"): log of variance by mean, minus its mean over the genes of the same of 20 bins of
    log1p mean, by its standard deviation there. Genes that do not vary come last.

    Parameters
    ----------
    whole : sums over normalised expression, on the linear scale.
    """
    mean = np.where(whole.mean == 0, 1e-12, whole.mean)
    with np.errstate(divide="ignore"):
        dispersion = np.log(whole.variance / mean)
    dispersion[~np.isfinite(dispersion)] = np.nan
    bins = pd.cut(np.log1p(mean), N_BINS, labels=False)
    grouped = pd.Series(dispersion).groupby(bins)
    center, spread = (grouped.transform(how).to_numpy() for how in ("mean", "std"))
    # A gene alone in its bin has the score 1.
    alone = np.isnan(spread) & ~np.isnan(dispersion)
    scores = np.where(alone, 1.0, (dispersion - center) / np.where(spread > 0, spread, np.nan))
    lowest = np.nanmin(scores) if np.isfinite(scores).any() else 0.0
    return np.where(np.isfinite(scores), scores, lowest - 1.0)


def variable_genes(counts: sp.csr_matrix, n_top: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the `n_top` most variable genes, best first, and all standardised variances.

    Seurat's FindVariableFeatures(selection.method = "vst") on counts that fit in memory; genes
    of mean 0 are never chosen.

    Parameters
    ----------
    counts : cells x genes, raw.
    """
    whole = moments(counts)
    regular_sd = fit_trend(whole.mean, whole.variance)
    squares = clipped_squares(counts, whole.mean, regular_sd, np.sqrt(whole.n))
    variances = variance_standardized(whole, squares, regular_sd)
    variances[whole.variance == 0] = 0.0
    order = np.argsort(-variances, kind="stable")
    return order[whole.mean[order] > 0][:n_top], variances


def rank_over_batches(variances: Sequence[np.ndarray], n_top: int) -> pd.DataFrame:
    """Rank genes that were ranked in several batches.

    The number of batches in which a gene is among the `n_top` counts first, then its median
    rank in these: the order of Stuart et al. 2019 (scanpy's flavor "seurat_v3_paper").
    scanpy's "seurat_v3" sorts by median rank first, which lets a gene that stands out
    in one batch only, often a batch effect, pass those variable in all of them.

    Parameters
    ----------
    variances : of each batch the standardised variances (genes).

    Returns
    -------
    DataFrame (genes) of `n_batches`, `median_rank` (NaN: in none), `variance_standardized`
    (median over batches) and `rank` (1 = best; genes in no batch follow by variance).
    """
    stacked = np.vstack(list(variances))
    # Genes with the same counts tie, whatever the rounding of sums over several files.
    order = np.argsort(-_significant(stacked), axis=1, kind="stable")
    ranks = np.empty(stacked.shape)
    np.put_along_axis(ranks, order, np.arange(stacked.shape[1], dtype=float)[None, :], axis=1)
    ranks[ranks >= n_top] = np.nan
    n_batches = np.isfinite(ranks).sum(axis=0)
    median_rank = np.full(stacked.shape[1], np.nan)
    seen = n_batches > 0
    median_rank[seen] = np.nanmedian(ranks[:, seen], axis=0)
    variance = np.median(stacked, axis=0)
    best_first = np.lexsort(
        (np.where(seen, 0.0, -variance), np.where(seen, median_rank, np.inf), -n_batches)
    )
    rank = np.empty(stacked.shape[1], dtype=np.int64)
    rank[best_first] = np.arange(1, rank.size + 1)
    return pd.DataFrame(
        {
            "n_batches": n_batches,
            "median_rank": median_rank,
            "variance_standardized": variance,
            "rank": rank,
        }
    )


def _significant(values: np.ndarray, digits: int = 11) -> np.ndarray:
    """Values rounded to a number of significant digits."""
    size = np.where(values == 0, 1.0, np.abs(values))
    unit = 10.0 ** (np.floor(np.log10(size)) - digits + 1)
    return np.round(values / unit) * unit
