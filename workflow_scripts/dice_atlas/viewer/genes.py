"""Which genes the page holds, and their expression, read from the atlas block by block."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.numerics.blocks import read_blocks
from dice_atlas.tables import read_part

# Markers of each cluster that come before the genes of the labels.
MARKERS = 20
# Further genes are those that at least this share of the cells has: rarer ones say little on a map.
LEAST_SHARE = 0.01
# Values that are held at once (8 bytes each): what more genes hold could not be in the page anyway.
MOST_VALUES = 30_000_000


def gene_order(
    markers: pd.DataFrame, label_genes: pd.DataFrame | None, asked: Sequence[str], var: pd.DataFrame
) -> list[str]:
    """Genes in the order in which they are taken into the page, each once.

    Those that the config asks for, markers, genes of the labels, all other variable genes.

    Parameters
    ----------
    markers : markers.tsv.gz.
    label_genes : label_genes.tsv, or None.
    asked : genes that the config names; capitals do not matter where no gene is spelt so.
    var : of the atlas: `highly_variable`; index: genes.
    """
    upper = {str(gene).upper(): str(gene) for gene in reversed(var.index)}
    named = [gene if gene in var.index else upper.get(gene.upper(), gene) for gene in asked]
    up = markers[(markers["log2_fold_change"] > 0) & (markers["rank"] <= MARKERS)]
    # The best of every cluster, then the second best: a page that is full has some of each.
    by_rank = up.sort_values("rank", kind="stable")["gene"]
    of_labels: Sequence[str] = []
    if label_genes is not None:
        of_labels = label_genes.sort_values("rank", kind="stable")["gene"]
    variable = var.index[var["highly_variable"].astype(bool)]
    order = dict.fromkeys(map(str, [*named, *by_rank, *of_labels, *variable]))
    there = set(map(str, var.index))
    return [gene for gene in order if gene in there]


def further_genes(order: Sequence[str], var: pd.DataFrame, n_cells: int) -> list[str]:
    """Genes beside those of `gene_order`, which fill the page: found in the most cells first."""
    found = var["n_cells"].drop(list(order)).sort_values(ascending=False, kind="stable")
    return list(found.index[found >= LEAST_SHARE * n_cells])


def as_many_as_fit(genes: Sequence[str], var: pd.DataFrame, share: float) -> list[str]:
    """The first genes whose values, `share` of the cells drawn, are at most `MOST_VALUES`."""
    values = var["n_cells"].reindex(list(genes)).to_numpy(dtype=float) * share
    return list(genes)[: max(1, int((values.cumsum() <= MOST_VALUES).sum()))]


def read_expression(
    path: str | Path, rows: np.ndarray, genes: Sequence[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Expression of genes in some cells, from one pass over the atlas.

    Parameters
    ----------
    path : atlas.h5ad; X is log1p-normalised (cells x genes, CSR).
    rows : of the cells, in order.
    genes : symbols, all of the atlas.

    Yields
    ------
    Of each gene in turn: positions in `rows` of the cells that have it, and the values.
    """
    columns = pd.Index(read_part(path, "var").index.astype(str)).get_indexer(list(genes))
    parts = []
    for block, expression in read_blocks(path):
        own = rows[np.searchsorted(rows, block.start) : np.searchsorted(rows, block.stop)]
        if len(own):
            parts.append(expression[own - block.start][:, columns])
    matrix = sp.vstack(parts, format="csc", dtype=np.float32)
    del parts
    matrix.eliminate_zeros()
    matrix.sort_indices()
    for j in range(len(genes)):
        part = slice(matrix.indptr[j], matrix.indptr[j + 1])
        yield matrix.indices[part], matrix.data[part]
