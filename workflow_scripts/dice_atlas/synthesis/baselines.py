"""Simple generators of counts, which a trained one is compared with.

Each takes (counts, labels, numbers, seed) and returns (counts, labels):

counts : csr_matrix (n, g) of non-negative integers, the training cells.
labels : (n,) object, their classes.
numbers : cells wanted by class, each a class of `labels`.
seed : of the cells; the same seed gives the same cells.
counts, labels returned : csr_matrix (m, g) int32 and (m,) object, class after class in the order
    of `numbers`.

Classes are modelled apart from each other. A class of one cell gives Poisson counts of that
cell's rates, and mixes or copies of it where cells themselves are used.
"""

from collections.abc import Callable, Mapping

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr, ndtri
from scipy.stats import nbinom, poisson

from dice_atlas.numerics.blocks import row_slices

# Least and largest overdispersion a of the variance mu + a mu^2. Below the least the counts are
# Poisson; the largest bounds what a handful of cells can claim.
LEAST_DISPERSION, MOST_DISPERSION = 1e-4, 50.0
# Genes in the Gaussian copula.
COPULA_GENES = 1_000
# Uniform scores stay this far from 0 and 1, whose normal scores are infinite.
MARGIN = 1e-9

# Cells of one class, how many are wanted, where numbers come from -> so many cells.
ClassGenerator = Callable[[sp.csr_matrix, int, np.random.Generator], sp.csr_matrix]
Cells = tuple[sp.csr_matrix, np.ndarray]


def independent_negative_binomial(
    counts: sp.csr_matrix, labels: np.ndarray, numbers: Mapping[str, int], seed: int
) -> Cells:
    """Genes independent given the library size: negative binomials fitted to each class.

    Libraries are drawn from those of the class. Arguments: see the head of this file.
    """
    return _by_class(_independent_class, counts, labels, numbers, seed)


def gaussian_copula(
    counts: sp.csr_matrix,
    labels: np.ndarray,
    numbers: Mapping[str, int],
    seed: int,
    top: int = COPULA_GENES,
) -> Cells:
    """Marginals of each class joined by a Gaussian copula: scDesign2.

    Sun, Song, Li and Li, "scDesign2", Genome Biology 22, 163 (2021). The `top` most expressed genes
    of the class have the correlation of their normal scores, by the distributional transform; all
    other genes are independent. Marginals are negative binomial or Poisson, fitted by moments (in
    scDesign2 by maximum likelihood, and zero-inflated where that fits better). Library sizes are
    no part of the model: they are what the copula makes of them.

    Arguments: see the head of this file.
    """

    def generate(cells: sp.csr_matrix, number: int, rng: np.random.Generator) -> sp.csr_matrix:
        return _copula_class(cells, number, rng, top)

    return _by_class(generate, counts, labels, numbers, seed)


def thinned_pairs(
    counts: sp.csr_matrix, labels: np.ndarray, numbers: Mapping[str, int], seed: int
) -> Cells:
    """Mixup in counts: two cells of a class, each count kept with probability w or 1 - w.

    w is uniform for each pair. The result keeps the class's mean, fools a forest and is nearly a
    copy of the cell of larger weight: it shows what a measure of memorisation is for. Arguments:
    see the head of this file.
    """
    return _by_class(_mixed_class, counts, labels, numbers, seed)


def resampled(
    counts: sp.csr_matrix, labels: np.ndarray, numbers: Mapping[str, int], seed: int
) -> Cells:
    """Real cells of the class: the positive control.

    Without replacement, unless more are wanted than there are. Arguments: see the head of this
    file.
    """
    return _by_class(_resampled_class, counts, labels, numbers, seed)


# By their names in `synthesis.names.TITLES`.
BASELINES: Mapping[str, Callable[[sp.csr_matrix, np.ndarray, Mapping[str, int], int], Cells]] = {
    "resampled": resampled,
    "thinned_pairs": thinned_pairs,
    "gaussian_copula": gaussian_copula,
    "independent_negative_binomial": independent_negative_binomial,
}


