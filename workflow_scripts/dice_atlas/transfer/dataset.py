"""Cells and log-normalised expression for the label transfer, read one sample at a time."""

import logging
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.common_genes import MIN_COMMON_SHARE, common_genes
from dice_atlas.counts.logged import cell_totals
from dice_atlas.errors import InputError
from dice_atlas.features.selection import read_gene_names, stream_groups
from dice_atlas.features.variable_genes import rank_over_batches
from dice_atlas.numerics.blocks import stack_rows
from dice_atlas.tables import read_part, sample_role

logger = logging.getLogger(__name__)

TARGET_SUM = 1e4  # of Seurat's NormalizeData


def log_normalize(counts: sp.csr_matrix, totals: np.ndarray) -> sp.csr_matrix:
    """log1p(counts / totals x 10,000) in float64, as Seurat's LogNormalize (cells x genes).

    `totals` are those over all genes of a cell; a cell of total 0 stays all zero.
    """
    normalized = sp.csr_matrix(counts, dtype=np.float64, copy=True)
    per_value = np.repeat(np.maximum(totals, 1.0), np.diff(normalized.indptr))
    normalized.data = np.log1p(normalized.data / per_value * TARGET_SUM)
    return normalized


def read_cells(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Sample, role, label and key of all cells (index: names), samples in the order given."""
    columns = ["sample", "role", "label", "cell_key"]
    return pd.concat([read_part(path, "obs")[columns].astype(str) for path in paths])


def reference_features(paths: Sequence[str | Path], n_features: int) -> list[str]:
    """Variable genes of the reference that every sample has, best first.

    FindVariableFeatures(selection.method = "vst") on the counts of all reference cells: the
    best `n_features`, of which those that the query lacks then drop out.

    Parameters
    ----------
    paths : filtered.h5ad of all samples.
    n_features : genes wanted.

    Raises
    ------
    InputError
        The samples have too few genes in common, or too few of the variable ones.
    """
    names, _ = read_gene_names(paths)
    common = common_genes(names)
    references = [path for path in paths if sample_role(path) == "reference"]
    genes = common_genes({str(path): names[str(path)] for path in references})
    groups = list(stream_groups(references, genes, []).values())
    order = np.argsort(-groups[0].standardized, kind="stable")
    if len(groups) > 1:  # counts, and samples of log-normalised expression
        ranked = rank_over_batches([group.standardized for group in groups], n_features)
        order = np.argsort(ranked["rank"].to_numpy(), kind="stable")
    total = np.sum([group.whole.total for group in groups], axis=0)
    best = genes[order[total[order] > 0][:n_features]]
    features = best[best.isin(common)]
    logger.info(
        "%d variable genes of the reference, %d of them in every sample", len(best), len(features)
    )
    if len(features) < MIN_COMMON_SHARE * len(best) or features.empty:
        lacking = best[~best.isin(common)]
        raise InputError(
            f"{len(features)} of the {len(best)} variable genes of the reference are in every "
            f"sample (needed: {MIN_COMMON_SHARE:.0%}); some sample lacks "
            f"{', '.join(map(str, lacking[:3]))}, all have such as "
            f"{', '.join(map(str, common[:3]))}: give the samples the same genes"
        )
    return features.tolist()


def common_to_samples(paths: Sequence[str | Path], genes: Sequence[str]) -> np.ndarray:
    """Which of `genes` every sample has (bool)."""
    names, _ = read_gene_names(paths)
    return np.all([pd.Index(genes).isin(index) for index in names.values()], axis=0)


def read_expression(paths: Sequence[str | Path], genes: Sequence[str]) -> sp.csr_matrix:
    """Log-normalised expression of `genes` in all cells (cells x genes, CSR float64)."""
    blocks = []
    for path in paths:
        sample = ad.read_h5ad(path)
        counts = sp.csr_matrix(sample.X)
        chosen = counts[:, sample.var_names.get_indexer(genes)]
        blocks.append(log_normalize(chosen, cell_totals(sample)))
    return stack_rows(blocks)
