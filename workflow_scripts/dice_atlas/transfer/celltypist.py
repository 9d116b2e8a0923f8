"""Labels by a CellTypist model, as a table that the voter of tables reads.

Dominguez Conde et al., "Cross-tissue immune cell analysis reveals tissue-specific features in
humans", Science 2022. It runs in an environment of its own (requirements-celltypist.txt): nothing
is imported that it lacks.
"""

import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.names import SCORE

TARGET_SUM = 1e4  # that CellTypist asks for


def normalized(counts: sp.csr_matrix) -> sp.csr_matrix:
    """log1p of the counts of each cell, brought to a sum of 10,000; a cell of none stays empty."""
    total = np.asarray(counts.sum(axis=1)).ravel()
    factors = np.divide(TARGET_SUM, total, out=np.zeros(len(total)), where=total > 0)
    return sp.csr_matrix(sp.diags_array(factors) @ counts, dtype=np.float32).log1p()


def label_table(sample: str | Path, model: str | Path) -> pd.DataFrame:
    """Best label and probability of each label for every cell of a sample, cell by cell.

    Majority voting over clusters is off: the consensus and the calibration take single cells.

    Parameters
    ----------
    sample : filtered.h5ad.
    model : file of the model. It is a pickle, which can run code: use one that you trust.

    Returns
    -------
    `sample`, `barcode`, `label`, `score:<label>`; probabilities of the labels are independent of
    each other, and do not sum to 1.
    """
    import celltypist

    data = ad.read_h5ad(sample)
    cells = ad.AnnData(
        normalized(sp.csr_matrix(data.X)), obs=data.obs[[]].copy(), var=data.var[[]].copy()
    )
    found = celltypist.annotate(cells, model=str(model), majority_voting=False)
    scores = found.probability_matrix
    print(f"{sample}: {len(scores)} cells, {scores.shape[1]} labels", file=sys.stderr)
    return pd.DataFrame(
        {
            "sample": data.obs["sample"].astype(str).to_numpy(),
            "barcode": data.obs["barcode"].astype(str).to_numpy(),
            "label": scores.columns.to_numpy(dtype=object)[scores.to_numpy().argmax(axis=1)],
            **{f"{SCORE}{label}": scores[label].to_numpy() for label in scores},
        }
    )
