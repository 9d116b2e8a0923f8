"""Expression of a few genes by cluster, read from the atlas block by block."""

from collections.abc import Sequence
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


def expression_by_cluster(
    path: str | Path, genes: Sequence[str], clusters: np.ndarray, seed: int, most: int = MOST_CELLS
) -> pd.DataFrame:
    """Mean expression and share of expressing cells per cluster.

    Parameters
    ----------
    path : atlas.h5ad; X is log1p-normalised (cells x genes, CSR).
    genes : symbols; those that the atlas lacks are left out.
    clusters : cluster of every cell.
    seed, most : of the cells read where there are more than `most`.

    Returns
    -------
    DataFrame
        `cluster`, `gene`, `mean` (of log1p values), `share`, `cells` (of the cluster that were
        read); clusters of which no cell was read are left out.
    """
    names = pd.Index(read_part(path, "var").index.astype(str))
    columns = names.get_indexer(list(genes))
    genes, columns = np.array(genes, dtype=object)[columns >= 0], columns[columns >= 0]
    codes, order = pd.factorize(pd.Series(clusters).astype(str), sort=True)
    cells = np.zeros(len(order), dtype=np.int64)
    total, present = np.zeros((2, len(order), len(genes)))
    drawn = [
        slice(start, min(start + BLOCK_ROWS, len(codes)))
        for start in drawn_blocks(len(codes), seed, most)
    ]
    for rows, expression in zip(drawn, read_each(path, drawn), strict=True):
        block = expression[:, columns]
        own, size = codes[rows], rows.stop - rows.start
        member = sp.csr_matrix((np.ones(size), (own, np.arange(size))), shape=(len(order), size))
        cells += np.bincount(own, minlength=len(order))
        total += (member @ block).toarray()
        present += (member @ (block > 0).astype(np.float64)).toarray()
    read = cells > 0
    frame = pd.DataFrame(
        {
            "cluster": np.repeat(np.asarray(order)[read], len(genes)),
            "gene": np.tile(genes, int(read.sum())),
            "mean": (total[read] / cells[read, None]).ravel(),
            "share": (present[read] / cells[read, None]).ravel(),
            "cells": np.repeat(cells[read], len(genes)),
        }
    )
    return frame
