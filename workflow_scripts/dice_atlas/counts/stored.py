"""What every reader returns, and the one place where counts are made of it."""

import logging
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.check import check_raw_counts
from dice_atlas.counts.dense import native
from dice_atlas.counts.genes import gene_table, merge_repeated, text
from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)

EXPRESSION = "Gene Expression"
FEATURE_TYPES = "feature_types"


class Stored(NamedTuple):
    """A sample as its file has it.

    Attributes
    ----------
    counts : cells x features, any numeric type, not checked yet.
    obs : columns of the cells, index: barcodes.
    var : columns of the features, with `name` among them, and `feature_types` where known.
    kind : format, for messages and provenance.
    """

    counts: sp.spmatrix
    obs: pd.DataFrame
    var: pd.DataFrame
    kind: str


def as_counts(stored: Stored, path: Path) -> ad.AnnData:
    """Raw counts of the genes, checked and named.

    Parameters
    ----------
    stored : what a reader returned.
    path : its file, for messages.

    Returns
    -------
    AnnData
        See `readers.read_counts`.

    Raises
    ------
    InputError
        A barcode stands twice, no feature is a gene, a gene has no name, or the values are no raw
        counts.
    """
    barcodes = pd.Index(text(stored.obs.index.to_series()).to_numpy(object), dtype=object)
    require_unique(barcodes, path)
    keep = gene_rows(stored.var, path)
    counts, var = native(stored.counts), stored.var
    if not keep.all():
        counts, var = counts.tocsr()[:, np.flatnonzero(keep)], var[keep]
    X = check_raw_counts(counts, f"{path} ({stored.kind})")
    genes = gene_table(var["name"].tolist(), var.drop(columns="name"), str(path))
    X, genes = merge_repeated(X, genes, str(path))
    logger.info("%s (%s): %d cells x %d genes, %d non-zero", path, stored.kind, *X.shape, X.nnz)
    obs = stored.obs.set_axis(barcodes, axis=0)
    return ad.AnnData(X, obs=obs, var=genes, uns={"format": stored.kind})


def gene_rows(var: pd.DataFrame, path: Path) -> np.ndarray:
    """Which features are genes; antibodies, guides and peaks are left out.

    Parameters
    ----------
    var : a feature without a type counts as a gene.
    """
    if FEATURE_TYPES not in var:
        return np.ones(len(var), dtype=bool)
    types = text(var[FEATURE_TYPES])
    keep = types.isin([EXPRESSION, ""]).to_numpy()
    kinds = types.value_counts().to_dict()
    if not keep.any():
        raise InputError(
            f"{path}: no feature of type {EXPRESSION!r}; seen "
            + ", ".join(f"{name!r} ({n})" for name, n in kinds.items())
            + "; give the gene-expression matrix, or write that type into the third column"
        )
    if not keep.all():
        logger.info("%s: %d of %d features are genes: %s", path, keep.sum(), len(keep), kinds)
    return keep


def require_unique(barcodes: pd.Index, path: Path) -> None:
    """Refuse barcodes that stand more than once."""
    repeated = barcodes[barcodes.duplicated()]
    if len(repeated):
        raise InputError(
            f"{path}: {len(repeated)} barcode(s) stand more than once (such as {repeated[0]!r}), "
            "expected each cell once; if cells of several captures were joined, add the "
            "capture's name to each barcode"
        )