def fit_moments(counts: sp.csr_matrix, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and overdispersion of each gene by moments.

    Parameters
    ----------
    counts : n x g.
    sizes : (n,), size factors of mean 1.

    Returns
    -------
    mean : (g,), counts of a cell of size 1.
    dispersion : (g,), a of the variance mu + a mu^2, mu = size x mean; 0 to `MOST_DISPERSION`.
    """
    counts = sp.csr_matrix(counts, dtype=np.float64)
    total = np.asarray(counts.sum(axis=0)).ravel()
    mean = total / sizes.sum()
    # sum over cells of (x - s mean)^2 - s mean, without making the matrix dense.
    squares = np.asarray(counts.multiply(counts).sum(axis=0)).ravel()
    expected = (sizes**2).sum() * mean**2
    excess = squares - 2 * mean * (counts.T @ sizes) + expected - total
    dispersion = np.divide(excess, expected, out=np.zeros_like(mean), where=expected > 0)
    return mean, np.clip(dispersion, 0.0, MOST_DISPERSION)


def size_factors(counts: sp.csr_matrix) -> np.ndarray:
    """Libraries (row sums) over their mean; ones where there is no count at all."""
    libraries = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    return libraries / libraries.mean() if libraries.any() else np.ones_like(libraries)


def draw_counts(means: np.ndarray, dispersion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Negative binomial counts (n x g), Poisson where the dispersion (g) is next to nothing."""
    rates = np.array(means, dtype=np.float64)
    over = dispersion > LEAST_DISPERSION
    rates[:, over] *= rng.gamma(1 / dispersion[over], dispersion[over], (len(rates), over.sum()))
    return rng.poisson(rates)


def _by_class(
    generate: ClassGenerator,
    counts: sp.csr_matrix,
    labels: np.ndarray,
    numbers: Mapping[str, int],
    seed: int,
) -> Cells:
    rng = np.random.default_rng(seed)
    counts = sp.csr_matrix(counts)
    blocks = [sp.csr_matrix((0, counts.shape[1]), dtype=np.int32)]
    for label, number in numbers.items():
        cells = counts[labels == label]
        blocks.append(sp.csr_matrix(generate(cells, number, rng), dtype=np.int32))
    made = np.repeat(np.array(list(numbers), dtype=object), list(numbers.values()))
    return sp.vstack(blocks, format="csr"), made


def _independent_class(
    cells: sp.csr_matrix, number: int, rng: np.random.Generator
) -> sp.csr_matrix:
    sizes = size_factors(cells)
    mean, dispersion = fit_moments(cells, sizes)
    return _draw_sparse(sizes[rng.integers(len(sizes), size=number)], mean, dispersion, rng)


def _draw_sparse(
    sizes: np.ndarray, mean: np.ndarray, dispersion: np.ndarray, rng: np.random.Generator
) -> sp.csr_matrix:
    """Independent counts of cells of given size factors, dense a block of cells at a time."""
    expressed = np.flatnonzero(mean)
    blocks = [sp.csr_matrix((0, len(mean)), dtype=np.int32)]
    for rows in row_slices(len(sizes)):
        means = np.multiply.outer(sizes[rows], mean[expressed])
        drawn = draw_counts(means, dispersion[expressed], rng)
        blocks.append(_spread(sp.csr_matrix(drawn), expressed, len(mean)))
    return sp.vstack(blocks, format="csr")


def _spread(counts: sp.csr_matrix, columns: np.ndarray, width: int) -> sp.csr_matrix:
    """Counts of some genes (ascending positions) as a matrix of all genes."""
    shape = (counts.shape[0], width)
    return sp.csr_matrix((counts.data, columns[counts.indices], counts.indptr), shape=shape)


def _copula_class(
    cells: sp.csr_matrix, number: int, rng: np.random.Generator, top: int
) -> sp.csr_matrix:
    mean, dispersion = fit_moments(cells, np.ones(cells.shape[0]))
    genes = np.sort(np.argsort(-mean, kind="stable")[: min(top, np.count_nonzero(mean))])
    others = mean.copy()
    others[genes] = 0.0
    independent = _draw_sparse(np.ones(number), others, dispersion, rng)
    observed = cells[:, genes].toarray().astype(np.int64)
    scores = normal_scores(observed, mean[genes], dispersion[genes], rng)
    uniform = ndtr(_correlated_normals(scores, number, rng))
    joint = quantiles(np.clip(uniform, MARGIN, 1 - MARGIN), mean[genes], dispersion[genes])
    return independent + _spread(sp.csr_matrix(joint), genes, len(mean))


def normal_scores(
    counts: np.ndarray, mean: np.ndarray, dispersion: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Distributional transform: a uniform draw between F(x - 1) and F(x), as a normal quantile.

    Exactly standard normal where the counts (n x g) follow the marginals of `mean` and
    `dispersion` (g each).
    """
    below = _cumulative(counts - 1, mean, dispersion)
    uniform = below + rng.random(counts.shape) * (_cumulative(counts, mean, dispersion) - below)
    return ndtri(np.clip(uniform, MARGIN, 1 - MARGIN))


def _cumulative(counts: np.ndarray, mean: np.ndarray, dispersion: np.ndarray) -> np.ndarray:
    over = dispersion > LEAST_DISPERSION
    found = np.empty(counts.shape)
    found[:, over] = nbinom.cdf(counts[:, over], *_nbinom_parameters(mean[over], dispersion[over]))
    found[:, ~over] = poisson.cdf(counts[:, ~over], mean[~over])
    return found


def _nbinom_parameters(mean: np.ndarray, dispersion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """scipy's n and p of a mean and an overdispersion."""
    return 1 / dispersion, 1 / (1 + dispersion * mean)


def quantiles(uniform: np.ndarray, mean: np.ndarray, dispersion: np.ndarray) -> np.ndarray:
    """Counts (n x g) at given probabilities (n x g) of the marginals of `mean`, `dispersion` (g).

    Looked up in the cumulative probabilities of each gene, which is many times faster than
    solving for each count.
    """
    over = dispersion > LEAST_DISPERSION
    if not uniform.size:
        return np.zeros(uniform.shape, dtype=np.int64)
    largest = np.empty(len(mean), dtype=np.int64)
    highest = uniform.max(axis=0)
    largest[over] = nbinom.ppf(highest[over], *_nbinom_parameters(mean[over], dispersion[over]))
    largest[~over] = poisson.ppf(highest[~over], mean[~over])
    counts = np.empty(uniform.shape, dtype=np.int64)
    for gene, most in enumerate(largest):
        values = np.arange(most + 1)[:, None]
        table = _cumulative(values, mean[[gene]], dispersion[[gene]])[:, 0]
        counts[:, gene] = np.minimum(np.searchsorted(table, uniform[:, gene]), most)
    return counts


def _correlated_normals(scores: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Standard normals (number x g) with the correlation of the scores (n x g).

    One cell has no correlation: its genes are independent. The correlation of a few cells is
    taken as it is, which is what scDesign2 does.
    """
    if len(scores) < 2:
        return rng.normal(size=(number, scores.shape[1]))
    standard = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    # R'R = correlation, with as few rows as there are cells or genes; nothing is inverted.
    factor = np.linalg.qr(standard, mode="r") / np.sqrt(len(standard))
    return rng.normal(size=(number, len(factor))) @ factor


def _mixed_class(cells: sp.csr_matrix, number: int, rng: np.random.Generator) -> sp.csr_matrix:
    n = cells.shape[0]
    one = rng.integers(n, size=number)
    # Another cell than the first, where there is another.
    other = (one + rng.integers(1, n, size=number)) % n if n > 1 else one
    weight = rng.random(number)
    return _thinned(cells[one], weight, rng) + _thinned(cells[other], 1 - weight, rng)


def _thinned(cells: sp.csr_matrix, keep: np.ndarray, rng: np.random.Generator) -> sp.csr_matrix:
    """Every count of a cell kept with that cell's probability."""
    probability = np.repeat(keep, np.diff(cells.indptr))
    kept = rng.binomial(np.rint(cells.data).astype(np.int64), probability)
    thinned = sp.csr_matrix((kept, cells.indices, cells.indptr), shape=cells.shape)
    thinned.eliminate_zeros()
    return thinned


def _resampled_class(cells: sp.csr_matrix, number: int, rng: np.random.Generator) -> sp.csr_matrix:
    return cells[rng.choice(cells.shape[0], number, replace=number > cells.shape[0])]
