"""What every reader returns, and the one place where counts are made of it."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.check import COUNTS, Check
from dice_atlas.counts.dense import native
from dice_atlas.counts.features import gene_rows, require_cell_names
from dice_atlas.counts.genes import gene_table, merge_repeated
from dice_atlas.errors import InputError
from dice_atlas.texts import hidden

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What a sample's row wants of its file.

    Attributes
    ----------
    subset : cells to keep, see `subset.keep_mask`; "" = all.
    slot : the matrix that the sheet names; "" = the best one.
    columns : of obs that are needed; None = all.
    check : what the values must be.
    most : cells whose counts are read, about; None = all. All of a format that must be read for it.
    """

    subset: str = ""
    slot: str = ""
    columns: Collection[str] | None = None
    check: Check = COUNTS
    most: int | None = None


@dataclass(frozen=True)
class Stored:
    """A sample as its file has it.

    Attributes
    ----------
    counts : cells x features, any numeric type, not checked yet.
    obs : columns of all cells, index: barcodes.
    var : columns of the features, with `name` among them, and their types where known.
    kind : format, for messages and provenance.
    decided : what was decided about the file, by what it is about.
    rows : positions in `obs` of the cells whose counts were read; None = all.
    """

    counts: sp.spmatrix
    obs: pd.DataFrame
    var: pd.DataFrame
    kind: str
    decided: dict[str, str] = field(default_factory=dict)
    rows: np.ndarray | None = None


def as_counts(stored: Stored, path: Path, check: Check = COUNTS) -> ad.AnnData:
    """The values of the genes, checked and named.

    Parameters
    ----------
    stored : what a reader returned.
    path : its file, for messages.
    check : what the values must be.

    Returns
    -------
    AnnData
        See `readers.read_counts`; of the cells whose counts were read.

    Raises
    ------
    InputError
        A barcode stands twice or is none, no feature is a gene, a gene has no name, or the values
        do not pass the check.
    """
    shape = len(stored.obs if stored.rows is None else stored.rows), len(stored.var)
    if stored.counts.shape != shape:
        raise InputError(
            f"{path}: seen a matrix of {stored.counts.shape[0]} cells x {stored.counts.shape[1]} "
            f"genes, expected {shape[0]} x {shape[1]} by the names in the file; write it again"
        )
    barcodes = plain_names(stored.obs.index)
    require_plain(barcodes, path, "the barcode")
    require_unique(barcodes, path)
    require_cell_names(barcodes, path)
    keep, decided = gene_rows(stored.var, path)
    counts, var = native(stored.counts), stored.var
    if not keep.all():
        counts, var = counts.tocsr()[:, np.flatnonzero(keep)], var[keep]
    X = check.finish(counts, f"{path} ({stored.kind})")
    genes = gene_table(var["name"].tolist(), var.drop(columns="name"), str(path))
    require_plain(genes.index, path, "the gene name")
    n_before = len(genes)
    decided["gene_names"] = genes.attrs["source"]
    X, genes = merge_repeated(X, genes, str(path))
    if len(genes) < n_before:
        decided["added_up"] = f"{n_before} rows of genes to {len(genes)} names"
    logger.info("%s (%s): %d cells x %d genes, %d non-zero", path, stored.kind, *X.shape, X.nnz)
    obs = stored.obs.set_axis(barcodes, axis=0)
    # A reader may have left out rows of its own.
    for key in stored.decided.keys() & decided.keys():
        decided[key] = f"{stored.decided[key]}; {decided[key]}"
    uns = {"format": stored.kind, "decided": stored.decided | decided}
    if stored.rows is not None:
        obs = obs.iloc[stored.rows]
    return ad.AnnData(X, obs=obs, var=genes, uns=uns)


def plain_names(index: pd.Index) -> pd.Index:
    """Names as text without blanks around them, "" for missing ones."""
    names = pd.Index([str(name).strip() for name in index], dtype=object)
    return names.where(~index.isna(), "")


def require_unique(barcodes: pd.Index, path: Path) -> None:
    """Refuse barcodes that stand more than once, and empty ones."""
    repeated = barcodes[barcodes.duplicated()]
    if len(repeated):
        raise InputError(
            f"{path}: {len(repeated)} barcode(s) stand more than once (such as {repeated[0]!r}), "
            "expected each cell once; if cells of several captures were joined, add the "
            "capture's name to each barcode"
        )
    if (barcodes == "").any():
        raise InputError(f"{path}: a cell has no barcode, expected a name for every cell")


def require_plain(names: pd.Index, path: Path, what: str) -> None:
    """Refuse names with control or format characters, which tables and figures cannot hold."""
    if not hidden("".join(names)):  # nearly always
        return
    for name in names:
        if hidden(name):
            raise InputError(
                f"{path}: {what} {name!r} has a control character, expected printable text; "
                "was the file written with another encoding, or is it damaged?"
            )
