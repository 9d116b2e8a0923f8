"""Expression of a few genes by cluster and by cell type, read from the atlas block by block."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.numerics.blocks import read_each
from dice_atlas.tables import read_part

MOST_CELLS = 20_000
# Cells that lie beside each other in the file are read together.
BLOCK_ROWS = 200


def drawn_blocks(n: int, seed: int, most: int = MOST_CELLS, size: int = BLOCK_ROWS) -> np.ndarray:
    """First rows of the blocks that are read: all of them, or a random choice of `most` cells."""
    starts = np.arange(0, n, size)
    if n <= most:
        return starts
    return np.sort(np.random.default_rng(seed).choice(starts, most // size, replace=False))


def mean_expression(
    path: str | Path,
    genes: Sequence[str],
    groups: Mapping[str, np.ndarray],
    seed: int,
    most: int = MOST_CELLS,
) -> dict[str, pd.DataFrame]:
    """Mean expression and share of expressing cells per group, of several groupings at once.

    Parameters
    ----------
    path : atlas.h5ad; X is log1p-normalised (cells x genes, CSR).
    genes : symbols; those that the atlas lacks are left out.
    groups : by the name of a grouping, such as `cluster`, the group of every cell.
    seed, most : of the cells read where there are more than `most`.

    Returns
    -------
    dict
        By grouping a table: its name (the group), `gene`, `mean` (of log1p values), `share`,
        `cells` (of the group that were read); groups of which no cell was read are left out.
    """
    names = pd.Index(read_part(path, "var").index.astype(str))
    columns = names.get_indexer(list(genes))
    found, columns = np.array(genes, dtype=object)[columns >= 0], columns[columns >= 0]
    sums = {name: GroupSums(own, len(found)) for name, own in groups.items()}
    n = len(next(iter(groups.values())))
    drawn = [slice(start, min(start + BLOCK_ROWS, n)) for start in drawn_blocks(n, seed, most)]
    for rows, expression in zip(drawn, read_each(path, drawn), strict=True):
        block = expression[:, columns]
        for own in sums.values():
            own.add(rows, block)
    return {name: own.table(name, found) for name, own in sums.items()}


class GroupSums:
    """Sums of the expression of genes, and numbers of cells that express them, by group."""

    def __init__(self, groups: np.ndarray, n_genes: int) -> None:
        self.codes, order = pd.factorize(pd.Series(groups).astype(str), sort=True)
        self.order = np.asarray(order)
        self.cells = np.zeros(len(order), dtype=np.int64)
        self.total, self.present = np.zeros((2, len(order), n_genes))

    def add(self, rows: slice, block: sp.csr_matrix) -> None:
        """Count further cells: their rows, and their expression (cells x genes)."""
        own, size = self.codes[rows], rows.stop - rows.start
        shape = (len(self.order), size)
        member = sp.csr_matrix((np.ones(size), (own, np.arange(size))), shape=shape)
        self.cells += np.bincount(own, minlength=len(self.order))
        self.total += (member @ block).toarray()
        self.present += (member @ (block > 0).astype(np.float64)).toarray()

    def table(self, name: str, genes: np.ndarray) -> pd.DataFrame:
        """See `mean_expression`."""
        read = self.cells > 0
        return pd.DataFrame(
            {
                name: np.repeat(self.order[read], len(genes)),
                "gene": np.tile(genes, int(read.sum())),
                "mean": (self.total[read] / self.cells[read, None]).ravel(),
                "share": (self.present[read] / self.cells[read, None]).ravel(),
                "cells": np.repeat(self.cells[read], len(genes)),
            }
        )
