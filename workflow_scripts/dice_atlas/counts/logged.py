"""Samples whose files hold log-normalised expression and no counts (`expression: log1p`).

Inside of the workflow their matrix is linear: normalised expression, as if it were counts of cells
that all have the same total. What normalises counts then gives the file's values back, brought to
the workflow's own total; what needs counts proper asks `is_logged`.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import scipy.sparse as sp

from dice_atlas.names import LOG1P
from dice_atlas.tables import read_part

logger = logging.getLogger(__name__)

# Cells have one total if so many of them sum to within this of the median. Rounding, and genes that
# were dropped after the normalisation, move a sum a little.
NEAR, MOST = 0.05, 0.95
# Of expression whose cells do not sum to one total: the usual one.
USUAL_TOTAL = 1e4
BASES = {"natural": 1.0, "base 2": np.log(2.0), "base 10": np.log(10.0)}


def linear(values: sp.csr_matrix, source: str) -> sp.csr_matrix:
    """Normalised expression of its logarithms, log(1 + x): of base e, 2 or 10.

    Of the bases with which cells sum to one total, the one with the least spread is taken, and
    every cell is brought to that total; e where there is none.

    Parameters
    ----------
    values : cells x genes, logarithms.
    source : the file, for messages.

    Returns
    -------
    Cells x genes, float32.
    """
    spreads, seen = {}, []
    for name, factor in BASES.items():
        with np.errstate(over="ignore"):
            found = exponential(values, factor)
        totals = sums(found)
        low, high = np.quantile(totals, [0.05, 0.95])
        seen.append(f"{low:.4g} to {high:.4g} ({name})")
        if has_one_total(found):
            spreads[name] = np.mean(np.abs(totals / np.median(totals) - 1))
    if spreads:
        name = min(spreads, key=spreads.__getitem__)
        logger.info("%s: the values are logarithms (%s)", source, name)
        found = exponential(values, BASES[name])
        return brought_to(found, total_of(found))
    logger.warning(
        "%s: cells do not sum to one total with logarithms of any base: seen sums of %s, expected "
        "the same for all cells, over all genes of the file. The values are taken as natural "
        "logarithms of counts per %g; if they are not, give raw counts, or log1p of normalised "
        "counts of all genes", source, ", ".join(seen), USUAL_TOTAL,
    )  # fmt: skip
    return exponential(values, 1.0)


def brought_to(expression: sp.csr_matrix, total: float) -> sp.csr_matrix:
    """Expression whose cells sum to a total, float32; a cell without any stays so."""
    own = np.asarray(expression.sum(axis=1, dtype=np.float64)).ravel()
    result = sp.csr_matrix(expression, dtype=np.float64, copy=True)
    result.data *= np.repeat(total / np.where(own > 0, own, 1.0), np.diff(result.indptr))
    return result.astype(np.float32)


def exponential(values: sp.csr_matrix, factor: float) -> sp.csr_matrix:
    """exp(factor x) - 1 of every value, float32."""
    result = sp.csr_matrix(values, dtype=np.float64, copy=True)
    np.expm1(result.data * factor, out=result.data)
    return result.astype(np.float32)


def sums(expression: sp.csr_matrix) -> np.ndarray:
    """Sums of the cells that have any expression."""
    totals = np.asarray(expression.sum(axis=1, dtype=np.float64)).ravel()
    return totals[totals > 0]


def has_one_total(expression: sp.csr_matrix) -> bool:
    """Whether nearly all cells sum to about the same total."""
    totals = sums(expression)
    if not totals.size or not np.isfinite(totals).all():
        return False
    return bool(np.mean(np.abs(totals / np.median(totals) - 1) <= NEAR) >= MOST)


def total_of(expression: sp.csr_matrix) -> float:
    """The total that the cells were normalised to (`USUAL_TOTAL` if they sum to no single one)."""
    return float(np.median(sums(expression))) if has_one_total(expression) else USUAL_TOTAL


def is_logged(sample: ad.AnnData) -> bool:
    """Whether a sample's file held logarithms, and no counts."""
    return sample.uns.get("source", {}).get("expression") == LOG1P


def cell_totals(sample: ad.AnnData) -> np.ndarray:
    """What a cell's values are divided by to be normalised: its counts, or the total of all."""
    if is_logged(sample):
        return np.full(sample.n_obs, float(sample.uns["source"]["total"]))
    if sample.uns.get("source", {}).get("synthetic"):
        # Counts of genes that were not modelled are in no column.
        return sample.obs["total_counts"].to_numpy(dtype=np.float64)
    return np.asarray(sample.X.sum(axis=1, dtype=np.float64)).ravel()


def logged_samples(paths: Sequence[str | Path]) -> dict[str, float]:
    """Total of each sample whose file held logarithms, by its path.

    Parameters
    ----------
    paths : counts.h5ad or filtered.h5ad.
    """
    sources = {str(path): read_part(path, "uns").get("source", {}) for path in paths}
    return {
        path: float(source["total"])
        for path, source in sources.items()
        if source.get("expression") == LOG1P
    }
