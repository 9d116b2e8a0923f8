"""UCell's statistic: how far up a list's genes stand among the genes of each cell.

Genes are ranked within a cell, the highest first; ties share their mean rank, and no rank counts
for more than `MOST_RANKS`. A list of n genes scores 1 - U / (n R - n (n + 1) / 2), with U the Mann-
Whitney statistic of its genes and R the largest rank (Andreatta, Carmona, "UCell: Robust and
scalable single-cell gene signature scoring", Computational and Structural Biotechnology Journal 19,
2021). Ranks within a cell know no library size, no normalisation and no other cell.

The score is a sum over genes. So a block of cells needs its detected genes alone, and clusters need
the mean ranks of their cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import rankdata

from dice_atlas.errors import InputError
from dice_atlas.numerics.blocks import read_blocks
from dice_atlas.tables import common_names, read_part

# Genes behind these are all alike: so many are detected in a good cell.
MOST_RANKS = 1500


@dataclass(frozen=True)
class Ranks:
    """What ranks say of some cells, in parts of which the first is sparse.

    Attributes
    ----------
    above : cells x genes, by how many ranks a detected gene stands above those not detected.
    zeros : cells, by how many ranks these stand above the last rank.
    """

    above: sp.csr_matrix
    zeros: np.ndarray


def ranks_of(values: sp.csr_matrix, most: int) -> Ranks:
    """Ranks of the genes within each cell.

    Parameters
    ----------
    values : cells x genes, 0 or more: counts, or whatever rises with them.
    most : the largest rank.
    """
    above = sp.csr_matrix(values, dtype=np.float64, copy=True)
    above.eliminate_zeros()
    n_genes = above.shape[1]
    detected = np.diff(above.indptr)
    of_zeros = np.minimum((detected + 1 + n_genes) / 2, most)
    for start, stop, last in zip(above.indptr[:-1], above.indptr[1:], of_zeros, strict=True):
        own = rankdata(-above.data[start:stop])
        above.data[start:stop] = last - np.minimum(own, last)
    return Ranks(above, np.where(detected < n_genes, most - of_zeros, 0.0))


def weights_of(signs: Mapping[str, Mapping[str, int]], genes: pd.Index, most: int) -> np.ndarray:
    """Weight of each gene in the score of each list (genes x lists).

    The score of the genes with sign - is taken from that of the others, each as in a list of its
    own.

    Parameters
    ----------
    signs : of the genes of each list.
    genes : names of the columns; those of the lists are among them.
    most : the largest rank.
    """
    weights = np.zeros((len(genes), len(signs)))
    for column, own in enumerate(signs.values()):
        for sign in (1, -1):
            some = [gene for gene, its in own.items() if its == sign]
            n = len(some)
            if n:
                rows = genes.get_indexer(some)
                weights[rows, column] = sign / (n * most - n * (n + 1) / 2)
    return weights


def cell_scores(ranks: Ranks, weights: np.ndarray) -> np.ndarray:
    """Score of each list in each cell (cells x lists)."""
    return np.asarray(ranks.above @ weights) + ranks.zeros[:, None] * weights.sum(axis=0)


def common_genes(samples: Sequence[str | Path]) -> pd.DataFrame:
    """var of the genes that all samples have, in the order of the first (`gene_id`)."""
    tables = [read_part(path, "var") for path in samples]
    kept = common_names(table.index.astype(str) for table in tables)
    ids = tables[0]["gene_id"].astype(str)
    return pd.DataFrame({"gene_id": ids.to_numpy()}, index=ids.index.astype(str)).loc[kept]


def rank_blocks(samples: Sequence[str | Path], genes: pd.Index, most: int) -> Iterator[Ranks]:
    """Ranks of all cells, a block at a time, in the order of the samples.

    Parameters
    ----------
    samples : filtered.h5ad of each.
    genes : names of the genes that count.
    most : the largest rank.
    """
    for path in samples:
        columns = pd.Index(read_part(path, "var").index.astype(str)).get_indexer(genes)
        for _, block in read_blocks(path):
            yield ranks_of(block[:, columns], most)


@dataclass(frozen=True)
class Scored:
    """Scores of all cells, and what the ranks say of genes and clusters.

    Attributes
    ----------
    scores : cells x lists, float32.
    means : clusters x genes: mean rank of a gene, counted upwards from the last one.
    sd : genes: standard deviation of that over all cells.
    """

    scores: np.ndarray
    means: np.ndarray
    sd: np.ndarray


def score_cells(
    samples: Sequence[str | Path],
    genes: pd.Index,
    clusters: np.ndarray,
    weights: np.ndarray,
    most: int,
) -> Scored:
    """Score each list in each cell; a block of cells is in memory at a time.

    Parameters
    ----------
    samples : filtered.h5ad of each, in the order of the cells.
    genes : names of the genes that count.
    clusters : number of each cell's cluster, from 0.
    weights : genes x lists, see `weights_of`.
    most : the largest rank.

    Raises
    ------
    InputError
        The samples do not have as many cells as have a cluster.
    """
    n_clusters, n_genes = int(clusters.max(initial=-1)) + 1, len(genes)
    sums, squares = np.zeros((n_clusters, n_genes)), np.zeros(n_genes)
    scores, done = np.zeros((len(clusters), weights.shape[1]), dtype=np.float32), 0
    for ranks in rank_blocks(samples, genes, most):
        rows = slice(done, done + len(ranks.zeros))
        own, done = clusters[rows], rows.stop
        if len(own) < len(ranks.zeros):
            break
        member = sp.csr_matrix(
            (np.ones(len(own)), (own, np.arange(len(own)))), shape=(n_clusters, len(own))
        )
        sums += (member @ ranks.above).toarray() + (member @ ranks.zeros)[:, None]
        # The square of above + zeros, of which the first is sparse.
        squares += np.asarray(ranks.above.power(2).sum(axis=0)).ravel()
        squares += 2 * (ranks.above.T @ ranks.zeros) + (ranks.zeros**2).sum()
        scores[rows] = cell_scores(ranks, weights)
    if done != len(clusters):
        raise InputError(
            f"the samples have another number of cells than the {len(clusters)} that have a "
            "cluster; remove clusters/ and start again"
        )
    cells = np.bincount(clusters, minlength=n_clusters)
    variance = squares / done - (sums.sum(axis=0) / done) ** 2
    return Scored(scores, sums / cells[:, None], np.sqrt(np.maximum(variance, 0.0)))
