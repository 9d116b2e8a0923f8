"""Marker genes of clusters."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

logger = logging.getLogger(__name__)

N_GENES = 100
COLUMNS = (
    "cluster", "rank", "gene", "score", "log2_fold_change", "p_adjusted", "share_in", "share_out",
)  # fmt: skip


def rank_markers(expression: ad.AnnData, clusters: np.ndarray) -> pd.DataFrame:
    """The genes that set each cluster apart from all other cells, best first.

    Wilcoxon's rank-sum test with tie correction (`scanpy.tl.rank_genes_groups`): counts of single
    cells are mostly zeros, so ties are the rule, and the t test's p-values rest on a normal mean
    that small clusters do not have. p-values are Benjamini-Hochberg adjusted within a cluster. They
    rank genes; as the clusters were made from the same cells, they are not tests of a hypothesis.

    Parameters
    ----------
    expression : X = log1p-normalised (cells x genes, CSR).
    clusters : cluster of every cell, strings of whole numbers.

    Returns
    -------
    DataFrame
        The `COLUMNS`, at most `N_GENES` rows per cluster; `score` is the test's z, `share_in` and
        `share_out` the shares of cells with any count. Clusters of one cell are left out.
    """
    sizes = pd.Series(clusters).value_counts()
    names = sorted(sizes.index[sizes >= 2], key=int)
    for name in sorted(sizes.index[sizes < 2], key=int):
        logger.warning("cluster %s is one cell: no markers", name)
    if len(sizes) < 2:
        logger.warning("one cluster only: there is nothing to compare it with, no markers")
        names = []
    if not names:
        return pd.DataFrame(columns=list(COLUMNS))
    work = ad.AnnData(X=expression.X, obs=expression.obs[[]].copy(), var=expression.var[[]].copy())
    work.obs["cluster"] = pd.Categorical(clusters)
    sc.tl.rank_genes_groups(
        work, "cluster", groups=names, reference="rest", method="wilcoxon",
        tie_correct=True, pts=True, n_genes=min(N_GENES, work.n_vars),
    )  # fmt: skip
    return pd.concat([cluster_table(work, name) for name in names], ignore_index=True)


def cluster_table(ranked: ad.AnnData, name: str) -> pd.DataFrame:
    """One cluster's rows of the marker table."""
    result = ranked.uns["rank_genes_groups"]
    genes = result["names"][name].astype(str)
    table = pd.DataFrame(
        {
            "cluster": name,
            "rank": np.arange(1, len(genes) + 1),
            "gene": genes,
            "score": result["scores"][name],
            "log2_fold_change": result["logfoldchanges"][name],
            "p_adjusted": result["pvals_adj"][name],
            "share_in": result["pts"][name].loc[genes].to_numpy(),
            "share_out": result["pts_rest"][name].loc[genes].to_numpy(),
        }
    )
    return table[list(COLUMNS)]
