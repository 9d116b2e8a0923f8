"""Genes that differ between conditions in one cell type: DESeq2's model of pseudobulk counts."""

import numpy as np
import pandas as pd
from pydeseq2.dds import DeseqDataSet
from pydeseq2.default_inference import DefaultInference
from pydeseq2.ds import DeseqStats

from dice_atlas.conditions.design import EFFECT
from dice_atlas.conditions.settings import LEAST_COUNT

# The trend of the dispersions is fitted over genes.
LEAST_GENES = 10
RESULTS = {
    "baseMean": "base_mean",
    "log2FoldChange": "log2_fold_change",
    "lfcSE": "standard_error",
    "pvalue": "p_value",
    "padj": "p_adjusted",
}


def enough_counts(counts: np.ndarray, design: pd.DataFrame) -> np.ndarray:
    """Mask of the genes with enough counts.

    Parameters
    ----------
    counts : units x genes.
    design : of these units.
    """
    second = design[EFFECT].to_numpy() > 0
    smaller = min(int(second.sum()), int((~second).sum()))
    return (counts >= LEAST_COUNT).sum(axis=0) >= smaller


def compare_genes(
    counts: np.ndarray, genes: pd.Index, design: pd.DataFrame, fdr: float, n_cpus: int = 1
) -> pd.DataFrame:
    """Each gene's change between two conditions, by pydeseq2.

    Parameters
    ----------
    counts : units x genes; expected counts are rounded, for the model is one of integers.
    genes : their names.
    design : units x coefficients; see `Comparison.design`.
    fdr : that the filter of genes with few counts is chosen for.
    n_cpus : processes.

    Returns
    -------
    DataFrame
        By gene: `base_mean`, `log2_fold_change`, `standard_error`, `p_value`, `p_adjusted` (NaN:
        an outlier, or left out by the filter).
    """
    table = pd.DataFrame(np.rint(counts).astype(int), index=design.index, columns=genes)
    inference = DefaultInference(n_cpus=n_cpus)
    data = DeseqDataSet(
        counts=table, metadata=design.copy(), design=design, inference=inference, quiet=True
    )
    data.deseq2()
    contrast = (design.columns == EFFECT).astype(float)
    test = DeseqStats(data, contrast=contrast, alpha=fdr, inference=inference, quiet=True)
    test.summary()
    return test.results_df.rename(columns=RESULTS)[list(RESULTS.values())].rename_axis("gene")
